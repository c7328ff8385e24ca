//! Text of others in pages: scripts in names, ids, reasons, headers and bodies have no effect.

use chrono::TimeDelta;
use serde_json::{Value, json};

use tenure::domain::{Policy, Sweep};
use tenure::engine::{FeedStart, SweepMode, SweepOptions};

use super::browser::Browser;
use super::site::{Site, noon};

const SCRIPT: &str =
    "<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\">\"'><svg onload=window.pwned=1>";

/// Of each group of dead letters: its list, and the questions before all of them are redriven or discarded.
async fn group_pages(browser: &Browser, site: &Site) -> Vec<String> {
    let links = async |page: &str, css: &str| -> Vec<String> {
        browser.open(&site.url(page)).await;
        let links = format!(
            "return [...document.querySelectorAll(\"{css}\")].map(link => link.getAttribute('href'))"
        );
        serde_json::from_value(browser.evaluate(&links).await).expect("links")
    };
    let mut pages = links("/dead-letters", "main a[href^='/dead-letters?reason=']").await;
    for group in pages.clone() {
        pages.extend(links(&group, "a[href^='/dead-letter-groups/']").await);
    }
    pages
}

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
    operator.pause_sweep(Sweep::AccessExpiry).await.expect("paused");
    site.endpoint("crm", FeedStart::Latest).await;
    operator.pause_endpoint("crm").await.expect("paused");
    site.worker(&format!("host-{SCRIPT}")).await;
    let options = SweepOptions::new(SweepMode::Confirmed);
    let swept = site.engine.sweep(Sweep::RequestLapse, options, |_| {}).await;
    swept.expect("swept");
    let policy = Policy {
        cleanup_grace: TimeDelta::days(14),
        ..site.engine.latest_policy().await.expect("a policy")
    };
    let applied = operator.apply_policy(&policy, TimeDelta::hours(1)).await;
    applied.expect("a policy");
    let lanes = [format!("tenure.{SCRIPT}")];
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    let run = site.engine.store().runs(None, 1).await.expect("runs")[0].id;
    let groups = group_pages(&browser, &site).await;
    assert!(groups.len() >= 3 * 3 && groups.len() % 3 == 0, "{groups:?}");
    let hostile = "%3Cscript%3Ewindow.pwned%3D1%3C/script%3E%22%27%3E";
    let paths = [
        "/".to_owned(),
        "/sources".into(),
        "/policy".into(),
        "/webhooks".into(),
        "/webhooks/crm/resume".into(),
        format!("/sweeps/runs/{run}"),
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
    ];
    for path in paths.into_iter().chain(groups) {
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
