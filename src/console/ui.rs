//! The parts that pages are made of: times, chips, tables, figures, links.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, PreEscaped, html};

use crate::domain::ClientKey;

/// How good a state is. Each has a colour, and a word or a mark beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Good,
    Neutral,
    Attention,
    Bad,
}

impl Tone {
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral => "neutral",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }
}

/// The tone of a status of a link, a service, access, a run, a dead letter or a closing.
#[must_use]
pub fn tone(status: &str) -> Tone {
    match status {
        "active" | "enabled" | "done" | "redriven" | "closed" | "applied" | "yes" | "in force" => Tone::Good,
        "invited" | "pending_assigning" | "disabled" | "held_back" | "stopped" | "paused" | "open"
        | "refused" | "prepared" | "in_progress" | "running" => Tone::Attention,
        "invitation_rejected"
        | "access_rejected"
        | "lost"
        | "expired"
        | "failed"
        | "tripped"
        | "dead"
        | "silent" => Tone::Bad,
        _ => Tone::Neutral,
    }
}

/// A status in a chip, with its word.
pub fn chip(status: &str) -> Markup {
    chip_of(tone(status), &words(status))
}

pub fn chip_of(tone: Tone, text: &str) -> Markup {
    html! { span class={ "chip " (tone.class()) } { (text) } }
}

/// A name from the program's vocabulary as words: `invitation_rejected` is "invitation rejected".
#[must_use]
pub fn words(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

/// The same with a capital letter, for a title.
#[must_use]
pub fn title(name: &str) -> String {
    sentence(&words(name))
}

/// Text that begins with a capital letter.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
        .unwrap_or_default()
}

fn machine(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A moment in a table, in UTC to the minute. The script adds the reader's own time as a tooltip.
pub fn moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(machine(at)) { (at.format("%Y-%m-%d %H:%M")) } }
}

pub fn optional_moment(at: Option<DateTime<Utc>>) -> Markup {
    html! { @match at { Some(at) => { (moment(at)) }, None => { span.muted { "–" } } } }
}

/// A moment in a sentence: `3 Mar 2026, 09:12 UTC`.
#[must_use]
pub fn spelled(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// A moment in a sentence, with the reader's own time beside it.
pub fn full_moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(machine(at)) data-own { (spelled(at)) } }
}

/// The distance between two moments: "3 min ago", "in 4 days".
#[must_use]
pub fn distance(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let ahead = at > now;
    let span = if ahead { at - now } else { now - at };
    if span < TimeDelta::seconds(45) {
        return if ahead {
            "in a moment".into()
        } else {
            "just now".into()
        };
    }
    let text = duration(span);
    if ahead {
        format!("in {text}")
    } else {
        format!("{text} ago")
    }
}

