//! What figures and lists of pages are made of.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tenure::domain::Policy;
use tenure::engine::{FeedStart, Incoming};
use tenure::wire::{Decoder, Limits};

use super::site::{Site, at, by, noon};
use crate::support::http_client;

async fn page(site: &Site, path: &str) -> String {
    let response = http_client()
        .get(site.url(path))
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.expect("text")
}

#[tokio::test]
async fn refusals_are_listed_newest_first_across_pages() {
    let site = Site::start(noon(), &[]).await;
    for minute in 0..30 {
        let time = noon() - TimeDelta::minutes(60 - minute);
        site.event(&format!("nobody-{minute:02}"), "client.deleted", time, json!({}))
            .await;
    }
    let mut listed = Vec::new();
    let mut path = "/refusals".to_owned();
    loop {
        let text = page(&site, &path).await;
        let rows = text.split("href=\"/clients/acme/nobody-").skip(1);
        let mut rows: Vec<String> = rows.map(|row| row[..2].to_owned()).collect();
        rows.dedup();
        listed.extend(rows);
        let Some(at) = text.find("rel=\"next\" href=\"") else {
            break;
        };
        let rest = &text[at + "rel=\"next\" href=\"".len()..];
        path = rest[..rest.find('"').expect("its end")].replace("&amp;", "&");
    }
    let newest_first: Vec<String> = (0..30).rev().map(|minute| format!("{minute:02}")).collect();
    assert_eq!(listed, newest_first);
}

#[tokio::test]
async fn lanes_show_how_many_messages_wait_and_who_says_so() {
    let site = Site::start(noon(), &[]).await;
    let lanes = ["tenure.events.0".to_owned(), "tenure.events.1".to_owned()];
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    let text = page(&site, "/sources").await;
    assert!(
        text.contains("this worker is not connected to RabbitMQ"),
        "{text}"
    );
    assert!(text.contains("unknown"), "{text}");
    // Past the time for which a page reuses what was read.
    let site = Site::start(noon(), &[]).await;
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    site.engine
        .note_depths([("tenure.events.0".to_owned(), 1_234)].into());
    site.clock.set(noon() + TimeDelta::minutes(3));
    let text = page(&site, "/sources").await;
    assert!(text.contains("1\u{202f}234"), "{text}");
    // No heartbeat has come through the lanes.
    assert!(text.contains("not known yet"), "{text}");
    assert!(
        text.contains("RabbitMQ reported the waiting messages 3 min ago"),
        "{text}"
    );
    let overview = page(&site, "/").await;
    assert!(
        overview.contains("1\u{202f}234\u{a0}messages waiting"),
        "{overview}"
    );
}

/// RabbitMQ may report the messages after the page has read the time.
#[tokio::test]
async fn what_was_reported_just_after_the_page_was_begun_is_not_to_come() {
    let site = Site::start(noon(), &[]).await;
    let lanes = ["tenure.events.0".to_owned()];
    let set = site.engine.store().set_lanes(&lanes, noon());
    set.await.expect("lanes");
    site.clock.set(noon() + TimeDelta::seconds(2));
    site.engine
        .note_depths([("tenure.events.0".to_owned(), 7)].into());
    site.clock.set(noon());
    let text = page(&site, "/sources").await;
    assert!(
        text.contains("RabbitMQ reported the waiting messages just now"),
        "{text}"
    );
}

#[tokio::test]
async fn workers_are_shown_and_one_that_is_gone_needs_attention() {
    let site = Site::start(noon(), &[]).await;
    let text = page(&site, "/").await;
    assert!(text.contains("No worker is recorded"), "{text}");
    let site = Site::start(noon(), &[]).await;
    site.worker("tenure-1-5f0c2a9e").await;
    site.clock.set(noon() + TimeDelta::minutes(3));
    site.engine.duties().lead_relay(true);
    site.worker("tenure-2-<b>").await;
    let text = page(&site, "/").await;
    let rows = text.split_once("id=\"workers\"").expect("the card").1;
    let rows = rows.split("</section>").next().expect("its end");
    for part in [
        ">runs<",
        ">gone<",
        ">relay<",
        "3 min ago",
        "&lt;b&gt;",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(rows.contains(part), "no {part} in {rows}");
    }
    assert!(
        text.contains("href=\"/#workers\"><b>Worker tenure-1-5f0c2a9e was last seen 3 min ago</b>"),
        "{text}"
    );
}

