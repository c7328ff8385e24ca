//! Malformed and malicious messages: each becomes an event, or a dead letter with a reason.

mod messages;
mod nesting;
mod wrong;

use std::time::Duration;

use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use proptest::test_runner::{Config, RngSeed};
use tenure::broker;
use tenure::domain::Event;
use tenure::engine::Incoming;
use tenure::store::DeadLetter;
use tenure::wire::{Decoder, Limits};

const QUEUE: &str = "tenure.events.0";
const MAX_BYTES: usize = 4_096;

/// The same cases in every run, unless `PROPTEST_CASES` or `PROPTEST_RNG_SEED` is set.
fn cases(default: u32) -> Config {
    let given = Config::default();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    Config {
        cases: cases.unwrap_or(default),
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(20_260_301),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

fn now() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

fn read(queue: &str, properties: &BasicProperties, body: &[u8]) -> Result<Event, DeadLetter> {
    let limits = Limits {
        max_event_bytes: MAX_BYTES,
        max_clock_skew: Duration::from_mins(5),
    };
    match broker::read(queue, &Decoder::new(limits, now()), properties, body) {
        Incoming::Event(event) => Ok(event),
        Incoming::Dead(dead_letter) => Err(dead_letter),
    }
}

/// Checks that a dead letter has the original body, and that all its other texts can be stored and printed.
fn check_dead_letter(dead_letter: &DeadLetter, body: &[u8]) -> Result<(), String> {
    let reason = &dead_letter.reason;
    let storable = |text: &str| !text.contains('\0');
    if reason.is_empty() || reason.contains(char::is_control) || reason.chars().count() > 2_000 {
        return Err(format!("invalid reason: {reason:?}"));
    }
    if dead_letter.body != body {
        return Err("a different body".into());
    }
    let is_storable = dead_letter
        .headers
        .iter()
        .all(|(name, value)| storable(name) && storable(value));
    if !is_storable || !dead_letter.content_type.as_deref().is_none_or(storable) {
        return Err(format!("not storable: {dead_letter:?}"));
    }
    Ok(())
}
