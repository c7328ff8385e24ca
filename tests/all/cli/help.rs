//! `--help`: every command has examples, which parse, and every line fits the terminal.

use clap::{CommandFactory as _, Parser as _};
use tempfile::TempDir;
use tenure::cli::Cli;

use crate::support::tenure::Tenure;

/// The words of every command after `tenure`, of groups and of the program itself: `["client", "show"]`.
pub fn commands() -> Vec<Vec<String>> {
    fn collect(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        found.push(path.to_vec());
        for inner in command.get_subcommands() {
            let path = [path, &[inner.get_name().to_owned()]].concat();
            collect(inner, &path, found);
        }
    }
    let mut found = Vec::new();
    collect(&Cli::command(), &[], &mut found);
    found
}

/// The help of a command as the binary prints it where this is the variable COLUMNS.
fn help(columns: Option<&str>, path: &[String]) -> String {
    let folder = TempDir::new().expect("a temporary directory");
    let env: Vec<(&str, &str)> = columns.into_iter().map(|columns| ("COLUMNS", columns)).collect();
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    Tenure::new(folder.path(), &env).ok(&args)
}

/// The lines under `Examples:`.
pub fn examples(command: &clap::Command) -> Vec<String> {
    let text = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines
        .take_while(|line| line.starts_with("  "))
        .map(str::to_owned)
        .collect()
}

/// The words of a line of a shell; words in quotation marks are one.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted_by = None;
    for c in line.chars() {
        match quoted_by {
            Some(quote) if c == quote => quoted_by = None,
            None if c == '\'' || c == '"' => quoted_by = Some(c),
            None if c == ' ' => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The arguments of each `tenure` that a line of a shell starts, without pipes and redirections.
fn calls(line: &str) -> Vec<Vec<String>> {
    let words = words(line);
    let calls = words.split(|word| word == "|").filter_map(|call| {
        let start = call.iter().position(|word| word == "tenure")?;
        let call = call[start..].iter();
        Some(
            call.take_while(|word| ![">", "<"].contains(&word.as_str()))
                .cloned()
                .collect(),
        )
    });
    calls.collect()
}

fn assert_width(columns: Option<&str>, path: &[String], widest: usize) {
    for line in help(columns, path).lines() {
        let width = line.chars().count();
        assert!(
            width <= widest,
            "{path:?}: {width} columns of {columns:?}: {line}"
        );
    }
}

#[test]
fn no_line_of_help_is_wider_than_the_terminal() {
    for path in commands() {
        assert_width(Some("80"), &path, 80);
    }
}

#[test]
fn help_is_no_wider_than_100_columns() {
    for path in [vec![], vec!["client".to_owned(), "list".to_owned()]] {
        for columns in [Some("200"), None] {
            assert_width(columns, &path, 100);
        }
    }
}

#[test]
fn every_command_has_examples_that_parse() {
    for path in commands() {
        let mut command = Cli::command();
        for name in &path {
            command = command.find_subcommand(name).expect("a command").clone();
        }
        let examples = examples(&command);
        let mut shows_itself = false;
        for line in &examples {
            // A wrapped line cannot be copied.
            assert!(line.chars().count() <= 80, "{path:?}: {line}");
            for call in calls(line) {
                if let Err(error) = Cli::try_parse_from(&call) {
                    panic!("{path:?}: {line}: {error}");
                }
                shows_itself |= call[1..].starts_with(&path);
            }
        }
        assert!(shows_itself, "no example of {path:?} is of this command");
    }
}
