//! Every version imports the exports of all versions before it. `formats` has one of each format.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tenure::domain::ClientKey;
use tenure::store::{Kind, Record};
use tenure::wire::archive::{VERSION, Writer};

use super::source::{Source, moved_at};
use super::{KINDS, assert_no_drift, assert_same, engine, export, import, records, sorted_lines};
use crate::store::Fresh;
use crate::support::repository::root;

const UPDATE: &str = "TENURE_TEST_UPDATE_EXPORT";

fn stored(version: u32) -> PathBuf {
    root().join(format!("tests/all/moving/formats/{version}.export"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_every_format_is_imported_into_postgres_and_sqlite() {
    if std::env::var_os(UPDATE).is_some() {
        // Its folder exists as long as this.
        let from = Fresh::sqlite("").await;
        let source = Source::fill(from.store.clone()).await;
        source.publish_half().await;
        let lines = some_of(&records(&export(&source.store).await));
        std::fs::write(stored(VERSION), lines.join("\n") + "\n").expect("written");
    }
    for version in 1..=VERSION {
        let text = std::fs::read_to_string(stored(version)).unwrap_or_else(|error| {
            panic!(
                "format {version}: {error}; run `{UPDATE}=1 cargo test --test all moving::formats::` to export in the present format"
            )
        });
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let read = records(&lines);
        // Written as the present format writes them.
        let expected = sorted_lines(&written(&read));
        if version == VERSION {
            for kind in KINDS {
                assert!(read.iter().any(|record| record.kind() == kind), "no {kind}");
            }
        }
        for to in [
            Fresh::sqlite("").await,
            Fresh::postgres("imports_each_format").await,
        ] {
            import(&to.store, &lines).await;
            assert_same("the records", &expected, &sorted_lines(&export(&to.store).await));
            let (engine, _) = engine(&to.store, moved_at()).await;
            assert!(assert_no_drift(&engine).await > 5);
        }
    }
}

fn written(records: &[Record]) -> Vec<String> {
    let mut writer = Writer::default();
    let mut lines = vec![writer.header("sqlite", moved_at()).unwrap()];
    lines.extend(records.iter().map(|record| writer.record(record).unwrap()));
    lines.push(writer.end().unwrap().0);
    lines
}

/// The lines of a small export: everything about a few clients, and some of the other records.
fn some_of(all: &[Record]) -> Vec<String> {
    let of = |kind: Kind| all.iter().filter(move |record| record.kind() == kind);
    let clients = of(Kind::Client).filter_map(client);
    let mut few: BTreeSet<&ClientKey> = clients
        .clone()
        .filter(|key| {
            let name = &*key.client;
            ["first", "second", "third", "ghost", "touched"].contains(&name) || name.starts_with("billed-")
        })
        .collect();
    few.extend(clients.take(2));
    let mut some = Vec::new();
    for kind in KINDS {
        let mut records: Vec<&Record> = of(kind)
            .filter(|record| client(record).is_none_or(|key| few.contains(key)))
            .collect();
        if matches!(kind, Kind::SweepRun | Kind::DeadLetter | Kind::Access) {
            records.drain(..records.len().saturating_sub(8));
        }
        some.extend(records.into_iter().cloned());
    }
    written(&some)
}

/// The client that a record is about.
fn client(record: &Record) -> Option<&ClientKey> {
    match record {
        Record::Client(client) => Some(&client.client),
        Record::Touches(touches) => Some(&touches.client),
        Record::TouchRun(run) => Some(&run.client),
        Record::Event(event) => Some(&event.client),
        Record::Statement(statement) => Some(&statement.client),
        Record::Access(access) => Some(&access.client),
        Record::Change(change) => Some(&change.entry.key),
        _ => None,
    }
}
