//! Arguments and settings that cannot be: code 2, a sentence on standard error, nothing on standard output.

use super::{Given, code, complained, said};
use crate::support::tenure::Tenure;

fn refused(tenure: &Tenure, args: &[&str], because: &str) {
    let output = tenure.call(args);
    let why = complained(&output);
    assert_eq!(code(&output), 2, "{args:?}: {why}");
    assert!(why.contains(because), "{args:?}: {why}");
    assert_eq!(said(&output), "", "{args:?}");
}

#[test]
fn arguments_that_cannot_be_end_with_two_and_say_why() {
    let given = Given::nothing();
    for (args, because) in [
        (&["sweep", "spring-cleaning"][..], "there are access-expiry, "),
        (&["client", "show", "bakery"], "{partner}/{client}"),
        (&["client", "show", "acme/ba kery"], "`ba kery`"),
        (&["client", "show", "acme/bakery", "--at", "yesterday"], "--at"),
        (&["client", "list", "--service", "sleeping"], "all_active"),
        (&["client", "list", "--tab", "third"], "inactive"),
        (&["client", "list", "--colour", "red"], "--colour"),
        (&["verify", "--loudly"], "--loudly"),
        (&["frobnicate"], "frobnicate"),
        (&[], "Usage"),
        (&["dead", "redrive"], "required"),
        (&["dead", "discard", "1", "--all"], "cannot be used with"),
        (&["dead", "show", "first"], "first"),
        (&["sweep", "access-expiry", "--now", "noon"], "--now"),
        (&["demo", "--clients", "many"], "many"),
    ] {
        refused(&given.tenure, args, because);
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_with_two_and_leaves_no_store_behind() {
    let given = Given::nothing();
    for command in ["ingest", "publish"] {
        let tenure = given.with(&[("AMQP_URL", "amqp://127.0.0.1:1/%2f")]);
        refused(
            &tenure,
            &[command, "nowhere.ndjson"],
            "nowhere.ndjson cannot be read",
        );
        refused(&tenure, &[command, "."], "it is a folder");
    }
    assert!(!given.folder.path().join("tenure.db").exists());
}

#[test]
fn publishing_without_a_broker_names_the_setting() {
    let given = Given::events();
    refused(&given.tenure, &["publish", "events.ndjson"], "AMQP_URL");
}

#[test]
fn settings_that_cannot_be_stop_every_command_and_are_named() {
    let given = Given::nothing();
    for (name, value, because) in [
        ("TENURE_NOPE__X", "1", "`nope.x`"),
        ("TENURE_STORE__URI", "sqlite://x.db", "TENURE_STORE__URL"),
        ("TENURE_BROKER__LANES", "0", "`broker.lanes`"),
        ("TENURE_CLEANUP__GRACE", "soon", "`cleanup.grace`"),
        ("DATABASE_URL", "mysql://localhost/x", "`store.url`"),
        ("TENURE_CONFIG", "no-such-file.toml", "no-such-file.toml"),
    ] {
        let tenure = given.with(&[(name, value)]);
        for args in [
            &["config"][..],
            &["verify"],
            &["run"],
            &["client", "list", "--json"],
        ] {
            refused(&tenure, args, because);
        }
    }
}

#[test]
fn a_filter_for_logs_that_is_none_is_wrong_use_too() {
    let given = Given::nothing();
    refused(
        &given.with(&[("RUST_LOG", "tenure=loud=er")]),
        &["run"],
        "RUST_LOG",
    );
}
