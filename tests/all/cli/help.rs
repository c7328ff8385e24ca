//! `--help`: every line fits the terminal.

use clap::CommandFactory as _;
use tempfile::TempDir;
use tenure::cli::Cli;

use crate::support::tenure::Tenure;

/// The words of every command after `tenure`, of groups and of the program itself: `["client", "show"]`.
fn commands() -> Vec<Vec<String>> {
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
