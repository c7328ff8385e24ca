//! Every command, with arguments that fit the store of the tests, and what it needs. A new command fails a test until it is here,
//! and is then in the tests that are about all commands.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};
use tenure::cli::Cli;

use super::{Given, code, stderr, stdout};

/// What a command does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It reads a store.
    Reads,
    /// It changes a store that is there.
    Changes,
    /// It creates a store, for this reason.
    Creates(&'static str),
    /// It has nothing to do with the store of the settings.
    Nothing(&'static str),
}

/// Whether a command can print comma-separated values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Yes,
    No,
}

pub struct Known {
    /// The words of the command, and arguments with which it works on [`given`].
    pub args: &'static [&'static str],
    /// How many of the words name the command.
    pub words: usize,
    pub what: Use,
    pub rows: Rows,
}

const fn known(args: &'static [&'static str], words: usize, what: Use, rows: Rows) -> Known {
    Known {
        args,
        words,
        what,
        rows,
    }
}

const NO_STORE: Use = Use::Nothing("it needs no store");
const BROKER: Use = Use::Nothing("it needs a broker, and says so first");

/// Every command.
pub const COMMANDS: &[Known] = &[
    known(&["run"], 1, Use::Creates("a worker creates its store"), Rows::No),
    known(
        &["demo", "--clients", "1"],
        1,
        Use::Nothing("it has a store of its own"),
        Rows::No,
    ),
    known(&["publish", "events.ndjson"], 1, BROKER, Rows::No),
    known(&["subscribe", "queue"], 1, BROKER, Rows::No),
    known(
        &["replay", "--from", "beginning", "--to", "queue"],
        1,
        BROKER,
        Rows::No,
    ),
    known(&["check", "/dev/null"], 1, Use::Reads, Rows::Yes),
    known(
        &["ingest", "events.ndjson"],
        1,
        Use::Creates("the first events"),
        Rows::No,
    ),
    known(
        &["client", "show", "acme/a", "--journal"],
        2,
        Use::Reads,
        Rows::No,
    ),
    known(&["client", "list"], 2, Use::Reads, Rows::Yes),
    known(&["history", "acme/a"], 1, Use::Reads, Rows::Yes),
    known(&["possible", "acme/a"], 1, Use::Reads, Rows::Yes),
    known(&["why", "acme/a"], 1, Use::Reads, Rows::Yes),
    known(&["forecast", "--until", "2426-01-01"], 1, Use::Reads, Rows::Yes),
    known(&["what-if", "--set", "access.idle=61d"], 1, Use::Reads, Rows::Yes),
    known(&["statement", "list"], 2, Use::Reads, Rows::Yes),
    known(&["statement", "show", "2025-01"], 2, Use::Reads, Rows::Yes),
    known(
        &["statement", "close", "2025-01", "--confirm"],
        2,
        Use::Changes,
        Rows::No,
    ),
    known(&["access", "acme/a"], 1, Use::Reads, Rows::Yes),
    known(&["accesses"], 1, Use::Reads, Rows::Yes),
    known(&["partners"], 1, Use::Reads, Rows::Yes),
    known(&["account", "a-1"], 1, Use::Reads, Rows::Yes),
    known(&["refusals"], 1, Use::Reads, Rows::Yes),
    known(
        &["webhook", "add", "new", "http://localhost:9/"],
        2,
        Use::Creates("an endpoint may come before the first event"),
        Rows::No,
    ),
    known(&["webhook", "list"], 2, Use::Reads, Rows::Yes),
    known(&["webhook", "pause", "crm"], 2, Use::Changes, Rows::No),
    known(&["webhook", "resume", "crm"], 2, Use::Changes, Rows::No),
    known(&["webhook", "remove", "new"], 2, Use::Changes, Rows::No),
    known(
        &["webhook", "replay", "crm", "--from", "beginning"],
        2,
        Use::Changes,
        Rows::No,
    ),
    known(&["webhook", "test", "crm"], 2, Use::Changes, Rows::No),
    known(&["webhook", "rotate", "crm"], 2, Use::Changes, Rows::No),
    known(&["sweep", "list"], 2, Use::Reads, Rows::Yes),
    known(&["sweep", "run", "access-expiry"], 2, Use::Changes, Rows::No),
    known(
        &["sweep", "preview", "access-expiry", "--at", "2426-01-01"],
        2,
        Use::Reads,
        Rows::Yes,
    ),
    known(&["sweep", "confirm", "access-expiry"], 2, Use::Changes, Rows::No),
    known(
        &["sweep", "pause", "stalled-invitations", "--reason", "a test"],
        2,
        Use::Changes,
        Rows::No,
    ),
    known(
        &["sweep", "resume", "stalled-invitations"],
        2,
        Use::Changes,
        Rows::No,
    ),
    known(&["sweep", "runs"], 2, Use::Reads, Rows::Yes),
    known(&["sweep", "show", "1"], 2, Use::Reads, Rows::Yes),
    known(&["lanes", "list"], 2, Use::Reads, Rows::Yes),
    known(&["lanes", "remove"], 2, Use::Changes, Rows::No),
    known(&["sources", "list"], 2, Use::Reads, Rows::Yes),
    known(&["sources", "remove"], 2, Use::Changes, Rows::No),
    known(&["workers", "list"], 2, Use::Reads, Rows::Yes),
    known(&["workers", "remove", "gone"], 2, Use::Changes, Rows::No),
    known(&["policy", "show"], 2, Use::Reads, Rows::Yes),
    known(&["policy", "apply"], 2, Use::Changes, Rows::No),
    known(&["dead", "list"], 2, Use::Reads, Rows::Yes),
    known(&["dead", "show", "1"], 2, Use::Reads, Rows::No),
    known(&["dead", "redrive", "--all"], 2, Use::Changes, Rows::No),
    known(&["dead", "discard", "1"], 2, Use::Changes, Rows::No),
    known(&["verify"], 1, Use::Reads, Rows::Yes),
    known(&["rebuild"], 1, Use::Changes, Rows::Yes),
    known(&["audit"], 1, Use::Reads, Rows::Yes),
    known(&["prune"], 1, Use::Changes, Rows::No),
    known(&["export", "store.export"], 1, Use::Reads, Rows::No),
    known(
        &["import", "no-such.export"],
        1,
        Use::Creates("it is for an empty store"),
        Rows::No,
    ),
    known(&["migrate"], 1, Use::Creates("that is what it is for"), Rows::No),
    known(&["restored"], 1, Use::Changes, Rows::No),
    known(&["top"], 1, Use::Nothing("it asks a worker"), Rows::No),
    known(&["health"], 1, Use::Nothing("it asks a worker"), Rows::No),
    known(&["schema", "asyncapi"], 2, NO_STORE, Rows::No),
    known(&["schema", "openapi"], 2, NO_STORE, Rows::No),
    known(&["schema", "event", "client.added"], 2, NO_STORE, Rows::No),
    known(&["schema", "change", "access.enabled"], 2, NO_STORE, Rows::No),
    known(&["schema", "all", "schemas"], 2, NO_STORE, Rows::No),
    known(&["completions", "bash"], 1, NO_STORE, Rows::No),
    known(&["man", "pages"], 1, NO_STORE, Rows::No),
    known(&["config"], 1, NO_STORE, Rows::No),
];

