//! What people do with endpoints: pause, resume, replay, remove; endpoints of the settings; endpoints that are disabled.

use serde_json::{Value, json};
use tenure::store::{FeedFilter, Published, RetentionTarget, Store};
use tenure::wire::webhook::SigningKey;

use super::receiver::{Answer, Receiver};
use super::{Given, add_users, feed, on_both_stores, wait_for_all, webhooks_check};
use crate::support::tenure::Running;

on_both_stores!(
    an_endpoint_that_fails_for_too_long_is_disabled_until_it_is_resumed,
    an_endpoint_that_answers_410_is_disabled,
    a_paused_endpoint_continues_where_it_was,
    a_replay_sends_the_same_messages_again,
    an_endpoint_before_pruned_changes_is_disabled_and_says_so,
    an_endpoint_of_the_settings_receives_changes,
);

fn warnings(running: &Running) -> String {
    webhooks_check(running)["warnings"].to_string()
}

fn an_endpoint_that_fails_for_too_long_is_disabled_until_it_is_resumed(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer::status(500));
    let running = given.with(&[("TENURE_WEBHOOKS__DISABLE_AFTER", "1s")]).run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 2, 2);
    given.wait_for_status(&running, "crm", "disabled");
    let endpoint = given.endpoint("crm");
    let why = endpoint["why"].as_str().expect("why");
    assert_eq!(
        why,
        "it failed for 1s (webhooks.disable_after), most recently: 500"
    );
    assert!(endpoint["failing_since"].is_string());
    assert!(
        running.log().contains("an endpoint of a webhook is disabled"),
        "{}",
        running.log()
    );
    running.wait_until("reported", || {
        warnings(&running).contains("crm is disabled: it failed for 1s")
            && running.metric("tenure_webhook_endpoint_disabled{endpoint=\"crm\"}") > 0.5
    });
    assert_eq!(running.get("/readyz").0, 200, "the worker itself is ready");

    receiver.answer(|_, _| Answer::status(204));
    given.tenure().ok(&["webhook", "resume", "crm"]);
    wait_for_all(&running, &receiver, &feed(&running));
    running.wait_until("no longer reported", || {
        webhooks_check(&running)["warnings"].is_null()
            && running.metric("tenure_webhook_endpoint_disabled{endpoint=\"crm\"}") < 0.5
    });
    let log = running.log();
    for line in [
        "an endpoint of a webhook is disabled",
        "an endpoint of a webhook is no longer disabled",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

fn an_endpoint_that_answers_410_is_disabled(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer::status(410));
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 1, 0);
    given.wait_for_status(&running, "crm", "disabled");
    assert_eq!(
        given.endpoint("crm")["why"],
        "it answered 410: it wants no more changes"
    );
}

fn a_paused_endpoint_continues_where_it_was(given: &Given) {
    let (receiver, other) = (Receiver::new(), Receiver::new());
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    given.add("other", &other.url(), &[]);
    add_users(&running, 1, 0);
    wait_for_all(&running, &receiver, &feed(&running));
    given.wait_for_end(&running, "crm");
    let before = receiver.received().len();
    given.tenure().ok(&["webhook", "pause", "crm"]);
    running.wait_until("the worker has seen it", || {
        running.log().contains("delivery to an endpoint stops")
    });
    assert_eq!(running.add_client("later").0, 200);
    let ids = feed(&running);
    wait_for_all(&running, &other, &ids);
    assert_eq!(
        (
            given.endpoint("crm")["status"].as_str(),
            receiver.received().len()
        ),
        (Some("paused"), before)
    );
    given.tenure().ok(&["webhook", "resume", "crm"]);
    wait_for_all(&running, &receiver, &ids);
    assert_eq!(receiver.received().len(), ids.len(), "none is repeated");
}

fn a_replay_sends_the_same_messages_again(given: &Given) {
    let receiver = Receiver::new();
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 3, 2);
    let ids = feed(&running);
    wait_for_all(&running, &receiver, &ids);
    given.wait_for_end(&running, "crm");
    given
        .tenure()
        .ok(&["webhook", "replay", "crm", "--from", "beginning"]);
    running.wait_until("all again", || receiver.received().len() == 2 * ids.len());
    let requests = receiver.received();
    let (first, second) = requests.split_at(ids.len());
    let sorted = |some: &[super::Received]| {
        let mut messages: Vec<(String, Value)> = some
            .iter()
            .map(|one| (one.id.clone(), one.event.clone()))
            .collect();
        messages.sort_by(|a, b| a.0.cmp(&b.0));
        messages
    };
    assert_eq!(sorted(first), sorted(second));
    super::assert_in_order(second);

    given
        .tenure()
        .ok(&["webhook", "replay", "crm", "--from", "2999-01-01T00:00:00Z"]);
    given.wait_for_end(&running, "crm");
    let since = requests[0].event["data"]["recorded"]
        .as_str()
        .expect("a time")
        .to_owned();
    given.tenure().ok(&["webhook", "replay", "crm", "--from", &since]);
    running.wait_until("since a time", || receiver.received().len() == 3 * ids.len());
    given.wait_for_end(&running, "crm");
    let since = given
        .tenure()
        .ok(&["webhook", "replay", "crm", "--from", "yesterday"]);
    assert!(
        since.contains("crm receives the changes recorded since")
            && since.contains("T00:00:00Z: those after"),
        "{since}"
    );
    running.wait_until("since a day", || receiver.received().len() == 4 * ids.len());
}

