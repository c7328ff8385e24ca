//! The table of the section `pages`.

use serde_json::{Value, json};

use super::markdown::{grouped, write_table};
use crate::pages::Page;

pub fn write(text: &mut String, pages: &[Page]) {
    let rows: Vec<[String; 4]> = pages
        .iter()
        .map(|page| {
            let millis = |value: f64| format!("{} ms", grouped(value));
            [
                page.what.to_owned(),
                millis(page.spread.median),
                millis(page.spread.most),
                millis(page.first),
            ]
        })
        .collect();
    write_table(text, ["page", "median", "slowest", "first"], &rows);
}

pub fn json(pages: &[Page]) -> Vec<Value> {
    pages
        .iter()
        .map(|page| {
            json!({
                "page": page.what,
                "first_ms": page.first,
                "median_ms": page.spread.median,
                "least_ms": page.spread.least,
                "most_ms": page.spread.most,
            })
        })
        .collect()
}
