//! The way in.

use std::process::ExitCode;

use tenure::cli::Cli;

/// A third of the time of a busy worker went to the allocator: events, documents and changes are many small pieces, made
/// by one thread and let go of by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if cli.is_run() {
        surroundings::prepare();
    }
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(cli.run());
            // A read of standard input that nobody waits for any more ends only when something comes.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("tenure: no threads can be started: {error}");
            ExitCode::FAILURE
        }
    }
}

mod surroundings {
    //! Two things about memory are decided by the environment alone, once and for all, before the first line of ours runs;
    //! so we begin anew with them.
    //!
    //! A message's headers may be nested as deep as a frame has room for, and the client library reads, shows and frees
    //! them by recursion, on threads that it starts itself: with the usual 2 MiB anyone who may publish could end this
    //! process, again and again. Of a stack only what is used takes memory.
    //!
    //! The allocator asks for huge pages, of which every one that is touched takes 2 MiB: 20 MiB more than a worker that
    //! has nothing to do needs.

    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const STACK: &str = "RUST_MIN_STACK";
    /// For frames of 128 KiB, RabbitMQ's own limit (`frame_max`), several times over.
    const STACK_BYTES: usize = 256 << 20;
    const HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

    pub fn prepare() {
        let given = std::env::var(STACK)
            .ok()
            .and_then(|bytes| bytes.parse::<usize>().ok());
        let stack = given.unwrap_or_default().max(STACK_BYTES);
        if given == Some(stack) && std::env::var_os(HUGE_PAGES).is_some() {
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
        anew.args(arguments).env(STACK, stack.to_string());
        if std::env::var_os(HUGE_PAGES).is_none() {
            anew.env(HUGE_PAGES, "0");
        }
        // It only returns if it fails; then we work with what there is.
        let error = anew.exec();
        eprintln!("tenure: could not begin anew with {STACK} and {HUGE_PAGES} set: {error}");
    }
}
