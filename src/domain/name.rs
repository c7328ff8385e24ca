//! A client's name, and the key by which names are compared.

use std::borrow::Cow;
use std::fmt::Write as _;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Longest client name, in characters, once trimmed.
pub const MAX_NAME_CHARS: usize = 200;

/// Longest key, in bytes, that is stored unhashed. Normalization can make a name 18 times as long, and an index row of
/// PostgreSQL has room for about 2,700 bytes. A longer key is replaced by its digest.
const MAX_KEY_BYTES: usize = 1_024;

/// A client's name: 1–200 characters once trimmed, at least one of them visible. It keeps its spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Box<str>);

impl Name {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key by which names are compared: two names that a person reads as the same have the same key (001).
    ///
    /// Unicode's NFKC and full case folding, without characters that have no glyph, every run of white space as one
    /// space. Beyond the standard, the Turkish `İ` and `ı` count as `i`: `IŞIK` is the upper case of `ışık`.
    #[must_use]
    pub fn key(&self) -> String {
        let name = &*self.0;
        let key = if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.contains("  ") {
            name.to_ascii_lowercase()
        } else {
            folded(name)
        };
        if key.len() > MAX_KEY_BYTES {
            let mut text = String::from("sha256:");
            for byte in Sha256::digest(key.as_bytes()) {
                let _ = write!(text, "{byte:02x}");
            }
            return text;
        }
        key
    }
}

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name is longer than {MAX_NAME_CHARS} characters")]
    TooLong,
    #[error("the name has no visible character")]
    Invisible,
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        let name = name.trim();
        match name.chars().count() {
            0 => Err(NameError::Empty),
            n if n > MAX_NAME_CHARS => Err(NameError::TooLong),
            _ if !can_be_seen(name) => Err(NameError::Invisible),
            _ => Ok(Self(name.into())),
        }
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// At least one visible character, and no NUL. [`Name`] knows more invisible characters than this pattern.
const VISIBLE: &str = "^[^\\u0000]*[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u180b-\\u180f\
                       \\u200b-\\u200f\\u2028-\\u202f\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\
                       \\ufff0-\\ufffb][^\\u0000]*$";

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS, "pattern": VISIBLE})
    }
}

fn folded(name: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let mut text = name.to_owned();
    // Normalization can produce characters that fold or that are invisible, and folding can undo normalization. After
    // three rounds the text no longer changes.
    for _ in 0..3 {
        let normal = nfkc.normalize(&visible(&text)).into_owned();
        text = CaseMapper::new().fold_string(&normal).into_owned();
    }
    let text = nfkc.normalize(&text).replace("i\u{307}", "i").replace('ı', "i");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text without invisible characters, with a plain space for every white-space character.
fn visible(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            _ if is_white(c) => Some(' '),
            _ if is_invisible(c) => None,
            _ => Some(c),
        })
        .collect()
}

/// White space, and characters without a glyph that Unicode classifies as symbols, letters or marks: the blank Braille pattern,
/// the null notehead, the Egyptian blanks and the Khitan filler.
fn is_white(c: char) -> bool {
    matches!(
        c,
        '\u{2800}' | '\u{1d159}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}'
    ) || CodePointSetData::new::<WhiteSpace>().contains(c)
}

/// Whether a name has more than white space and combining marks. It is normalized first, so that every spelling of a name gets
/// the same result.
fn can_be_seen(name: &str) -> bool {
    if name.bytes().any(|byte| byte.is_ascii_graphic()) {
        return true;
    }
    let normal = ComposingNormalizerBorrowed::new_nfkc()
        .normalize(&visible(name))
        .into_owned();
    let needs_another = |c: char| {
        let marks = [GeneralCategory::NonspacingMark, GeneralCategory::EnclosingMark];
        c.is_whitespace() || marks.contains(&CodePointMapData::<GeneralCategory>::new().get(c))
    };
    !visible(&normal).chars().all(needs_another)
}

