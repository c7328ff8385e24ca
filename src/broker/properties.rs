//! Message properties that the client library cannot read.
//!
//! AMQP requires short strings to be UTF-8. RabbitMQ does not check this, and lapin ends the connection over an invalid
//! string, with everything in flight on it. It does the same with a content header that is larger than a frame, which
//! RabbitMQ sends when it adds `x-death` or `x-delivery-count` to headers that just fitted. Of several headers with the
//! same name lapin returns the last, which would hide a duplicate attribute.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::{ChannelId, DeliveryTag};

use crate::store::hex;
use crate::wire;

/// Maximum number of places that a reason names.
const PLACES: usize = 3;
/// Maximum number of bytes of unreadable properties that a reason shows.
const SHOWN: usize = 256;

/// Properties withheld from the client library until the lane requests them. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Withheld(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// How many there are. Almost always zero, so the lanes rarely need the lock.
    count: AtomicUsize,
    by_delivery: Mutex<HashMap<(ChannelId, DeliveryTag), RawProperties>>,
}

impl Withheld {
    pub fn put(&self, channel: ChannelId, tag: DeliveryTag, properties: RawProperties) {
        let mut by_delivery = self.by_delivery();
        by_delivery.insert((channel, tag), properties);
        self.0.count.store(by_delivery.len(), Ordering::Release);
    }

    /// The properties of a delivery that the library delivered without them.
    pub fn take(&self, channel: ChannelId, tag: DeliveryTag) -> Option<RawProperties> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut by_delivery = self.by_delivery();
        let properties = by_delivery.remove(&(channel, tag));
        self.0.count.store(by_delivery.len(), Ordering::Release);
        properties
    }

    fn by_delivery(&self) -> MutexGuard<'_, HashMap<(ChannelId, DeliveryTag), RawProperties>> {
        self.0.by_delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The properties of a message as RabbitMQ sent them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawProperties {
    /// The bytes from the property flags on.
    pub bytes: Vec<u8>,
    /// The exchange or the routing key was not UTF-8.
    pub is_address_replaced: bool,
}

/// The readable part of the properties.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    /// With `?` in place of each byte that is not UTF-8.
    pub properties: BasicProperties,
    /// What is wrong with the message. None: the properties are valid, but the library cannot read all of them.
    pub flaw: Option<String>,
}

impl RawProperties {
    pub fn salvage(mut self) -> Salvaged {
        let mut walk = Walk {
            bytes: &mut self.bytes,
            at: 0,
            places: Vec::new(),
            attributes: Vec::new(),
        };
        if self.is_address_replaced {
            walk.places.push("routing key or exchange".into());
        }
        let is_walked = walk.properties().is_some();
        walk.make_names_distinct();
        let places = walk.places;
        match read(&self.bytes) {
            Some(properties) if is_walked => Salvaged {
                properties,
                flaw: (!places.is_empty()).then(|| {
                    let more = if places.len() > PLACES { " and others" } else { "" };
                    let places = places[..places.len().min(PLACES)].join(", ");
                    format!(
                        "its properties hold text that is not UTF-8, which AMQP does not allow ({places}{more}); the bytes \
                         at fault are shown as `?`"
                    )
                }),
            },
            _ => Salvaged {
                properties: BasicProperties::default(),
                flaw: Some(format!(
                    "its properties cannot be read; in hexadecimal they begin with {}",
                    hex(&self.bytes[..self.bytes.len().min(SHOWN)])
                )),
            },
        }
    }
}

/// Whether the client library reads all of these properties.
pub(super) fn is_readable(properties: &[u8]) -> bool {
    // Almost all properties are ASCII after the flags, so their strings are ASCII too.
    let is_read = properties.get(2..).is_some_and(<[u8]>::is_ascii) || read(properties).is_some();
    is_read && !has_attribute_twice(properties)
}

fn has_attribute_twice(properties: &[u8]) -> bool {
    let Some(headers) = headers(properties) else {
        return false;
    };
    let mut names: Vec<&[u8]> = headers.filter(|name| is_attribute(name)).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The names of the headers, up to the first invalid name.
fn headers(properties: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let flags = u16::from_be_bytes(properties.get(..2)?.try_into().ok()?);
    if flags & (1 << 13) == 0 {
        return None;
    }
    let mut at = 2;
    for _ in 0..(flags >> 14).count_ones() {
        at += 1 + usize::from(*properties.get(at)?);
    }
    let end = at + 4 + read_length(properties, at)?;
    at += 4;
    Some(std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let name_end = at + 1 + usize::from(*properties.get(at)?);
        let name = properties.get(at + 1..name_end)?;
        at = value_end(properties, name_end)?;
        Some(name)
    }))
}

