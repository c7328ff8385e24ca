//! The parts that pages are made of: times, chips, tables, figures, links.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use crate::domain::ClientKey;
use crate::engine::WALK;
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
    with_code(text, |part| html! { (part) })
}

/// Text with the names between its backticks as code, and the other parts as `show` renders them.
fn with_code(text: &str, show: impl Fn(&str) -> Markup) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @if parts.len().is_multiple_of(2) { (show(text)) } @else {
            @for (place, part) in parts.iter().enumerate() {
                @if place.is_multiple_of(2) { (show(part)) } @else { code { (part) } }
            }
        }
    }
}

/// Text for people with its names as code, and its moments as a page shows them. Such text also goes to logs and terminals, where a
/// moment is RFC 3339. A text about that form has an example of it, which stays.
pub fn prose(text: &str) -> Markup {
    if text.contains("RFC 3339") {
        return coded(text);
    }
    with_code(text, with_moments)
}

fn with_moments(text: &str) -> Markup {
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

/// Text that ends with a moment of an explanation: its last six words.
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
    empty_then(what, &coded(then))
}

/// As [`empty`], with links.
pub fn empty_then(what: &str, then: &Markup) -> Markup {
    html! { div.empty { b { (what) } (then) } }
}

/// A list of which the filter leaves nothing. `all`: the list without the filter.
pub fn nothing_matches(what: &str, all: &str) -> Markup {
    empty_then(
        what,
        &html! { a href=(all) { "Clear the filter" } " to see all." },
    )
}

/// A page without rows, after which others may follow at `next`. `examined` says which rows it examined.
pub fn none_among(examined: &str, next: &str) -> Markup {
    empty_then(
        &format!("None among {examined}"),
        &html! { a rel="next" href=(next) { "Continue" } " to look further." },
    )
}

/// A page after the last row of a list. `first`: the first page.
pub fn no_other(one: &str, first: &str) -> Markup {
    empty_then(
        &format!("No other {one}"),
        &html! { a href=(first) { "First page" } },
    )
}

/// What a list is limited to, besides the place of its page.
#[derive(Clone, Copy)]
pub struct Limits {
    /// To anything.
    pub is_filtered: bool,
    /// To a period.
    pub has_period: bool,
}

/// Why a page of a list has no row, if each page examines [`WALK`] rows of its period from the newest on. `nouns`: one row, and
/// several. `all`: the list without its filter. `nothing_yet`: what the list says if it has no filter and no row.
pub fn no_row(
    pages: &Pages,
    limits: Limits,
    (one, many): (&str, &str),
    all: &str,
    nothing_yet: Markup,
) -> Markup {
    let period = if limits.has_period { " of the period" } else { "" };
    match (&pages.first, &pages.next) {
        (first, Some(next)) => {
            let which = if first.is_some() { "next" } else { "newest" };
            none_among(&format!("the {which} {} {many}{period}", number(WALK)), next)
        }
        (Some(_), None) if limits.is_filtered => nothing_matches(&format!("No other {one} matches"), all),
        (Some(first), None) => no_other(one, first),
        (None, None) if limits.is_filtered => nothing_matches(&format!("No {one} matches the filter"), all),
        (None, None) => nothing_yet,
    }
}

/// Some of all rows that are at hand.
pub struct Part<'r, T> {
    pub rows: &'r [T],
    /// The number of rows before them.
    from: usize,
    /// The number of all rows.
    of: usize,
}

impl<'r, T> Part<'r, T> {
    /// At most `most` rows after the first `from`.
    #[must_use]
    pub fn of(all: &'r [T], from: usize, most: usize) -> Self {
        let rows = all.get(from..).unwrap_or_default();
        Self {
            rows: &rows[..rows.len().min(most)],
            from,
            of: all.len(),
        }
    }

    /// The links of its page. `to`: the same page after so many rows, or from the first one on.
    pub fn pages(&self, to: impl Fn(Option<&str>) -> String) -> Pages {
        let next = self.from + self.rows.len();
        let has_next = next < self.of && !self.rows.is_empty();
        Pages {
            first: (self.from > 0).then(|| to(None)),
            next: has_next.then(|| to(Some(&next.to_string()))),
        }
    }

    /// Why it has no rows. `none`: what to say if there are none at all.
    pub fn none(&self, none: Markup) -> Markup {
        if self.of == 0 {
            none
        } else {
            empty("No rows here", "All are on the pages before.")
        }
    }

    /// Says which rows these are, with links to the others. Nothing if these are all.
    pub fn pager(&self, noun: &str, pages: &Pages) -> Markup {
        let (first, last) = (self.from + 1, self.from + self.rows.len());
        let all = counted(self.of, noun);
        let shown = if self.rows.is_empty() {
            all
        } else {
            format!("{} to {} of {all}", number(first), number(last))
        };
        html! { @if pages.are_several() { (pager(&shown, pages)) } }
    }
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
    fn a_part_of_the_rows_says_which_they_are_and_links_to_the_others() {
        let all: Vec<usize> = (0..45).collect();
        let to = |from: Option<&str>| format!("/from/{}", from.unwrap_or("first"));
        for (from, rows, first, next, text) in [
            (0, 20, None, Some("/from/20"), "1 to 20 of 45\u{a0}clients"),
            (
                20,
                20,
                Some("/from/first"),
                Some("/from/40"),
                "21 to 40 of 45\u{a0}clients",
            ),
            (40, 5, Some("/from/first"), None, "41 to 45 of 45\u{a0}clients"),
        ] {
            let part = Part::of(&all, from, 20);
            let pages = part.pages(to);
            assert_eq!(part.rows.len(), rows);
            assert_eq!((pages.first.as_deref(), pages.next.as_deref()), (first, next));
            let markup = part.pager("client", &pages).into_string();
            assert!(markup.contains(text), "{markup}");
        }
        let whole = Part::of(&all[..20], 0, 20);
        assert_eq!(whole.pager("client", &whole.pages(to)).into_string(), "");
        let beyond = Part::of(&all, 60, 20);
        assert!(beyond.rows.is_empty() && beyond.pages(to).next.is_none());
        let (none, pager) = (
            beyond.none(html! { "none" }),
            beyond.pager("client", &beyond.pages(to)),
        );
        assert!(none.into_string().contains("No rows here"));
        let pager = pager.into_string();
        assert!(pager.contains("First page") && !pager.contains(" to "), "{pager}");
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
        let example = "expected an RFC 3339 time such as 2026-03-01T12:00:00Z";
        assert_eq!(prose(example).into_string(), example);
    }
}
