//! `docs/contracts`, `docs/events.md` and `docs/changes.md` are what the code makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tenure::contracts;

use crate::support::repository::root;
use crate::support::tenure::Tenure;

const UPDATE: &str = "TENURE_TEST_UPDATE_CONTRACTS";

/// Every file below a folder, by its path in it.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("text");
                found.insert(path.strip_prefix(folder).expect("within").to_owned(), text);
            }
        }
    }
    found
}

#[test]
fn the_committed_contracts_are_those_of_the_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[]);
    tenure.ok(&["schema", "all", "made"]);
    let made = files(&folder.path().join("made"));
    assert!(made.len() > 190, "{} files", made.len());
    let committed = root().join("docs/contracts");
    if std::env::var_os(UPDATE).is_some() {
        let _ = std::fs::remove_dir_all(&committed);
        for (path, text) in &made {
            let path = committed.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            std::fs::write(path, text).expect("written");
        }
    }
    let current = files(&committed);
    let differing: Vec<&PathBuf> = made
        .keys()
        .chain(current.keys())
        .filter(|path| made.get(*path) != current.get(*path))
        .collect();
    assert!(
        differing.is_empty(),
        "docs/contracts is out of date ({differing:?}); run `{UPDATE}=1 cargo test --test all contracts::current::`"
    );
}

#[test]
fn the_reference_is_that_of_the_code() {
    for (name, text) in [
        ("docs/events.md", contracts::events_reference()),
        ("docs/changes.md", contracts::changes_reference()),
    ] {
        let path = root().join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        let differing = text.lines().zip(current.lines()).find(|(a, b)| a != b);
        assert!(
            text == current,
            "{name} is out of date ({differing:?}); run `{UPDATE}=1 cargo test --test all contracts::current::`"
        );
    }
}

#[test]
fn the_command_prints_each_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(
        folder.path(),
        &[("TENURE_HTTP__PUBLIC_URL", "https://tenure.example.com/")],
    );
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&tenure.ok(args)).expect("JSON");
    assert_eq!(json(&["schema", "asyncapi"])["asyncapi"], "3.0.0");
    assert_eq!(json(&["schema", "openapi"])["openapi"], "3.1.0");
    let schemas = "https://tenure.example.com/v1/schemas";
    let event = json(&["schema", "event", "client.added"]);
    assert_eq!(event["$id"], format!("{schemas}/events/client.added"));
    let data = json(&["--json", "schema", "event", "client.added", "--data"]);
    assert_eq!(data["$id"], format!("{schemas}/events/client.added/data"));
    let change = json(&["schema", "change", "link.active", "--data"]);
    assert_eq!(change["$id"], format!("{schemas}/changes/link.active/data"));
    let output = tenure.call(&["schema", "event", "client.added1"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("`client.added` is one"), "{error}");
}
