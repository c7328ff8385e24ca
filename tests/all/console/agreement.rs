//! What cards and lists contain, compared with the engine and the API: the overview, refusals, searches, the forecast.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;
use tenure::config::{Schedule, Settings};
use tenure::domain::Sweep;
use tenure::engine::{NextRun, SweepMode, SweepOptions};
use tenure::store::{MinuteCounts, RefusalFilter};

use super::browser::Browser;
use super::html::{card, cell, minute, page, row};
use super::site::{Site, by, noon, year};
use super::walks::due;

#[tokio::test]
async fn the_overview_has_the_last_and_the_next_run_of_each_sweep() {
    let site = Site::start(noon(), &[]).await;
    due(&site, &["a", "b"]).await;
    let options = SweepOptions::new(SweepMode::Confirmed);
    let swept = site.engine.sweep(Sweep::AccessExpiry, options, |_| {}).await;
    swept.expect("swept");
    let authority = by("the books are closed");
    let operator = site.engine.operator(&authority);
    operator.pause_sweep(Sweep::RequestLapse).await.expect("paused");
    let settings = Settings::load(None, std::iter::empty()).expect("settings");
    let schedules: BTreeMap<Sweep, Schedule> = settings.sweeps.schedules.clone();
    let states = site.engine.sweep_states(&schedules).await.expect("states");
    let text = page(&site, "/").await;
    let card = card(&text, "Sweeps");
    for state in states {
        let row = row(card, &format!("/sweeps#{}\"", state.sweep));
        let run = state.last_run.as_ref();
        let next = state.next_run();
        let expected = [
            run.map_or("–".into(), |run| minute(run.started_at)),
            run.map_or("–".into(), |run| run.counts.changed.to_string()),
            match next {
                NextRun::At(at) => minute(at),
                NextRun::Waits(what) => what.into(),
            },
        ];
        let shown = ["Last run", "Changed", "Next"].map(|label| cell(row, label));
        assert_eq!(shown, expected, "{}", state.sweep);
        let word = match state.sweep {
            Sweep::AccessExpiry => "done",
            Sweep::RequestLapse => "paused",
            _ => "has not run",
        };
        assert_eq!(cell(row, "State"), word, "{}", state.sweep);
    }
    assert_eq!(cell(row(card, "#access-expiry\""), "Changed"), "2");
    assert_eq!(cell(row(card, "#request-lapse\""), "Next"), "after it is resumed");
}

#[tokio::test]
async fn the_overview_says_that_all_is_well() {
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let text = page(&site, "/").await;
    let (_, verdict) = text.split_once("class=\"verdict good\"").expect("a good verdict");
    let verdict = verdict.split("</section>").next().expect("its end");
    assert!(
        verdict.contains("<strong>All is well.</strong>") && !verdict.contains("<li>"),
        "{verdict}"
    );
}

#[tokio::test]
async fn the_overview_counts_expiries_dead_letters_and_refusals() {
    let site = Site::start(noon(), &[]).await;
    for client in ["a", "b", "c"] {
        site.linked(client).await;
    }
    // Sixty days after eleven o'clock: on the 30th of April.
    site.clock.set(noon() + TimeDelta::days(40));
    for body in ["x", "y"] {
        site.dead("http", "it is not JSON", body.as_bytes(), &[]).await;
    }
    site.dead("http", "it is too long", b"z", &[]).await;
    let now = site.engine.now() - TimeDelta::hours(1);
    for client in ["nobody-1", "nobody-2"] {
        site.event(client, "client.deleted", now, json!({})).await;
    }
    site.event("a-2", "client.added", now, json!({"name": "a"})).await;
    let mut text = page(&site, "/").await;
    // They are counted in the background.
    for _ in 0..200 {
        if !text.contains("are being counted") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        text = page(&site, "/").await;
    }
    let expiries = card(&text, "Accesses that expire in the next 30 days");
    assert!(expiries.contains("3\u{a0}accesses expire"), "{expiries}");
    let days = expiries.matches("<th scope=\"row\">").count();
    assert_eq!(days, 1, "{expiries}");
    assert!(row(expiries, "30 Apr").contains(">3</td>"), "{expiries}");
    let letters = card(&text, "Open dead letters, by reason");
    assert!(
        row(letters, "it is not JSON").contains("<td class=\"num\">2</td>"),
        "{letters}"
    );
    assert!(
        row(letters, "it is too long").contains("<td class=\"num\">1</td>"),
        "{letters}"
    );
    let refusals = card(&text, "Refusals of the last day, by code");
    let counted = site.engine.count_refusals().await.expect("counted");
    let numbers: Vec<u64> = counted.codes.iter().map(|count| count.events).collect();
    assert_eq!(numbers, [2, 1], "{counted:?}");
    for count in &counted.codes {
        let row = row(refusals, &format!("/refusals?code={}\"", count.code));
        assert!(
            row.contains(&format!("<td class=\"num\">{}</td>", count.events)),
            "{row}"
        );
    }
}

