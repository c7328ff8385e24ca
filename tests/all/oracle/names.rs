//! The comparison of names, implemented a second time: simpler than the code under test, and with another Unicode library.

use proptest::prelude::*;
use tenure::domain::Name;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Invisible characters: Unicode's `Default_Ignorable_Code_Point`, and control characters.
fn is_unseen(c: char) -> bool {
    let ignorable = matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF);
    ignorable || (c.is_control() && !c.is_whitespace())
}

/// The name as a person reads it. Two names are the same if this is equal.
fn read(name: &str) -> String {
    let mut text = name.to_owned();
    for _ in 0..4 {
        let seen = text.chars().filter(|c| !is_unseen(*c));
        let cased = seen
            .nfkd()
            .flat_map(char::to_lowercase)
            .flat_map(char::to_uppercase);
        text = cased.flat_map(char::to_lowercase).nfkd().collect();
    }
    // Readers do not distinguish an i from an i with a combining dot.
    let text = text.replace("i\u{307}", "i").replace('\u{2800}', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Letters that are equal in some spelling, and invisible characters.
const LETTERS: [&str; 40] = [
    "a",
    "A",
    "Ａ",
    "á",
    "a\u{301}",
    "Á",
    "ß",
    "ẞ",
    "ss",
    "SS",
    "i",
    "I",
    "İ",
    "ı",
    "i\u{307}",
    "ﬁ",
    "fi",
    "σ",
    "ς",
    "Σ",
    "가",
    "\u{1100}\u{1161}",
    "ｶﾞ",
    "ガ",
    "ﾞ",
    "№",
    "No",
    " ",
    "\u{a0}",
    "\u{3000}",
    "\t",
    "\u{200b}",
    "\u{ad}",
    "\u{feff}",
    "\u{34f}",
    "\u{3164}",
    "\u{1}",
    "Ǆ",
    "ǆ",
    "dž",
];

fn names() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&LETTERS[..]), 1..5)
        .prop_map(|letters| letters.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(20_000)
    })]

    #[test]
    fn names_are_equal_when_the_oracle_reads_them_as_equal((one, other) in (names(), names())) {
        let keys = (Name::try_from(one.clone()), Name::try_from(other.clone()));
        let is_seen = read(&one).chars().any(|c| !is_combining_mark(c) && c != ' ');
        prop_assert_eq!(keys.0.is_ok(), is_seen, "{:?}", one);
        if let (Ok(a), Ok(b)) = keys {
            prop_assert_eq!(a.key() == b.key(), read(&one) == read(&other), "{:?} {:?}", one, other);
        }
    }

    /// The same name, as another person may type it.
    #[test]
    fn a_name_keeps_its_key_in_every_spelling(name in names(), unseen in "[\u{200b}\u{ad}\u{feff}]{0,2}") {
        if let Ok(key) = Name::try_from(name.clone()).map(|name| name.key()) {
            let spellings: [String; 6] = [
                name.nfc().collect(),
                name.nfd().collect(),
                name.nfkc().collect(),
                name.to_uppercase(),
                name.to_lowercase(),
                format!(" {unseen}{name}{unseen} "),
            ];
            for spelling in spellings {
                let other = Name::try_from(spelling.clone()).map(|name| name.key());
                prop_assert_eq!(Ok(&key), other.as_ref(), "{:?} {:?}", name, spelling);
            }
        }
    }
}