/// Marks everything as published, and removes it from the journal.
async fn prune(store: &dyn Store) -> u64 {
    let end = store.feed_end().await.expect("an end");
    let page = store
        .feed(
            &tenure::store::FeedCursor::beginning(0),
            &FeedFilter::default(),
            1_000,
            1_000,
        )
        .await
        .expect("a page");
    let last = page.lines.last().expect("a line");
    let published: Published = last.published(end.0.epoch);
    store.advance_cursor(&published).await.expect("the cursor moves");
    let later = last.recorded_at + chrono::TimeDelta::microseconds(1);
    store
        .prune(RetentionTarget::Journal, later, 1_000)
        .await
        .expect("pruned")
}

fn an_endpoint_before_pruned_changes_is_disabled_and_says_so(given: &Given) {
    let receiver = Receiver::new();
    given.add("crm", &receiver.url(), &[]);
    given.tenure().ok(&["webhook", "pause", "crm"]);
    let running = given.tenure().run();
    add_users(&running, 2, 2);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let store = given.store();
    let changes = feed(&running).len() as u64;
    assert_eq!(runtime.block_on(prune(&*store)), changes);
    runtime.block_on(store.close());
    assert_eq!(given.endpoint("crm")["lag_seconds"], Value::Null);
    // Nothing is left of what was recorded since then: no place may be chosen silently.
    let since = "2026-01-01T00:00:00Z";
    let replay = given
        .tenure()
        .call(&["webhook", "replay", "crm", "--from", since]);
    let stderr = String::from_utf8_lossy(&replay.stderr);
    assert_eq!(replay.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("are no longer stored"), "{stderr}");
    let (_, rest) = stderr.split_once("changes before ").expect("a time");
    let stored_since = rest.split(' ').next().expect("a time").to_owned();
    let foreign = given
        .tenure()
        .call(&["webhook", "replay", "crm", "--from", "7fffffffffffffff-1-1-1"]);
    let why = String::from_utf8_lossy(&foreign.stderr);
    assert_eq!(foreign.status.code(), Some(2), "{why}");
    assert!(why.contains("the store has no such place"), "{why}");
    given.tenure().ok(&["webhook", "resume", "crm"]);
    given.wait_for_status(&running, "crm", "disabled");
    let why = given.endpoint("crm")["why"].to_string();
    assert!(
        why.contains("changes after this place are no longer stored")
            && why.contains("begin again from a snapshot"),
        "{why}"
    );
    assert_eq!(receiver.received().len(), 0);

    given
        .tenure()
        .ok(&["webhook", "replay", "crm", "--from", "latest"]);
    given.tenure().ok(&["webhook", "resume", "crm"]);
    assert_eq!(running.add_client("later").0, 200);
    running.wait_until("it continues", || {
        receiver.accepted().iter().any(|one| one.subject() == "p/later")
    });
    // The first change that is stored is later than this time, and the last one that was removed is earlier.
    let second = Receiver::new();
    let url = second.url();
    given
        .tenure()
        .ok(&["webhook", "add", "second", &url, "--from", &stored_since]);
    running.wait_until("it begins there", || {
        second.accepted().iter().any(|one| one.subject() == "p/later")
    });
    assert_eq!(given.endpoint("second")["status"], "active");
}

fn an_endpoint_of_the_settings_receives_changes(given: &Given) {
    let receiver = Receiver::new();
    let secret = SigningKey::new_secret();
    let file = given.folder.path().join("secret");
    std::fs::write(&file, &secret).expect("a file");
    let endpoints = format!(
        "{{ crm = {{ url = \"{}\", secret_file = \"{}\", types = [\"user.*\"] }} }}",
        receiver.url(),
        file.display()
    );
    let env = [("TENURE_WEBHOOKS__ENDPOINTS", endpoints.as_str())];
    let running = given.with(&env).run();
    running.wait_until("introduced", || given.endpoint("crm")["origin"] == "settings");
    add_users(&running, 2, 2);
    running.wait_until("delivered", || receiver.received().len() == 4);
    let first = &receiver.received()[0];
    let key = SigningKey::parse(&secret).expect("a secret");
    assert!(first.signatures.starts_with("v1,"), "{}", first.signatures);
    assert_eq!(key.sign("a", 1, b"").len(), first.signatures.len());
    let ping = given.with(&env).json(&["webhook", "test", "crm"]);
    assert_eq!(ping[0]["status"], 204);
    for args in [
        &["webhook", "rotate", "crm"][..],
        &["webhook", "add", "crm", "https://example.com"],
    ] {
        let output = given.with(&env).call(args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            output.status.code() == Some(2) && error.contains("the settings have the endpoint crm"),
            "{error}"
        );
    }
    assert!(running.stop().success());

    let running = given.tenure().run();
    given.wait_for_status(&running, "crm", "disabled");
    assert_eq!(given.endpoint("crm")["why"], "the settings no longer have it");
    assert!(running.stop().success());

    let running = given.with(&env).run();
    given.wait_for_status(&running, "crm", "active");
    assert!(running.stop().success());
    let audit = given.tenure().json(&["audit", "--by", "settings"]);
    let actions: Vec<_> = audit.iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["webhook.change", "webhook.disable", "webhook.add"]);
    assert!(audit.iter().all(|entry| entry["how"] == "settings"));
    given.tenure().ok(&["webhook", "remove", "crm"]);
    given.add("crm", "https://crm.example.com/", &[]);
    let running = given.with(&env).run();
    running.wait_until("reported", || {
        warnings(&running).contains("crm is in the settings and was added with")
    });
}

