//! Dead letters: the message, the reason, and reading it again.

use chrono::TimeDelta;
use serde_json::json;
use tenure::store::DeadLetter;
use tenure::wire::{Decoder, Limits, STRUCTURED};

use super::{decoder, envelope, moment, now, read};

#[test]
fn dead_letters_contain_the_message() {
    let headers = [("cloudEvents_specversion", "1.0"), ("x\0", "y\0")];
    let dead_letter = read(Some("application/json"), &headers, "{\0").unwrap_err();
    assert_eq!(
        dead_letter,
        DeadLetter {
            origin: "test".into(),
            source: None,
            content_type: Some("application/json".into()),
            headers: vec![
                ("cloudEvents_specversion".into(), "1.0".into()),
                ("x\\u0000".into(), "y\\u0000".into()),
            ],
            body: b"{\0".to_vec(),
            reason: "the attribute `type` is missing".into(),
            retry_at: None,
        }
    );
}

#[test]
fn no_reason_has_control_characters() {
    let dead_letter = read(Some(STRUCTURED), &[], "{\"\u{1b}[2J\u{0}\":").unwrap_err();
    assert!(
        !dead_letter.reason.contains(char::is_control),
        "{:?}",
        dead_letter.reason
    );
    let event = envelope(&json!({"type": "\u{1b}]0;boo\u{7}"}));
    let dead_letter = read(Some(STRUCTURED), &[], &event.to_string()).unwrap_err();
    assert!(
        !dead_letter.reason.contains(char::is_control),
        "{:?}",
        dead_letter.reason
    );
}

#[test]
fn dead_letters_can_be_read_again() {
    let ahead = envelope(&json!({"time": "2026-03-01T12:30:00Z"})).to_string();
    let headers = [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", "%20"),
        ("cloudEvents_source", "s"),
        ("cloudEvents_type", "consent.granted"),
        ("cloudEvents_subject", "a/c"),
        ("cloudEvents_time", "2026-03-01T12:30:00Z"),
    ];
    let dead_letters = [
        read(Some(STRUCTURED), &[], &ahead).unwrap_err(),
        read(None, &headers, "").unwrap_err(),
        decoder().line("f:1", ahead.as_bytes()).unwrap().unwrap_err(),
    ];
    let ripe = Some(moment("2026-03-01T12:25:00Z"));
    assert!(
        dead_letters
            .iter()
            .all(|dead_letter| dead_letter.retry_at == ripe)
    );
    let later = Decoder::new(Limits::default(), now() + TimeDelta::hours(1));
    for dead_letter in dead_letters {
        assert_eq!(decoder().again(&dead_letter), [Err(dead_letter.clone())]);
        assert!(later.again(&dead_letter)[0].is_ok(), "{dead_letter:?}");
    }
}
