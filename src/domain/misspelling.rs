//! Recognises misspelt names: letters, the endings of words or their order differ.

/// Maximum edit distance of a misspelling.
const NEAR: usize = 2;

/// Whether `given` is a misspelling of `meant`.
pub(super) fn is_misspelling(given: &str, meant: &str) -> bool {
    distance(given, meant) <= NEAR || is_without_underscores(given, meant) || has_same_words(given, meant)
}

/// Maximum length of a name that may be a misspelling, in bytes: the comparison takes time in proportion to it.
const LONGEST: usize = 64;
/// Names of this length or less, in bytes, are misspelt in one letter only.
const SHORT: usize = 4;

/// The one of `names` that `given` is a misspelling of.
#[must_use]
pub fn nearest_name<'n>(given: &str, names: &[&'n str]) -> Option<&'n str> {
    if given.len() > LONGEST {
        return None;
    }
    let given = given.to_lowercase();
    let is_near = |name: &str| match name.len() {
        ..=SHORT => distance(&given, name) <= 1,
        _ => is_misspelling(&given, name),
    };
    names
        .iter()
        .copied()
        .filter(|name| is_near(name))
        .min_by_key(|name| distance(&given, name))
}

fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}

/// Whether `given` has the words in any order without underscores, such as `cancelaccount`.
fn is_without_underscores(given: &str, meant: &str) -> bool {
    let given = given.replace('_', "");
    let words: Vec<&str> = meant.split('_').collect();
    orders(&words)
        .iter()
        .any(|order| distance(&given, &order.concat()) <= NEAR)
}

/// The permutations of a few words.
fn orders<'a>(words: &[&'a str]) -> Vec<Vec<&'a str>> {
    if words.is_empty() {
        return vec![Vec::new()];
    }
    (0..words.len())
        .flat_map(|first| {
            let rest = [&words[..first], &words[first + 1..]].concat();
            orders(&rest).into_iter().map(move |mut order| {
                order.insert(0, words[first]);
                order
            })
        })
        .collect()
}

/// Whether both have the same words, regardless of order, endings, small edits and filler words.
fn has_same_words(given: &str, meant: &str) -> bool {
    let mut left: Vec<String> = given
        .split('_')
        .filter(|word| is_significant(word))
        .map(stem)
        .collect();
    let meant: Vec<String> = meant.split('_').map(stem).collect();
    left.len() == meant.len()
        && meant.iter().all(|word| {
            let place = left
                .iter()
                .position(|other| distance(other, word) <= allowed(word));
            place.map(|place| left.swap_remove(place)).is_some()
        })
}

fn is_significant(word: &str) -> bool {
    word.len() > 2 && word != "the"
}

/// Maximum edit distance of a word. Short words differ from one another by little.
fn allowed(word: &str) -> usize {
    match word.len() {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    }
}

/// A word without its ending: `cancel` for `cancelled` and `cancellations`, `history` for `histories`.
fn stem(word: &str) -> String {
    let singular = match word.strip_suffix("ies") {
        Some(rest) => format!("{rest}y"),
        None => word.strip_suffix('s').unwrap_or(word).to_owned(),
    };
    let bare = ["ation", "ing", "ed", "e"]
        .iter()
        .find_map(|ending| singular.strip_suffix(ending))
        .filter(|rest| rest.len() > 2)
        .unwrap_or(&singular);
    match bare.as_bytes() {
        [.., a, b] if a == b => bare[..bare.len() - 1].to_owned(),
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_misspelling_of_what_was_given() {
        let names = ["channel", "steps", "commission_eligible", "by", "name"];
        for (given, nearest) in [
            ("chanel", Some("channel")),
            ("Channel", Some("channel")),
            ("step", Some("steps")),
            ("commissionEligible", Some("commission_eligible")),
            ("eligible_commission", Some("commission_eligible")),
            ("b", Some("by")),
            ("at", None),
            ("nam", Some("name")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(given, &names), nearest, "{given}");
        }
        assert_eq!(nearest_name(&"c".repeat(100_000), &names), None);
        assert_eq!(nearest_name("channel", &[]), None);
    }
}
