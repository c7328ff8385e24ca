//! The samples of the README, as they stand there.

use std::process::{Command, Output};

use serde_json::json;

use crate::support::python;
use crate::support::servers::{RabbitMq, name_in};
use crate::support::tenure::Tenure;

const README: &str = include_str!("../../README.md");

/// The code in this language.
fn sample(language: &str) -> &'static str {
    let (_, code) = README.split_once(&format!("```{language}\n")).expect("a sample");
    code.split_once("```").expect("its end").0
}

/// The events of the shell samples, one a line.
fn events() -> String {
    let samples = README.split("'{\"specversion\"").skip(1);
    let events = samples.map(|rest| {
        let event = format!("{{\"specversion\"{}", rest.split('\'').next().expect("its end"));
        let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
        format!("{event}\n")
    });
    events.collect()
}

fn run_python(amqp: &str) -> Output {
    Command::new(python::with_pika())
        .args(["-c", sample("python")])
        .env("AMQP_URL", amqp)
        .output()
        .expect("Python can be started")
}

fn fails_loudly(amqp: &str, word: &str) {
    let output = run_python(amqp);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("not published") && told.contains("`tenure run`"),
        "{told}"
    );
    assert!(told.contains(word), "{told}");
    assert_eq!(told.lines().count(), 1, "a sentence and no traceback: {told}");
}

#[test]
fn the_python_sample_fails_loudly_where_its_event_would_be_lost_and_else_the_event_arrives() {
    let shared = RabbitMq::shared();
    let amqp = shared.vhost("readme");
    let vhost = name_in(&amqp);
    fails_loudly(&amqp, "NOT_FOUND");
    let exchange = json!({ "type": "topic", "durable": true });
    shared.manage(
        "PUT",
        &format!("exchanges/{vhost}/tenure.events"),
        Some(&exchange),
    );
    fails_loudly(&amqp, "unroutable");

    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("AMQP_URL", &amqp)]);
    // Tenure's has more arguments.
    shared.manage("DELETE", &format!("exchanges/{vhost}/tenure.events"), None);
    let running = tenure.run();
    let published = tenure.fed(&["publish", "-"], &events());
    assert!(
        published.status.success(),
        "{}",
        String::from_utf8_lossy(&published.stderr)
    );
    let output = run_python(&amqp);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    running.wait_until("its event has arrived", || {
        let verified = tenure.call(&["verify", "acme/c-1", "--json"]);
        String::from_utf8_lossy(&verified.stdout).contains("\"events\":3")
    });
    assert!(running.stop().success());
}
