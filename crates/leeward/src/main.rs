//! The `leeward` binary: see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    leeward::main(leeward::Parts::default())
}
