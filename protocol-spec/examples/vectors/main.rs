//! Writes the golden vectors, or checks that the files are what the code makes.
//!
//! `cargo run -p lapis-protocol-spec --example vectors -- --write|--check`

mod cases;

use std::{error::Error, fs, path::Path, process::ExitCode};

fn run(write: bool) -> Result<bool, Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut current = true;
    for (name, content) in cases::files()? {
        let path = directory.join(name);
        if write {
            fs::write(&path, serde_json::to_string_pretty(&content)? + "\n")?;
            println!("wrote {}", path.display());
            continue;
        }
        let stored: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        let state = if stored == content { "current" } else { "DIFFERS" };
        println!("{state} {}", path.display());
        current &= stored == content;
    }
    Ok(current)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let write = match arguments.as_slice() {
        [flag] if flag == "--write" => true,
        [flag] if flag == "--check" => false,
        _ => {
            eprintln!("usage: vectors --write|--check");
            return ExitCode::from(2);
        }
    };
    match run(write) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
