//! The parts that pages are made of: times, chips, tables, figures, links.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::domain::ClientKey;
pub use crate::phrases::{ago, counted, counted_as, distance, duration, number, sentence, title, words};
pub use crate::tone::{Tone, tone};

/// Up to this length, an id stays in one line.
const SHORT: usize = 24;

/// A status in a chip, with its word.
pub fn chip(status: &str) -> Markup {
    chip_of(tone(status), &words(status))
}

pub fn chip_of(tone: Tone, text: &str) -> Markup {
    html! { span class={ "chip " (tone.class()) } { (text) } }
}

fn machine(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A moment in a table, in UTC to the minute. The script adds the reader's own time beside it, as beside every `<time>`.
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

/// A moment in text: [`spelled`], as a `<time>`.
pub fn inline_moment(at: DateTime<Utc>) -> Markup {
    html! { time.inline datetime=(machine(at)) { (spelled(at)) } }
}

/// A moment in a sentence, with the reader's own date and time beside it.
pub fn full_moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(machine(at)) data-own { (spelled(at)) } }
}

/// A moment, and how far away it is.
pub fn moment_and_distance(now: DateTime<Utc>, at: DateTime<Utc>) -> Markup {
    html! { (moment(at)) " " span.muted.whole { (distance(now, at)) } }
}

/// A moment at which something happened, and how long ago.
pub fn moment_and_ago(now: DateTime<Utc>, at: DateTime<Utc>) -> Markup {
    html! { (moment(at)) " " span.muted.whole { (ago(now, at)) } }
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

/// An id: a short one in one line, because a break after a hyphen looks like the end of a word; a long one may break after its
/// separators.
pub fn breakable(id: &str) -> Markup {
    html! {
        @if id.len() <= SHORT {
            span.whole { (id) }
        } @else {
            span.long { @for part in id.split_inclusive(['/', '.', '-', '_', ':', '@']) { (part) wbr; } }
        }
    }
}

/// Text with the names between its backticks as code.
pub fn coded(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @if parts.len().is_multiple_of(2) { (text) } @else {
            @for (place, part) in parts.iter().enumerate() {
                @if place.is_multiple_of(2) { (part) } @else { code { (part) } }
            }
        }
    }
}

/// Text for people with its moments as a page shows them. Such text also goes to logs and terminals, where a moment is RFC 3339.
pub fn prose(text: &str) -> Markup {
    html! {
        @for word in text.split_inclusive(' ') {
            @let bare = word.trim_matches(|char: char| " ,;:.()“”".contains(char));
            @match (DateTime::parse_from_rfc3339(bare), word.split_once(bare)) {
                (Ok(at), Some((before, after))) => {
                    (before) (inline_moment(at.to_utc())) (after)
                },
                _ => { (word) },
            }
        }
    }
}

/// A sentence of an explanation, with its moments as `<time>`. The engine writes them as `3 March 2026 at 09:12 UTC`.
pub fn explained(sentence: &str) -> Markup {
    const MARK: &str = " UTC";
    let mut rest = sentence;
    let mut parts = Vec::new();
    while let Some(end) = rest.find(MARK) {
        let (before, after) = rest.split_at(end + MARK.len());
        parts.push(with_last_moment(before));
        rest = after;
    }
    html! { @for part in parts { (part) } (rest) }
}

/// Text that ends with a moment of an explanation: its last five words.
fn with_last_moment(text: &str) -> Markup {
    let begin = text.rmatch_indices(' ').nth(5).map_or(0, |(space, _)| space + 1);
    let (before, spelled) = text.split_at(begin);
    let read = NaiveDateTime::parse_from_str(spelled, "%d %B %Y at %H:%M UTC")
        .or_else(|_| NaiveDateTime::parse_from_str(spelled, "%d %B %Y at %H:%M:%S%.f UTC"));
    html! {
        @match read {
            Ok(at) => { (before) time.inline datetime=(machine(at.and_utc())) { (spelled) } },
            Err(_) => { (text) },
        }
    }
}

/// A card with a title.
pub fn card(heading: &str, content: &Markup) -> Markup {
    shown_card(None, heading, content)
}

/// A card to which other parts of the page link.
pub fn card_with_id(id: &str, heading: &str, content: &Markup) -> Markup {
    shown_card(Some(id), heading, content)
}

fn shown_card(id: Option<&str>, heading: &str, content: &Markup) -> Markup {
    html! {
        section.card id=[id] {
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
    html! { div.empty { b { (what) } (coded(then)) } }
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
    fn text_is_encoded_in_urls_and_ids_are_escaped() {
        assert_eq!(
            url("/a", &[("q", Some("é&<b>")), ("x", None)]),
            "/a?q=%C3%A9%26%3Cb%3E"
        );
        assert_eq!(
            breakable("<a>/b").into_string(),
            "<span class=\"whole\">&lt;a&gt;/b</span>"
        );
    }

    #[test]
    fn a_long_id_breaks_after_its_separators() {
        let long = breakable("acme/4f1c2a9e-77b0-4d5c-9a55-0d3c1f6c2b11").into_string();
        assert!(
            long.starts_with("<span class=\"long\">acme/<wbr>4f1c2a9e-<wbr>77b0-<wbr>"),
            "{long}"
        );
    }

    #[test]
    fn names_between_backticks_are_code() {
        assert_eq!(
            coded("no `<a>` here").into_string(),
            "no <code>&lt;a&gt;</code> here"
        );
        assert_eq!(coded("one ` only").into_string(), "one ` only");
    }

    #[test]
    fn moments_in_explanations_are_times() {
        assert_eq!(
            explained("Since 3 March 2026 at 09:12 UTC, until 4 March 2026 at 10:00:01.5 UTC.").into_string(),
            "Since <time class=\"inline\" datetime=\"2026-03-03T09:12:00Z\">3 March 2026 at 09:12 UTC</time>, \
             until <time class=\"inline\" datetime=\"2026-03-04T10:00:01.500Z\">4 March 2026 at 10:00:01.5 UTC</time>."
        );
        for text in ["in UTC", "no moment", "", "it is 5 UTC"] {
            assert_eq!(explained(text).into_string(), text);
        }
    }

    #[test]
    fn moments_in_text_are_spelled() {
        assert_eq!(
            prose("late <since> (2026-02-28T20:25:31Z), every 2h").into_string(),
            "late &lt;since&gt; (<time class=\"inline\" datetime=\"2026-02-28T20:25:31Z\">28 Feb 2026, 20:25 UTC</time>), every 2h"
        );
    }
}
