//! Screens the data from RabbitMQ before the client library reads it: properties that would end the connection are
//! withheld from the library, and the lane receives them separately ([`Withheld`]); deliveries that exceed the bound
//! are discarded ([`Flights`]).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::{Stream, TryFutureExt};
use lapin::AsyncTcpStream;
use lapin::types::{ChannelId, DeliveryTag};

use super::flight::Flights;
use super::properties::{RawProperties, Withheld, is_readable, replace_short_string};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
/// The first byte of the server's response to a client of another protocol version: `AMQP0091`.
const ANOTHER_VERSION: u8 = b'A';
/// The type, the channel and the payload's size.
const HEAD: usize = 7;
/// Bytes of a frame outside its payload.
const OVERHEAD: usize = HEAD + 1;
/// In a content header's payload: the class, the weight, and the size of the body. The properties follow.
const BEFORE_PROPERTIES: usize = 12;
/// Bytes per read from the network.
const READ_BYTES: usize = 64 << 10;

/// A stream from RabbitMQ that is screened. Writes pass through unchanged.
pub(super) struct Screened<S> {
    inner: S,
    screen: Screen,
    read: Box<[u8]>,
    /// Screened data for the library, which has read it up to `consumed`.
    ready: Vec<u8>,
    consumed: usize,
}

