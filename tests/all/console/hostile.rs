//! Text of others in pages: scripts in names, ids, reasons, headers and bodies have no effect.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::browser::Browser;
use super::site::{Site, noon};

const SCRIPT: &str =
    "<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\">\"'><svg onload=window.pwned=1>";

#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_names_ids_reasons_and_bodies_have_no_effect() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = Site::start(noon(), &[]).await;
    let name = format!("Shop {SCRIPT}");
    site.linked("bakery").await;
    site.event("bakery", "client.renamed", noon(), json!({"name": name}))
        .await;
    site.event(
        "bakery",
        "subscription.added",
        noon(),
        json!({"id": SCRIPT, "managed_by": "partner", "plan": SCRIPT}),
    )
    .await;
    site.event(
        "bakery",
        "access.disabled",
        noon() + TimeDelta::seconds(1),
        json!({"reason": SCRIPT}),
    )
    .await;
    site.event(
        "bakery",
        "subscription.ended",
        noon() + TimeDelta::seconds(2),
        json!({"id": format!("no {SCRIPT}")}),
    )
    .await;
    let body = json!({"specversion": "1.0", "id": SCRIPT, "source": SCRIPT, "type": SCRIPT, "subject": SCRIPT, "data": SCRIPT}).to_string();
    site.dead(
        &format!("file:{SCRIPT}:1"),
        &format!("unknown type {SCRIPT}"),
        body.as_bytes(),
        &[(SCRIPT, SCRIPT)],
    )
    .await;
    site.dead(
        "http",
        "it is not UTF-8",
        b"</textarea><script>window.pwned=1</script>\xff",
        &[],
    )
    .await;
    site.dead(
        "http",
        "it is not JSON",
        b"</textarea><script>window.pwned=1</script>",
        &[],
    )
    .await;
    let authority = tenure::engine::Authority {
        who: "ann".into(),
        how: tenure::store::AuditHow::Cli,
        reason: Some(SCRIPT.into()),
        request_id: None,
    };
    let operator = site.engine.operator(&authority);
    operator
        .pause_sweep(tenure::domain::Sweep::AccessExpiry)
        .await
        .expect("paused");
    let hostile = "%3Cscript%3Ewindow.pwned%3D1%3C/script%3E%22%27%3E";
    for path in [
        "/".to_owned(),
        "/clients".into(),
        "/clients/acme/bakery".into(),
        "/clients/acme/bakery?at=2026-03-02T00:00:00Z".into(),
        "/dead-letters".into(),
        "/dead-letters/1".into(),
        "/dead-letters/2".into(),
        "/dead-letters/3".into(),
        "/dead-letters/4".into(),
        "/refusals".into(),
        "/sweeps".into(),
        "/audit".into(),
        "/forecast?days=90".into(),
        "/statements/2026-03".into(),
        format!("/clients?q={hostile}"),
        format!("/clients?partner={hostile}"),
        format!("/clients/acme/bakery?at={hostile}"),
        format!("/refusals?source={hostile}&from={hostile}"),
        format!("/dead-letters?reason={hostile}&origin={hostile}"),
        format!("/what-if?access.idle={hostile}"),
        format!("/?did={hostile}&n=1"),
        format!("/audit?by={hostile}"),
        format!("/sweeps/runs/{hostile}"),
        format!("/statements/{hostile}"),
        format!("/{hostile}"),
    ] {
        browser.open(&site.url(&path)).await;
        let pwned = browser.evaluate("return [window.pwned ?? 0, document.querySelectorAll('main img, main svg[onload], main script').length]").await;
        assert_eq!(pwned, json!([0, 0]), "{path}");
    }
    browser.open(&site.url("/clients/acme/bakery")).await;
    assert!(
        browser.text("h1").await.contains("<script>"),
        "the text is shown as text"
    );
    browser.shoot("hostile-client-light").await;
    let mut edited = Vec::new();
    for id in 1..=6 {
        browser.open(&site.url(&format!("/dead-letters/{id}"))).await;
        edited.push(
            browser
                .evaluate("return document.querySelector('textarea')?.value ?? null")
                .await,
        );
    }
    let body = Value::from("</textarea><script>window.pwned=1</script>");
    assert!(edited.contains(&body), "the body is kept as it is: {edited:?}");
}
