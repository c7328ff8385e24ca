//! An export: a header line, the records of a store as lines of JSON, and a last line with their counts.
//!
//! The last line has a digest of all lines before it, so that the reader detects a file that was truncated, edited,
//! sorted or merged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::escape;
use crate::store::{Kind, LinePlace, Record, hex};

/// The version of the format. It rises when a line can have what an older program would leave out or misread. Every later version
/// of Tenure reads it: `tests/all/moving/formats` has an export of each version.
pub const VERSION: u32 = 1;

/// The name of the format.
const FORMAT: &str = "tenure-export";

/// How the last line begins.
const END: &[u8] = br#"{"end":"#;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub version: u32,
    /// The version of Tenure that wrote it.
    pub tenure: String,
    /// The kind of the store: `postgres` or `sqlite`.
    pub store: String,
    pub exported_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    export: Header,
}

/// The number of records of each kind.
pub type Counts = BTreeMap<Kind, u64>;

#[derive(Serialize, Deserialize)]
struct End {
    records: Counts,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct EndLine {
    end: End,
}

/// Why a line of an export cannot be read, or where the file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "this is not an export of Tenure: the first line of an export begins with {{\"export\":{{\"format\":\"tenure-export\". To read \
         events, use `tenure ingest`"
    )]
    NotAnExport,
    #[error(
        "tenure {tenure} wrote this export in format {found}, and this version reads format {VERSION}: use tenure {tenure} or a \
         later version"
    )]
    Newer { found: u32, tenure: String },
    #[error("the line is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error(
        "this line is out of order: a {kind} after a {last}; an export must not be sorted, merged or edited"
    )]
    OutOfOrder { kind: Kind, last: Kind },
    #[error(
        "this line is out of order: changes must have the order of the journal; an export must not be sorted or edited"
    )]
    ChangesOutOfOrder,
    #[error(
        "the counts in the last line do not match the file: lines are missing or were added; copy the file again, unedited"
    )]
    Counts,
    #[error(
        "the lines differ from the exported ones: the file was damaged or edited; export the store again, or copy the file again"
    )]
    Digest,
    #[error("a line follows the last line of the export; import a file that contains one export")]
    AfterTheEnd,
    #[error(
        "the file is truncated: its last line is missing; export the store again, or copy the whole file"
    )]
    Truncated,
}

impl std::fmt::Display for Kind {
    /// As in the lines.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Writes lines, without line breaks.
#[derive(Default)]
pub struct Writer {
    counts: Counts,
    digest: Sha256,
}

impl Writer {
    /// The first line.
    ///
    /// # Errors
    /// Never: all parts of a line can be written.
    pub fn header(&mut self, store: &str, exported_at: DateTime<Utc>) -> Result<String, serde_json::Error> {
        let export = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            tenure: env!("CARGO_PKG_VERSION").to_owned(),
            store: store.to_owned(),
            exported_at,
        };
        self.line(&HeaderLine { export })
    }

    /// The line of a record.
    ///
    /// # Errors
    /// As [`Writer::header`].
    pub fn record(&mut self, record: &Record) -> Result<String, serde_json::Error> {
        *self.counts.entry(record.kind()).or_default() += 1;
        self.line(record)
    }

    /// The last line, and the counts.
    ///
    /// # Errors
    /// As [`Writer::header`].
    pub fn end(self) -> Result<(String, Counts), serde_json::Error> {
        let end = End {
            records: self.counts.clone(),
            sha256: hex(&self.digest.finalize()),
        };
        Ok((serde_json::to_string(&EndLine { end })?, self.counts))
    }

    fn line(&mut self, value: &impl Serialize) -> Result<String, serde_json::Error> {
        // A person may look at it on a terminal.
        let line = escape::json(&serde_json::to_string(value)?).into_owned();
        add_line(&mut self.digest, line.as_bytes());
        Ok(line)
    }
}

fn add_line(digest: &mut Sha256, line: &[u8]) {
    digest.update(line);
    digest.update(b"\n");
}

/// Reads lines, and checks that they are a whole export.
pub struct Reader {
    counts: Counts,
    digest: Sha256,
    last: Option<Kind>,
    last_change: Option<LinePlace>,
    has_ended: bool,
}

