//! The story of a client: any moment, past and to come, each change with its cause, and why each value is what it is.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::browser::Browser;
use super::site::{Site, Year, noon, year};

/// What the API says about the client of the year.
async fn api(year: &Year, rest: &str) -> Value {
    let (partner, client) = year.client.split_once('/').expect("a client");
    year.api(&format!("/v1/partners/{partner}/clients/{client}{rest}"))
        .await
}

/// The story of the year's client, without what is to come.
async fn history(year: &Year) -> Vec<Value> {
    let history = api(year, "/history?limit=1000").await;
    history["history"].as_array().expect("a history").clone()
}

fn moment(value: &Value) -> DateTime<Utc> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a moment")
}

/// The state that the page shows: link, service and access, in words.
async fn state(browser: &Browser) -> Vec<String> {
    let state = browser
        .evaluate(
            "return ['Link', 'Service', 'Access'].map(name => { \
               const term = [...document.querySelectorAll('.explained dt')].find(one => one.textContent === name); \
               return term.nextElementSibling.querySelector('div').textContent.trim(); \
             })",
        )
        .await;
    serde_json::from_value(state).expect("a state")
}

/// Compares the holdings that the page shows with those of the API.
async fn holdings_are(browser: &Browser, said: &Value, at: DateTime<Utc>) {
    let shown = browser
        .evaluate(
            "const card = [...document.querySelectorAll('.card')].find(card => card.querySelector('h2')?.textContent === 'Holdings'); \
             return [...card.querySelectorAll('dt')].map(name => [name.textContent, \
               [...name.nextElementSibling.querySelectorAll('.id')].map(id => id.textContent), \
               name.nextElementSibling.querySelector('.chip')?.textContent ?? null])",
        )
        .await;
    let mut expected = Vec::new();
    for subscription in said["subscriptions"].as_array().expect("subscriptions") {
        let status = subscription["status"].as_str().expect("a status");
        expected.push(json!([
            "Subscription",
            [subscription["id"]],
            status.replace('_', " ")
        ]));
    }
    for (name, field) in [
        ("Assignments", "assignments"),
        ("Former assignments", "former_assignments"),
        ("Report schedules", "report_schedules"),
        ("Margin rules", "margin_rules"),
        ("Users", "users"),
        ("Integrations", "integrations"),
    ] {
        if said[field] != json!([]) {
            expected.push(json!([name, said[field], null]));
        }
    }
    assert_eq!(shown, Value::from(expected), "{at}");
}

/// Compares the explanations that the page shows with those of the API.
async fn explanations_are(browser: &Browser, said: &Value, at: DateTime<Utc>) {
    let answers = said["answers"].as_array().expect("answers");
    assert!(answers.len() > 10, "{said}");
    for answer in answers {
        let name = answer["answer"].as_str().expect("a name");
        let id = format!("why-{name}").replace(':', "-");
        let shown = browser
            .evaluate(&format!(
                "const why = document.getElementById({}); \
                 return [why.querySelector('p').textContent, [...why.querySelectorAll('li')].map(line => line.textContent)]",
                json!(id)
            ))
            .await;
        assert_eq!(shown[0], answer["sentence"], "{name} at {at}");
        let lines: Vec<String> = serde_json::from_value(shown[1].clone()).expect("lines");
        let grounds = ["causes", "supporting", "turns"].map(|part| answer[part].as_array().expect("a list"));
        let grounds: Vec<&str> = grounds
            .into_iter()
            .flatten()
            .map(|ground| ground["sentence"].as_str().expect("a sentence"))
            .collect();
        assert_eq!(lines.len(), grounds.len(), "{name} at {at}: {lines:?}");
        for (line, ground) in lines.iter().zip(grounds) {
            assert!(line.ends_with(ground), "{name} at {at}: no {ground} in {line}");
        }
    }
}

