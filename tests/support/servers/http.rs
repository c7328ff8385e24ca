//! A minimal blocking HTTP client for RabbitMQ's management API and for Tenure's.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// guest:guest
const CREDENTIALS: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// Sends one request to a port of 127.0.0.1. Returns the status and the JSON body, `Null` if it is empty.
///
/// HTTP/1.0, so that the response is not chunked and ends with the connection.
pub fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
    let (status, body) = exchange(port, method, path, body)?;
    let body = match body.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|e| format!("{method} {path} on port {port}: {e}"))?,
    };
    Ok((status, body))
}

/// The same, with the body as text.
pub fn exchange(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, String), String> {
    send(
        port,
        method,
        path,
        &body.map(Value::to_string).unwrap_or_default(),
    )
}

/// The same, with a request body that is JSON text.
pub fn send(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    send_as(port, method, path, "application/json", body)
}

/// The same, with a request body of any media type.
pub fn send_as(
    port: u16,
    method: &str,
    path: &str,
    media_type: &str,
    body: &str,
) -> Result<(u16, String), String> {
    let fault = |error: &dyn std::fmt::Display| format!("{method} {path} on port {port}: {error}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(30);
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(|e| fault(&e))?;
    stream
        .set_read_timeout(Some(limit))
        .and_then(|()| stream.set_write_timeout(Some(limit)))
        .map_err(|e| fault(&e))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: Basic {CREDENTIALS}\r\n\
         content-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut answer = Vec::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_end(&mut answer))
        .map_err(|e| fault(&e))?;
    let answer = String::from_utf8(answer).map_err(|e| fault(&e))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| fault(&"the response has no end of its header"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| fault(&"the response has no status"))?;
    Ok((status, body.to_owned()))
}

/// Percent-encodes one segment of a path.
pub fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
