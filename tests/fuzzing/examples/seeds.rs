//! Writes the published vectors as files for `cargo fuzz` to begin with: `seeds DIRECTORY`.

use std::{env, fs, io, path::PathBuf};

use lapis_fuzzing::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("usage: seeds DIRECTORY"))?;
    for target in TARGETS {
        let place = directory.join(target.name);
        fs::create_dir_all(&place)?;
        for (number, seed) in seeds(target.name).iter().enumerate() {
            fs::write(place.join(format!("vector-{number:03}")), seed)?;
        }
    }
    Ok(())
}
