//! Passwords and tokens never appear in the output of the binary, at the most verbose log level, in normal operation and in
//! every kind of failure.

use std::path::Path;

use serde_json::json;

use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::{Running, Tenure};

const STORE: &str = "xyzzy-store-hush";
const BROKER: &str = "plugh-broker-hush";
const TOKEN: &str = "plover-token-hush";
const TOKENS: &str = r#"[{ name = "app", token = "xyzzy-another-token-hush", scopes = ["read"] }]"#;
/// A part of each secret.
const MARK: &str = "-hush";

/// The most verbose level, for libraries too.
const VERBOSE: &str = "trace,lapin=trace,sqlx=trace,rustls=trace,hyper=trace,tokio_cron_scheduler=trace";

fn assert_no_secrets(what: &str, output: &str) {
    let leaks: Vec<&str> = output.lines().filter(|line| line.contains(MARK)).collect();
    assert!(leaks.is_empty(), "{what} leaks: {leaks:#?}");
}

/// The binary with these settings and the most verbose log.
fn verbose(folder: &Path, store: &str, broker: &str) -> Tenure {
    Tenure::new(
        folder,
        &[
            ("DATABASE_URL", store),
            ("AMQP_URL", broker),
            ("TENURE_HTTP__TOKEN", TOKEN),
            ("TENURE_HTTP__TOKENS", TOKENS),
            ("TENURE_LOG__LEVEL", VERBOSE),
            ("RUST_BACKTRACE", "1"),
            // `start` sets a free port.
            ("TENURE_HTTP__LISTEN", ""),
        ],
    )
}

fn call(tenure: &Tenure, args: &[&str]) -> String {
    let output = tenure.call(args);
    let output = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert_no_secrets(&format!("{args:?}"), &output);
    output
}

/// Runs the worker until its log has this text and `/readyz` gives a reason.
fn run_until(tenure: &Tenure, words: &str) {
    let running = tenure.start();
    running.wait_until(words, || running.log().contains(words));
    running.wait_until("unready", || running.get("/readyz").0 == 503);
    assert_no_secrets("/readyz", &running.get("/readyz").1);
    let log = running.log();
    running.stop();
    assert_no_secrets(words, &log);
}

fn nowhere() -> (String, String) {
    (
        format!("postgres://quiet:{STORE}@127.0.0.1:9/tenure"),
        format!("amqp://quiet:{BROKER}@127.0.0.1:9/%2f"),
    )
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, broker) = nowhere();
    for parameters in [
        format!("?password={STORE}&options=-c%20a.b={STORE}@"),
        format!("?options=-c%20a.b={STORE}"),
        format!("?options=-c%20a.b={STORE}&sslmode=disable#{STORE}"),
    ] {
        let store = format!("{store}{parameters}");
        for args in [&["config"][..], &["config", "--json"]] {
            let output = call(&verbose(folder.path(), &store, &broker), args);
            assert!(output.contains("***"), "{output}");
        }
    }
}

#[test]
fn errors_about_invalid_urls_contain_no_passwords() {
    let folder = tempfile::tempdir().expect("a folder");
    for (store, broker) in [
        (format!("postgres://u:{STORE}@h:port/n"), String::new()),
        (format!("postgres://u:a/b?c#{STORE}@h:99999/n"), String::new()),
        (format!("postgers://u:{STORE}@h/n"), String::new()),
        (format!("u:{STORE}@h/n"), String::new()),
        (format!("postgres://u@h/n?passwd={STORE}"), String::new()),
        (format!("postgres://u@h/n?{STORE}"), String::new()),
        (format!("postgres://h/n?unknown={STORE}&other=@"), String::new()),
        (format!("postgres://h:port/n?options={STORE}"), String::new()),
        (format!("postgres://h:port/n#{STORE}"), String::new()),
        (format!("sqlite://u:{STORE}@/path"), String::new()),
        (format!("sqlite://u:{STORE}@host/path.db"), String::new()),
        (format!("sqlite:u:{STORE}@/path"), String::new()),
        (format!("sqlite:///path.db?options={STORE}"), String::new()),
        (format!("sqlite:///path.db?{STORE}"), String::new()),
        (String::new(), format!("amqp://u:{BROKER}@h:port/v")),
        (String::new(), format!("amqp//u:{BROKER}@h/v")),
        (String::new(), format!("amqp://u:p@{BROKER}@h:99999/v")),
        (String::new(), format!("http://u:{BROKER}@h/v")),
        (String::new(), format!("amqp://h/v?password={BROKER}")),
    ] {
        let tenure = verbose(folder.path(), &store, &broker);
        assert_eq!(tenure.call(&["config"]).status.code(), Some(2), "{store}{broker}");
        for command in ["run", "config", "migrate"] {
            call(&tenure, &[command]);
        }
    }
}

