//! The page of policies: which one is in force, how each differs from the one before, and who applied it.

use chrono::TimeDelta;
use tenure::config::policy_settings;
use tenure::domain::Policy;
use tenure::engine::{Adoption, AdoptionMode, Authority};
use tenure::store::AuditHow;

use super::html::{cell, page, rows, text};
use super::site::{Site, by, noon};

/// The part of a text between two others.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (_, rest) = text
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin} in {text}"));
    rest.split(end).next().expect("its end")
}

/// The cards of the policies, the newest first.
fn cards(page: &str) -> Vec<&str> {
    let cards = page.split("<section class=\"card flush\">").skip(1);
    cards
        .map(|card| card.split("</section>").next().expect("its end"))
        .collect()
}

/// What the card of a policy says above its settings: from when it applies, its state, and who applied it.
fn header(card: &str) -> [String; 3] {
    let header = between(card, "<header>", "</header>");
    [
        text(between(header, "<h2>", "</h2>")),
        text(between(header, "</h2>", "<p")),
        text(between(header, "<p class=\"muted\">", "</p>")),
    ]
}

/// The settings that the card of a policy marks as changed, each with its value and the one before.
fn changed(card: &str) -> Vec<[String; 3]> {
    let settings = rows(card);
    assert_eq!(
        settings.len(),
        policy_settings(&Policy::default()).len(),
        "{card}"
    );
    let cells = settings
        .into_iter()
        .map(|row| ["Setting", "Value", "Before"].map(|label| cell(row, label)));
    let (changed, same): (Vec<_>, Vec<_>) = cells.partition(|[_, value, _]| value.ends_with(" changed"));
    for [setting, value, before] in same {
        assert_eq!(value, before, "{setting}");
    }
    changed
}

/// Records three policies after the first, each two days after the one before: by people, and by the settings of a worker.
async fn change_thrice(site: &Site) {
    let hour = TimeDelta::hours(1);
    let first = site.engine.latest_policy().await.expect("a policy");
    let second = Policy {
        cleanup_grace: TimeDelta::days(14),
        ..first
    };
    let ann = by("agreed with the agencies");
    let applied = site.engine.operator(&ann).apply_policy(&second, hour).await;
    applied.expect("a policy");
    site.clock.set(noon() + TimeDelta::days(2));
    let third = Policy {
        stalled_after: TimeDelta::days(21),
        ..second
    };
    let bea = Authority {
        who: "bea".into(),
        how: AuditHow::Console,
        reason: None,
        request_id: None,
    };
    let applied = site.engine.operator(&bea).apply_policy(&third, hour).await;
    applied.expect("a policy");
    site.clock.set(noon() + TimeDelta::days(4));
    let fourth = Policy {
        access_idle: TimeDelta::days(45),
        ..third
    };
    let adopted = site.engine.adopt(&fourth, hour, AdoptionMode::Automatic).await;
    let from = site.engine.now() + hour;
    assert_eq!(adopted.expect("a policy"), Adoption::Recorded { from });
}

#[tokio::test]
async fn each_policy_shows_its_state_its_changes_and_who_applied_it() {
    let site = Site::start(noon(), &[]).await;
    change_thrice(&site).await;
    let shown = page(&site, "/policy").await;
    let listed = cards(&shown);
    let headers: Vec<[String; 3]> = listed.iter().map(|card| header(card)).collect();
    assert_eq!(
        headers,
        [
            [
                "From 5 Mar 2026, 13:00 UTC",
                "to come",
                "Recorded 2026-03-05 12:00 just now by a worker that started with changed settings.",
            ],
            [
                "From 3 Mar 2026, 13:00 UTC",
                "in force",
                "Applied by bea, console, 2026-03-03 12:00 2 days ago",
            ],
            [
                "From 1 Mar 2026, 13:00 UTC",
                "past",
                "Applied by ann, cli, 2026-03-01 12:00 4 days ago: “agreed with the agencies”",
            ],
            ["From the beginning", "past", "The settings of the first worker."],
        ]
    );
    let (first, later) = listed.split_last().expect("policies");
    let changes: Vec<Vec<[String; 3]>> = later.iter().map(|card| changed(card)).collect();
    assert_eq!(
        changes,
        [
            [["access.idle", "45d changed", "60d"]],
            [["invitations.stalled_after", "21d changed", "14d"]],
            [["cleanup.grace", "14d changed", "7d"]],
        ]
    );
    // No policy was before the first.
    assert!(!first.contains("Before") && !first.contains("changed"), "{first}");
    // An hour later, the next one is in force.
    site.clock.set(noon() + TimeDelta::days(4) + TimeDelta::hours(1));
    let shown = page(&site, "/policy").await;
    let states: Vec<String> = cards(&shown)
        .into_iter()
        .map(|card| {
            let [_, state, _] = header(card);
            state
        })
        .collect();
    assert_eq!(states, ["in force", "past", "past", "past"]);
}
