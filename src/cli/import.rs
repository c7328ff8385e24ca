//! `tenure import`: reads what `tenure export` wrote into an empty store.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::context::{Context, UsageError};
use super::export::summary;
use super::lines::{Line, Lines};
use super::output;
use crate::store::{Import, Record, StoreError};
use crate::wire::archive::{Counts, Reader};

#[derive(Debug, Args)]
#[command(after_help = "\
The store must be empty; it is created if there is none. An import that is interrupted or fails leaves an incomplete store, which \
no worker and no other command uses. Run the import again with the whole file: it starts from the beginning.

Examples:
  tenure import tenure.export
  gzip -dc tenure.export.gz | tenure import
  DATABASE_URL=sqlite://tenure.db tenure export |
    DATABASE_URL=postgres://localhost/tenure tenure import")]
pub struct ImportArgs {
    /// File that `tenure export` wrote; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// The longest line. The body of a dead letter has up to 16 MiB, and each byte takes up to 6 characters.
const MAX_LINE: usize = 128 << 20;
/// When a transaction has enough records or bytes.
const MOST_RECORDS: usize = 2_000;
const MOST_BYTES: usize = 16 << 20;

pub async fn import(context: &Context, args: ImportArgs) -> anyhow::Result<ExitCode> {
    let mut lines = Lines::open(&args.file, "import", "importing", MAX_LINE).await?;
    let name = lines.name().to_owned();
    let Some(first) = lines.next().await? else {
        return Err(UsageError(format!("{name} is empty")).into());
    };
    let (reader, _) = Reader::begin(&first.bytes).with_context(|| place(&first))?;
    // Nothing is written before: a wrong file creates no store.
    let store = context.store()?;
    let import = store.begin_import().await.map_err(|error| match error {
        StoreError::NotEmpty { .. } => UsageError(error.to_string()).into(),
        error => anyhow::Error::from(error),
    })?;
    let counts = read(&mut lines, reader, import).await.context(
        "the import failed, so the store is incomplete and cannot be used; run `tenure import` again with the whole file, or \
         drop the store",
    )?;
    lines.bar.finish_and_clear();
    let entry = context.entry("import", Some(name.clone()), json!({ "records": counts }));
    store.record_audit(&entry).await?;
    if context.is_json() {
        output::json(&json!({ "records": counts }))?;
    } else {
        output::line(format!(
            "imported {} from {name}; run `tenure verify` to replay the clients and compare",
            summary(&counts)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(lines: &mut Lines, mut reader: Reader, mut import: Box<dyn Import>) -> anyhow::Result<Counts> {
    let mut batch = Batch::default();
    while let Some(line) = lines.next().await? {
        if !line.is_whole() {
            anyhow::bail!("{}: the line is longer than {MAX_LINE} bytes", place(&line));
        }
        let Some(record) = reader.read(&line.bytes).with_context(|| place(&line))? else {
            continue;
        };
        batch.add(record, &line);
        if batch.is_full() {
            batch.write(&mut *import).await?;
        }
        lines.bar.inc(line.progress);
    }
    let counts = reader.end().with_context(|| lines.name().to_owned())?;
    batch.write(&mut *import).await?;
    import.end().await?;
    Ok(counts)
}

/// Records of one transaction.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    /// Where the first and the last record are.
    span: Option<(String, String)>,
}

impl Batch {
    fn add(&mut self, record: Record, line: &Line) {
        let last = place(line);
        let first = self.span.take().map_or_else(|| last.clone(), |(first, _)| first);
        self.span = Some((first, last));
        self.records.push(record);
        self.bytes += line.bytes.len();
    }

    fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }

    async fn write(&mut self, import: &mut dyn Import) -> anyhow::Result<()> {
        let Self { records, span, .. } = std::mem::take(self);
        let Some((first, last)) = span else {
            return Ok(());
        };
        match import.write(records).await {
            Err(StoreError::Conflict(why)) => anyhow::bail!(
                "{first} to {last}: {why}: the file has an event twice, or two clients of a partner with the same name. Run \
                 `tenure verify` on the exported store to list them"
            ),
            written => Ok(written?),
        }
    }
}

/// The place of a line, for messages.
fn place(line: &Line) -> String {
    let place = line.origin.strip_prefix("file:").unwrap_or(&line.origin);
    match place.rsplit_once(':') {
        Some((name, number)) => format!("{name}, line {number}"),
        None => place.to_owned(),
    }
}