/// Nothing in between, however often it fails.
#[test]
fn a_failing_endpoint_is_one_line_of_the_log_and_its_recovery_another() {
    let given = Given::sqlite("");
    let receiver = Receiver::answering(|_, _| Answer::status(500));
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 1, 0);
    let lines = |words: &str| running.log().lines().filter(|line| line.contains(words)).count();
    let rejected = r#"tenure_webhook_deliveries_total{endpoint="crm",outcome="rejected"}"#;
    running.wait_until("attempts", || running.metric(rejected) > 2.5);
    receiver.answer(|_, _| Answer::status(204));
    running.wait_until("recovered", || lines("the endpoint receives changes again") > 0);
    wait_for_all(&running, &receiver, &feed(&running));
    let (failures, recoveries) = (
        lines("an endpoint of a webhook fails"),
        lines("the endpoint receives changes again"),
    );
    assert_eq!((failures, recoveries), (1, 1), "{}", running.log());
    assert!(running.stop().success());
}

#[test]
fn secrets_are_shown_once() {
    let given = Given::sqlite("");
    let receiver = Receiver::answering(|_, _| Answer::status(500));
    let running = given.tenure().run();
    let secret = given.add("crm", &format!("{}?key=hidden", receiver.url()), &[]);
    let rotated = given.tenure().json(&["webhook", "rotate", "crm"]);
    let new = rotated[0]["secret"].as_str().expect("a secret").to_owned();
    assert_ne!(secret, new);
    add_users(&running, 1, 0);
    running.wait_until("a failure is logged", || {
        running.log().contains("an endpoint of a webhook fails")
    });
    let shown = [
        given.tenure().ok(&["webhook", "list"]),
        given.tenure().ok(&["webhook", "list", "--json"]),
        given.tenure().ok(&["config", "--json"]),
        running.get("/v1/webhooks").1,
        running.get("/readyz").1,
        running.get("/metrics").1,
        running.log(),
    ];
    for text in shown {
        for hidden in [&secret[6..], &new[6..], "whsec_", "key=hidden"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    let (_, listed) = running.get("/v1/webhooks");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["endpoints"][0]["url"], format!("{}?***", receiver.url()));
}

#[test]
fn unknown_names_and_taken_names_are_errors() {
    let given = Given::sqlite("");
    given.add("crm", "https://crm.example.com/", &[]);
    for (args, words) in [
        (
            &["add", "crm", "https://other.example.com/"][..],
            "there is already an endpoint named crm",
        ),
        (
            &["pause", "other"],
            "no endpoint is named other; `tenure webhook list` lists them",
        ),
        (&["resume", "other"], "no endpoint is named other"),
        (&["remove", "other"], "no endpoint is named other"),
        (&["test", "other"], "no endpoint is named other"),
        (&["rotate", "other"], "no endpoint is named other"),
        (
            &["replay", "other", "--from", "latest"],
            "no endpoint is named other",
        ),
        (
            &["replay", "crm", "--from", "last-week"],
            "expected a cursor of the feed",
        ),
        (
            &["add", "CRM", "https://crm.example.com/"],
            "expected a name of at most 64 lower-case letters",
        ),
        (
            &["add", "other", "https://crm.example.com/", "--type", "no.*"],
            "there is no such type of change",
        ),
        (
            &["add", "other", "https://crm.example.com/", "--partner", "a/b"],
            "partner",
        ),
    ] {
        let output = given.tenure().call(&[&["webhook"], args].concat());
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            output.status.code() == Some(2) && error.contains(words),
            "{args:?}: {error}"
        );
    }
    let listed = given.tenure().json(&["webhook", "list"]);
    assert_eq!(listed.len(), 1);
    let expected = json!(["crm", "command", "https://crm.example.com/", "active", 0, null]);
    let shown =
        ["name", "origin", "url", "status", "lag_seconds", "failing_since"].map(|field| &listed[0][field]);
    assert_eq!(json!(shown), expected);
}
