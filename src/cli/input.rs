//! Detects the format of a file of events: lines, an array, objects over several lines, or a foreign format.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Maximum number of bytes examined. In a file of objects over several lines, the first line is short.
const HEAD: usize = 64 << 10;

/// Precedes each value of a JSON text sequence (RFC 7464). JSON itself never contains it.
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;
/// Files that were concatenated may each begin with one.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file separates events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One event per line; lines end with this byte.
    Lines(u8),
    /// Events in an array, or one after the other, over any number of lines.
    Values,
}

/// A file that is not JSON in UTF-8, and the program that converts it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{format}")]
pub(super) struct Foreign {
    format: &'static str,
    /// A command that converts the file named by its last argument, or standard input.
    convert: Option<&'static str>,
}

impl Foreign {
    /// The format, and the command to run instead.
    pub fn advice(&self, file: Option<&str>, command: &str) -> String {
        match (self.convert, file) {
            (Some(convert), Some(file)) => {
                format!("{self}; `{convert} {file} | tenure {command} -` converts it")
            }
            (Some(convert), None) => format!("{self}; run `{convert} | tenure {command} -`"),
            (None, _) => format!("{self}; expected JSON objects in UTF-8, one per line or in an array"),
        }
    }
}

/// First bytes of foreign formats.
const FOREIGN: [(&[u8], &str, Option<&str>); 14] = [
    (b"\xff\xfe\0\0", UTF_32, Some("iconv -f UTF-32 -t UTF-8")),
    (b"\0\0\xfe\xff", UTF_32, Some("iconv -f UTF-32 -t UTF-8")),
    (b"\xff\xfe", UTF_16, Some("iconv -f UTF-16 -t UTF-8")),
    (b"\xfe\xff", UTF_16, Some("iconv -f UTF-16 -t UTF-8")),
    (b"\x1f\x8b", "it is compressed with gzip", Some("gzip -dc")),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed with zstd",
        Some("zstd -dc"),
    ),
    (b"\xfd7zXZ\0", "it is compressed with xz", Some("xz -dc")),
    (b"BZh", "it is compressed with bzip2", Some("bzip2 -dc")),
    (b"\x04\x22\x4d\x18", "it is compressed with lz4", Some("lz4 -dc")),
    (b"PK\x03\x04", "it is a zip archive", Some("unzip -p")),
    (b"SQLite format 3\0", "it is a SQLite database", None),
    (b"PAR1", "it is a Parquet file", None),
    (b"Obj\x01", "it is an Avro file", None),
    (b"%PDF-", "it is a PDF", None),
];
const UTF_32: &str = "it is UTF-32, not UTF-8";
const UTF_16: &str = "it is UTF-16, not UTF-8 (PowerShell's `>` writes UTF-16)";

/// Detects the format from the beginning of a file, and returns the bytes read, without a byte order mark. It reads no more
/// than necessary, because the input may be a terminal.
pub(super) async fn recognize(
    from: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Result<(Shape, Vec<u8>), Foreign>> {
    let mut head = Vec::new();
    loop {
        let there = from.fill_buf().await?;
        let is_end = there.is_empty() || head.len() >= HEAD;
        let (read, part) = (there.len(), there.to_vec());
        head.extend(part);
        from.consume(read);
        // Two bytes do not distinguish UTF-16 from UTF-32.
        if head.len() < 4 && head.contains(&0) && !is_end {
            continue;
        }
        if let Some(foreign) = foreign(&head) {
            return Ok(Err(foreign));
        }
        let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head);
        if let Some(shape) = shape(text, is_end) {
            let marked = head.len() - text.len();
            head.drain(..marked);
            return Ok(Ok((shape, head)));
        }
    }
}

fn foreign(head: &[u8]) -> Option<Foreign> {
    let is = |format, convert| Some(Foreign { format, convert });
    if let Some((_, format, convert)) = FOREIGN.iter().find(|(mark, ..)| head.starts_with(mark)) {
        return is(format, *convert);
    }
    // Without a byte order mark.
    match head {
        [0, 0, 0, first, ..] if is_json_start(*first) => is(UTF_32, Some("iconv -f UTF-32BE -t UTF-8")),
        [first, 0, 0, 0, ..] if is_json_start(*first) => is(UTF_32, Some("iconv -f UTF-32LE -t UTF-8")),
        [0, first, ..] if is_json_start(*first) => is(UTF_16, Some("iconv -f UTF-16BE -t UTF-8")),
        [first, 0, ..] if is_json_start(*first) => is(UTF_16, Some("iconv -f UTF-16LE -t UTF-8")),
        _ if head.iter().take(512).any(|&byte| byte == 0) => is("it is not text", None),
        _ => None,
    }
}

fn is_json_start(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'{' || byte == b'['
}

