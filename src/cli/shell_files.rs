//! `tenure completions` and `tenure man`: files for the shell and for `man`, generated from the command line itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::context::UsageError;
use super::{Cli, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure completions bash > /etc/bash_completion.d/tenure\n  \
                        tenure completions zsh > ~/.zfunc/_tenure"
)]
pub struct CompletionsArgs {
    /// The shell that reads the script
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tenure man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The folder to write to; it is created if there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tenure", &mut script);
    output::record_write(io::stdout().lock().write_all(&script));
    ExitCode::SUCCESS
}

pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder))
        .map_err(|error| UsageError(format!("cannot write the manual pages to {folder}: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
