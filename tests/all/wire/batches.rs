//! Several events at once: JSON arrays, and files with an event on each line.

use serde_json::json;
use tenure::store::DeadLetter;
use tenure::wire::{BATCH, Message, Pairs, STRUCTURED};

use super::{bakery, decoder, envelope, pairs};

#[test]
fn a_batch_is_read_up_to_its_bound_and_no_further() {
    let read = |body: &str, most: usize| {
        let decoder = decoder().with_max_events(most);
        decoder.events(Message {
            origin: "http",
            content_type: Some(BATCH),
            headers: &Pairs::default(),
            body: body.as_bytes(),
        })
    };
    assert_eq!(read("[1, 2, 3]", 3).unwrap().len(), 3);
    let error = read("[1, 2, 3]", 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the batch has more than 2 events; send them in smaller batches"
    );
    // What comes after the first one too many is not looked at.
    assert_eq!(read("[1, 2, 3, and then no JSON", 2).unwrap_err().most, 2);
    assert!(read("[1, 2, and then no JSON", 2).unwrap()[0].is_err());
    // A dead letter with such a batch stays one, and says why.
    let dead_letter = DeadLetter {
        origin: "amqp:tenure.events.0".into(),
        source: None,
        content_type: Some(BATCH.into()),
        headers: Vec::new(),
        body: b"[1, 2, 3]".to_vec(),
        reason: "a batch".into(),
        retry_at: None,
    };
    let again = decoder().with_max_events(2).again(&dead_letter);
    assert_eq!(again.len(), 1);
    assert!(
        again[0]
            .as_ref()
            .unwrap_err()
            .reason
            .contains("more than 2 events")
    );
    assert_eq!(decoder().again(&dead_letter).len(), 3);
}

#[test]
fn a_batch_is_read_member_by_member() {
    let events = |body: &str| {
        decoder()
            .events(Message {
                origin: "http",
                content_type: Some("application/cloudevents-batch+json; charset=utf-8"),
                headers: &pairs(&[("ce-x", "y")]),
                body: body.as_bytes(),
            })
            .unwrap()
    };
    let body = format!("[{}, {{\"id\": 1}} , 7]", envelope(&json!({})));
    let read = events(&body);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].as_ref().map(|decoded| &decoded.event), Ok(&bakery()));
    let dead_letter = read[1].as_ref().unwrap_err();
    assert_eq!(dead_letter.body, b"{\"id\": 1}");
    assert_eq!(dead_letter.content_type.as_deref(), Some(STRUCTURED));
    assert_eq!(read[2].as_ref().unwrap_err().body, b"7");
    assert_eq!(events("[]"), []);
    for whole in ["{}", "[{}", "", "[1,]", "7"] {
        let read = events(whole);
        assert_eq!(read.len(), 1, "{whole}");
        let dead_letter = read[0].as_ref().unwrap_err();
        assert_eq!(dead_letter.body, whole.as_bytes());
        assert!(
            dead_letter
                .reason
                .starts_with("the batch is not a JSON array of events"),
            "{}",
            dead_letter.reason
        );
    }
    let reason = events("{}").remove(0).unwrap_err().reason;
    assert!(reason.contains("expected a list of events"), "{reason}");
}

#[test]
fn a_file_is_read_line_by_line() {
    assert_eq!(decoder().line("file:x:1", b" \r"), None);
    let line = format!("{}\r", envelope(&json!({})));
    let decoded = decoder().line("file:x:2", line.as_bytes()).unwrap().unwrap();
    assert_eq!((decoded.event, decoded.warnings), (bakery(), Vec::new()));
    let dead_letter = decoder().line("file:x:3", b"oops").unwrap().unwrap_err();
    assert_eq!(
        (&*dead_letter.origin, &*dead_letter.body),
        ("file:x:3", &b"oops"[..])
    );
}
