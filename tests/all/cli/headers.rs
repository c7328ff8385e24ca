//! The headers of a dead letter, for programs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use super::Given;

#[test]
fn two_headers_with_the_same_name_are_both_shown() {
    let given = Given::nothing();
    let running = given.tenure.run();
    let mut stream = TcpStream::connect(&running.address).expect("a connection");
    let request = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nce-specversion: 1.0\r\nce-id: one\r\nce-id: two\r\n\
                   content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.contains(" 422 ") && answer.contains("`id` is given twice"),
        "{answer}"
    );
    assert!(running.stop().success());
    let shown = given.tenure.json(&["dead", "show", "1"]);
    assert_eq!(
        shown[0]["headers"],
        json!([
            { "name": "ce-specversion", "value": "1.0" },
            { "name": "ce-id", "value": "one" },
            { "name": "ce-id", "value": "two" },
        ])
    );
}
