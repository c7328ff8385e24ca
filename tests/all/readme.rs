//! README and documents: the commands, routes and settings that they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use tenure::cli::Cli;
use tenure::domain::{ChangeKind, event};

const README: &str = include_str!("../../README.md");

/// README, the documents and the default settings, each with its path.
fn documents() -> Vec<(PathBuf, String)> {
    fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.ends_with("node_modules") || path.ends_with(".venv") {
                // Somebody has tried the samples.
            } else if path.is_dir() {
                markdown(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = ["README.md", "CONTRIBUTING.md", "config/default.toml"]
        .map(|name| root.join(name))
        .to_vec();
    markdown(&root.join("docs"), &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a document");
            (path, text)
        })
        .collect()
}

/// The text between single backquotes, line by line.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The lines of code blocks for a shell.
fn shell_lines(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks.flat_map(|rest| rest.split("```").next().unwrap_or_default().lines())
}

/// The command with this path of subcommands, and the words after it.
fn find_command<'w>(words: &'w [&'w str]) -> Result<(clap::Command, &'w [&'w str]), String> {
    let mut command = Cli::command();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first()
        && command.has_subcommands()
        && !word.starts_with('-')
    {
        match command.find_subcommand(word).cloned() {
            Some(found) => command = found,
            // An argument of the command itself: `tenure sweep access-expiry`.
            None if !command.is_subcommand_required_set() => break,
            None => return Err(format!("unknown command `{word}`")),
        }
        rest = after;
    }
    Ok((command, rest))
}

/// Checks that the command of a synopsis exists, and each of its long options.
fn check_synopsis(synopsis: &str) -> Result<(), String> {
    let words: Vec<&str> = synopsis.split_whitespace().skip(1).collect();
    let Some(first) = words.first() else {
        return Ok(());
    };
    let alternatives = words.iter().find(|word| word.contains("\\|"));
    if let Some(alternatives) = alternatives {
        for one in alternatives.split("\\|") {
            find_command(&[first, one])?;
        }
        return Ok(());
    }
    let (command, rest) = find_command(&words)?;
    for word in rest {
        let word = word.trim_matches(|c| c == '[' || c == ']');
        let Some(option) = word
            .strip_prefix("--")
            .map(|word| word.split('=').next().unwrap_or(word))
        else {
            continue;
        };
        let is_global = ["config", "json", "output", "reason", "help", "version"].contains(&option);
        let is_known = command
            .get_arguments()
            .any(|argument| argument.get_long() == Some(option));
        if !option.is_empty() && !is_global && !is_known {
            return Err(format!("unknown option `--{option}`"));
        }
    }
    Ok(())
}

/// The names of all commands that do something, such as `client show`.
fn leaf_commands(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name()).trim().to_owned();
        if inner.has_subcommands() {
            leaf_commands(inner, &path, found);
        }
        if !inner.is_subcommand_required_set() {
            found.insert(path);
        }
    }
}