#[test]
fn errors_about_unavailable_servers_contain_no_passwords() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, broker) = nowhere();
    call(&verbose(folder.path(), &store, &broker), &["migrate"]);
    call(&verbose(folder.path(), "", &broker), &["publish", "-"]);
    run_until(&verbose(folder.path(), &store, &broker), "waiting for the store");
    run_until(&verbose(folder.path(), "", &broker), "retrying");
}

#[test]
fn errors_about_wrong_passwords_and_missing_tls_contain_no_secrets() {
    let database = Postgres::own();
    let name = database.database("secrets");
    database.add_user("quiet", "another");
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!(
        "postgres://quiet:{STORE}@127.0.0.1:{}/{}",
        database.port(),
        name_in(&name)
    );
    let output = call(&verbose(folder.path(), &store, ""), &["migrate"]);
    assert!(output.contains("password authentication failed"), "{output}");
    call(&verbose(folder.path(), &store, ""), &["run"]);
    call(
        &verbose(folder.path(), &format!("{store}?sslmode=verify-full"), ""),
        &["migrate"],
    );

    let vhost = RabbitMq::shared().vhost("secrets_wrong");
    let port = RabbitMq::shared().port();
    let broker = |scheme: &str| format!("{scheme}://guest:{BROKER}@127.0.0.1:{port}/{}", name_in(&vhost));
    call(&verbose(folder.path(), "", &broker("amqp")), &["publish", "-"]);
    run_until(&verbose(folder.path(), "", &broker("amqp")), "retrying");
    run_until(&verbose(folder.path(), "", &broker("amqps")), "retrying");
}

#[test]
fn a_running_worker_reveals_no_secrets() {
    let database = Postgres::own();
    let name = database.database("secrets");
    database.add_user("quiet", STORE);
    let shared = RabbitMq::shared();
    let vhost = shared.vhost("secrets");
    let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
    shared.manage(
        "PUT",
        "users/quiet",
        Some(&json!({ "password": BROKER, "tags": "" })),
    );
    shared.manage(
        "PUT",
        &format!("permissions/{}/quiet", name_in(&vhost)),
        Some(&everything),
    );
    let store = format!(
        "postgres://quiet:{STORE}@127.0.0.1:{}/{}",
        database.port(),
        name_in(&name)
    );
    let broker = format!(
        "amqp://quiet:{BROKER}@127.0.0.1:{}/{}",
        shared.port(),
        name_in(&vhost)
    );

    let folder = tempfile::tempdir().expect("a folder");
    let tenure = verbose(folder.path(), &store, &broker);
    let running: Running = tenure.run();
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/space", "type": "client.added", "subject": "p/c",
        "time": "2026-01-05T09:00:00Z", "data": { "name": "c" },
    });
    let file = folder.path().join("event.ndjson");
    std::fs::write(&file, event.to_string()).expect("a file");
    call(&tenure, &["publish", &file.to_string_lossy()]);
    running.wait_until("ingested", || {
        call(&tenure, &["client", "list", "--json"]).contains("\"client\"")
    });
    for (path, status) in [
        ("/metrics", 401),
        ("/v1/partners/p/clients", 401),
        ("/readyz", 200),
    ] {
        let (answered, body) = running.get(path);
        assert_eq!(answered, status, "{path}: {body}");
        assert_no_secrets(path, &body);
    }
    let metrics = tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async {
            let asked = crate::support::http_client()
                .get(format!("http://{}/metrics", running.address))
                .bearer_auth(TOKEN);
            asked.send().await.expect("an answer").text().await.expect("text")
        });
    assert!(metrics.contains("tenure_events_total"), "{metrics}");
    assert_no_secrets("/metrics", &metrics);
    assert_no_secrets("the process list", &running.command_line());
    let log = running.log();
    assert!(running.stop().success());
    assert!(log.contains("TRACE"), "no trace lines: {log}");
    assert_no_secrets("the log", &log);
}