fn is_attribute(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(wire::is_attribute)
}

fn read_length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()
}

/// The end of the value whose type is at an offset. Skips the contents of tables and arrays.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let length = match bytes.get(at)? {
        b'S' | b'x' | b'F' | b'A' => 4 + read_length(bytes, at + 1)?,
        kind => fixed_length(*kind)?,
    };
    (at + 1).checked_add(length)
}

/// The size of a value of a fixed-length type, in bytes.
fn fixed_length(kind: u8) -> Option<usize> {
    Some(match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        _ => return None,
    })
}

fn read(properties: &[u8]) -> Option<BasicProperties> {
    match parse_properties(properties) {
        Ok(([], properties)) => Some(properties),
        _ => None,
    }
}

/// Replaces invalid UTF-8 in the short string at an offset. Returns where the string ends, and whether anything was
/// replaced; None if the string is truncated.
pub(super) fn replace_short_string(bytes: &mut [u8], at: usize) -> Option<(usize, bool)> {
    let end = at + 1 + usize::from(*bytes.get(at)?);
    let text = bytes.get_mut(at + 1..end)?;
    let mut start = 0;
    let mut is_replaced = false;
    while let Err(error) = std::str::from_utf8(&text[start..]) {
        let from = start + error.valid_up_to();
        let to = error.error_len().map_or(text.len(), |length| from + length);
        text[from..to].fill(b'?');
        start = to;
        is_replaced = true;
    }
    Some((end, is_replaced))
}

/// Walks through properties and replaces short strings that are not UTF-8. The methods return None on malformed bytes.
struct Walk<'a> {
    bytes: &'a mut [u8],
    at: usize,
    /// Where strings were replaced.
    places: Vec<String>,
    /// Positions of the names of headers that carry an attribute.
    attributes: Vec<Range<usize>>,
}