#[test]
fn every_command_named_in_a_document_exists() {
    let mut checked = 0;
    for (path, text) in documents() {
        for span in code_spans(&text).filter(|span| span.starts_with("tenure ")) {
            // `tenure client show|list`: alternatives outside of a table.
            let synopsis = span.replace("\\|", "|").replace('|', "\\|");
            check_synopsis(&synopsis).unwrap_or_else(|why| panic!("{}: `{span}`: {why}", path.display()));
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked} commands");
}

#[test]
fn every_command_line_in_a_code_block_parses() {
    let mut checked = 0;
    for (path, text) in documents() {
        for line in shell_lines(&text).filter_map(|line| line.trim().strip_prefix("tenure ")) {
            let line = line.split(" #").next().unwrap_or(line);
            let words = ["tenure"].into_iter().chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{}: `tenure {line}`: {error}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} command lines");
}

#[test]
fn the_readme_lists_every_command() {
    let mut listed = BTreeSet::new();
    for row in README.lines().filter(|line| line.starts_with("| `tenure ")) {
        let cell = row.split(" | ").next().unwrap_or_default();
        for span in code_spans(cell) {
            let words: Vec<&str> = span.split_whitespace().skip(1).collect();
            let alternatives: Vec<&str> = words
                .get(1)
                .map_or(Vec::new(), |word| word.split("\\|").collect());
            let is_group = Cli::command()
                .find_subcommand(words[0])
                .is_some_and(clap::Command::has_subcommands);
            let is_argument = alternatives.first().is_some_and(|word| word.starts_with('['));
            if is_group && !is_argument {
                listed.extend(alternatives.iter().map(|one| format!("{} {one}", words[0])));
            } else {
                listed.insert(words[0].to_owned());
            }
        }
    }
    let mut commands = BTreeSet::new();
    leaf_commands(&Cli::command(), "", &mut commands);
    assert_eq!(listed, commands);
}

#[test]
fn the_readme_lists_every_route() {
    let mut listed = BTreeSet::new();
    for row in README.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap_or_default();
        listed.extend(
            code_spans(cell)
                .filter(|span| span.contains(" /"))
                .map(str::to_owned),
        );
    }
    let document = tenure::http::openapi();
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let methods = operations.as_object().expect("operations").keys();
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    assert_eq!(listed, routes);
}

#[test]
fn the_readme_lists_every_event_type() {
    let (_, table) = README.split_once("| app | event types |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut listed = BTreeSet::new();
    for row in rows {
        let mut subject = "";
        for span in code_spans(row) {
            // `.renamed` continues `client.added`.
            let (before, action) = span.split_once('.').expect("a dot");
            if !before.is_empty() {
                subject = before;
            }
            let is_new = listed.insert(format!("{subject}.{action}"));
            assert!(is_new, "README.md lists `{subject}.{action}` twice");
        }
    }
    let types: BTreeSet<String> = event::TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    let missing: Vec<_> = types.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "add to the table of event types in README.md: {missing:?}"
    );
    let unknown: Vec<_> = listed.difference(&types).collect();
    assert!(
        unknown.is_empty(),
        "README.md lists unknown event types: {unknown:?}"
    );
}

/// The key of an environment variable, if it names a section and a key.
fn key_of_variable(name: &str) -> Option<String> {
    let (section, key) = name.strip_prefix("TENURE_")?.split_once("__")?;
    Some(format!("{section}.{key}").to_lowercase().replace("__", "."))
}

#[test]
fn every_setting_named_in_a_document_exists() {
    let keys = tenure::config::keys();
    let is_key = |name: &str| {
        keys.iter()
            .any(|key| key.replace('-', "_") == name.replace('-', "_"))
    };
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    // Names of events and changes share the prefix `access.` with settings, and fields of the log share others.
    let fields = tenure::telemetry::log_fields_table();
    let is_other = |name: &str| {
        event::TYPES.contains(&name)
            || ChangeKind::ALL.iter().any(|kind| kind.as_str() == name)
            || fields.contains(&format!("| `{name}` |"))
    };
    let mut checked = 0;
    for (path, text) in documents() {
        // Columns are named there, as `events.ref`.
        if path.ends_with("docs/schema.md") {
            continue;
        }
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        let variables = text.split(|c| !is_name(c)).filter_map(key_of_variable);
        let settings = code_spans(&text)
            .map(|span| span.split(" = ").next().unwrap_or(span))
            .filter(|span| span.chars().all(|c| c.is_ascii_lowercase() || "._-".contains(c)))
            .filter(|span| {
                span.split_once('.')
                    .is_some_and(|(section, _)| sections.contains(section))
            })
            .filter(|span| {
                !is_other(span)
                    && Path::new(span)
                        .extension()
                        .is_none_or(|extension| extension != "rs")
            })
            .map(str::to_owned);
        for key in variables.chain(settings) {
            let is_section = keys.iter().any(|known| known.starts_with(&format!("{key}.")));
            assert!(
                is_key(&key) || is_section,
                "{}: unknown setting `{key}`",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked} settings");
}
