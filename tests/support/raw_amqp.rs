//! A publisher that writes raw AMQP 0-9-1. Client libraries refuse to send some messages that RabbitMQ accepts: text that is
//! not UTF-8, and content headers that fill a frame to its last byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::servers::name_in;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// Bytes of a frame around its payload.
const OVERHEAD: usize = 8;

/// A message whose texts are bytes.
#[derive(Clone, Debug, Default)]
pub struct RawMessage {
    pub routing_key: Vec<u8>,
    pub content_type: Option<Vec<u8>>,
    pub content_encoding: Option<Vec<u8>>,
    /// Names and encoded values, from [`text`] or [`table`].
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub correlation_id: Option<Vec<u8>>,
    pub reply_to: Option<Vec<u8>>,
    pub expiration: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
    pub kind: Option<Vec<u8>>,
    pub app_id: Option<Vec<u8>>,
    pub body: Vec<u8>,
}

/// Encodes a text as the value of a header.
pub fn text(text: &[u8]) -> Vec<u8> {
    [b"S", &long(text)[..]].concat()
}

/// Encodes a table as the value of a header.
pub fn table(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    [b"F", &fields(entries)[..]].concat()
}

impl RawMessage {
    /// The payload of the content header frame.
    fn header(&self) -> Vec<u8> {
        let mut flags = 1_u16 << 12;
        let mut values = Vec::new();
        let mut add = |bit: u16, value: Option<Vec<u8>>| {
            if let Some(value) = value {
                flags |= 1 << bit;
                values.extend(value);
            }
        };
        let of = |text: &Option<Vec<u8>>| text.as_deref().map(short);
        add(15, of(&self.content_type));
        add(14, of(&self.content_encoding));
        add(13, (!self.headers.is_empty()).then(|| fields(&self.headers)));
        // Persistent.
        add(12, Some(vec![2]));
        add(10, of(&self.correlation_id));
        add(9, of(&self.reply_to));
        add(8, of(&self.expiration));
        add(7, of(&self.message_id));
        add(5, of(&self.kind));
        add(3, of(&self.app_id));
        let mut payload = [0, 60, 0, 0].to_vec();
        payload.extend((self.body.len() as u64).to_be_bytes());
        payload.extend(flags.to_be_bytes());
        payload.extend(values);
        payload
    }

    /// Adds a header that leaves `spare` bytes of the frame for the content header.
    pub fn fill_frame(&mut self, frame_max: usize, spare: usize) {
        self.headers.push((b"filler".to_vec(), text(b"")));
        let free = frame_max - OVERHEAD - self.header().len() - spare;
        self.headers.pop();
        self.headers.push((b"filler".to_vec(), text(&vec![b'x'; free])));
    }
}

pub struct RawPublisher {
    stream: TcpStream,
    pub frame_max: usize,
}

impl RawPublisher {
    /// Connects as `guest` and opens a channel with confirms.
    pub fn at(url: &str) -> Self {
        let (_, rest) = url.split_once("@127.0.0.1:").expect("an address here");
        let (port, _) = rest.split_once('/').expect("a vhost");
        let port = port.parse::<u16>().expect("a port");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .expect("a time limit");
        let mut publisher = Self { stream, frame_max: 0 };
        publisher
            .stream
            .write_all(b"AMQP\x00\x00\x09\x01")
            .expect("written");
        publisher.expect([10, 10]);
        let start = [
            &[0; 4][..],
            &short(b"PLAIN"),
            &long(b"\0guest\0guest"),
            &short(b"en_US"),
        ]
        .concat();
        publisher.method(0, [10, 11], &start);
        let tune = publisher.expect([10, 30]);
        let frame_max = u32::from_be_bytes(tune[2..6].try_into().expect("four bytes"));
        publisher.frame_max = usize::try_from(frame_max).expect("a size");
        // No heartbeats.
        publisher.method(0, [10, 31], &[&tune[..6], &[0, 0]].concat());
        let open = [&short(name_in(url).as_bytes())[..], &[0, 0]].concat();
        publisher.method(0, [10, 40], &open);
        publisher.expect([10, 41]);
        publisher.method(1, [20, 10], &[0]);
        publisher.expect([20, 11]);
        publisher.method(1, [85, 10], &[0]);
        publisher.expect([85, 11]);
        publisher
    }

    /// Publishes to `tenure.events` and waits for the confirm.
    pub fn publish(&mut self, message: &RawMessage) {
        let address = [
            &[0, 0][..],
            &short(b"tenure.events"),
            &short(&message.routing_key),
            &[1],
        ]
        .concat();
        self.method(1, [60, 40], &address);
        let header = message.header();
        assert!(
            header.len() + OVERHEAD <= self.frame_max,
            "the header is too long"
        );
        self.frame(HEADER, 1, &header);
        for part in message.body.chunks(self.frame_max - OVERHEAD) {
            self.frame(BODY, 1, part);
        }
        self.expect([60, 80]);
    }

    fn method(&mut self, channel: u16, [class, method]: [u8; 2], arguments: &[u8]) {
        let payload = [&[0, class, 0, method], arguments].concat();
        self.frame(METHOD, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len()).expect("a frame").to_be_bytes());
        frame.extend(payload);
        frame.push(FRAME_END);
        self.stream.write_all(&frame).expect("written");
    }

    /// Reads the next method, which must be this one, and returns its arguments.
    fn expect(&mut self, [class, method]: [u8; 2]) -> Vec<u8> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).expect("an answer");
        let size = u32::from_be_bytes(head[3..].try_into().expect("four bytes"));
        let mut payload = vec![0; usize::try_from(size).expect("a size") + 1];
        self.stream.read_exact(&mut payload).expect("an answer");
        assert_eq!(
            payload[..4],
            [0, class, 0, method],
            "{}",
            String::from_utf8_lossy(&payload)
        );
        payload[4..].to_vec()
    }
}

fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short string");
    [&[length], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a long string");
    [&length.to_be_bytes(), text].concat()
}

fn fields(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(name, value)| [short(name), value.clone()].concat())
        .collect();
    long(&entries)
}
