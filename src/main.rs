//! The `tenure` binary: allocator, environment and runtime.

use std::process::ExitCode;

use tenure::cli::Cli;

/// The system allocator took a third of a busy worker's time: events, documents and changes are many small allocations, made
/// by one thread and freed by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::from_arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if cli.is_run() {
        environment::prepare();
    }
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let code = runtime.block_on(cli.run());
            // A pending read of standard input would block the shutdown until input arrives.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("tenure: cannot start threads: {error}; check the limits on processes and memory");
            ExitCode::FAILURE
        }
    }
}

mod environment {
    //! Restarts the process with the environment variables that set the stack size and disable huge pages.
    //!
    //! Both are read before `main` runs, so only a restart can change them.
    //!
    //! The headers of a message may be nested as deep as a frame allows, and lapin parses, prints and frees them recursively,
    //! on threads that it starts itself. With the default stack of 2 MiB, anyone who may publish could crash this process.
    //! Unused stack takes no memory.
    //!
    //! The allocator requests huge pages of 2 MiB each, which cost an idle worker 20 MiB.

    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const STACK: &str = "RUST_MIN_STACK";
    /// Several times what frames of 128 KiB need, RabbitMQ's limit (`frame_max`).
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
        let mut restarted = Command::new(program);
        if let Some(name) = arguments.next() {
            restarted.arg0(name);
        }
        restarted.args(arguments).env(STACK, stack.to_string());
        if std::env::var_os(HUGE_PAGES).is_none() {
            restarted.env(HUGE_PAGES, "0");
        }
        // `exec` returns only on failure; the worker then runs with the defaults.
        let error = restarted.exec();
        eprintln!("tenure: cannot restart with {STACK} and {HUGE_PAGES} set: {error}; continuing without");
    }
}