#[tokio::test]
async fn the_overview_shows_how_long_the_oldest_change_has_waited() {
    let broker = ("TENURE_BROKER__URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let site = Site::start(noon(), &[broker]).await;
    assert!(page(&site, "/").await.contains("all are published"));
    let site = Site::start(noon(), &[broker]).await;
    site.event("c-1", "client.added", noon(), json!({"name": "Shop"}))
        .await;
    site.clock.set(noon() + TimeDelta::minutes(7));
    site.event("c-2", "client.added", noon(), json!({"name": "Shop"}))
        .await;
    let text = page(&site, "/").await;
    assert!(text.contains("the oldest has waited 7 min"), "{text}");
}

#[tokio::test]
async fn the_overview_says_what_to_do_about_a_paused_endpoint_and_a_sweep_that_is_held_back() {
    let site = Site::start(noon(), &[]).await;
    // Its access has expired.
    site.linked("bakery").await;
    site.clock.set(noon() + TimeDelta::days(400));
    let lanes = ["tenure.events.0".to_owned()];
    site.engine.set_lanes(&lanes).await.expect("lanes");
    site.endpoint("crm", FeedStart::Latest).await;
    let authority = by("the CRM is being rebuilt");
    let operator = site.engine.operator(&authority);
    operator.pause_endpoint("crm").await.expect("paused");
    let text = page(&site, "/").await;
    for (what, then) in [
        (
            "The endpoint crm is paused",
            "Resume the endpoint when the subscriber is ready.",
        ),
        (
            "Access expiry is held back: no heartbeat has arrived through tenure.events.0 yet",
            "Check that the broker runs and that a worker consumes the lane.",
        ),
    ] {
        let after = text
            .split_once(what)
            .unwrap_or_else(|| panic!("no {what} in {text}"))
            .1;
        let issue = after.split("</li>").next().expect("its end");
        assert!(issue.contains(then), "{issue}");
    }
}

#[tokio::test]
async fn a_source_that_was_never_heard_is_not_called_heard() {
    let site = Site::start(noon(), &[("TENURE_SOURCES", "/accounts=1d")]).await;
    for path in ["/", "/sources"] {
        let text = page(&site, path).await;
        assert!(
            text.contains(">not heard yet<") && !text.contains(">heard<"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_audit_log_says_which_settings_a_policy_changes() {
    let site = Site::start(noon(), &[]).await;
    let policy = Policy {
        cleanup_grace: TimeDelta::days(14),
        ..site.engine.latest_policy().await.expect("a policy")
    };
    let authority = by("agreed with the agencies");
    let operator = site.engine.operator(&authority);
    operator
        .apply_policy(&policy, TimeDelta::hours(1))
        .await
        .expect("a policy");
    let text = page(&site, "/audit").await;
    assert!(
        text.contains("<code>cleanup.grace</code>: 7d → 14d") && !text.contains("access_idle"),
        "{text}"
    );
}

#[tokio::test]
async fn the_sums_of_a_statement_are_over_all_pages() {
    const CLIENTS: usize = 450;
    let site = Site::start(noon(), &[]).await;
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let mut incoming = Vec::new();
    for client in 0..CLIENTS {
        for (number, (kind, data)) in [
            ("client.added", json!({"name": format!("Shop {client}")})),
            ("client.invited", json!({"steps": ["accepted"]})),
            ("invitation.accepted", json!({})),
        ]
        .into_iter()
        .enumerate()
        {
            let partner = if client < 300 { "acme" } else { "best" };
            let event = json!({
                "specversion": "1.0", "id": format!("{client}-{number}"), "source": "/test", "type": kind,
                "subject": format!("{partner}/c{client:03}"), "time": noon() - TimeDelta::hours(1), "data": data,
            });
            let read = decoder.line("http", event.to_string().as_bytes());
            incoming.push(read.map(Incoming::from).expect("a message"));
        }
    }
    site.engine.ingest(incoming).await.expect("ingested");
    let of = |text: &str, partner: &str| -> String {
        let row = text
            .split("<tr")
            .skip(1)
            .find(|row| row.contains(partner) && row.contains("Clients"))
            .expect("a row");
        let cell = row.split("data-label=\"Clients\">").nth(1).expect("a cell");
        cell[..cell.find('<').expect("its end")].to_owned()
    };
    // They are added up in the background.
    let mut text = page(&site, "/statements/2026-03").await;
    let mut asked = 0;
    while text.contains("are being added up") {
        asked += 1;
        assert!(asked < 600, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        text = page(&site, "/statements/2026-03").await;
    }
    assert_eq!(
        (of(&text, "partner=acme"), of(&text, "partner=best")),
        ("300".into(), "150".into())
    );
    assert_eq!(of(&text, ">All<"), "450");
    assert!(text.contains("200\u{a0}clients"), "the page lists 200: {text}");
    // Of a short list, the sums are those of the page.
    let text = page(&site, "/statements/2026-03?partner=best").await;
    assert_eq!(of(&text, "partner=best"), "150");
    assert!(!text.contains(">All<"), "{text}");
}

/// Adds this number of clients of `acme`.
async fn add_clients(site: &Site, clients: usize) {
    let decoder = Decoder::new(Limits::default(), site.engine.now());
    let numbers: Vec<usize> = (0..clients).collect();
    for numbers in numbers.chunks(1_000) {
        let incoming = numbers.iter().map(|number| {
            let event = json!({
                "specversion": "1.0", "id": format!("{number}"), "source": "/test", "type": "client.added",
                "subject": format!("acme/c{number:05}"), "time": noon() - TimeDelta::days(1), "data": {"name": format!("Shop {number}")},
            });
            let read = decoder.line("http", event.to_string().as_bytes());
            read.map(Incoming::from).expect("a message")
        });
        site.engine.ingest(incoming.collect()).await.expect("ingested");
    }
}

/// The links of a page that begin with this.
fn links(text: &str, begin: &str) -> Vec<String> {
    let rest = text.split("href=\"").skip(1);
    let links = rest.filter_map(|rest| rest.split('"').next());
    links
        .filter(|link| link.starts_with(begin))
        .map(|link| link.replace("&amp;", "&"))
        .collect()
}

#[tokio::test]
async fn dead_letters_are_grouped_by_the_source_of_their_events() {
    let site = Site::start(noon(), &[]).await;
    for (id, source) in [("1", "/accounts"), ("2", "/space"), ("3", "/space")] {
        let event = json!({
            "specversion": "1.0", "id": id, "source": source, "type": "client.adopted", "subject": "acme/x",
        });
        site.line(&event.to_string()).await;
    }
    site.line("{\"specversion\":\"1.0\",\"id\":\"4\",\"type\":\"client.adopted\"}")
        .await;
    let text = page(&site, "/dead-letters").await;
    let groups = links(&text, "/dead-letters?reason=");
    assert_eq!(groups.len(), 3, "{groups:?}");
    assert!(text.contains(">no source<"), "{text}");
    for (source, ids) in [
        ("&source=/accounts", &[1][..]),
        ("&source=/space", &[2, 3]),
        ("", &[4]),
    ] {
        let is_of = |link: &&String| match source {
            "" => !link.contains("source="),
            source => link.contains(source),
        };
        let group = groups.iter().find(is_of).expect("a group");
        let listed = page(&site, group).await;
        let listed: Vec<String> = links(&listed, "/dead-letters/");
        let expected: Vec<String> = ids.iter().map(|id| format!("/dead-letters/{id}")).collect();
        assert_eq!(listed, expected, "{group}");
        // The page of a dead letter links to its group.
        assert!(links(&page(&site, &expected[0]).await, "/dead-letters?").contains(group));
    }
}

/// Links a client at a moment: its access expires 60 days later.
async fn linked_at(site: &Site, client: &str, at: DateTime<Utc>) {
    site.event(client, "client.added", at, json!({"name": client}))
        .await;
    site.event(client, "client.invited", at, json!({"steps": ["accepted"]}))
        .await;
    site.event(client, "invitation.accepted", at, json!({})).await;
}

/// Terminates a client with a report schedule, a margin rule and an assignment: it is cleaned up seven days later.
async fn terminated_at(site: &Site, client: &str, at: DateTime<Utc>) {
    for (kind, data) in [
        ("assignment.added", json!({"assignment_id": "campaign-7"})),
        ("report_schedule.created", json!({"schedule_id": "weekly-1"})),
        ("margin_rule.created", json!({"rule_id": "margin-1"})),
    ] {
        site.event(client, kind, at - TimeDelta::hours(1), data).await;
    }
    site.event(client, "client.terminated", at, json!({})).await;
}

#[tokio::test]
async fn a_forecast_shows_clean_ups_as_such() {
    let site = Site::start(noon(), &[]).await;
    linked_at(&site, "old", noon() - TimeDelta::days(2)).await;
    terminated_at(&site, "old", noon()).await;
    let text = page(&site, "/forecast").await;
    assert!(
        text.contains("title=\"clean-up\"") && text.contains("class=\"f7\""),
        "{text}"
    );
    assert!(
        text.contains("clean-up: 1\u{a0}report schedule, 1\u{a0}margin rule, 1\u{a0}assignment removed"),
        "{text}"
    );
    assert!(!text.contains(">other<"), "{text}");
}

#[tokio::test]
async fn a_forecast_says_what_is_overdue() {
    let site = Site::start(noon(), &[]).await;
    linked_at(&site, "old", noon() - TimeDelta::days(59)).await;
    linked_at(&site, "new", noon()).await;
    let text = page(&site, "/forecast?days=90").await;
    assert!(!text.contains("overdue"), "{text}");
    // No sweep has run since.
    site.clock.set(noon() + TimeDelta::days(2));
    let text = page(&site, "/forecast?days=90").await;
    assert!(
        text.contains("<b>1\u{a0}change</b> is overdue: its time has passed"),
        "{text}"
    );
    let (old, _) = text
        .split_once("/clients/acme/new")
        .expect("both, the older first");
    assert!(
        old.contains("access.expired</code> <span class=\"chip attention\">overdue</span>"),
        "{text}"
    );
    assert_eq!(text.matches(">overdue<").count(), 1, "{text}");
}

#[tokio::test]
async fn a_day_of_the_forecast_is_in_the_order_of_that_day() {
    let site = Site::start(noon(), &[]).await;
    // 60 days before 20 March. The other one is cleaned up on 8 March, too.
    let (morning, evening) = (at("2026-01-19T09:00:00Z"), at("2026-01-19T15:00:00Z"));
    linked_at(&site, "x", evening).await;
    terminated_at(&site, "x", noon()).await;
    linked_at(&site, "y", morning).await;
    let listed = async |path: &str| {
        let mut clients = links(&page(&site, path).await, "/clients/acme/");
        clients.dedup();
        clients
    };
    let both = ["/clients/acme/x", "/clients/acme/y"];
    assert_eq!(listed("/forecast").await, both);
    assert_eq!(listed("/forecast?day=2026-03-20").await, [both[1], both[0]]);
    assert_eq!(listed("/forecast?day=2026-03-08").await, [both[0]]);
}

#[tokio::test]
async fn a_day_of_the_forecast_is_listed_page_by_page() {
    let site = Site::start(noon(), &[]).await;
    for minute in 0..120 {
        // The order of the day is not that of the keys.
        let client = format!("c{:03}", 119 - minute);
        linked_at(
            &site,
            &client,
            at("2026-01-19T09:00:00Z") + TimeDelta::minutes(minute),
        )
        .await;
    }
    let mut listed = Vec::new();
    let mut path = "/forecast?day=2026-03-20".to_owned();
    loop {
        let text = page(&site, &path).await;
        listed.extend(links(&text, "/clients/acme/"));
        let Some((_, rest)) = text.split_once("rel=\"next\" href=\"") else {
            assert!(text.contains("101 to 120 of 120\u{a0}clients"), "{text}");
            break;
        };
        path = rest.split('"').next().expect("its end").replace("&amp;", "&");
    }
    let expected: Vec<String> = (0..120)
        .rev()
        .map(|client| format!("/clients/acme/c{client:03}"))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn changes_are_counted_by_cause() {
    let site = Site::start(noon(), &[]).await;
    // Its access expires with the events, which are old.
    linked_at(&site, "a", at("2025-12-01T00:00:00Z")).await;
    // It arrives late, and contradicts the expiry.
    site.event(
        "a",
        "account.accessed",
        at("2026-01-20T00:00:00Z"),
        json!({"by": "partner"}),
    )
    .await;
    let counts = site.engine.activity(60, 1).pop().expect("this minute").1.changes;
    assert!(
        counts.by_event > 0 && counts.by_timer > 0 && counts.corrections > 0,
        "{counts:?}"
    );
    for path in ["/", "/?span=day"] {
        let text = page(&site, path).await;
        let (_, chart) = text.split_once("Changes by cause").expect("a chart");
        for cause in ["event", "timer", "correction"] {
            assert!(
                chart.contains(&format!("</svg>{cause}</li>")),
                "no {cause} in {chart}"
            );
        }
    }
}

/// The counts of the tabs, as they are shown.
fn counts(page: &str) -> Vec<String> {
    let (_, tabs) = page.split_once("<nav class=\"tabs\"").expect("tabs");
    let (tabs, _) = tabs.split_once("</nav>").expect("their end");
    let each = tabs.split("</a>").take(4);
    let count = |tab: &str| {
        let count = tab.split_once("<span class=\"count\">");
        count.map_or_else(String::new, |(_, count)| count.replace("</span>", ""))
    };
    each.map(count).collect()
}

#[tokio::test]
async fn the_tabs_count_what_a_search_and_filters_find() {
    let site = Site::start(noon(), &[]).await;
    for client in ["bakery", "bakery-2", "mill"] {
        site.linked(client).await;
    }
    site.event("draft", "client.added", noon(), json!({"name": "Bakery of Ada"}))
        .await;
    site.event("mill", "client.archived", noon(), json!({})).await;
    site.event("mill", "client.terminated", noon(), json!({})).await;
    site.event("bakery", "access.disabled", noon(), json!({})).await;
    // All, active, inactive, all active.
    for (query, expected) in [
        ("", ["4", "2", "2", "3"]),
        ("?tab=inactive", ["4", "2", "2", "3"]),
        ("?service=all_active", ["4", "2", "2", "3"]),
        ("?service=terminated", ["1", "0", "1", "3"]),
        ("?access=disabled", ["1", "1", "0", "1"]),
        ("?link=archived&tab=active", ["1", "0", "1", "0"]),
        // Two by name and id, and one by name alone: each is counted once.
        ("?q=bakery", ["3", "2", "1", "3"]),
        ("?q=bakery&by=id", ["2", "2", "0", "2"]),
        ("?q=bakery&access=disabled", ["1", "1", "0", "1"]),
        ("?q=nobody", ["0", "0", "0", "0"]),
        ("?q=no+body&by=account", ["0", "0", "0", "0"]),
    ] {
        let page = page(&site, &format!("/clients{query}")).await;
        assert_eq!(counts(&page), expected, "{query}");
    }
}

#[tokio::test]
async fn a_count_that_is_not_complete_says_so() {
    let site = Site::start(noon(), &[]).await;
    add_clients(&site, 10_500).await;
    let mut shown = Vec::new();
    // A page does not wait for the whole count.
    for _ in 0..100 {
        shown = counts(&page(&site, "/clients").await);
        assert!(shown[0].ends_with('+'), "{shown:?}");
        if shown[0] == "10\u{202f}000+" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{shown:?}");
}