#[tokio::test]
async fn events_and_changes_are_those_of_all_workers() {
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let own = site.engine.activity(1, 1).await.expect("counts")[0].1;
    let of_another = MinuteCounts {
        refused: 1_200,
        ..own
    };
    let before = noon() - TimeDelta::hours(1);
    let counted = [
        (noon(), of_another),
        (noon() - TimeDelta::minutes(59), of_another),
        (before, of_another),
    ];
    let store = site.engine.store();
    store
        .record_activity(7, &counted, before)
        .await
        .expect("recorded");
    let text = page(&site, "/").await;
    let value = |name: &str| {
        let figure = text.split_once(&format!("data-live=\"{name}\">"));
        let number = figure.expect("a figure").1.split('<').next().expect("its text");
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("a number")
    };
    assert_eq!(own.refused, 0);
    assert_eq!(
        (value("events"), value("refused")),
        (3 * own.events() + 2_400, 2_400)
    );
    assert_eq!(value("changes"), 3 * own.changes.total());
    // The chart of the day has the oldest minute too.
    let day = page(&site, "/?span=day").await;
    assert!(
        day.contains("Events by outcome, per quarter of an hour, the last day"),
        "{day}"
    );
    let steps = site.engine.activity(96, 15).await.expect("counts");
    assert_eq!(steps.iter().map(|(_, counts)| counts.refused).sum::<u64>(), 3_600);
}

/// Events that are refused: by two sources, for two reasons, at four times.
async fn refuse_some(site: &Site) {
    let hour = |hours| noon() - TimeDelta::hours(hours);
    site.linked("bakery").await;
    for (id, source, client, kind, time, data) in [
        ("r1", "/space", "nobody", "client.deleted", hour(30), json!({})),
        (
            "r2",
            "/accounts",
            "nobody",
            "client.archived",
            hour(20),
            json!({}),
        ),
        (
            "r3",
            "/accounts",
            "bakery-2",
            "client.added",
            noon(),
            json!({"name": "bakery"}),
        ),
        (
            "r4",
            "/space",
            "late",
            "client.renamed",
            hour(10),
            json!({"name": "Late"}),
        ),
    ] {
        let event = json!({
            "specversion": "1.0", "id": id, "source": source, "type": kind,
            "subject": format!("acme/{client}"), "time": time, "data": data,
        });
        site.line(&event.to_string()).await;
    }
    // An event of the same type is applied later.
    site.event("late", "client.added", hour(9), json!({"name": "Later"}))
        .await;
    site.event("late", "client.renamed", hour(8), json!({"name": "Latest"}))
        .await;
}

#[tokio::test]
async fn refusals_are_found_by_code_source_and_time() {
    let site = Site::start(noon(), &[]).await;
    refuse_some(&site).await;
    let all = site.engine.refusals(&RefusalFilter::default(), None, 100).await;
    let (all, _) = all.expect("refusals");
    assert_eq!(all.len(), 4, "{all:?}");
    let codes: BTreeSet<&str> = all.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes.len(), 2, "{all:?}");
    let (from, until) = (noon() - TimeDelta::hours(20), noon() - TimeDelta::hours(10));
    let in_time = |time: DateTime<Utc>| (time >= from, time < until);
    for code in [None].into_iter().chain(codes.iter().map(|code| Some(*code))) {
        for source in [None, Some("/space"), Some("/accounts")] {
            for (has_from, has_until) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut asked: Vec<String> = Vec::new();
                asked.extend(code.map(|code| format!("code={code}")));
                asked.extend(source.map(|source| format!("source={source}")));
                // As the fields of the form send them.
                let field = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M").to_string();
                asked.extend(has_from.then(|| format!("from={}", field(from))));
                asked.extend(has_until.then(|| format!("until={}", field(until))));
                let asked = asked.join("&");
                let text = page(&site, &format!("/refusals?{asked}")).await;
                let expected: BTreeSet<&str> = all
                    .iter()
                    .filter(|refusal| code.is_none_or(|code| refusal.code == code))
                    .filter(|refusal| source.is_none_or(|source| &*refusal.source == source))
                    .filter(|refusal| !has_from || in_time(refusal.time).0)
                    .filter(|refusal| !has_until || in_time(refusal.time).1)
                    .map(|refusal| &*refusal.id)
                    .collect();
                let shown = ["r1", "r2", "r3", "r4"].into_iter();
                let shown: BTreeSet<&str> = shown.filter(|id| text.contains(&format!(">{id}<"))).collect();
                assert_eq!(shown, expected, "{asked}");
            }
        }
    }
    let text = page(&site, "/refusals").await;
    let applied = row(&text, ">r4<");
    assert!(
        applied.contains("a later event of this type was applied, <time datetime=\"2026-03-01T04:00:00Z\">"),
        "{applied}"
    );
    assert!(row(&text, ">r1<").contains("still refused"), "{text}");
}

