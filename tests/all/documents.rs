//! The documents name files and tests that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a document")
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

#[test]
fn every_test_that_the_reliability_document_names_exists() {
    let listed = Command::new(std::env::current_exe().expect("this program"))
        .args(["--list", "--format", "terse"])
        .output()
        .expect("a list of tests");
    let listed = String::from_utf8(listed.stdout).expect("text");
    let tests: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    assert!(tests.len() > 100, "{} tests", tests.len());
    let modules: BTreeSet<&str> = tests.iter().filter_map(|test| test.split("::").next()).collect();
    let text = read(&root().join("docs/reliability.md"));
    let mut named = 0;
    let mut missing = Vec::new();
    let mut before = String::new();
    for span in code_spans(&text) {
        // `…::name` shares the module of the name before it.
        let pattern = match span.strip_prefix("…::") {
            Some(name) => format!("{before}::{name}"),
            None => span.to_owned(),
        };
        let module = pattern.split("::").next().unwrap_or_default();
        if !pattern.contains("::") || !modules.contains(module) {
            continue;
        }
        named += 1;
        if !tests.iter().any(|test| names(&pattern, test)) {
            missing.push(pattern.clone());
        }
        if let Some((parent, _)) = pattern.trim_end_matches("::").rsplit_once("::") {
            before = parent.to_owned();
        }
    }
    assert!(named > 50, "{named} names");
    assert!(missing.is_empty(), "{missing:#?}");
}
