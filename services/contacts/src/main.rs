//! The contacts service as a process.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rapport_kit::process::main(&rapport_contacts::SERVICE)
}
