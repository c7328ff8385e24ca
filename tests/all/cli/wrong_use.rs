//! Arguments and settings that cannot be: code 2, a sentence on standard error, nothing on standard output.

use serde_json::json;

use super::{Given, code, complained, said};
use crate::support::servers::{Postgres, RabbitMq, name_in};
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
fn a_cause_is_said_once() {
    let given = Given::nothing();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = given.with(&[("TENURE_HTTP__LISTEN", &address)]).call(&["run"]);
    let why = complained(&output);
    assert_eq!(code(&output), 1, "{why}");
    assert_eq!(why.matches("in use").count(), 1, "{why}");
    assert!(why.contains(&address) && why.contains("`http.listen`"), "{why}");
}

#[test]
fn a_link_to_a_service_is_named_in_the_log_at_debug() {
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
fn a_filter_for_logs_that_is_none_is_wrong_use_too() {
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

/// A wrong password, vhost or right is not an outage: it is named with what to do, once, and taken up when it is put
/// right.
#[test]
fn a_login_that_rabbitmq_refuses_is_named_with_what_to_do() {
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
        let why = complained(&output);
        assert_eq!(code(&output), 2, "{why}");
        let running = tenure.start();
        running.wait_until("refused", || {
            running.log().contains("does not let this worker in")
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
            .filter(|line| line.contains("let this worker in"))
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
fn a_database_that_does_not_exist_is_named_with_what_to_do() {
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
