//! Escapes untrusted text for terminals and logs: ids, names, reasons, headers, bodies, file names.
//!
//! Terminals execute control characters. A name may clear the screen, hide text, reverse a line or forge a new one. So every
//! invisible or text-moving character is escaped.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;

/// Whether a character is invisible but affects a terminal or reader: controls (C0, DEL, C1), direction marks, zero-width
/// characters, line separators and tags.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text on one line, with hidden characters escaped: `\u{1b}`, `\n`, `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// JSON with hidden characters escaped as `\u001b`. Its value is unchanged, because they occur only in strings.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t' | '\r');
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// A writer that escapes text with [`visible`].
#[derive(Debug)]
pub struct Visible<W>(pub W);

impl<W: fmt::Write> fmt::Write for Visible<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&visible(text))
    }
}

/// A writer that escapes whole lines of JSON with [`json`].
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .write_all(json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{is_hidden, json, visible};

    #[test]
    fn hidden_characters_are_escaped() {
        for (text, shown) in [
            ("Müller & Söhne 東京 🙂", "Müller & Söhne 東京 🙂"),
            ("a\u{1b}[2Jb\u{7}", "a\\u{1b}[2Jb\\u{7}"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}\u{e0041}", "a\\u{200b}b\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn escaping_json_keeps_its_value() {
        let all: String = (0..=0x0010_ffff_u32)
            .filter_map(char::from_u32)
            .filter(|&c| is_hidden(c))
            .collect();
        let written = serde_json::to_string_pretty(&[&all]).unwrap();
        let shown = json(&written);
        assert!(!shown.contains(|c| is_hidden(c) && c != '\n'), "{shown}");
        let [read]: [String; 1] = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, all);
    }
}
