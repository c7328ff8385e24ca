//! Several workers, and workers that end.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::receiver::{Answer, Receiver};
use super::{Given, add_users, assert_in_order, feed, on_both_stores, wait_for_all};

on_both_stores!(
    deliveries_of_a_killed_worker_are_repeated,
    two_workers_deliver_once_and_take_over,
    a_stopped_worker_finishes_its_requests,
);

/// The worker is killed while requests are in progress, after the receiver has accepted some and before that is recorded.
fn deliveries_of_a_killed_worker_are_repeated(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer::status(204).after(Duration::from_millis(20)));
    let mut running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 10, 5);
    let ids = feed(&running);
    running.wait_until("some are received", || receiver.received().len() >= 10);
    running.signal(Signal::SIGKILL);
    running.ended(Duration::from_mins(1)).expect("killed");
    let before = receiver.received().len();
    assert!(before < ids.len(), "it was killed in the middle");
    let running = given.tenure().run();
    wait_for_all(&running, &receiver, &ids);
    let requests = receiver.received();
    assert_in_order(&requests[before..]);
    assert_in_order(&requests);
}

fn two_workers_deliver_once_and_take_over(given: &Given) {
    let receiver = Receiver::new();
    let mut first = given.with(&[("HOSTNAME", "one")]).run();
    given.add("crm", &receiver.url(), &[]);
    first.wait_until("the first leads", || {
        first.log().contains("delivers to the endpoints of webhooks now")
    });
    let second = given.with(&[("HOSTNAME", "two")]).run();
    add_users(&second, 10, 5);
    let ids = feed(&second);
    wait_for_all(&second, &receiver, &ids);
    let requests = receiver.received();
    assert_eq!(requests.len(), ids.len(), "each once");
    assert_in_order(&requests);
    given.wait_for_end(&second, "crm");

    first.signal(Signal::SIGKILL);
    first.ended(Duration::from_mins(1)).expect("killed");
    assert_eq!(second.add_client("later").0, 200);
    wait_for_all(&second, &receiver, &feed(&second));
}

fn a_stopped_worker_finishes_its_requests(given: &Given) {
    let receiver = Receiver::answering(|_, _| Answer::status(204).after(Duration::from_millis(500)));
    let running = given.tenure().run();
    given.add("crm", &receiver.url(), &[]);
    add_users(&running, 1, 0);
    let ids = feed(&running);
    running.wait_until("a request is in progress", || !receiver.received().is_empty());
    assert!(running.stop().success());
    assert!(
        receiver.received().len() < ids.len(),
        "it was stopped in the middle"
    );
    let running = given.tenure().run();
    wait_for_all(&running, &receiver, &ids);
    given.wait_for_end(&running, "crm");
    assert_eq!(receiver.received().len(), ids.len(), "none is repeated");
}
