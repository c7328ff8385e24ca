//! `tenure completions` and `tenure man`: files for the shell and for `man`, generated from the command line itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

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
        .and_then(|()| {
            let mut program = Cli::command().disable_help_subcommand(true);
            program.build();
            write_pages(&program, &args.folder)
        })
        .map_err(|error| UsageError(format!("cannot write the manual pages to {folder}: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages of a command and of those under it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands() {
        write_pages(inner, folder)?;
    }
    let page = Man::new(command.clone()).source(concat!("tenure ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    fs::write(folder.join(page.get_filename()), with_examples(&text))
}

/// What follows the help of a command is examples, and what is said beside them. On a manual page, examples have a section.
fn with_examples(page: &str) -> String {
    let Some((before, extra)) = page.split_once(".SH EXTRA\n") else {
        return page.to_owned();
    };
    let (extra, rest) = extra.split_once("\n.SH ").unwrap_or((extra, ""));
    let lines: Vec<&str> = extra.lines().collect();
    let begin = lines
        .iter()
        .position(|line| *line == "Examples:")
        .unwrap_or(lines.len());
    let (notes, examples) = lines.split_at(begin);
    let end = examples.iter().skip(1).position(|line| !line.starts_with("  "));
    let (examples, more) = examples.split_at(end.map_or(examples.len(), |end| end + 1));
    let notes: Vec<&str> = notes
        .iter()
        .chain(more)
        .copied()
        .filter(|line| !line.is_empty())
        .collect();
    let mut page = before.to_owned();
    if !notes.is_empty() {
        page += ".SH NOTES\n";
        page += &notes.join("\n.PP\n");
        page.push('\n');
    }
    if let Some((_, examples)) = examples.split_first() {
        // As they are: a filled paragraph would join the lines.
        page += ".SH EXAMPLES\n.nf\n";
        page += &examples.join("\n");
        page += "\n.fi\n";
    }
    if !rest.is_empty() {
        page += ".SH ";
        page += rest;
    }
    page
}
