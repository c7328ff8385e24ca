//! The way in.

use std::process::ExitCode;

use clap::Parser;
use tenure::cli::Cli;

/// A third of the time of a busy worker went to the allocator: events, documents and changes are many small pieces, made
/// by one thread and let go of by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.works() {
        stack::enlarge();
    }
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => {
            eprintln!("tenure: no threads can be started: {error}");
            ExitCode::FAILURE
        }
    }
}

mod stack {
    //! A message's headers may be nested as deep as a frame has room for, and the client library reads, shows and frees
    //! them by recursion, on threads that it starts itself: with the usual 2 MiB anyone who may publish could end this
    //! process, again and again. How large the stacks of such threads are is decided by the environment alone, once and
    //! for all; so we begin anew with it. Of a stack only what is used takes memory.

    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const VARIABLE: &str = "RUST_MIN_STACK";
    /// For frames of 128 KiB, RabbitMQ's own limit (`frame_max`), several times over.
    const BYTES: usize = 256 << 20;

    pub fn enlarge() {
        let given = std::env::var(VARIABLE)
            .ok()
            .and_then(|bytes| bytes.parse::<usize>().ok());
        if given.is_some_and(|bytes| bytes >= BYTES) {
            return;
        }
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        let mut arguments = std::env::args_os();
        let mut anew = Command::new(program);
        if let Some(name) = arguments.next() {
            anew.arg0(name);
        }
        // It only returns if it fails; then we work with the stacks that there are.
        let error = anew.args(arguments).env(VARIABLE, BYTES.to_string()).exec();
        eprintln!("tenure: the threads' stacks stay small: {error}");
    }
}