/// A length of time, rounded: `42 s`, `5 min`, `3 h`, `12 days`.
#[must_use]
pub fn duration(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let (number, unit) = match seconds {
        ..90 => (seconds, "s"),
        90..5_400 => ((seconds + 30) / 60, "min"),
        5_400..172_800 => ((seconds + 1_800) / 3_600, "h"),
        _ => ((seconds + 43_200) / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// A moment, and how far away it is.
pub fn moment_and_distance(now: DateTime<Utc>, at: DateTime<Utc>) -> Markup {
    html! { (moment(at)) " " span.muted { (distance(now, at)) } }
}

/// A number with thin spaces between groups of three digits.
#[must_use]
pub fn number(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if number < 0 { format!("−{out}") } else { out }
}

/// A number and its noun: `1 client`, `2 clients`.
#[must_use]
pub fn counted(count: impl TryInto<i64>, noun: &str) -> String {
    counted_as(count, noun, &format!("{noun}s"))
}

/// A number and its noun, whose plural is not formed with an s alone: `2 entries`.
#[must_use]
pub fn counted_as(count: impl TryInto<i64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{}\u{a0}{}", number(count), if count == 1 { one } else { many })
}

/// A difference with its sign; nothing for zero.
#[must_use]
pub fn signed(count: i64) -> String {
    match count {
        0 => "–".into(),
        1.. => format!("+{}", number(count)),
        _ => number(count),
    }
}

/// The page of a client. Ids consist of characters that a path can contain.
#[must_use]
pub fn client_url(key: &ClientKey) -> String {
    format!("/clients/{key}")
}

/// A link to a client by its subject, `{partner}/{client}`.
pub fn client_link(subject: &str) -> Markup {
    html! {
        @match ClientKey::from_subject(subject) {
            Ok(key) => { a.id href=(client_url(&key)) { (breakable(subject)) } },
            Err(_) => { span.id { (subject) } },
        }
    }
}

/// An id that may break after its separators.
pub fn breakable(id: &str) -> Markup {
    let mut out = String::new();
    for part in id.split_inclusive(['/', '.', '-', '_', ':', '@']) {
        out.push_str(&html! { (part) }.into_string());
        out.push_str("<wbr>");
    }
    PreEscaped(out)
}

/// A card with a title.
pub fn card(heading: &str, content: &Markup) -> Markup {
    html! {
        section.card {
            header { h2 { (heading) } }
            (content)
        }
    }
}

/// A card that a table fills to its edges. `end` stands at the right of its title.
pub fn table_card(heading: &str, end: &Markup, content: &Markup) -> Markup {
    html! {
        section.card.flush {
            header { h2 { (heading) } span.end { (end) } }
            (content)
        }
    }
}

/// Why a list is empty, and what to do.
pub fn empty(what: &str, then: &str) -> Markup {
    html! { div.empty { b { (what) } (then) } }
}

/// The links of one page of a list. Without any, there is one page only.
#[derive(Default)]
pub struct Pages {
    pub first: Option<String>,
    pub next: Option<String>,
}

impl Pages {
    /// Whether there are others.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.first.is_some() || self.next.is_some()
    }
}

/// What a page shows, with links to the first and the next one.
pub fn pager(shown: &str, pages: &Pages) -> Markup {
    html! {
        nav.pager aria-label="Pages" {
            span { (shown) }
            span {
                @if let Some(first) = &pages.first { a href=(first) { "First page" } }
                @if pages.first.is_some() && pages.next.is_some() { " · " }
                @if let Some(next) = &pages.next { a rel="next" href=(next) { "Next page →" } }
            }
        }
    }
}

/// A sentence that stands out.
pub fn note(tone: Tone, content: &Markup) -> Markup {
    html! { div class={ "note " (tone.class()) } { (content) } }
}

/// The name of a calendar month: `October 2026`.
#[must_use]
pub fn month_name(first: chrono::NaiveDate) -> String {
    first.format("%B %Y").to_string()
}

/// A URL with query parameters. Those without a value are left out.
#[must_use]
pub fn url(path: &str, params: &[(&str, Option<&str>)]) -> String {
    let mut url = path.to_owned();
    for (name, value) in params {
        if let Some(value) = value {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encoded(value));
        }
    }
    url
}

/// Text in a query, percent-encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (-1_234_567, "−1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_distance_has_one_unit() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-03-01T12:00:00Z", "just now"),
            ("2026-03-01T11:59:00Z", "60 s ago"),
            ("2026-03-01T12:30:00Z", "in 30 min"),
            ("2026-02-28T12:00:00Z", "24 h ago"),
            ("2026-03-31T12:00:00Z", "in 30 days"),
        ] {
            assert_eq!(distance(now, at.parse().unwrap()), text, "{at}");
        }
    }

    #[test]
    fn text_is_encoded_in_urls_and_ids_are_escaped() {
        assert_eq!(
            url("/a", &[("q", Some("é&<b>")), ("x", None)]),
            "/a?q=%C3%A9%26%3Cb%3E"
        );
        assert_eq!(breakable("<a>/b").into_string(), "&lt;a&gt;/<wbr>b<wbr>");
    }
}