impl<S> Screened<S> {
    /// `frame_max` is the library's own limit, in bytes, if it has one.
    pub fn new(inner: S, frame_max: Option<u32>, withheld: Withheld, flights: Flights) -> Self {
        Self {
            inner,
            screen: Screen {
                frame_max: frame_max.unwrap_or_default(),
                withheld,
                flights,
                coming: HashMap::new(),
                discarding: HashSet::new(),
                frame: Vec::new(),
                passing: 0,
                skipping: 0,
            },
            read: vec![0; READ_BYTES].into(),
            ready: Vec::new(),
            consumed: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.consumed == this.ready.len() {
            this.ready.clear();
            this.consumed = 0;
            let read = ready!(Pin::new(&mut this.inner).poll_read(context, &mut this.read))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            this.screen.feed(&this.read[..read], &mut this.ready);
        }
        let ready = &this.ready[this.consumed..];
        let length = ready.len().min(into.len());
        into[..length].copy_from_slice(&ready[..length]);
        this.consumed += length;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// A delivery whose content header comes next.
struct Coming {
    tag: DeliveryTag,
    is_address_replaced: bool,
}

struct Screen {
    /// Larger frames end the connection; 0 as long as neither side has set a limit.
    frame_max: u32,
    withheld: Withheld,
    flights: Flights,
    coming: HashMap<ChannelId, Coming>,
    /// Channels with a delivery that is being discarded.
    discarding: HashSet<ChannelId>,
    /// The frame being collected, because the screen needs it whole.
    frame: Vec<u8>,
    /// Remaining bytes to pass through unexamined: the rest of a body frame.
    passing: usize,
    /// Remaining bytes to discard: the rest of a discarded body frame.
    skipping: usize,
}

impl Screen {
    fn feed(&mut self, mut bytes: &[u8], ready: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let (pass, rest) = bytes.split_at(self.passing.min(bytes.len()));
                ready.extend_from_slice(pass);
                self.passing -= pass.len();
                bytes = rest;
                continue;
            }
            if self.skipping > 0 {
                let skip = self.skipping.min(bytes.len());
                self.skipping -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            let wanted = self.wanted();
            let (part, rest) = bytes.split_at((wanted - self.frame.len()).min(bytes.len()));
            self.frame.extend_from_slice(part);
            bytes = rest;
            if self.frame.len() < wanted {
                return;
            }
            if wanted > HEAD {
                if self.screen_frame() {
                    ready.append(&mut self.frame);
                }
                self.frame.clear();
            } else {
                self.begin_frame(ready);
            }
        }
    }

    /// The head of a frame is complete. Method and header frames are collected; other frames are not examined.
    fn begin_frame(&mut self, ready: &mut Vec<u8>) {
        let rest = self.wanted() - HEAD;
        match self.frame[0] {
            METHOD | HEADER => {}
            BODY if self.discarding.contains(&self.channel()) => {
                self.skipping = rest;
                self.frame.clear();
            }
            kind => {
                self.passing = if kind == ANOTHER_VERSION { usize::MAX } else { rest };
                ready.append(&mut self.frame);
            }
        }
    }

    fn channel(&self) -> ChannelId {
        u16::from_be_bytes([self.frame[1], self.frame[2]])
    }

    /// The size of the collected frame in bytes, as far as it is known.
    fn wanted(&self) -> usize {
        match *self.frame {
            [_, _, _, a, b, c, d, ..] => {
                let size = u32::from_be_bytes([a, b, c, d]);
                usize::try_from(size).map_or(usize::MAX, |size| size.saturating_add(OVERHEAD))
            }
            _ => HEAD,
        }
    }

    /// Returns false if the library must not receive the frame.
    fn screen_frame(&mut self) -> bool {
        let channel = self.channel();
        if self.frame[0] == METHOD {
            self.screen_method(channel)
        } else if self.discarding.contains(&channel) {
            false
        } else {
            self.screen_header(channel);
            true
        }
    }

    fn screen_method(&mut self, channel: ChannelId) -> bool {
        let end = self.frame.len() - 1;
        let payload = &mut self.frame[HEAD..end];
        match *payload {
            // connection.tune
            [0, 10, 0, 30, _, _, a, b, c, d, ..] => {
                self.frame_max = match (self.frame_max, u32::from_be_bytes([a, b, c, d])) {
                    (0, limit) | (limit, 0) => limit,
                    (ours, theirs) => ours.min(theirs),
                };
            }
            // basic.deliver
            [0, 60, 0, 60, ..] => {
                let flight = self.flights.of(channel);
                if flight.is_some_and(|flight| flight.is_overflowed()) {
                    self.discarding.insert(channel);
                    return false;
                }
                self.discarding.remove(&channel);
                if let Some(coming) = screen_delivery(payload) {
                    self.coming.insert(channel, coming);
                }
            }
            // basic.return: a reply code, its text, the exchange and the routing key.
            [0, 60, 0, 50, ..] => {
                self.coming.remove(&channel);
                replace_short_strings(payload, 6, 3);
            }
            // connection.close, channel.close: a reply code and its text.
            [0, 10, 0, 50, ..] | [0, 20, 0, 40, ..] => {
                replace_short_strings(payload, 6, 1);
            }
            // connection.blocked
            [0, 10, 0, 60, ..] => {
                replace_short_strings(payload, 4, 1);
            }
            _ => {}
        }
        true
    }

    fn screen_header(&mut self, channel: ChannelId) {
        let coming = self.coming.remove(&channel);
        let end = self.frame.len() - 1;
        let start = HEAD + BEFORE_PROPERTIES;
        if end < start {
            return;
        }
        if let (Some(Coming { tag, .. }), Some(flight)) = (&coming, self.flights.of(channel)) {
            let size = &self.frame[HEAD + BEFORE_PROPERTIES - 8..HEAD + BEFORE_PROPERTIES];
            let size = u64::from_be_bytes(size.try_into().unwrap_or_default());
            let body = usize::try_from(size).unwrap_or(usize::MAX);
            flight.arrive(*tag, self.frame.len().saturating_add(body));
        }
        let is_address_replaced = coming.as_ref().is_some_and(|coming| coming.is_address_replaced);
        let fits =
            self.frame_max == 0 || u32::try_from(self.frame.len()).is_ok_and(|size| size <= self.frame_max);
        if fits && !is_address_replaced && is_readable(&self.frame[start..end]) {
            return;
        }
        if let Some(Coming { tag, .. }) = coming {
            let properties = RawProperties {
                bytes: self.frame[start..end].to_vec(),
                is_address_replaced,
            };
            self.withheld.put(channel, tag, properties);
        }
        // The flags of an empty property list.
        self.frame.splice(start..end, [0, 0]);
        let size = BEFORE_PROPERTIES + 2;
        self.frame[3..HEAD].copy_from_slice(&u32::try_from(size).unwrap_or_default().to_be_bytes());
    }
}

/// The consumer's tag, the delivery's tag, the redelivered flag, the exchange, and the routing key.
fn screen_delivery(payload: &mut [u8]) -> Option<Coming> {
    let (at, _) = replace_short_string(payload, 4)?;
    let tag = payload.get(at..at + 8)?.try_into().ok()?;
    Some(Coming {
        tag: DeliveryTag::from_be_bytes(tag),
        is_address_replaced: replace_short_strings(payload, at + 9, 2),
    })
}

/// Replaces invalid UTF-8 in `count` consecutive short strings. Returns whether any was replaced.
fn replace_short_strings(payload: &mut [u8], mut at: usize, count: usize) -> bool {
    let mut is_any_replaced = false;
    for _ in 0..count {
        let Some((end, is_replaced)) = replace_short_string(payload, at) else {
            break;
        };
        is_any_replaced |= is_replaced;
        at = end;
    }
    is_any_replaced
}

/// The tokio runtime for the client library, with screened connections.
#[derive(Clone, Debug)]
pub(super) struct ScreenedTokio(pub Tokio);

impl Reactor for ScreenedTokio {
    type TcpStream = Screened<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connected = self.0.tcp_connect_addr(address);
        connected.map_ok(|stream| {
            Screened::new(
                AsyncTcpStream::Plain(stream),
                None,
                Withheld::default(),
                Flights::default(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 1];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    }

    fn deliver(tag: u8, routing_key: &[u8]) -> Vec<u8> {
        let length = u8::try_from(routing_key.len()).unwrap();
        let payload = [
            &[0, 60, 0, 60, 1, b'c', 0, 0, 0, 0, 0, 0, 0, tag, 0, 0, length][..],
            routing_key,
        ];
        frame(METHOD, &payload.concat())
    }

    fn header(properties: &[u8]) -> Vec<u8> {
        frame(
            HEADER,
            &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], properties].concat(),
        )
    }

    /// The screened output, which must be equal for pieces of every size.
    fn screen(stream: &[u8], frame_max: u32) -> (Vec<u8>, Withheld) {
        let mut results = [1, 2, 5, 7, 8, 64, 1 << 20].map(|piece| {
            let withheld = Withheld::default();
            let mut screened = Screened::new((), Some(frame_max), withheld.clone(), Flights::default());
            let mut ready = Vec::new();
            for piece in stream.chunks(piece) {
                screened.screen.feed(piece, &mut ready);
            }
            (ready, withheld)
        });
        assert!(results.iter().all(|(ready, _)| *ready == results[0].0));
        std::mem::take(&mut results[0])
    }

    #[test]
    fn readable_frames_pass_unchanged() {
        let stream = [
            frame(METHOD, b"\x00\x0a\x00\x0a"),
            deliver(1, b"key"),
            header(b"\x80\x00\x04gr\xc3\xb6"),
            frame(3, b"\xff\xce\x02"),
            frame(8, b""),
            frame(METHOD, b"\x00\x0a\x00\x33"),
        ]
        .concat();
        let (ready, withheld) = screen(&stream, 4096);
        assert_eq!(ready, stream);
        assert_eq!(withheld.take(1, 1), None);
        let another = b"AMQP\x00\x00\x09\x01whatever follows";
        assert_eq!(screen(another, 0).0, another);
    }

    #[test]
    fn properties_that_the_library_does_not_read_are_withheld() {
        let bare = header(b"\x00\x00");
        for (routing_key, properties, frame_max) in [
            (&b"key"[..], &b"\x80\x00\x01\xff"[..], 0),
            (b"k\xff", b"\x80\x00\x01a", 0),
            (b"key", b"\x80\x00\x04fits", 26),
            (b"key", b"\x40\x00\x80", 0),
        ] {
            let stream = [deliver(9, routing_key), header(properties), frame(3, b"abc")].concat();
            let (ready, withheld) = screen(&stream, frame_max);
            let shown: Vec<u8> = routing_key
                .iter()
                .map(|&byte| if byte == 0xff { b'?' } else { byte })
                .collect();
            assert_eq!(
                ready,
                [deliver(9, &shown), bare.clone(), frame(3, b"abc")].concat()
            );
            let raw = withheld.take(1, 9).unwrap();
            assert_eq!(raw.bytes, properties);
            assert_eq!(raw.is_address_replaced, shown != routing_key);
        }
    }

    #[test]
    fn the_smaller_frame_limit_applies() {
        let tune = frame(METHOD, b"\x00\x0a\x00\x1e\x07\xff\x00\x00\x00\x1a\x00\x3c");
        let stream = [tune.clone(), deliver(1, b""), header(b"\x80\x00\x04fits")].concat();
        for frame_max in [0, 4096] {
            assert!(screen(&stream, frame_max).1.take(1, 1).is_some(), "{frame_max}");
        }
        let stream = [tune, deliver(1, b""), header(b"\x80\x00\x02ok")].concat();
        assert_eq!(screen(&stream, 0).0, stream);
    }

    #[test]
    fn frames_that_do_not_fit_are_discarded() {
        let flights = Flights::default();
        let flight = flights.open(1, 1);
        let mut screened = Screened::new((), None, Withheld::default(), flights.clone());
        let message = |tag| [deliver(tag, b""), header(b"\x00\x00"), frame(BODY, b"abc")].concat();
        let close = frame(METHOD, b"\x00\x14\x00\x29");
        let mut ready = Vec::new();
        for part in [message(1), message(2), message(3), message(4), close.clone()] {
            screened.screen.feed(&part, &mut ready);
        }
        // The delivery that overflows is complete; later deliveries are discarded entirely.
        assert_eq!(ready, [message(1), message(2), close].concat());
        assert!(flight.is_overflowed());
        // The next channel has the same number.
        let flight = flights.open(1, 1 << 20);
        ready.clear();
        screened.screen.feed(&message(1), &mut ready);
        assert_eq!(ready, message(1));
        assert!(!flight.is_overflowed());
    }

    #[test]
    fn errors_and_returned_messages_from_rabbitmq_can_be_read() {
        for (method, shown) in [
            (
                &b"\x00\x0a\x00\x32\x01\x40\x03a\xf6b\x00\x00\x00\x00"[..],
                &b"\x00\x0a\x00\x32\x01\x40\x03a?b\x00\x00\x00\x00"[..],
            ),
            (
                b"\x00\x14\x00\x28\x01\x94\x01\xff\x00\x00\x00\x00",
                b"\x00\x14\x00\x28\x01\x94\x01?\x00\x00\x00\x00",
            ),
            (
                b"\x00\x3c\x00\x32\x01\x38\x01a\x01\xff\x01\xfe",
                b"\x00\x3c\x00\x32\x01\x38\x01a\x01?\x01?",
            ),
            (b"\x00\x0a\x00\x3c\x01\xff", b"\x00\x0a\x00\x3c\x01?"),
        ] {
            assert_eq!(screen(&frame(METHOD, method), 0).0, frame(METHOD, shown));
        }
    }
}
