//! Quotes words for commands that people copy into a shell.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use crate::escape::is_hidden;

/// A word in shell syntax. Invisible characters and invalid UTF-8 are written as `$'\x1b'`.
pub(super) fn quoted(word: &OsStr) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.contains(is_hidden) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            word.as_bytes().iter().fold("$'".to_owned(), |mut shown, &byte| {
                if byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'\\') || byte == b' ' {
                    shown.push(char::from(byte));
                } else {
                    // Writing to a string cannot fail.
                    let _ = write!(shown, "\\x{byte:02x}");
                }
                shown
            }) + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_unchanged() {
        let words: [&[u8]; 7] = [
            b"events.ndjson",
            b"",
            b"two words",
            b"it's $HOME `x` \\",
            "Gr\u{fc}n \u{1f642}".as_bytes(),
            b"caf\xe9\n.ndjson",
            "it's\u{1b}[31m\\\u{202e}".as_bytes(),
        ];
        for word in words {
            let word = OsStr::from_bytes(word);
            let call = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("bash")
                .args(["-c", &call])
                .output()
                .unwrap();
            assert_eq!(output.stdout, word.as_bytes(), "{call}");
        }
    }
}
