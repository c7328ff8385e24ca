//! The pages of refusals, dead letters and the audit log.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tenure::domain::{Policy, Refusal};
use tenure::engine::Fate;
use tenure::store::RefusalFilter;

use super::html::{cell, links, page, row};
use super::site::{Site, by, noon};

/// The document that lists the actions of the audit log.
const SECURITY: &str = include_str!("../../../docs/security.md");

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
async fn a_refusal_says_what_its_first_reason_was() {
    let site = Site::start(noon(), &[]).await;
    let hour = |hours| noon() - TimeDelta::hours(hours);
    for client in ["bakery", "mill"] {
        site.event(client, "access.requested", hour(1), json!({})).await;
    }
    // It arrives late: the client exists after all, but its partner is not connected with it.
    site.event("bakery", "client.added", hour(2), json!({"name": "Bakery"}))
        .await;
    let shown = page(&site, "/refusals").await;
    for (client, reason, fate) in [
        (
            "bakery",
            "not connected",
            "still refused; the first reason was “unknown client”",
        ),
        ("mill", "unknown client", "still refused"),
    ] {
        let row = row(&shown, &format!("href=\"/clients/acme/{client}\""));
        let because = cell(row, "Refused because");
        assert!(because.starts_with(reason), "{because}");
        assert_eq!(cell(row, "Since then"), fate, "{client}");
    }
}

#[tokio::test]
async fn fates_are_not_looked_up_when_the_time_for_them_is_over() {
    let site = Site::start(noon(), &[]).await;
    for client in ["bakery", "mill"] {
        site.event(client, "access.requested", noon(), json!({})).await;
    }
    let refusals = site.engine.refusals(&RefusalFilter::default(), None, 10).await;
    let (refusals, _) = refusals.expect("refusals");
    let codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes, [Refusal::UnknownClient.code(); 2]);
    for (within, fate) in [
        (Duration::ZERO, None),
        (Duration::from_mins(1), Some(Fate::Refused { before: None })),
    ] {
        let fates = site.engine.fates(&refusals, within).await;
        assert_eq!(fates.expect("fates"), [fate; 2], "{within:?}");
    }
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
async fn the_audit_log_can_be_filtered_by_every_action() {
    let (_, table) = SECURITY.split_once("| action | by |").expect("the actions");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let actions: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(actions.len() > 20, "{actions:?}");
    let site = Site::start(noon(), &[]).await;
    for action in actions {
        let text = page(&site, &format!("/audit?action={action}")).await;
        let first = action.split('.').next().expect("a word");
        for option in [
            format!("<option value=\"{first}\""),
            format!("<option value=\"{action}\" selected"),
        ] {
            assert!(text.contains(&option), "{option} in {text}");
        }
    }
}