#[tokio::test]
async fn a_search_by_account_finds_its_client() {
    let site = Site::start(noon(), &[]).await;
    for client in ["bakery", "mill"] {
        site.linked(client).await;
        let account = json!({"by": "customer", "account_id": format!("account-of-{client}")});
        site.event(client, "account.created", noon(), account).await;
    }
    for query in [
        "q=account-of-mill&by=account",
        "q=account-of-mill",
        "account=account-of-mill",
    ] {
        let text = page(&site, &format!("/clients?{query}")).await;
        assert!(
            text.contains("href=\"/clients/acme/mill\"") && !text.contains("href=\"/clients/acme/bakery\""),
            "{query}: {text}"
        );
    }
    let text = page(&site, "/clients?q=account-of&by=account").await;
    assert!(text.contains("No client matches"), "{text}");
}

/// What a page counts, and the count as it shows it.
type Counts<T> = Vec<(T, String)>;

/// A number as a page shows it.
fn number(shown: &str) -> u64 {
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number: {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forecast_counts_what_the_api_lists() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    browser.open(&year().url("/forecast?days=90")).await;
    let shown = browser
        .evaluate(
            "const rows = heading => [...[...document.querySelectorAll('.card')] \
               .find(card => card.querySelector('h2')?.textContent === heading).querySelectorAll('tbody tr')]; \
             return [document.querySelector('.bar time').dateTime, \
               [...document.querySelectorAll('.calendar td b a')].map(link => \
                 [new URL(link.href).searchParams.get('day'), link.textContent]), \
               rows('By partner').map(row => [row.querySelector('th').textContent, row.querySelector('td').textContent])]",
        )
        .await;
    let (now, days, partners): (DateTime<Utc>, Counts<NaiveDate>, Counts<String>) =
        serde_json::from_value(shown).expect("a forecast");
    let until = (now + TimeDelta::days(90)).format("%Y-%m-%dT%H:%M:%SZ");
    let forecast = year()
        .api(&format!("/v1/forecast?until={until}&limit=1000"))
        .await;
    let mut by_day: BTreeMap<NaiveDate, BTreeSet<String>> = BTreeMap::new();
    let mut by_partner: BTreeMap<String, u64> = BTreeMap::new();
    for client in forecast["clients"].as_array().expect("clients") {
        let key = client["client"].as_str().expect("a client");
        let (partner, _) = key
            .split_once('/')
            .unwrap_or_else(|| (client["partner"].as_str().expect("a partner"), key));
        *by_partner.entry(partner.to_owned()).or_default() += 1;
        for change in client["changes"].as_array().expect("changes") {
            let time: DateTime<Utc> = change["time"]
                .as_str()
                .and_then(|time| time.parse().ok())
                .expect("a time");
            by_day
                .entry(time.date_naive())
                .or_default()
                .insert(format!("{partner}/{key}"));
        }
    }
    // What is overdue is due with the next sweep.
    let today = now.date_naive();
    let ahead = |day: &NaiveDate| *day > today;
    let shown: BTreeMap<NaiveDate, u64> = days
        .into_iter()
        .filter(|(day, _)| ahead(day))
        .map(|(day, count)| (day, number(&count)))
        .collect();
    let expected: BTreeMap<NaiveDate, u64> = by_day
        .into_iter()
        .filter(|(day, _)| ahead(day))
        .map(|(day, clients)| (day, clients.len() as u64))
        .collect();
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(shown, expected);
    let shown: BTreeMap<String, u64> = partners
        .into_iter()
        .map(|(partner, count)| (partner, number(&count)))
        .collect();
    assert_eq!(shown, by_partner);
}