impl Walk<'_> {
    fn properties(&mut self) -> Option<()> {
        let flags = u16::from_be_bytes(self.fixed(2)?.try_into().ok()?);
        let has = |bit: u16| flags & (1 << bit) != 0;
        for (bit, name) in [(15, "content type"), (14, "content encoding")] {
            if has(bit) {
                self.short_string(name)?;
            }
        }
        if has(13) {
            self.headers()?;
        }
        // The delivery mode and the priority.
        self.fixed(usize::from(has(12)) + usize::from(has(11)))?;
        for (bit, name) in [
            (10, "correlation id"),
            (9, "reply to"),
            (8, "expiration"),
            (7, "message id"),
        ] {
            if has(bit) {
                self.short_string(name)?;
            }
        }
        if has(6) {
            // The timestamp.
            self.fixed(8)?;
        }
        for (bit, name) in [(5, "type"), (4, "user id"), (3, "app id"), (2, "cluster id")] {
            if has(bit) {
                self.short_string(name)?;
            }
        }
        (self.at == self.bytes.len()).then_some(())
    }

    fn fixed(&mut self, length: usize) -> Option<&[u8]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn length(&mut self) -> Option<usize> {
        let length = u32::from_be_bytes(self.fixed(4)?.try_into().ok()?);
        usize::try_from(length).ok()
    }

    fn short_string(&mut self, place: &str) -> Option<()> {
        let (end, is_replaced) = replace_short_string(self.bytes, self.at)?;
        if is_replaced {
            let text = String::from_utf8_lossy(&self.bytes[self.at + 1..end]);
            self.places.push(format!("{place} `{text}`"));
        }
        self.at = end;
        Some(())
    }

    fn headers(&mut self) -> Option<()> {
        let end = self.length()?.checked_add(self.at)?;
        while self.at < end {
            let name = self.at + 1;
            self.short_string("header")?;
            let name = name..self.at;
            if is_attribute(&self.bytes[name.clone()]) {
                self.attributes.push(name);
            }
            self.value()?;
        }
        (self.at == end).then_some(())
    }

    /// Gives repeated headers different capitalization, so that the library returns all of them and the decoder rejects
    /// the duplicate, both now and on redrive. Attribute names are not case-sensitive.
    fn make_names_distinct(&mut self) {
        let mut spellings: HashSet<Vec<u8>> = HashSet::new();
        for name in std::mem::take(&mut self.attributes) {
            let text = &mut self.bytes[name];
            for letter in 0..text.len() {
                if spellings.insert(text.to_vec()) {
                    break;
                }
                text[letter] ^= if text[letter].is_ascii_alphabetic() {
                    0x20
                } else {
                    0
                };
            }
        }
    }

    fn table(&mut self) -> Option<()> {
        let end = self.length()?.checked_add(self.at)?;
        while self.at < end {
            self.short_string("header")?;
            self.value()?;
        }
        (self.at == end).then_some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.fixed(1)?[0] {
            b'S' | b'x' => {
                let length = self.length()?;
                self.fixed(length)?;
            }
            b'F' => self.table()?,
            b'A' => {
                let end = self.length()?.checked_add(self.at)?;
                while self.at < end {
                    self.value()?;
                }
                (self.at == end).then_some(())?;
            }
            kind => drop(self.fixed(fixed_length(kind)?)?),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salvage(bytes: &[u8]) -> Salvaged {
        let raw = RawProperties {
            bytes: bytes.to_vec(),
            is_address_replaced: false,
        };
        raw.salvage()
    }

    #[test]
    fn invalid_utf8_is_replaced_and_named() {
        // A content type, and a header whose value is an array with a table in it.
        let bytes = b"\xa0\x00\x03a\xf6b\x00\x00\x00\x14\x01hA\x00\x00\x00\x0dF\x00\x00\x00\x08\x02\xe2\x82S\x00\x00\x00\x00";
        assert!(!is_readable(bytes));
        let Salvaged { properties, flaw } = salvage(bytes);
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "a?b");
        let flaw = flaw.unwrap();
        assert!(flaw.contains("content type `a?b`, header `??`"), "{flaw}");
    }

    #[test]
    fn valid_utf8_is_unchanged() {
        let bytes = "\u{0}\u{0}".as_bytes();
        assert!(is_readable(bytes) && salvage(bytes).flaw.is_none());
        let bytes = b"\x80\x00\x05gr\xc3\xb6!";
        assert!(is_readable(bytes));
        let Salvaged { properties, flaw } = salvage(bytes);
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "grö!");
        assert_eq!(flaw, None);
    }

    #[test]
    fn a_repeated_attribute_stays_repeated() {
        let header = |name: &[u8], value: u8| {
            let length = u8::try_from(name.len()).unwrap();
            [&[length], name, &[b'S', 0, 0, 0, 1, value]].concat()
        };
        let properties = |headers: &[(&[u8], u8)]| {
            let headers: Vec<u8> = headers
                .iter()
                .flat_map(|(name, value)| header(name, *value))
                .collect();
            let length = u32::try_from(headers.len()).unwrap().to_be_bytes();
            [&[0xa0, 0, 1, b'x'], &length[..], &headers].concat()
        };
        for twice in [&b"cloudEvents_id"[..], b"cloudEvents:id", b"ce-id"] {
            let bytes = properties(&[(twice, b'a'), (b"other", b'b'), (twice, b'c'), (twice, b'd')]);
            assert!(!is_readable(&bytes), "{twice:?}");
            let Salvaged { properties, flaw } = salvage(&bytes);
            assert_eq!(flaw, None);
            let headers = properties.headers().clone().unwrap();
            let same = headers
                .inner()
                .keys()
                .filter(|name| name.as_str().as_bytes().eq_ignore_ascii_case(twice));
            assert_eq!(same.count(), 3, "{headers:?}");
        }
        for once in [
            properties(&[(b"cloudEvents_id", b'a'), (b"cloudEvents_source", b'b')]),
            properties(&[(b"other", b'a'), (b"other", b'b')]),
            properties(&[]),
            b"\x80\x00\x01a".to_vec(),
            b"\x00\x00".to_vec(),
        ] {
            assert!(is_readable(&once), "{once:?}");
        }
    }

    #[test]
    fn truncated_properties_are_shown_in_hexadecimal() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"\x80\x00",
            b"\x80\x00\x05ab",
            b"\x20\x00\xff\xff\xff\xff",
            b"\x80\x00\x01ab",
        ] {
            let flaw = salvage(bytes).flaw.unwrap();
            assert!(flaw.contains("cannot be read"), "{bytes:?}: {flaw}");
        }
    }

    #[test]
    fn each_delivery_has_its_own_properties() {
        let withheld = Withheld::default();
        let raw = |byte| RawProperties {
            bytes: vec![byte],
            is_address_replaced: false,
        };
        withheld.put(1, 7, raw(1));
        withheld.put(2, 7, raw(2));
        assert_eq!(withheld.take(1, 8), None);
        assert_eq!(withheld.take(2, 7), Some(raw(2)));
        assert_eq!(withheld.take(1, 7), Some(raw(1)));
        assert_eq!(withheld.take(1, 7), None);
    }
}
