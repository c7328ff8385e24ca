//! What an action says when it does something else than it usually does, or more.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tenure::domain::Sweep;
use tenure::engine::{SweepMode, SweepOptions};
use tenure::wire::{Decoder, Limits};

use super::browser::{Browser, Look};
use super::site::{Site, noon};
use super::stage::{WHY, confirm, last_entry, look_at};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_breaker_stopped_is_confirmed_with_the_first_names() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    for client in ["a", "b", "c", "d", "e", "f", "g"] {
        site.linked(client).await;
    }
    site.clock.set(noon() + TimeDelta::days(70));
    let tick = SweepMode::Scheduled {
        tick: site.engine.now(),
    };
    site.engine
        .sweep(Sweep::AccessExpiry, SweepOptions::new(tick), |_| {})
        .await
        .expect("tripped");
    browser.open(&site.url("/")).await;
    browser.expect(".verdict.bad", "breaker stopped").await;
    browser.shoot("overview-tripped-light").await;
    browser.click(".verdict a").await;
    browser.click("#access-expiry a[href$=confirm]").await;
    let asked = browser.text(".confirm").await;
    for part in ["7 clients", "acme/a", "acme/e", "and 2 more"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    browser.shoot("sweep-tripped-confirm-light").await;
    confirm(&browser, "Confirm and run").await;
    browser.expect("[role=status]", "7 clients").await;
    assert!(last_entry(&browser, &site).await.contains("sweep.confirm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_edited_redriven_and_discarded() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let body = r#"{"specversion":"1.0","id":"1","source":"/space","type":"client.adedd","subject":"acme/x","time":"2026-03-01T11:00:00Z","data":{"name":"X"}}"#;
    site.line(body).await;
    for number in 0..3 {
        site.dead(
            "http",
            "it is not JSON",
            format!("nonsense {number}").as_bytes(),
            &[],
        )
        .await;
    }
    let other_source = [("ce-specversion", "1.0"), ("ce-source", "/accounts")];
    site.dead("http", "it is not JSON", b"nonsense", &other_source)
        .await;
    browser.open(&site.url("/dead-letters/1")).await;
    let fixed = body.replace("adedd", "added");
    // Still wrong: nothing changes.
    browser.fill("form[action$=edit] input[name=reason]", WHY).await;
    browser.click("form[action$=edit] button").await;
    browser.expect("[role=status]", "could not be redriven").await;
    browser.fill("textarea", &fixed).await;
    browser.fill("form[action$=edit] input[name=reason]", WHY).await;
    browser.click("form[action$=edit] button").await;
    browser.expect("[role=status]", "1 dead letter redriven").await;
    browser.open(&site.url("/clients/acme/x")).await;
    browser.expect("h1", "X").await;
    let entry = last_entry(&browser, &site).await;
    assert!(
        entry.contains("dead_letter.edit") && entry.contains(WHY),
        "{entry}"
    );

    browser.open(&site.url("/dead-letters")).await;
    browser.shoot("dead-letters-sources-light").await;
    browser.click_text("a", "it is not JSON").await;
    browser.click_text("a", "Discard all").await;
    let asked = browser.text(".confirm").await;
    assert!(
        asked.contains("Discard 3 dead letters with no source") && asked.contains("it is not JSON"),
        "{asked}"
    );
    browser.shoot("dead-letters-confirm-light").await;
    confirm(&browser, "Discard all").await;
    browser.expect("[role=status]", "3 dead letters discarded").await;
    // That of the other source is in another group.
    browser.click_text("a", "it is not JSON").await;
    browser.expect("dl", "/accounts").await;
    browser.click_text("a", "Discard all").await;
    browser
        .expect(".confirm", "Discard 1 dead letter of /accounts")
        .await;
    confirm(&browser, "Discard all").await;
    browser.expect("main", "No open dead letters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_does_nothing_says_why() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    for client in ["a", "b"] {
        let event = json!({
            "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
            "subject": format!("acme/{client}"), "time": "2026-03-01T11:00:00Z", "data": {"name": client},
        });
        site.dead("amqp:tenure.dead", "given up", event.to_string().as_bytes(), &[])
            .await;
    }
    let submit = async |form: &str| {
        browser
            .fill(&format!("form[action$={form}] input[name=reason]"), WHY)
            .await;
        browser.click(&format!("form[action$={form}] button")).await;
    };
    // Each page was opened before something else happened to the dead letter.
    browser.open(&site.url("/dead-letters/1")).await;
    browser.expect("h1", "Dead letter 1").await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    site.engine.redrive(1, &decoder).await.expect("redriven");
    submit("edit").await;
    browser
        .expect("[role=status]", "The edited message was not ingested")
        .await;
    browser.shoot("dead-letter-edited-too-late-light").await;
    browser.open(&site.url("/dead-letters/2")).await;
    browser.expect("h1", "Dead letter 2").await;
    let (store, now) = (site.engine.store(), site.engine.now());
    let claimed = store.claim_dead_letter(2, now, now + TimeDelta::minutes(1)).await;
    assert!(claimed.expect("a claim").is_some());
    submit("redrive").await;
    browser.expect("[role=status]", "another process").await;
    let discarded = store.discard_dead_letter(2, now).await;
    assert!(discarded.expect("discarded"));
    submit("redrive").await;
    browser.expect("[role=status]", "discarded by somebody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_was_resolved_is_not_discarded() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let added = json!({
        "specversion": "1.0", "id": "a", "source": "/space", "type": "client.added",
        "subject": "acme/a", "time": "2026-03-01T11:00:00Z", "data": {"name": "A"},
    });
    for body in [added.to_string(), "no event".to_owned()] {
        site.dead("amqp:tenure.dead", "given up", body.as_bytes(), &[])
            .await;
    }
    // Each page was opened before the dead letter was resolved.
    let discard = async || {
        browser
            .fill("form[action$=redrive] input[name=reason]", WHY)
            .await;
        browser.click("form[action$=redrive] button[formaction]").await;
    };
    browser.open(&site.url("/dead-letters/1")).await;
    browser.expect("h1", "Dead letter 1").await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    site.engine.redrive(1, &decoder).await.expect("redriven");
    discard().await;
    browser
        .expect("[role=status]", "not discarded: redriven before")
        .await;
    browser.expect("dl", "redriven").await;
    browser.open(&site.url("/dead-letters/2")).await;
    browser.expect("h1", "Dead letter 2").await;
    let now = site.engine.now();
    let discarded = site.engine.store().discard_dead_letter(2, now).await;
    assert!(discarded.expect("discarded"));
    discard().await;
    browser.expect("[role=status]", "had been discarded before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_closed_after_a_warning() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.event(
        "old",
        "client.added",
        noon() - TimeDelta::days(10),
        json!({"name": "Old"}),
    )
    .await;
    browser.open(&site.url("/statements/2026-02")).await;
    browser.click_text("a", "Close this month").await;
    confirm(&browser, "Close the month").await;
    browser.expect("[role=status]", "closed").await;
    browser.expect("main", "Closed by local").await;
    assert!(last_entry(&browser, &site).await.contains("statement.close"));
    // A month before the first event is asked about.
    let other = Site::start(noon(), &[]).await;
    other.linked("bakery").await;
    browser.open(&other.url("/statements/2026-01/close")).await;
    browser.expect("main", "The month is not closed").await;
    browser.click_text("a", "Close it anyway").await;
    // Nor is it closed by a form that does not confirm it.
    browser
        .evaluate("document.querySelector('.confirm [name=confirm]').value = 'false'")
        .await;
    confirm(&browser, "Close the month").await;
    browser.expect("main", "The month is not closed").await;
    browser.click_text("a", "Close it anyway").await;
    confirm(&browser, "Close the month").await;
    browser.expect("main", "Closed by local").await;
}

/// A request closes 2,000 clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_closing_that_is_in_progress_is_continued() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let added = noon() - TimeDelta::days(10);
    let event = |client: &str, kind: &str, time: DateTime<Utc>, data: Value| {
        json!({
            "specversion": "1.0", "id": format!("{client}-{kind}"), "source": "/space", "type": kind,
            "subject": format!("acme/{client}"), "time": time, "data": data,
        })
        .to_string()
    };
    let events = (0..2_001).flat_map(|number| {
        let client = format!("c{number:04}");
        let assigned = json!({"assignment_id": "a"});
        [
            event(&client, "client.added", added, json!({"name": client})),
            event(&client, "assignment.added", added + TimeDelta::hours(1), assigned),
        ]
    });
    site.lines(&events.collect::<Vec<_>>()).await;
    let close = async || {
        browser.click_text("a", "Close this month").await;
        browser
            .expect(".confirm", "examines 2\u{202f}001 clients of 1 partner")
            .await;
        confirm(&browser, "Close the month").await;
    };
    browser.open(&site.url("/statements/2026-02")).await;
    close().await;
    browser
        .expect("[role=status]", "in progress, with 2\u{202f}000 clients so far")
        .await;
    let mut problems = Vec::new();
    for look in [Look::DarkPhone, Look::Light] {
        browser.look(look).await;
        browser.open(&site.url("/statements/2026-02")).await;
        browser
            .expect(".note", "Close the month again to continue it")
            .await;
        problems.extend(look_at(&browser, "statement-in-progress", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    browser.open(&site.url("/statements")).await;
    browser.expect("tr:has(a[href$='2026-02'])", "in progress").await;
    browser.click("a[href='/statements/2026-02']").await;
    close().await;
    browser
        .expect("[role=status]", "The month is closed, with 2\u{202f}001 clients")
        .await;
    browser.expect("main", "Closed by local").await;
    assert_eq!(browser.count("a[href$=close]").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compared_policy_is_applied() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::days(30));
    browser.open(&site.url("/what-if")).await;
    browser.fill("input[name='access.idle']", "20d").await;
    browser.fill("input[name='access.warn_before']", "7d, 1d").await;
    browser.click_text("button", "Compare").await;
    browser.expect("main", "1 of 1 client").await;
    browser.click_text("button", "Apply the policy").await;
    let asked = browser.text(".confirm").await;
    assert!(
        asked.contains("access.idle=20d") && asked.contains("acme/bakery"),
        "{asked}"
    );
    confirm(&browser, "Apply the policy").await;
    browser.expect("[role=status]", "recorded").await;
    browser.expect("main", "20d").await;
    browser.expect("main", "to come").await;
    assert!(last_entry(&browser, &site).await.contains("policy.apply"));
}

/// Dead letters that arrive between the question and the answer are not among those that the operator has seen.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_dead_letters_are_resolved_than_the_question_named() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let dead = async |reason: &str, client: &str| {
        let event = json!({
            "specversion": "1.0", "id": client, "source": "/space", "type": "client.added",
            "subject": format!("acme/{client}"), "time": "2026-03-01T11:00:00Z", "data": {"name": client},
        });
        site.dead("amqp:tenure.dead", reason, event.to_string().as_bytes(), &[])
            .await;
    };
    for (word, reason) in [("Redrive", "given up"), ("Discard", "given up again")] {
        for client in ["a", "b"] {
            dead(reason, &format!("{client}-{word}")).await;
        }
        browser.open(&site.url("/dead-letters")).await;
        browser.click_text("a", reason).await;
        browser.click_text("a", &format!("{word} all")).await;
        browser
            .expect(".confirm", &format!("{word} 2 dead letters"))
            .await;
        dead(reason, &format!("late-{word}")).await;
        confirm(&browser, &format!("{word} all")).await;
        let did = if word == "Redrive" {
            "redriven"
        } else {
            "discarded"
        };
        browser
            .expect("[role=status]", &format!("2 dead letters {did}"))
            .await;
        let groups = site.engine.dead_letter_groups().await.expect("groups");
        let left = groups.groups.iter().find(|group| group.key.reason == reason);
        let left = left.expect("the late one is open");
        assert_eq!(left.count, 1, "{word}");
        let late = site.engine.store().dead_letter(left.first[0]).await;
        let late = late.expect("read").expect("a dead letter");
        let body = String::from_utf8_lossy(&late.dead_letter.body).into_owned();
        assert!(body.contains(&format!("late-{word}")), "{body}");
        // It would be resolved with the next group.
        let resolved = site
            .engine
            .store()
            .discard_dead_letter(left.first[0], noon())
            .await;
        assert!(resolved.expect("discarded"));
    }
}