/// Control characters and format characters. Some format characters are visible, because they enclose the text that
/// follows (the Arabic number sign).
fn is_invisible(c: char) -> bool {
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return true;
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control => true,
        GeneralCategory::Format => !CodePointSetData::new::<PrependedConcatenationMark>().contains(c),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Name, NameError> {
        Name::try_from(text.to_owned())
    }

    fn key(text: &str) -> String {
        name(text).unwrap().key()
    }

    #[test]
    fn names_that_look_the_same_have_one_key() {
        for (one, other) in [
            ("STRASSE", "straße "),
            ("STRAẞE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            ("Café Müller", "Cafe\u{301} Mu\u{308}ller"),
            ("Café Müller", "CAFÉ MÜLLER"),
            ("Bakery", "Ba\u{200b}ke\u{ad}ry\u{feff}"),
            ("Bakery", "Bak\u{0}ery\u{7f}"),
            ("Blue Bird", "Blue\u{a0}Bird"),
            ("Blue Bird", "Blue\u{2003}\u{200b} Bird"),
            ("Blue Bird", "Blue\u{2800}Bird"),
            ("Blue Bird", "Blue\tBird"),
            ("Bakery", "\u{202e}Bakery\u{202c}"),
            ("İstanbul", "i\u{307}stanbul"),
            ("İSTANBUL", "istanbul"),
            ("IŞIK", "ışık"),
            ("ﬁrma", "FIRMA"),
            ("Ａｃｍｅ", "acme"),
            ("ｶﾞ", "ガ"),
            ("№ 1", "No 1"),
            ("가", "\u{1100}\u{1161}"),
            ("ᏣᎳᎩ", "ꮳꮃꭹ"),
            ("a\u{34f}\u{301}", "á"),
            ("A\u{3164}B", "ab"),
        ] {
            assert_eq!(key(one), key(other), "{one:?} {other:?}");
        }
        for (one, other) in [
            ("Bakery", "Bakery 2"),
            ("Müller", "Muller"),
            ("بيت", "بیت"),
            ("А", "A"),
        ] {
            assert_ne!(key(one), key(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_key_of_a_key_is_itself_and_a_key_fits_an_index() {
        for text in [
            "Straße",
            "ﬁrma",
            "İstanbul",
            "\u{1fb7}",
            "ΐ",
            "\u{fb2c}",
            "Ǆ",
            "㎒ Ⅷ",
            "\u{1d15e}",
        ] {
            assert_eq!(key(&key(text)), key(text), "{text:?}");
        }
        let long = key(&"\u{fdfa}".repeat(200));
        assert!(long.len() < MAX_KEY_BYTES, "{}", long.len());
        assert_ne!(long, key(&"\u{fdfa}".repeat(199)));
        // The sign has 33 bytes once it is normalized.
        let longest = format!("{}x", "\u{fdfa}".repeat(31));
        assert_eq!(key(&longest).len(), MAX_KEY_BYTES);
        assert!(key(&format!("{longest}y")).starts_with("sha256:"));
    }

    #[test]
    fn a_name_is_trimmed_visible_and_keeps_its_spelling() {
        assert_eq!(name("  Cafe\u{301}  ").unwrap().as_str(), "Cafe\u{301}");
        assert!(name(&"x".repeat(200)).is_ok());
        assert_eq!(name(&"x".repeat(201)), Err(NameError::TooLong));
        assert_eq!(name(" \t "), Err(NameError::Empty));
        for blank in [
            "\u{200b}\u{2060}",
            "\u{feff}",
            "\u{3164}",
            "\u{2800}",
            "\u{e0041}",
            "\u{200b} \u{200b}",
            "\u{1}\u{85}\u{1}",
            "\u{fff9}",
            "\u{180e}",
            "\u{1d159}",
            "\u{13441}",
            "\u{13442} \u{1d159}",
            "\u{16fe4}",
            "\u{301}",
            "\u{301}\u{20dd}",
            "\u{200b}\u{301}",
            "\u{b4}",
            "\u{ff9e}",
        ] {
            assert_eq!(name(blank), Err(NameError::Invisible), "{blank:?}");
        }
        assert!(name("\u{600}").is_ok(), "the Arabic number sign is visible");
        assert!(name("x\u{301}").is_ok());
        assert!(name("\u{93f}").is_ok(), "a spacing vowel sign is visible");
    }
}
