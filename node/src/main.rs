//! The `lapis` program. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lapis_node::cli::main()
}
