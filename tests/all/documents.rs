//! The documents name files and tests that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::packages;
use crate::support::repository::{read, root};

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The texts between backticks, outside fenced blocks.
fn code_spans(text: &str) -> Vec<&str> {
    let mut is_fenced = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

/// The targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Whether there is this file, and in it this item, if one is named: `src/domain/event.rs::rank`.
fn exists(path: &str, item: &str) -> bool {
    let path = root().join(path);
    if item.is_empty() {
        return path.exists();
    }
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    ["fn", "struct", "enum", "trait", "mod", "const"]
        .iter()
        .any(|kind| {
            text.match_indices(&format!("{kind} {item}")).any(|(at, found)| {
                let after = text[at + found.len()..].chars().next();
                !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        })
}

#[test]
fn every_file_and_function_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a folder");
        missing.extend(
            links(&text)
                .filter(|target| !folder.join(target).exists())
                .map(|target| format!("{}: link to {target}", document.display())),
        );
        let is_path = |span: &&str| {
            ["src/", "tests/", "docs/", "config/", "benches/"]
                .iter()
                .any(|folder| span.starts_with(folder))
                && !span.contains([' ', '*', '…', '<', '{'])
        };
        for span in code_spans(&text).into_iter().filter(is_path) {
            let (path, item) = span.split_once("::").unwrap_or((span, ""));
            if !exists(path, item) {
                missing.push(format!("{}: {span}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `a::b::`, `a::b…` and `a::…::c…` stand for any test that fits.
fn names(pattern: &str, test: &str) -> bool {
    let mut rest = test;
    for (place, part) in pattern.split('…').enumerate() {
        match rest.find(part) {
            Some(0) => rest = &rest[part.len()..],
            Some(at) if place > 0 => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || pattern.ends_with("::") || pattern.ends_with('…') || rest.starts_with("::")
}

/// Every test of this program.
fn tests() -> BTreeSet<String> {
    let listed = Command::new(std::env::current_exe().expect("this program"))
        .args(["--list", "--format", "terse"])
        .output()
        .expect("a list of tests");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}

/// The names of tests in a text, as patterns.
fn named(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let modules: BTreeSet<&str> = tests.iter().filter_map(|test| test.split("::").next()).collect();
    let mut named = Vec::new();
    let mut before = String::new();
    for span in code_spans(text) {
        // `…::name` shares the module of the name before it.
        let pattern = match span.strip_prefix("…::") {
            Some(name) => format!("{before}::{name}"),
            None => span.to_owned(),
        };
        let module = pattern.split("::").next().unwrap_or_default();
        if !pattern.contains("::") || !modules.contains(module) {
            continue;
        }
        if let Some((parent, _)) = pattern.trim_end_matches("::").rsplit_once("::") {
            parent.clone_into(&mut before);
        }
        named.push(pattern);
    }
    named
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests = tests();
    assert!(tests.len() > 100, "{} tests", tests.len());
    for (document, least) in [("docs/reliability.md", 50), ("docs/operations.md", 20)] {
        let named = named(&read(document), &tests);
        assert!(named.len() > least, "{document}: {} names", named.len());
        let is_missing = |pattern: &&String| !tests.iter().any(|test| names(pattern, test));
        let missing: Vec<_> = named.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "{document}: {missing:#?}");
    }
}

#[test]
fn every_procedure_for_operators_names_its_tests() {
    let tests = tests();
    let text = read("docs/operations.md");
    let (_, rest) = text.split_once("\n## Procedures\n").expect("procedures");
    let procedures = rest.split("\n## ").next().expect("text");
    let procedures: Vec<&str> = procedures.split("\n### ").skip(1).collect();
    assert!(procedures.len() > 10, "{} procedures", procedures.len());
    for procedure in procedures {
        assert!(!named(procedure, &tests).is_empty(), "no tests: {procedure}");
    }
}

/// The files that a guide lists: a set for each row of its table, of which one file is touched.
fn rows_of_files(guide: &str) -> Vec<BTreeSet<&str>> {
    let is_file = |span: &&str| Path::new(span).extension().is_some();
    guide
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| file"))
        .filter_map(|line| line.split(" | ").next())
        .map(|cell| code_spans(cell).into_iter().filter(is_file).collect())
        .collect()
}

/// The subject of the commit that a guide follows.
fn example(guide: &str) -> Option<&str> {
    guide.split_once("The commit *")?.1.split('*').next()
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).current_dir(root()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The files of a commit. None: this tree has no history, or only a part of it.
fn files_of_commit(subject: &str) -> Option<BTreeSet<String>> {
    if git(&["rev-parse", "--is-shallow-repository"])? != "false" {
        return None;
    }
    let log = git(&["log", "--format=%H %s"])?;
    let commit = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, found)| *found == subject);
    let (hash, _) = commit.unwrap_or_else(|| panic!("no commit has the subject \"{subject}\""));
    let files = git(&["show", "--format=", "--name-only", hash])?;
    Some(files.lines().map(str::to_owned).collect())
}

/// The bounds on the number of files, tests included.
#[test]
fn the_guides_list_few_files() {
    for (guide, most) in [
        ("event-type", 6),
        ("timer", 8),
        ("store-method", 5),
        ("http-endpoint", 5),
    ] {
        let text = read(format!("docs/adding/{guide}.md"));
        let rows = rows_of_files(&text);
        assert!((3..=most).contains(&rows.len()), "{guide}: {rows:#?}");
    }
}

#[test]
fn the_commit_that_a_guide_names_touched_the_files_that_it_lists() {
    for guide in ["event-type", "timer", "store-method", "http-endpoint"] {
        let text = read(format!("docs/adding/{guide}.md"));
        let subject = example(&text).expect("a commit");
        let Some(touched) = files_of_commit(subject) else {
            return packages::skip("this tree has no complete history");
        };
        let rows = rows_of_files(&text);
        let of_row = |row: &BTreeSet<&str>| touched.iter().filter(|file| row.contains(&***file)).count();
        for row in &rows {
            assert_eq!(of_row(row), 1, "{guide}: {row:?} in {touched:?}");
        }
        assert_eq!(touched.len(), rows.len(), "{guide}: {touched:?}");
    }
}