/// The words of every command that does something, without groups.
fn leaves(command: &clap::Command, path: &[String], found: &mut BTreeSet<Vec<String>>) {
    let mut is_leaf = true;
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        is_leaf = false;
        leaves(inner, &[path, &[inner.get_name().to_owned()]].concat(), found);
    }
    if is_leaf {
        found.insert(path.to_vec());
    }
}

/// The clap command with these words.
pub fn command(words: &[&str]) -> clap::Command {
    let mut command = Cli::command();
    for word in words {
        command = command.find_subcommand(word).expect("a command").clone();
    }
    command
}

/// The arguments of the commands that read a store.
pub fn reading() -> impl Iterator<Item = &'static [&'static str]> {
    COMMANDS
        .iter()
        .filter(|known| known.what == Use::Reads)
        .map(|known| known.args)
}

/// The arguments of the commands that change a store that is there.
pub fn changing() -> impl Iterator<Item = &'static [&'static str]> {
    COMMANDS
        .iter()
        .filter(|known| known.what == Use::Changes)
        .map(|known| known.args)
}

#[test]
fn every_command_is_known_to_these_tests() {
    let mut all = BTreeSet::new();
    leaves(&Cli::command(), &[], &mut all);
    let named = COMMANDS.iter().map(|known| &known.args[..known.words]);
    let named: Vec<Vec<String>> = named
        .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
        .collect();
    assert_eq!(named.len(), all.len(), "a command is listed twice, or not at all");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), all);
    for known in COMMANDS {
        let call = [&["tenure"][..], known.args].concat();
        if let Err(error) = Cli::try_parse_from(call) {
            panic!("{:?}: {error}", known.args);
        }
        if let Use::Creates(why) | Use::Nothing(why) = known.what {
            assert!(!why.is_empty(), "{:?}: say why", known.args);
        }
    }
}