/// The shape of text with this beginning. None: more is needed.
fn shape(text: &[u8], is_end: bool) -> Option<Shape> {
    let otherwise = |shape| is_end.then_some(shape);
    if text.first() == Some(&RECORD_SEPARATOR) {
        return Some(Shape::Values);
    }
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(text) = start.map(|start| &text[start..]) else {
        return otherwise(Shape::Lines(b'\n'));
    };
    if text[0] == b'[' {
        // An array of other values, or a log line that begins with `[`, is not an array of events.
        return match text[1..].iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b']') => Some(Shape::Values),
            Some(_) => Some(Shape::Lines(b'\n')),
            None => otherwise(Shape::Values),
        };
    }
    let Some(end) = text.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
        return otherwise(Shape::Lines(b'\n'));
    };
    let (line, rest) = (&text[..end], &text[end..]);
    let mut scan = Scan::default();
    let is_open = line.iter().all(|&byte| !scan.ends_with(byte)) && !scan.in_string;
    if is_open && scan.depth > 0 {
        // After a truncated line comes the next event; inside an object comes a member or its end.
        return match rest.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'"' | b'}' | b']') => Some(Shape::Values),
            Some(_) => Some(Shape::Lines(rest[0])),
            None => otherwise(Shape::Lines(b'\n')),
        };
    }
    match rest {
        [b'\r'] => otherwise(Shape::Lines(b'\r')),
        [b'\r', next, ..] if *next != b'\n' => Some(Shape::Lines(b'\r')),
        _ => Some(Shape::Lines(b'\n')),
    }
}

/// Finds where an object on a line ends and the next one begins. Anything else is one value that ends with the line, so that
/// an invalid line does not affect the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum LineScan {
    /// Only white space so far.
    #[default]
    Before,
    Object(Scan),
    /// After an object.
    Behind,
    /// Not an object, or an object followed by other text.
    Other,
}

impl LineScan {
    /// Whether another value begins with this byte.
    pub fn is_over_before(&mut self, byte: u8) -> bool {
        *self = match *self {
            Self::Before if byte == b'{' => {
                let mut scan = Scan::default();
                scan.ends_with(byte);
                Self::Object(scan)
            }
            Self::Before if is_between(byte) || BYTE_ORDER_MARK.contains(&byte) => Self::Before,
            Self::Object(mut scan) => {
                if scan.ends_with(byte) {
                    Self::Behind
                } else {
                    Self::Object(scan)
                }
            }
            Self::Behind if byte == b'{' || byte == RECORD_SEPARATOR => return true,
            Self::Behind if is_between(byte) => Self::Behind,
            Self::Before | Self::Behind | Self::Other => Self::Other,
        };
        false
    }
}

/// Whether a byte may stand between two values.
pub(super) fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == RECORD_SEPARATOR
}

/// Finds the end of a JSON value, byte by byte, by counting brackets. Whether they match is left to the parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    depth: u64,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Whether the value ends with this byte. Numbers and words end before the next delimiter instead.
    pub fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_string = false;
                    return self.depth == 0;
                }
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Whether a number or word ends before this byte.
    pub fn is_over_before(&self, byte: u8) -> bool {
        self.depth == 0
            && !self.in_string
            && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'[' | b'{'))
            || byte == RECORD_SEPARATOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(text: &[u8]) -> Option<Shape> {
        shape(text, false)
    }

    #[test]
    fn the_first_bytes_determine_the_shape() {
        let lines = Some(Shape::Lines(b'\n'));
        for (text, expected) in [
            ("{\"a\":1}\n", lines),
            ("\n\n {\"a\":1}\r\n{", lines),
            ("{\"a\":1}\r{\"b\":1}", Some(Shape::Lines(b'\r'))),
            ("not json\nnor this", lines),
            ("[2026-01-05] a log line\n", lines),
            ("[1,2]\n", lines),
            ("[{\"a\":1}]", Some(Shape::Values)),
            (" [\n\n{", Some(Shape::Values)),
            ("[]", Some(Shape::Values)),
            ("{\n  \"a\": 1", Some(Shape::Values)),
            ("{\r\n\t\"a\": [", Some(Shape::Values)),
            ("{\"a\": {\n}", Some(Shape::Values)),
            ("{}\n{}", lines),
            ("\u{1e}{\"a\":1}\n\u{1e}", Some(Shape::Values)),
            // Truncated within the first line.
            ("{\"a\":\n{\"a\":1}\n", lines),
            ("{\"a\":\"b\n\"c\"", lines),
            // Undecided.
            ("", None),
            ("{\"a\":1}", None),
            ("[ ", None),
            ("{\n ", None),
            ("{\"a\":1}\r", None),
        ] {
            assert_eq!(shape_of(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(shape(b"", true), lines);
        assert_eq!(shape(b"{\"a\":1}", true), lines);
        assert_eq!(shape(b"[", true), Some(Shape::Values));
    }

    #[tokio::test]
    async fn a_foreign_format_is_named() {
        for (bytes, words) in [
            (&b"\xff\xfe{\0"[..], "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"{\0\"\0", "UTF-16LE"),
            (b"\0{\0\"", "UTF-16BE"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
            (b"{\0\0\0\"\0\0\0", "iconv -f UTF-32LE"),
            (b"\0\0\0{\0\0\0\"", "iconv -f UTF-32BE"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x28\xb5\x2f\xfd\x01", "zstd"),
            (b"PK\x03\x04\x14", "unzip -p"),
            (b"SQLite format 3\0\x10", "SQLite database"),
            (b"ab\0cd", "not text"),
        ] {
            let foreign = recognize(&mut &bytes[..]).await.unwrap().unwrap_err();
            let advice = foreign.advice(Some("f"), "ingest");
            assert!(advice.contains(words), "{advice}");
        }
        let marked = recognize(&mut &b"\xef\xbb\xbf{}\n"[..]).await.unwrap();
        assert_eq!(marked, Ok((Shape::Lines(b'\n'), b"{}\n".to_vec())));
    }
}
