//! The `leeward` binary: see the library of the same name.

use std::process::ExitCode;

/// The system's allocator keeps the 19 MiB that each password hash needs, for every thread that ever hashed one, and
/// costs more where many threads allocate small things. Huge pages are off: with them the idle shop takes 30 MiB more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    leeward::main(leeward::Parts::default())
}
