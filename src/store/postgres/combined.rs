//! Several statements as one. A round trip to the server takes as long as a statement of a small batch.

use std::fmt::Write as _;

/// One statement that runs these statements, each with a name. Their parameters follow each other. It returns an array: how many
/// rows each of them wrote. None of them sees what another one writes.
pub(super) fn combine(statements: &[(&str, &str)]) -> String {
    let mut combined = String::new();
    let mut parameters = 0;
    for (place, (name, statement)) in statements.iter().enumerate() {
        let begin = if place == 0 { "with" } else { ",\n" };
        let (statement, highest) = renumber(statement, parameters);
        parameters = highest;
        let _ = write!(combined, "{begin} {name} as ({statement} returning 1)");
    }
    let counts: Vec<String> = statements
        .iter()
        .map(|(name, _)| format!("(select count(*) from {name})"))
        .collect();
    let _ = write!(combined, "\nselect array[{}]", counts.join(", "));
    combined
}

/// The statement with each of its parameters moved by `by`, and the highest one.
fn renumber(statement: &str, by: usize) -> (String, usize) {
    let mut pieces = statement.split('$');
    let mut renumbered = pieces.next().unwrap_or_default().to_owned();
    let mut highest = by;
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let (number, rest) = piece.split_at(digits);
        let number = by + number.parse::<usize>().unwrap_or_default();
        highest = highest.max(number);
        let _ = write!(renumbered, "${number}{rest}");
    }
    (renumbered, highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_statements_follow_each_other() {
        let combined = combine(&[
            ("first", "insert into a select unnest($2::text[]), $11, $1"),
            ("second", "delete from b where c = $1"),
        ]);
        let expected = "with first as (insert into a select unnest($2::text[]), $11, $1 returning 1),\n \
                        second as (delete from b where c = $12 returning 1)\n\
                        select array[(select count(*) from first), (select count(*) from second)]";
        assert_eq!(combined, expected);
    }
}