#[test]
fn every_command_prints_comma_separated_values_or_refuses_to() {
    let given = Given::events();
    given.tenure.ok(&["sweep", "run", "access-expiry"]);
    let exempt = ["run", "demo", "completions", "man"];
    for known in COMMANDS.iter().filter(|known| !exempt.contains(&known.args[0])) {
        let args: Vec<&str> = known
            .args
            .iter()
            .map(|arg| if *arg == "acme/a" { "acme/bakery" } else { *arg })
            .chain(["-o", "csv"])
            .collect();
        let output = given.tenure.call(&args);
        let (out, err) = (stdout(&output), stderr(&output));
        if known.rows == Rows::No {
            assert_eq!(code(&output), 2, "{args:?}: {out}{err}");
            assert!(err.contains("prints no rows"), "{args:?}: {err}");
            assert_eq!(out, "", "{args:?}");
        } else {
            let head = out.split("\r\n").next().unwrap_or_default();
            assert!(
                head.contains(',') && !head.contains(' ') && !head.contains(",,"),
                "{args:?}: {out}{err}"
            );
            assert!(out.ends_with("\r\n"), "{args:?}: {out}");
            let mut rows = csv::ReaderBuilder::new().from_reader(out.as_bytes());
            assert!(rows.records().all(|row| row.is_ok()), "{args:?}: {out}");
        }
    }
}

/// How an option of a command reads its value, by the name of the value in its help.
const MOMENTS: [&str; 3] = ["TIME", "DURATION|TIME", "CURSOR|TIME"];

#[test]
fn every_moment_may_be_exact_a_date_a_word_or_relative() {
    let mut options = 0;
    for known in COMMANDS {
        let words = &known.args[..known.words];
        for option in command(words).get_arguments() {
            let names = option.get_value_names().unwrap_or_default();
            if !names.iter().any(|name| MOMENTS.contains(&name.as_str())) {
                // An option with one of these names is about time. A new one must not be of another kind.
                let long = option.get_long().unwrap_or_default();
                assert!(
                    !["at", "since", "until"].contains(&long),
                    "{words:?} --{long}: {names:?}"
                );
                continue;
            }
            options += 1;
            assert_reads_moments(known, option.get_long().expect("an option"));
        }
    }
    assert!(options > 15, "{options}");
}

const ACCEPTED: [&str; 10] = [
    "2026-03-01T12:00:00Z",
    "2026-03-01T12:00:00.5+01:00",
    "2026-03-01",
    "now",
    "today",
    "yesterday",
    "tomorrow",
    "-3d",
    "+12h",
    "-1y",
];

/// What the error about any other text says.
const FORMS: [&str; 8] = [
    "2026-03-01T12:00:00Z",
    "2026-03-01,",
    "-3d",
    "+12h",
    "now",
    "today",
    "yesterday",
    "tomorrow",
];

fn assert_reads_moments(known: &Known, option: &str) {
    let name = format!("--{option}");
    let mut args: Vec<&str> = known.args.to_vec();
    // The same option of the example would be there twice.
    if let Some(place) = args.iter().position(|arg| *arg == name) {
        args.drain(place..place + 2);
    }
    let parse = |value: &str| {
        let call = [&["tenure"][..], &args, &[name.as_str(), value]].concat();
        Cli::try_parse_from(call).map(drop)
    };
    for moment in ACCEPTED {
        if let Err(error) = parse(moment) {
            panic!("{args:?} {name} {moment}: {error}");
        }
    }
    for nonsense in ["noon", "2026-02-30", "Yesterday", "2026-03-01 12:00"] {
        let error = parse(nonsense).err();
        let error = error.unwrap_or_else(|| panic!("{args:?} {name} accepts {nonsense}"));
        let why = error.to_string();
        for form in FORMS {
            assert!(
                why.contains(form),
                "{args:?} {name} {nonsense}: no {form} in {why}"
            );
        }
    }
}
