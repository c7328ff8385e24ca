//! Usage errors: exit code 2, a message on standard error, nothing on standard output.

use serde_json::json;

use super::{Given, code, stderr, stdout};
use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

fn refused(tenure: &Tenure, args: &[&str], because: &str) {
    let output = tenure.call(args);
    let why = stderr(&output);
    assert_eq!(code(&output), 2, "{args:?}: {why}");
    assert!(why.contains(because), "{args:?}: {why}");
    assert_eq!(stdout(&output), "", "{args:?}");
}

#[test]
fn invalid_arguments_are_usage_errors() {
    let given = Given::nothing();
    for (args, because) in [
        (
            &["sweep", "run", "spring-cleaning"][..],
            "[possible values: access-expiry, ",
        ),
        (&["client", "show", "bakery"], "{partner}/{client}"),
        (&["client", "show", "acme/ba kery"], "`ba kery`"),
        (
            &["client", "show", "acme/bakery", "--at", "last week"],
            "yesterday",
        ),
        (&["client", "list", "--service", "sleeping"], "all_active"),
        (&["client", "list", "--tab", "third"], "inactive"),
        (&["client", "list", "--colour", "red"], "--colour"),
        (&["verify", "--loudly"], "--loudly"),
        (&["frobnicate"], "frobnicate"),
        (&[], "Usage"),
        (&["dead", "redrive"], "required"),
        (&["dead", "discard", "1", "--all"], "cannot be used with"),
        (&["dead", "show", "first"], "first"),
        (&["sweep", "run", "access-expiry", "--at", "noon"], "-3d"),
        (&["demo", "--clients", "many"], "many"),
        (
            &["webhook", "rotate", "crm", "--overlap", "-1h"],
            "expected a duration such as 0s, 24h or 7d",
        ),
        (
            &["webhook", "replay", "crm", "--from", "noon"],
            "expected a cursor of the feed, beginning, latest, or a time",
        ),
        (
            &["webhook", "add", "crm", "https://10.0.0.1/"],
            "webhooks.allow_networks",
        ),
        (&["client", "show", "acme/a", "-o", "csv"], "prints no rows"),
        (
            &["client", "list", "-o", "xml"],
            "possible values: table, json, csv",
        ),
        (&["client", "list", "-o", "csv", "--json"], "cannot be used with"),
    ] {
        refused(&given.tenure, args, because);
    }
}

/// What commands were called before they had verbs.
#[test]
fn old_spellings_are_usage_errors() {
    let given = Given::events();
    for (args, because) in [
        (&["sweep"][..], "Usage"),
        (
            &["sweep", "access-expiry"],
            "unrecognized subcommand 'access-expiry'",
        ),
        (
            &["sweep", "access-expiry", "--dry-run"],
            "unrecognized subcommand 'access-expiry'",
        ),
        (&["sweep", "--list"], "unexpected argument '--list'"),
        (
            &["sweep", "run", "access-expiry", "--dry-run"],
            "unexpected argument '--dry-run'",
        ),
        (
            &["sweep", "run", "access-expiry", "--now", "yesterday"],
            "unexpected argument '--now'",
        ),
        (&["sweep", "pause", "access-expiry"], "add --reason"),
        (
            &["sweep", "pause", "access-expiry", "because"],
            "unexpected argument 'because'",
        ),
        (&["policy"], "Usage"),
        (&["policy", "--apply"], "unexpected argument '--apply'"),
        (&["policy", "--confirm"], "unexpected argument '--confirm'"),
        (&["lanes"], "Usage"),
        (&["lanes", "--remove"], "unexpected argument '--remove'"),
        (&["lanes", "--forget"], "unexpected argument '--forget'"),
        (&["sources"], "Usage"),
        (&["sources", "--remove"], "unexpected argument '--remove'"),
        (&["statement"], "Usage"),
        (
            &["statement", "--month", "2025-01", "--close"],
            "unexpected argument '--month'",
        ),
        (
            &["export", "--output", "store.export"],
            "possible values: table, json, csv",
        ),
        (&["client", "list", "--csv"], "unexpected argument '--csv'"),
        (&["what-if", "--csv"], "unexpected argument '--csv'"),
    ] {
        refused(&given.tenure, args, because);
    }
    assert!(!given.folder.path().join("store.export").exists());
}

#[test]
fn an_unreadable_file_is_a_usage_error_and_creates_no_store() {
    let given = Given::nothing();
    for command in ["ingest", "publish"] {
        let tenure = given.with(&[("AMQP_URL", "amqp://127.0.0.1:1/%2f")]);
        refused(
            &tenure,
            &[command, "nowhere.ndjson"],
            "cannot read nowhere.ndjson",
        );
        refused(&tenure, &[command, "."], "it is a directory");
    }
    assert!(!given.folder.path().join("tenure.db").exists());
}

