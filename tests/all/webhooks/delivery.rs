//! What is delivered, in which order, and how often it is tried.

use std::time::Duration;

use serde_json::Value;

use super::receiver::{Answer, Receiver};
use super::{Given, add_users, assert_in_order, feed, on_both_stores, page, wait_for_all};

on_both_stores!(
    every_change_is_delivered_once_as_the_feed_has_it,
    a_failed_change_is_sent_again_before_later_ones_of_its_client,
    only_the_changes_of_the_filter_are_delivered,
    a_slow_endpoint_holds_up_nobody,
    a_request_without_an_answer_is_given_up_and_sent_again,
    an_endless_answer_is_not_read,
    a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_asks,
);

fn every_change_is_delivered_once_as_the_feed_has_it(given: &Given) {
    let receiver = Receiver::new();
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 5, 4);
    let ids = feed(&running);
    wait_for_all(&running, &receiver, &ids);
    let requests = receiver.received();
    assert_eq!(requests.len(), ids.len(), "each once");
    assert_in_order(&requests);

    let page = page(&running);
    for change in page["changes"].as_array().expect("changes") {
        let delivered = requests
            .iter()
            .find(|one| one.id == change["id"].as_str().expect("an id"));
        assert_eq!(&delivered.expect("delivered").event, change);
    }
    given.wait_for_end(&running, "crm");
    let endpoint = given.endpoint("crm");
    assert_eq!(
        (&endpoint["last_outcome"], &endpoint["failing_since"]),
        (&"204".into(), &Value::Null)
    );
    let delivered = running.metric("tenure_webhook_deliveries_total{endpoint=\"crm\",outcome=\"delivered\"}");
    assert!(
        (delivered - f64::from(u32::try_from(ids.len()).expect("few"))).abs() < 0.5,
        "{delivered}"
    );
}

fn a_failed_change_is_sent_again_before_later_ones_of_its_client(given: &Given) {
    let receiver = Receiver::answering(|request, before| match (request.subject(), before) {
        ("p/c1", 0..2) => Answer::status(500),
        _ => Answer::status(204),
    });
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 3, 3);
    let ids = feed(&running);
    wait_for_all(&running, &receiver, &ids);
    let requests = receiver.received();
    assert_in_order(&requests);
    let attempts: Vec<&str> = requests
        .iter()
        .filter(|one| one.subject() == "p/c1")
        .map(|one| &*one.id)
        .collect();
    assert!(
        attempts
            .chunks(3)
            .all(|three| three.iter().all(|id| *id == three[0])),
        "{attempts:?}"
    );
    running.wait_until("the failure has ended", || {
        given.endpoint("crm")["failing_since"].is_null()
    });
}

fn only_the_changes_of_the_filter_are_delivered(given: &Given) {
    let (types, client) = (Receiver::new(), Receiver::new());
    let running = given.tenure().run();
    given.add("types", &types.url(), &["--type", "user.*", "--partner", "p"]);
    given.add("client", &client.url(), &["--client", "p/c1"]);
    add_users(&running, 3, 3);
    let page = page(&running);
    let matching = |fits: &dyn Fn(&str, &str) -> bool| -> Vec<String> {
        let changes = page["changes"].as_array().expect("changes").iter();
        let text = |change: &Value, name: &str| change[name].as_str().expect("text").to_owned();
        changes
            .filter(|change| fits(&text(change, "type"), &text(change, "subject")))
            .map(|change| text(change, "id"))
            .collect()
    };
    let users = matching(&|kind, _| kind.starts_with("user."));
    let of_client = matching(&|_, subject| subject == "p/c1");
    assert!(users.len() == 9 && of_client.len() > 3);
    wait_for_all(&running, &types, &users);
    wait_for_all(&running, &client, &of_client);
    // The cursor moves past changes that do not match, so everything was looked at.
    for name in ["types", "client"] {
        given.wait_for_end(&running, name);
    }
    assert_eq!(
        (types.received().len(), client.received().len()),
        (users.len(), of_client.len())
    );
}

fn a_slow_endpoint_holds_up_nobody(given: &Given) {
    let slow = Receiver::answering(|_, _| Answer::status(204).after(Duration::from_mins(10)));
    let fast = Receiver::new();
    let running = given.with(&[("TENURE_WEBHOOKS__CONCURRENCY", "2")]).run();
    given.add("slow", &slow.url(), &[]);
    given.add("fast", &fast.url(), &[]);
    add_users(&running, 20, 5);
    wait_for_all(&running, &fast, &feed(&running));
    running.wait_until("the slow one has requests", || slow.received().len() == 2);
    assert_in_order(&fast.received());
}

fn a_request_without_an_answer_is_given_up_and_sent_again(given: &Given) {
    let receiver = Receiver::answering(|_, before| match before {
        0 => Answer::status(204).after(Duration::from_mins(10)),
        _ => Answer::status(204),
    });
    let running = given.with(&[("TENURE_WEBHOOKS__TIMEOUT", "1s")]).run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 1, 2);
    let ids = feed(&running);
    running.wait_until("sent again", || receiver.received().len() == 2 * ids.len());
    assert_in_order(&receiver.accepted());
}

fn an_endless_answer_is_not_read(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer {
        is_endless: true,
        ..Answer::status(200)
    });
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 2, 3);
    wait_for_all(&running, &receiver, &feed(&running));
    given.wait_for_end(&running, "crm");
    assert_eq!(given.endpoint("crm")["last_outcome"], "200");
}

fn a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_asks(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer {
        retry_after: Some(3_600),
        ..Answer::status(429)
    });
    let other = Receiver::new();
    let running = given.with(&[("TENURE_WEBHOOKS__CONCURRENCY", "1")]).run();
    given.add("busy", &receiver.url(), &[]);
    given.add("other", &other.url(), &[]);
    add_users(&running, 2, 1);
    running.wait_until("the first is answered", || {
        given.endpoint("busy")["last_outcome"] == "429"
    });
    // Another endpoint shows that time has passed: it has been sent more, one after the other.
    add_users(&running, 10, 5);
    wait_for_all(&running, &other, &feed(&running));
    assert_eq!(receiver.received().len(), 1);
}