/// Compares the events that the page says are possible with those of the API.
async fn possible_are(browser: &Browser, said: &Value, at: DateTime<Utc>) {
    let shown = browser
        .evaluate(
            "const card = [...document.querySelectorAll('.card')].find(card => card.querySelector('h2')?.textContent === 'Possible next'); \
             return [':scope > ul', 'details > ul'].map(list => \
               [...card.querySelectorAll(`${list} code`)].map(kind => kind.textContent))",
        )
        .await;
    let events = said["events"].as_array().expect("events");
    let expected = [true, false].map(|is_possible| {
        let listed = events.iter().filter(|event| event["possible"] == is_possible);
        listed.map(|event| event["type"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(shown, json!(expected), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pending_timers_of_any_moment_are_those_of_the_engine() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let key = tenure::domain::ClientKey::new("acme", "bakery").expect("a key");
    let mut seen = std::collections::BTreeSet::new();
    for days in [None, Some(0), Some(50), Some(70)] {
        let at = days.map(|days| noon() + TimeDelta::days(days));
        let query = at.map_or(String::new(), |at| {
            format!("?at={}", at.format("%Y-%m-%dT%H:%M:%SZ"))
        });
        browser
            .open(&site.url(&format!("/clients/acme/bakery{query}")))
            .await;
        let shown = browser
            .evaluate(
                "return [...document.querySelectorAll('#timers dt')].map(name => \
                   [name.textContent.toLowerCase(), name.nextElementSibling.querySelector('time').dateTime])",
            )
            .await;
        let shown: Vec<(String, DateTime<Utc>)> = serde_json::from_value(shown).expect("timers");
        let timers = site.engine.timers(&key, at).await.expect("timers");
        let expected: Vec<(String, DateTime<Utc>)> = timers
            .iter()
            .map(|due| (due.timer.as_str().replace('_', " "), due.at))
            .collect();
        assert_eq!(shown, expected, "{at:?}");
        seen.insert(shown);
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_any_moment_shows_the_state_at_that_moment() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    let history = history(year).await;
    let mut moments: Vec<DateTime<Utc>> = history
        .iter()
        .map(|entry| moment(&entry["time"]))
        // The state at a whole second includes the events up to it.
        .map(|at| DateTime::from_timestamp(at.timestamp() + 1, 0).expect("a moment"))
        .collect();
    moments.dedup();
    let present = *moments.last().expect("a moment");
    moments.extend([30, 60, 89].map(|days| present + TimeDelta::days(days)));
    let mut seen = std::collections::BTreeSet::new();
    for (place, at) in moments.iter().enumerate() {
        let field = at.format("%Y-%m-%dT%H:%M:%S").to_string();
        if place % 2 == 0 {
            // A moment that is typed.
            browser
                .open(&year.url(&format!("/clients/{}", year.client)))
                .await;
            browser
                .evaluate(&format!(
                    "document.querySelector('input[name=at]').value = '{field}'"
                ))
                .await;
            browser.click(".slider .row button").await;
        } else {
            // The same link in a chat.
            browser
                .open(&year.url(&format!("/clients/{}?at={field}Z", year.client)))
                .await;
        }
        browser.expect(".bar", "As of").await;
        let said = api(year, &format!("?at={}", at.format("%Y-%m-%dT%H:%M:%SZ"))).await;
        let expected: Vec<String> = ["link", "service", "access"]
            .iter()
            .map(|name| {
                said[name]
                    .as_str()
                    .map_or("–".into(), |status| status.replace('_', " "))
            })
            .collect();
        assert_eq!(state(&browser).await, expected, "{at}");
        holdings_are(&browser, &said, *at).await;
        let asked = at.format("%Y-%m-%dT%H:%M:%SZ");
        explanations_are(&browser, &api(year, &format!("/why?at={asked}")).await, *at).await;
        possible_are(&browser, &api(year, &format!("/possible?at={asked}")).await, *at).await;
        seen.insert(expected);
    }
    assert!(seen.len() > 3, "{seen:?}");
}

/// A change in a story: its id, its text, and where its links lead.
type Line = (String, String, Vec<String>);

#[tokio::test(flavor = "multi_thread")]
async fn every_change_stands_under_its_cause_and_every_correction_leads_to_its_own() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    let history = history(year).await;
    browser
        .open(&year.url(&format!("/clients/{}?story=all", year.client)))
        .await;
    let place_of = |source: &Value, id: &Value| {
        let place = history
            .iter()
            .position(|entry| entry["event"]["source"] == *source && entry["event"]["id"] == *id);
        place.unwrap_or_else(|| panic!("no event {id} of {source}"))
    };
    let (mut changes, mut corrections) = (0, 0);
    for (place, entry) in history.iter().enumerate() {
        let shown = browser
            .evaluate(&format!(
                "const item = document.getElementById('e{place}'); \
                 return [item.querySelector('time').dateTime, item.querySelector('.what').textContent, \
                   [...item.querySelectorAll('ul > li')].map(line => [line.id, line.textContent, \
                     [...line.querySelectorAll('a')].map(link => link.getAttribute('href'))])]"
            ))
            .await;
        let (at, what, lines): (DateTime<Utc>, String, Vec<Line>) =
            serde_json::from_value(shown).expect("an entry");
        assert_eq!(at, moment(&entry["time"]));
        match entry["event"]["type"].as_str() {
            Some(kind) => assert!(what.contains(kind), "{kind}: {what}"),
            None => assert!(what.contains("timer") || what.contains("Rebuild"), "{what}"),
        }
        for change in entry["changes"].as_array().expect("changes") {
            if change["type"] == "event.refused" && change["correction"] == false {
                continue;
            }
            let id = format!("l{}", change["sequence"]);
            let line = lines.iter().find(|(line, ..)| *line == id);
            let (_, text, leads_to) = line.unwrap_or_else(|| panic!("no line {id} in {lines:?}"));
            assert!(text.contains(change["type"].as_str().expect("a type")), "{text}");
            changes += 1;
            if let Some(id) = change["corrected_by"].get("id") {
                let cause = format!("#e{}", place_of(&change["corrected_by"]["source"], id));
                assert!(leads_to.contains(&cause), "no {cause} in {leads_to:?}: {text}");
                corrections += 1;
            }
            for other in ["corrects", "replaced_by"] {
                if let Some(other) = change[other].as_i64() {
                    assert!(leads_to.contains(&format!("#l{other}")), "{leads_to:?}: {text}");
                }
            }
        }
    }
    assert!(
        changes > 10 && corrections > 0,
        "{changes} changes, {corrections} corrections"
    );
    // Each link leads to something on the page.
    let missing = browser
        .evaluate(
            "return [...document.querySelectorAll('.tale a[href^=\"#\"]')].map(link => link.getAttribute('href')) \
             .filter(href => !document.getElementById(href.slice(1)))",
        )
        .await;
    assert_eq!(missing, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn why_leads_from_a_value_over_its_cause_to_the_moment_before() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let expiry = noon() - TimeDelta::hours(1) + TimeDelta::days(60);
    site.clock.set(expiry + TimeDelta::days(3));
    let options = tenure::engine::SweepOptions::new(tenure::engine::SweepMode::Confirmed);
    let swept = site
        .engine
        .sweep(tenure::domain::Sweep::AccessExpiry, options, |_| {})
        .await;
    swept.expect("swept");
    browser.open(&site.url("/clients/acme/bakery")).await;
    // From the value to the explanation.
    browser.click("a[aria-label='Why: Access']").await;
    let target = browser
        .evaluate("return document.querySelector(':target').id")
        .await;
    assert_eq!(target, "why-access");
    let why = browser.text("#why-access").await;
    assert!(why.contains("expired") && why.contains("60 days"), "{why}");
    browser.click("#why-access summary").await;
    browser.expect("#why-access", "It rests on").await;
    // From its cause to that moment, at which the value was another one.
    let cause = "#why-access a[href*='at=']";
    let at = browser
        .evaluate(&format!(
            "return document.querySelector(\"{cause} time\").dateTime"
        ))
        .await;
    browser.click(cause).await;
    browser.expect(".bar", "in the past").await;
    let shown = moment(&at);
    browser
        .expect_url(&shown.format("at=%Y-%m-%dT%H:%M").to_string())
        .await;
    assert_eq!(state(&browser).await[2], "enabled", "at {shown}");
    // What would change it then, led here.
    browser.click("#why-access summary").await;
    let turns = browser.text("#why-access").await;
    let expired = expiry.format("%Y-%m-%d %H:%M").to_string();
    assert!(
        turns.contains("What would change it") && turns.contains(&expired),
        "{turns}"
    );
    browser.click_text("a", "Back to now").await;
    browser.expect(".chips", "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slider_shows_another_moment_and_its_end_is_ahead() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    browser.expect("main", "enabled").await;
    // The End key moves the handle, and nothing else: the moment is shown on Enter.
    browser
        .evaluate("document.querySelector('input[type=range]').focus()")
        .await;
    browser.type_here("\u{e010}").await;
    browser.expect(".slider output", "2026-05-30 12:00 UTC").await;
    assert!(!browser.url().await.contains("at="), "the page is not loaded yet");
    browser.type_here("\u{e007}").await;
    browser
        .wait_until(
            "the moment ahead",
            "return location.search.startsWith('?at=2026-05-30')",
        )
        .await;
    browser.expect(".bar", "to come").await;
    browser.expect(".chips", "expired").await;
    assert_eq!(
        browser.evaluate("return document.body.className").await,
        "elsewhen"
    );
    // The page explains the value that it shows.
    let why = browser.text(".why").await;
    assert!(why.contains("Access") && why.contains("expired"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slider_moves_from_event_to_event_and_can_be_dragged() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let entered = noon() - TimeDelta::milliseconds(90_500);
    site.event("bakery", "account.accessed", entered, json!({"by": "partner"}))
        .await;
    site.event(
        "bakery",
        "access.disabled",
        noon() - TimeDelta::seconds(10),
        json!({}),
    )
    .await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    // No eye could tell these events apart, and no timer is pending: access is disabled.
    assert_eq!(browser.count(".axis .tick:not(.here, .present)").await, 1);
    let steps = browser
        .evaluate("return document.querySelector('input[type=range]').dataset.moment.split(' ').length")
        .await;
    assert_eq!(steps, 4, "three moments with events, and now");
    browser
        .evaluate("document.querySelector('input[type=range]').focus()")
        .await;
    // Back to the last event but one, as a screen reader says it.
    browser.type_here("\u{e012}\u{e012}").await;
    let said = browser
        .evaluate("return document.querySelector('input[type=range]').getAttribute('aria-valuetext')")
        .await;
    assert_eq!(said, "2026-03-01 11:58 UTC");
    browser.type_here("\u{e007}").await;
    // The state at this second includes the event.
    browser.expect_url("at=2026-03-01T11:58:30Z").await;
    browser.expect(".bar", "in the past").await;
    browser.expect(".chips", "enabled").await;
    browser.expect(".explained", "Last entered").await;
    // The pointer shows the moment where it releases the handle.
    let place = browser
        .evaluate(
            "const box = document.querySelector('input[type=range]').getBoundingClientRect(); \
             return [box.left + 10, box.left + box.width / 2, box.top + box.height / 2]",
        )
        .await;
    let [from, to, height] = [0, 1, 2].map(|part| place[part].as_f64().expect("a place"));
    for (kind, x) in [("mousePressed", from), ("mouseMoved", to), ("mouseReleased", to)] {
        let mouse =
            json!({"type": kind, "x": x, "y": height, "button": "left", "buttons": 1, "clickCount": 1});
        browser.cdp("Input.dispatchMouseEvent", mouse).await;
    }
    browser.expect_url("at=2026-04-1").await;
    browser.expect(".bar", "to come").await;
    // A moment can be typed.
    browser
        .evaluate("document.querySelector('input[name=at]').value = '2026-03-01T11:30:00'")
        .await;
    browser.click(".slider .row button").await;
    browser.expect_url("at=2026-03-01T11%3A30").await;
    browser.expect(".chips", "enabled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_joined_to_what_it_corrects() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    let at = noon() - TimeDelta::minutes(30);
    // The request is refused at first, and the late event makes access disabled before it.
    site.event("bakery", "access.requested", at, json!({})).await;
    site.event(
        "bakery",
        "client.renamed",
        at + TimeDelta::minutes(5),
        json!({"name": "Bakery"}),
    )
    .await;
    site.event("bakery", "access.denied", at + TimeDelta::minutes(10), json!({}))
        .await;
    site.event(
        "bakery",
        "user.removed",
        at + TimeDelta::minutes(12),
        json!({"user_id": "nobody"}),
    )
    .await;
    site.event("bakery", "access.disabled", at - TimeDelta::minutes(5), json!({}))
        .await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    // Each line has two ends, one at the correction.
    let ends = browser
        .evaluate("return ['.joint.down', '.joint.up', '.correction .joint:not(.through)'].map(css => document.querySelectorAll(css).length)")
        .await;
    let [down, up, corrections] = [0, 1, 2].map(|part| ends[part].as_u64().expect("a number"));
    assert!(down > 0 && down == up && corrections >= down, "{ends}");
    // It is unbroken: the parts of a lane touch each other.
    let gaps = browser
        .evaluate(
            "const gaps = []; let bottom; \
             for (const joint of document.querySelectorAll('.joint.n0')) { \
               const box = joint.getBoundingClientRect(); \
               if (!joint.classList.contains('down') && Math.abs(box.top - bottom) > 1) gaps.push([bottom, box.top]); \
               bottom = box.bottom; \
             } \
             return gaps",
        )
        .await;
    assert_eq!(gaps, json!([]));
    // Text says the same, and leads from each end to the other.
    let there = browser
        .evaluate(
            "const correction = document.querySelector('.correction a[href^=\"#l\"]'); \
             const corrected = document.querySelector(correction.getAttribute('href')); \
             const back = corrected.querySelector('a[href^=\"#l\"]'); \
             return [correction.textContent.startsWith('corrects '), back.textContent.startsWith('corrected by '), \
               document.querySelector(back.getAttribute('href')) === correction.closest('li')]",
        )
        .await;
    assert_eq!(there, json!([true, true, true]));
    assert_eq!(
        browser
            .evaluate("return [...document.querySelectorAll('.joint, .mark')].every(one => one.getAttribute('aria-hidden') === 'true')")
            .await,
        true
    );
    // A refusal is struck through, with what became of it.
    let refused = browser.text(".story .refused").await;
    assert!(
        refused.contains("user.removed") && refused.contains("still refused"),
        "{refused}"
    );
    let struck = browser
        .evaluate(
            "return getComputedStyle(document.querySelector('.story .refused .what b')).textDecorationLine",
        )
        .await;
    assert_eq!(struck, "line-through");
    let tale = browser.text(".tale").await;
    assert!(
        tale.contains("applied after all, because an earlier event arrived late"),
        "{tale}"
    );
    browser.shoot("client-corrected-light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_begins_with_now_and_timers_are_clocks() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    browser.open(&site.url("/clients/acme/bakery")).await;
    let tale = browser.text(".tale").await;
    let places = [
        "Now",
        "To come, if no event arrives",
        "Access expiry",
        "Until now",
        "invitation.accepted",
    ]
    .map(|text| tale.find(text).unwrap_or_else(|| panic!("no {text} in {tale}")));
    assert!(places.is_sorted(), "{tale}");
    let line = browser
        .evaluate("return getComputedStyle(document.querySelector('.tale .now')).borderTopStyle")
        .await;
    assert_eq!(line, "dashed");
    // The hands of a clock.
    assert!(browser.count(".story.future .expected .mark circle + path").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_a_client_leads_to_why_it_is_so() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let year = year();
    for query in ["", "?story=all"] {
        browser
            .open(&year.url(&format!("/clients/{}{query}", year.client)))
            .await;
        let values = browser
            .evaluate(
                "return [...document.querySelectorAll('.explained dt')].map(name => { \
                   const links = [...name.nextElementSibling.querySelectorAll('a[href*=\"#\"]')]; \
                   const found = links.filter(link => link.getAttribute('href').startsWith('#')) \
                     .every(link => document.getElementById(decodeURIComponent(link.hash.slice(1)))); \
                   return [name.textContent, links.length > 0, found]; \
                 })",
            )
            .await;
        let values: Vec<(String, bool, bool)> = serde_json::from_value(values).expect("values");
        assert!(values.len() > 15, "{values:?}");
        for (name, is_explained, is_found) in values {
            assert!(is_explained && is_found, "{name}: {is_explained} {is_found}");
        }
    }
    // A link to an explanation that is folded opens it.
    browser.scripts(false).await;
    browser
        .open(&year.url(&format!("/clients/{}#why-visible", year.client)))
        .await;
    let why = browser.expect("#why-visible", "What would change it").await;
    assert!(why.contains("dashboard"), "{why}");
}