#[test]
fn publishing_without_a_broker_names_the_setting() {
    let given = Given::events();
    refused(&given.tenure, &["publish", "events.ndjson"], "AMQP_URL");
}

#[test]
fn invalid_settings_stop_every_command_and_are_named() {
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
fn a_cause_is_printed_once() {
    let given = Given::nothing();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = given.with(&[("TENURE_HTTP__LISTEN", &address)]).call(&["run"]);
    let why = stderr(&output);
    assert_eq!(code(&output), 1, "{why}");
    assert_eq!(why.matches("in use").count(), 1, "{why}");
    assert!(why.contains(&address) && why.contains("`http.listen`"), "{why}");
}

#[test]
fn an_ignored_service_link_is_logged_at_debug() {
    let given = Given::nothing();
    let variables = [
        ("TENURE_RABBITMQ_SERVICE_HOST", "10.0.0.5"),
        ("TENURE_LOG__LEVEL", "debug"),
    ];
    let running = given.with(&variables).run();
    let log = running.log();
    let line = log
        .lines()
        .find(|line| line.contains("TENURE_RABBITMQ_SERVICE_HOST"));
    assert!(line.is_some_and(|line| line.contains("DEBUG")), "{log}");
    assert!(running.stop().success());
}

#[test]
fn invalid_log_directives_are_a_usage_error() {
    let given = Given::nothing();
    refused(
        &given.with(&[("RUST_LOG", "verbose")]),
        &["run"],
        "`verbose` is not a level",
    );
    refused(
        &given.with(&[("RUST_LOG", "tenure=loud=er")]),
        &["run"],
        "RUST_LOG",
    );
}

/// A wrong password, vhost or permission is not an outage: it is logged once with the remedy, and recovers when corrected.
#[test]
fn a_login_refused_by_rabbitmq_is_reported_with_the_remedy() {
    let shared = RabbitMq::shared();
    let vhost = shared.vhost("refused_login");
    let name = name_in(&vhost);
    shared.manage(
        "PUT",
        "users/refused",
        Some(&json!({ "password": "right", "tags": "" })),
    );
    let at = |login: &str, vhost: &str| format!("amqp://{login}@127.0.0.1:{}/{vhost}", shared.port());
    let given = Given::events();
    for (url, words) in [
        (
            at("refused:wrong", name),
            ["ACCESS_REFUSED", "the password in broker.url (AMQP_URL)"],
        ),
        (
            at("guest:guest", "nowhere"),
            ["vhost nowhere not found", "`rabbitmqctl add_vhost nowhere`"],
        ),
        (
            at("refused:right", name),
            ["access to vhost", "`rabbitmqctl set_permissions"],
        ),
    ] {
        let tenure = given.with(&[("AMQP_URL", &url)]);
        let output = tenure.call(&["publish", "events.ndjson"]);
        let why = stderr(&output);
        assert_eq!(code(&output), 2, "{why}");
        let running = tenure.start();
        running.wait_until("refused", || {
            running.log().contains("refuses this worker's login")
        });
        running.wait_until("that is known", || running.get("/readyz").1.contains(words[1]));
        let (status, ready) = running.get("/readyz");
        assert_eq!(status, 503);
        let log = running.log();
        for word in words {
            assert!(
                why.contains(word) && ready.contains(word) && log.contains(word),
                "{word}: {why}{ready}{log}"
            );
        }
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("refuses this worker's login"))
            .collect();
        assert!(lines.len() == 1 && lines[0].contains("ERROR"), "{log}");
        assert!(!why.contains("wrong") && !log.contains("refused:"), "{why}{log}");
        if words[0] == "access to vhost" {
            let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
            shared.manage("PUT", &format!("permissions/{name}/refused"), Some(&all));
            running.wait_until("ready", || running.get("/readyz").0 == 200);
        }
        assert!(running.stop().success());
    }
}

#[test]
fn a_missing_database_is_reported_with_the_remedy() {
    let url = Postgres::shared().database("is_there");
    let given = Given::nothing();
    let tenure = given.with(&[("DATABASE_URL", &url.replace(name_in(&url), "is_not_there"))]);
    for args in [&["migrate"][..], &["client", "list"], &["run"]] {
        refused(
            &tenure,
            args,
            "database \"is_not_there\" does not exist; create it",
        );
    }
}
