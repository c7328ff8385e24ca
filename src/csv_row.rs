//! Comma-separated values (RFC 4180) that a spreadsheet opens without running formulas.

use csv::{Terminator, WriterBuilder};

use crate::escape::visible;

/// A field of a row.
#[derive(Clone, Debug)]
pub enum Cell {
    Text(String),
    Number(i64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Cell {
    fn field(&self) -> String {
        match self {
            Self::Text(text) => harmless(&visible(text)),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Text that no spreadsheet takes for a formula: an apostrophe precedes the characters that would begin one.
fn harmless(text: &str) -> String {
    let begins_formula = text.starts_with(['=', '+', '-', '@']);
    format!("{}{text}", if begins_formula { "'" } else { "" })
}

/// A row with its line break.
///
/// # Errors
/// Never: memory is written to.
pub fn row(cells: &[Cell]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .buffer_capacity(512)
        .from_writer(Vec::new());
    writer.write_record(cells.iter().map(Cell::field))?;
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_and_begins_no_formula() {
        for (text, field) in [
            ("acme", "acme"),
            ("a,b", "\"a,b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("=a,b", "\"'=a,b\""),
            ("1=1", "1=1"),
            ("a\r\nb", "a\\r\\nb"),
            ("\t=1", "\\t=1"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("Zöllen", "Zöllen"),
        ] {
            let row = row(&[text.into(), "x".into()]).unwrap();
            assert_eq!(String::from_utf8(row).unwrap(), format!("{field},x\r\n"));
        }
    }

    #[test]
    fn numbers_stay_numbers() {
        let row = row(&[(-5).into(), 0.into(), "".into()]).unwrap();
        assert_eq!(String::from_utf8(row).unwrap(), "-5,0,\r\n");
    }
}
