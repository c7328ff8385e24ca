//! Pages as text, and what is in them: links, cards, rows, cells.

use chrono::{DateTime, Utc};

use super::site::Site;
use crate::support::http_client;

/// The text of a page.
pub async fn page(site: &Site, path: &str) -> String {
    fetch(&site.url(path)).await
}

/// The text of the page at a URL.
pub async fn fetch(url: &str) -> String {
    let response = http_client().get(url).send().await.expect("a response");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("text")
}

/// The links of a page that begin with this.
pub fn links(text: &str, begin: &str) -> Vec<String> {
    let rest = text.split("href=\"").skip(1);
    let links = rest.filter_map(|rest| rest.split('"').next());
    links
        .filter(|link| link.starts_with(begin))
        .map(|link| link.replace("&amp;", "&"))
        .collect()
}

/// The card with this heading.
pub fn card<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, card) = page
        .split_once(&format!("<h2>{heading}</h2>"))
        .unwrap_or_else(|| panic!("no {heading} in {page}"));
    card.split("</section>").next().expect("its end")
}

/// The rows of the body of a card's table.
pub fn rows(card: &str) -> Vec<&str> {
    let (_, body) = card.split_once("<tbody>").unwrap_or_default();
    body.split("<tr").skip(1).collect()
}

/// The row of a card that contains this.
pub fn row<'p>(card: &'p str, part: &str) -> &'p str {
    let mut rows = card.split("<tr").skip(1);
    rows.find(|row| row.contains(part))
        .unwrap_or_else(|| panic!("no {part} in {card}"))
}

/// A cell of a row, with its tags.
pub fn raw_cell<'p>(row: &'p str, label: &str) -> &'p str {
    let (_, cell) = row
        .split_once(&format!("data-label=\"{label}\">"))
        .unwrap_or_else(|| panic!("no {label} in {row}"));
    let ends = ["</td>", "</th>"].into_iter().filter_map(|end| cell.find(end));
    &cell[..ends.min().expect("its end")]
}

/// The text of a cell, without its tags.
pub fn cell(row: &str, label: &str) -> String {
    text(raw_cell(row, label))
}

/// The names and descriptions of a card's list, with the tags of the descriptions.
pub fn descriptions(card: &str) -> Vec<(String, &str)> {
    let entries = card.split("<dt").skip(1);
    entries
        .map(|entry| {
            let (name, rest) = entry.split_once("</dt>").expect("a name");
            let (_, name) = name.split_once('>').expect("a name");
            let (_, rest) = rest.split_once('>').expect("a description");
            (text(name), rest.split("</dd>").next().expect("its end"))
        })
        .collect()
}

/// The text of some markup.
pub fn text(markup: &str) -> String {
    let parts = markup.split('<').enumerate().map(|(place, part)| {
        if place == 0 {
            part
        } else {
            part.split_once('>').map_or("", |(_, text)| text)
        }
    });
    parts.collect()
}

/// A moment as a table shows it.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// The table under a chart with this description: the names of its columns, and a row for each step.
pub fn numbers(page: &str, description: &str) -> Vec<Vec<String>> {
    let (_, table) = page
        .split_once(&format!("aria-label=\"Numbers: {description}\">"))
        .unwrap_or_else(|| panic!("no numbers of {description} in {page}"));
    let (table, _) = table.split_once("</table>").expect("its end");
    let cells = |row: &str| {
        let cells = row.split("</t").filter_map(|cell| cell.rsplit('>').next());
        let cells = cells.filter(|text| !text.is_empty());
        cells
            .map(|text| text.replace('\u{202f}', ""))
            .collect::<Vec<String>>()
    };
    table.split("<tr>").skip(1).map(cells).collect()
}

/// The table that a chart must have, of a value of each series for each label: without the series and the steps that are zero.
pub fn chart_numbers(labels: &[String], series: &[(&str, Vec<u64>)]) -> Vec<Vec<String>> {
    let shown: Vec<_> = series
        .iter()
        .filter(|(_, values)| values.iter().any(|value| *value > 0))
        .collect();
    let names = shown.iter().map(|(name, _)| (*name).to_owned());
    let mut table: Vec<Vec<String>> = vec![["Time (UTC)".to_owned()].into_iter().chain(names).collect()];
    for (step, label) in labels.iter().enumerate() {
        if shown.iter().any(|(_, values)| values[step] > 0) {
            let values = shown.iter().map(|(_, values)| values[step].to_string());
            table.push([label.clone()].into_iter().chain(values).collect());
        }
    }
    table
}
