//! *Verify* on the page of a client: whether the stored state is what the events lead to.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::Connection as _;
use tenure::domain::ClientKey;
use tenure::engine::Scope;

use super::browser::{Browser, Look};
use super::site::{Site, noon};
use super::stage::look_at;

/// Opens the page of the client, and clicks *Verify*.
async fn verify(browser: &Browser, site: &Site) {
    browser.open(&site.url("/clients/acme/mill")).await;
    browser.expect("h1", "Mill").await;
    assert_eq!(browser.count(".note").await, 0);
    browser.click_text("a", "Verify").await;
    browser.expect_url("verify=now").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_each_difference_and_how_to_repair_it() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let added = noon() - TimeDelta::days(10);
    site.event("mill", "client.added", added, json!({"name": "Old Mill"}))
        .await;
    site.event(
        "mill",
        "client.invited",
        added + TimeDelta::days(1),
        json!({"steps": ["accepted"]}),
    )
    .await;
    verify(&browser, &site).await;
    browser
        .expect(
            ".note.good",
            "Verified. A replay of 2 events leads to the stored state.",
        )
        .await;

    let mut tables = site.tables().await;
    let done = sqlx::query("update clients set doc = replace(doc, 'Old Mill', 'New Mill')")
        .execute(&mut tables)
        .await
        .expect("tampered");
    assert_eq!(done.rows_affected(), 1);
    tables.close().await.expect("closed");
    let mut problems = Vec::new();
    for look in Look::ALL {
        browser.look(look).await;
        verify(&browser, &site).await;
        let note = browser
            .expect(".note.bad", "The stored state differs from the event log.")
            .await;
        for part in [
            "Run tenure rebuild acme/mill to repair it",
            "name is stored as \"New Mill\", the history says \"Old Mill\"",
        ] {
            assert!(note.contains(part), "no {part} in {note}");
        }
        problems.extend(look_at(&browser, "client-differs", look).await);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    let scope = Scope {
        client: Some(ClientKey::new("acme", "mill").expect("a key")),
        ..Scope::default()
    };
    site.engine.rebuild(&scope, |_| {}).await.expect("rebuilt");
    verify(&browser, &site).await;
    browser.expect(".note.good", "Verified.").await;
}
