//! Several statements as one. A round trip to the server takes as long as a statement of a small batch.

use std::fmt::Write as _;

/// One statement that runs these statements, its parts, each with a name. Their parameters follow each other. It returns one row
/// with a column of each name: how many rows the part wrote.
///
/// All parts read the same snapshot: none sees what another one writes. Their order is unspecified. Of two parts that write the
/// same row only one takes effect, and it is not specified which.
///
/// # Panics
/// A part with a comment, which could hide what follows, a `with` or a `returning` of its own, or a `$` that begins no parameter.
pub(super) fn combine(parts: &[(&str, &str)]) -> String {
    let mut combined = String::new();
    let mut parameters = 0;
    for (place, (name, part)) in parts.iter().enumerate() {
        check(name, part);
        let begin = if place == 0 { "with" } else { ",\n" };
        let (part, highest) = renumber(part, parameters);
        parameters = highest;
        let _ = write!(combined, "{begin} {name} as ({part} returning 1)");
    }
    let counts: Vec<String> = parts
        .iter()
        .map(|(name, _)| format!("(select count(*) from {name}) as {name}"))
        .collect();
    let _ = write!(combined, "\nselect {}", counts.join(", "));
    combined
}

fn check(name: &str, part: &str) {
    for comment in ["--", "/*"] {
        assert!(!part.contains(comment), "the part {name} contains {comment}");
    }
    let mut words = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    if let Some(word) = words.find(|word| ["with", "returning"].contains(&&*word.to_ascii_lowercase())) {
        panic!("the part {name} contains {word}");
    }
}

/// The part with each of its parameters moved by `by`, and the highest one.
fn renumber(part: &str, by: usize) -> (String, usize) {
    let mut pieces = part.split('$');
    let mut renumbered = pieces.next().unwrap_or_default().to_owned();
    let mut highest = by;
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let (number, rest) = piece.split_at(digits);
        let Ok(number) = number.parse::<usize>() else {
            panic!("this begins no parameter: ${piece}");
        };
        let number = by + number;
        highest = highest.max(number);
        let _ = write!(renumbered, "${number}{rest}");
    }
    (renumbered, highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_parts_follow_each_other() {
        let combined = combine(&[
            ("first", "insert into a select unnest($2::text[]), $11, $1"),
            ("second", "delete from b where c = $1 and d = $10"),
            ("third", "delete from e where f = $1"),
        ]);
        let expected = "with first as (insert into a select unnest($2::text[]), $11, $1 returning 1),\n \
                        second as (delete from b where c = $12 and d = $21 returning 1),\n \
                        third as (delete from e where f = $22 returning 1)\n\
                        select (select count(*) from first) as first, (select count(*) from second) as second, \
                        (select count(*) from third) as third";
        assert_eq!(combined, expected);
    }

    #[test]
    #[should_panic(expected = "begins no parameter: $")]
    fn a_dollar_sign_begins_a_parameter() {
        combine(&[("first", "insert into a values ($$b$$)")]);
    }

    #[test]
    #[should_panic(expected = "the part first contains --")]
    fn a_part_has_no_line_comment() {
        combine(&[("first", "delete from a -- all")]);
    }

    #[test]
    #[should_panic(expected = "the part first contains /*")]
    fn a_part_has_no_block_comment() {
        combine(&[("first", "delete from a /* all */")]);
    }

    #[test]
    #[should_panic(expected = "the part second contains RETURNING")]
    fn a_part_returns_nothing() {
        let parts = [
            ("first", "delete from with_a"),
            ("second", "delete from b RETURNING c"),
        ];
        combine(&parts);
    }

    #[test]
    #[should_panic(expected = "the part first contains with")]
    fn a_part_has_no_parts() {
        combine(&[("first", "with b as (select 1) delete from a")]);
    }
}
