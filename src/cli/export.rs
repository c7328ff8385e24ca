//! `tenure export`: writes everything in the store to a file or standard output.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::context::{Context, UsageError};
use super::output::{self, Progress};
use crate::clock::{Clock, SystemClock};
use crate::wire::archive::{Counts, Writer};

#[derive(Debug, Args)]
#[command(after_help = "\
Workers can keep running: the export shows the store at one moment. What they write after that moment is not in it, so stop \
them first when the new store is to take over.

Examples:
  tenure export tenure.export
  tenure export | gzip > tenure.export.gz")]
pub struct ExportArgs {
    /// File to write; an existing file is replaced [default: standard output]
    file: Option<PathBuf>,
}

pub async fn export(context: &Context, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let store = context.current_store().await?;
    let mut sink = Sink::open(args.file.as_deref())?;
    let (sender, mut pages) = mpsc::channel(1);
    let (kind, exporting) = (
        store.kind(),
        tokio::spawn(async move { store.export(sender).await }),
    );
    let mut writer = Writer::default();
    let mut progress = Progress::new("records");
    let mut done = 0u64;
    sink.line(&writer.header(kind, SystemClock.now())?);
    while let Some(page) = pages.recv().await {
        for record in &page {
            sink.line(&writer.record(record)?);
        }
        done += page.len() as u64;
        if let Some(last) = page.last() {
            progress.tick(done, &last.kind());
        }
        if sink.failed() {
            break;
        }
    }
    progress.end();
    drop(pages);
    let exported = exporting.await?;
    if sink.failed() {
        return sink.give_up();
    }
    exported?;
    let (last, counts) = writer.end()?;
    sink.line(&last);
    sink.end(context.is_json(), &counts)
}

/// Where the lines go. After a failure nothing more is written.
struct Sink {
    out: BufWriter<Box<dyn Write>>,
    file: Option<Target>,
    failure: Option<io::Error>,
}

/// The file to write. It gets its name only when it is complete, so a failed export does not replace an earlier one.
struct Target {
    path: PathBuf,
    /// None: it is a device or a pipe.
    unnamed: Option<NamedTempFile>,
}

impl Target {
    fn open(path: &Path) -> io::Result<(Self, fs::File)> {
        let path = path.to_owned();
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            let device = OpenOptions::new().write(true).open(&path)?;
            return Ok((Self { path, unnamed: None }, device));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Only its user can read it, as the file of a store: it has names, and bodies of messages.
        let unnamed = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        let out = unnamed.as_file().try_clone()?;
        let unnamed = Some(unnamed);
        Ok((Self { path, unnamed }, out))
    }

    fn name(self) -> io::Result<PathBuf> {
        if let Some(unnamed) = self.unnamed {
            unnamed.as_file().sync_all()?;
            unnamed.persist(&self.path)?;
        }
        Ok(self.path)
    }
}

impl Sink {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let (out, file): (Box<dyn Write>, _) = match path {
            None => (Box::new(io::stdout()), None),
            Some(path) => {
                let (target, out) = Target::open(path)
                    .map_err(|error| UsageError(format!("cannot write {}: {error}", path.display())))?;
                (Box::new(out), Some(target))
            }
        };
        Ok(Self {
            out: BufWriter::with_capacity(1 << 18, out),
            file,
            failure: None,
        })
    }

    fn line(&mut self, line: &str) {
        if self.failure.is_none() {
            let written = self.out.write_all(line.as_bytes());
            self.failure = written.and_then(|()| self.out.write_all(b"\n")).err();
        }
    }

    fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Writes what is buffered, and prints the counts: on standard error where the export is on standard output.
    fn end(mut self, as_json: bool, counts: &Counts) -> anyhow::Result<ExitCode> {
        if !self.failed() {
            self.failure = self.out.flush().err();
        }
        if let Some(error) = self.failure {
            return failed(error, self.out, self.file);
        }
        let Some(file) = self.file else {
            output::error_line(format!("exported {}", summary(counts)));
            return Ok(ExitCode::SUCCESS);
        };
        let path = file.path.display().to_string();
        file.name().with_context(|| format!("cannot write {path}"))?;
        if as_json {
            output::json(&json!({ "records": counts }))?;
        } else {
            output::line(format!("exported {} to {path}", summary(counts)));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Ends after a failure to write. An export that nobody read to its end is no success.
    fn give_up(self) -> anyhow::Result<ExitCode> {
        match self.failure {
            Some(error) => failed(error, self.out, self.file),
            None => Ok(ExitCode::FAILURE),
        }
    }
}

fn failed(
    error: io::Error,
    out: BufWriter<Box<dyn Write>>,
    file: Option<Target>,
) -> anyhow::Result<ExitCode> {
    // What is buffered cannot be written either.
    let _ = out.into_parts();
    if let Some(file) = file {
        return Err(error).with_context(|| format!("cannot write {}", file.path.display()));
    }
    output::record_write(Err(error));
    Ok(ExitCode::FAILURE)
}

/// The counts that a person compares.
pub fn summary(counts: &Counts) -> String {
    use crate::store::Kind;
    let of = |kind: Kind| counts.get(&kind).copied().unwrap_or_default();
    format!(
        "{}, {}, {}, {} and {}",
        output::counted(of(Kind::Client), "client"),
        output::counted(of(Kind::Event), "event"),
        output::counted(of(Kind::Change), "change"),
        output::counted(of(Kind::DeadLetter), "dead letter"),
        match of(Kind::Policy) {
            1 => "1 policy".to_owned(),
            n => format!("{n} policies"),
        }
    )
}
