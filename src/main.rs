//! The `vitals` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    vitals::commands::main()
}
