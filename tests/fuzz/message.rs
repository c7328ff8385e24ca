//! Fuzzes the message decoder. The input is a content type on the first line, a header on each following line up to
//! an empty one, then the body.

#![no_main]

use chrono::DateTime;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use libfuzzer_sys::fuzz_target;
use tenure::broker;
use tenure::engine::Incoming;
use tenure::wire::{self, Decoder, Limits};

const QUEUE: &str = "tenure.events.0";

fuzz_target!(|message: &[u8]| {
    let mut lines = message.splitn(2, |&byte| byte == b'\n');
    let content_type = lines.next().unwrap_or_default();
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = FieldTable::default();
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b'=').unwrap_or(line.len()));
        if let Ok(name) = ShortString::try_new(String::from_utf8_lossy(name).as_ref()) {
            headers.insert(name, AMQPValue::LongString(value.get(1..).unwrap_or_default().into()));
        }
    }
    let mut properties = BasicProperties::default().with_headers(headers);
    if let Ok(content_type) = ShortString::try_new(String::from_utf8_lossy(content_type).as_ref()) {
        properties = properties.with_content_type(content_type);
    }
    let decoder = Decoder::new(Limits::default(), DateTime::from_timestamp_nanos(1_772_366_400_000_000_000));
    match broker::read(QUEUE, &decoder, &properties, rest) {
        Incoming::Event(event) => {
            assert_eq!(decoder.structured(&wire::event(&event)).as_ref(), Ok(&event));
        }
        Incoming::Dead(dead_letter) => {
            assert!(!dead_letter.reason.is_empty() && !dead_letter.reason.contains(char::is_control));
            assert_eq!(dead_letter.body, rest);
        }
    }
});