impl Reader {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnExport`] or [`ArchiveError::Newer`].
    pub fn begin(line: &[u8]) -> Result<(Self, Header), ArchiveError> {
        let header = serde_json::from_slice(line).ok();
        let header = header.map(|HeaderLine { export }| export);
        let header = header
            .filter(|header| header.format == FORMAT)
            .ok_or(ArchiveError::NotAnExport)?;
        if header.version > VERSION {
            return Err(ArchiveError::Newer {
                found: header.version,
                tenure: header.tenure,
            });
        }
        let mut digest = Sha256::new();
        add_line(&mut digest, line);
        let reader = Self {
            counts: Counts::new(),
            digest,
            last: None,
            last_change: None,
            has_ended: false,
        };
        Ok((reader, header))
    }

    /// Reads a line after the first. None: it is the last line.
    ///
    /// # Errors
    /// When the line is damaged, or not the next one.
    pub fn read(&mut self, line: &[u8]) -> Result<Option<Record>, ArchiveError> {
        if self.has_ended {
            return Err(ArchiveError::AfterTheEnd);
        }
        if line.starts_with(END) {
            let EndLine { end } = serde_json::from_slice(line)?;
            self.has_ended = true;
            if end.records != self.counts {
                return Err(ArchiveError::Counts);
            }
            if end.sha256 != hex(&self.digest.clone().finalize()) {
                return Err(ArchiveError::Digest);
            }
            return Ok(None);
        }
        let record: Record = serde_json::from_slice(line)?;
        self.expect_next(&record)?;
        add_line(&mut self.digest, line);
        *self.counts.entry(record.kind()).or_default() += 1;
        Ok(Some(record))
    }

    fn expect_next(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let kind = record.kind();
        if let Some(last) = self.last.replace(kind)
            && last > kind
        {
            return Err(ArchiveError::OutOfOrder { kind, last });
        }
        if let Record::Change(change) = record
            && self.last_change.replace(change.place) >= Some(change.place)
        {
            return Err(ArchiveError::ChangesOutOfOrder);
        }
        Ok(())
    }

    /// Ends, and returns the counts.
    ///
    /// # Errors
    /// [`ArchiveError::Truncated`].
    pub fn end(self) -> Result<Counts, ArchiveError> {
        if self.has_ended {
            Ok(self.counts)
        } else {
            Err(ArchiveError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, Change, ClientKey, Corrector, Entry, Repair};
    use crate::store::{MovedChange, MovedClient, MovedClock, MovedRelay};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn client(name: &str) -> Record {
        let client = ClientKey::new("acme", name).unwrap();
        Record::Client(Box::new(MovedClient { client, row: None }))
    }

    fn change(transaction: i64, sequence: i64) -> Record {
        let place = LinePlace {
            transaction,
            sequence,
        };
        let entry = Entry {
            key: ClientKey::new("acme", "a").unwrap(),
            change: Change::InvitationSent(None),
            time: at(5),
            cause: Cause::Rebuild {
                rebuild: Repair::State,
            },
            corrected_by: Some(Corrector::Rebuild {
                rebuild: Repair::State,
            }),
        };
        Record::Change(Box::new(MovedChange {
            place,
            recorded_at: at(6),
            entry,
        }))
    }

    fn records() -> Vec<Record> {
        vec![
            Record::Clock(MovedClock { latest: at(1) }),
            client("a"),
            client("b"),
            Record::Relay(MovedRelay {
                epoch: 7,
                published: LinePlace::default(),
                pruned_before: None,
                pruned_line: None,
                last_line: 9,
                last_dead_letter: 0,
                last_sweep_run: 0,
            }),
            change(0, 9),
            change(5, 1),
        ]
    }

    fn written(records: &[Record]) -> Vec<String> {
        let mut writer = Writer::default();
        let mut lines = vec![writer.header("sqlite", at(0)).unwrap()];
        lines.extend(records.iter().map(|record| writer.record(record).unwrap()));
        lines.push(writer.end().unwrap().0);
        lines
    }

    fn read(lines: &[String]) -> Result<Vec<Record>, ArchiveError> {
        let (mut reader, _) = Reader::begin(lines[0].as_bytes())?;
        let mut records = Vec::new();
        for line in &lines[1..] {
            records.extend(reader.read(line.as_bytes())?);
        }
        let counts = reader.end()?;
        assert_eq!(counts.values().sum::<u64>(), records.len() as u64);
        Ok(records)
    }

    #[test]
    fn records_read_back() {
        assert_eq!(read(&written(&records())).unwrap(), records());
        assert_eq!(read(&written(&[])).unwrap(), []);
    }

    #[test]
    fn a_file_without_each_of_its_lines_is_refused() {
        let lines = written(&records());
        for missing in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(missing);
            let error = read(&lines).unwrap_err();
            let expected = match missing {
                0 => matches!(error, ArchiveError::NotAnExport),
                last if last == lines.len() => matches!(error, ArchiveError::Truncated),
                _ => matches!(error, ArchiveError::Counts),
            };
            assert!(expected, "{missing}: {error}");
        }
    }

    #[test]
    fn lines_in_another_order_are_refused() {
        let lines = written(&records());
        for place in 1..lines.len() - 2 {
            let mut lines = lines.clone();
            lines.swap(place, place + 1);
            let error = read(&lines).unwrap_err();
            let expected = match place {
                // Two clients.
                2 => matches!(error, ArchiveError::Digest),
                5 => matches!(error, ArchiveError::ChangesOutOfOrder),
                _ => matches!(error, ArchiveError::OutOfOrder { .. }),
            };
            assert!(expected, "{place}: {error}");
        }
    }

    #[test]
    fn a_damaged_line_is_refused() {
        let lines = written(&records());
        for (place, from, to) in [
            (2, "acme/a", "acme"),
            (2, "client", "customer"),
            (2, "}}", "}"),
            (3, "\"client\":\"", "\"colour\":1,\"client\":\""),
            (5, "invitation.sent", "invitation.lost"),
        ] {
            let mut lines = lines.clone();
            let damaged = lines[place].replacen(from, to, 1);
            assert_ne!(damaged, lines[place], "{from}");
            lines[place] = damaged;
            let error = read(&lines).unwrap_err();
            assert!(matches!(error, ArchiveError::Damaged(_)), "{from}: {error}");
        }
        let mut lines = lines.clone();
        lines[2] = lines[2].replace("acme/a", "acme/c");
        assert!(matches!(read(&lines).unwrap_err(), ArchiveError::Digest));
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut lines = written(&records());
        lines[0] = lines[0]
            .replace(
                &format!("\"version\":{VERSION}"),
                &format!("\"version\":{}", VERSION + 1),
            )
            .replace(env!("CARGO_PKG_VERSION"), "9.1.0");
        let error = read(&lines).unwrap_err().to_string();
        assert!(
            error.contains(&format!("format {}", VERSION + 1)) && error.contains("tenure 9.1.0"),
            "{error}"
        );
    }

    #[test]
    fn only_one_export_is_read() {
        let lines = written(&records());
        let twice = [lines.clone(), lines].concat();
        assert!(matches!(read(&twice).unwrap_err(), ArchiveError::AfterTheEnd));
    }
}
