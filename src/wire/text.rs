//! Legacy encodings of bytes as text: quoted strings, percent-encoding and base64.

use std::borrow::Cow;

/// Removes the double quotes around a value, and the backslashes before quoted characters (RFC 7230, section 3.2.6). A
/// value that does not begin with a double quote is unchanged. None: the closing quote is not at the end.
pub(super) fn unquote(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(inside) = text.strip_prefix(b"\"") else {
        return Some(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside.iter();
    loop {
        match rest.next()? {
            b'"' => return rest.as_slice().is_empty().then_some(Cow::Owned(out)),
            b'\\' => out.push(*rest.next()?),
            byte => out.push(*byte),
        }
    }
}

/// Decodes `%41` and the like. Leaves invalid encodings unchanged, as the CloudEvents HTTP binding (section 3.1.3.2)
/// requires of receivers.
pub(crate) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        text.get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

/// Decodes base64 (RFC 4648, section 4), padded as CloudEvents requires, or without padding.
pub(super) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.trim_end_matches('=').as_bytes();
    let padding = text.len() - bytes.len();
    if bytes.len() % 4 == 1 || (padding > 0 && (padding > 2 || !text.len().is_multiple_of(4))) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() * 3 / 4);
    for chunk in bytes.chunks(4) {
        let mut quantum = 0;
        for &byte in chunk {
            quantum = quantum << 6 | u32::from(sextet(byte)?);
        }
        // Left-aligned, so that the octets of a short last chunk come first too.
        let quantum = (quantum << (6 * (4 - chunk.len()))).to_be_bytes();
        out.extend_from_slice(&quantum[1..chunk.len()]);
    }
    Some(out)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encodings_are_decoded_and_invalid_ones_are_left() {
        for (text, decoded) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%%41", "%A"),
            ("", ""),
        ] {
            assert_eq!(percent_decode(text.as_bytes()), decoded.as_bytes(), "{text}");
        }
    }

    #[test]
    fn base64_as_in_rfc_4648_section_10() {
        for (text, decoded) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64_decode(text).unwrap(), decoded.as_bytes(), "{text}");
        }
        assert_eq!(base64_decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        for bad in [
            "Z", "Zg=", "Zg===", "Zm9v====", "Zm9v=", "Z*==", "Zm 9v", "====", "é",
        ] {
            assert_eq!(base64_decode(bad), None, "{bad}");
        }
    }
}
