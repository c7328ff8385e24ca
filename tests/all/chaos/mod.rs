//! Chaos test of the binary: while events arrive, workers and servers are killed and connections cut. In the end no event is
//! lost or counted twice, and every change was published in order.

mod assertions;
mod environment;
mod faults;
mod flow;
pub(crate) mod subscriber;

use std::time::Instant;

use environment::Environment;
use faults::{Faults, Strikes};

/// The number of messages and of faults.
struct Scale {
    clients: usize,
    events: usize,
    strikes: Strikes,
}

const SHORT: Scale = Scale {
    clients: 220,
    events: 10_000,
    strikes: Strikes {
        workers_killed: 5,
        databases_stopped: 2,
        brokers_killed: 2,
        cuts: 5,
    },
};

const LONG: Scale = Scale {
    clients: 2_200,
    events: 100_000,
    strikes: Strikes {
        workers_killed: 25,
        databases_stopped: 6,
        brokers_killed: 6,
        cuts: 120,
    },
};

#[test]
fn faults_lose_no_event_and_count_none_twice() {
    let scale = match std::env::var("TENURE_TEST_CHAOS").as_deref() {
        Ok("long") => LONG,
        _ => SHORT,
    };
    let seed = std::env::var("TENURE_TEST_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    eprintln!("chaos with seed {seed} (TENURE_TEST_SEED)");
    let began = Instant::now();
    let sent = flow::messages(seed, scale.clients);
    assert!(sent.len() >= scale.events, "only {} messages", sent.len());
    let environment = Environment::new();
    let subscriber = environment.listen();
    let mut faults = Faults::new(&environment, seed);
    let flow = environment.publish(&sent);
    faults.inject(&flow, &scale.strikes);
    flow.release(sent.len());
    let running = faults.end(&flow);
    environment.wait_for_sweeps();
    let received = subscriber.all(|| environment.journal_length());
    assertions::check(&environment, &sent, &received);
    assert!(running.stop().success());
    eprintln!(
        "{} messages in {:.0} s; {}; {}; republished {}",
        sent.len(),
        began.elapsed().as_secs_f64(),
        faults.figures(),
        received.figures(),
        flow.republished(),
    );
}
