//! Every action of the console, in every way to use it: it asks back in words, wants a reason, is done and is recorded.
//!
//! The table of the routes says which actions there are. An action without a walk here fails the tests.

use tenure::config::{Scope, Settings};
use tenure::console;
use tenure::store::AuditFilter;

use super::browser::{Browser, Look};
use super::site::Site;
use super::stage::{ANN, WHY, Way, guarded_site, last_entry, sign_in};
use super::walks::{is_done, prepared};

/// The paths of all actions, from the table of the routes.
pub fn actions() -> Vec<String> {
    let settings = Settings::load(None, std::iter::empty()).expect("settings");
    let pages = console::pages(&settings);
    let operated = pages
        .table()
        .iter()
        .filter(|(_, needs)| needs.scope == Scope::Operate);
    operated.map(|(path, _)| path.clone()).collect()
}

/// The number of entries of the audit log.
pub async fn entries(site: &Site) -> usize {
    let log = site
        .engine
        .audit_log(&AuditFilter::default(), i64::MAX, 1_000)
        .await;
    log.expect("the audit log").entries.len()
}

/// Takes every action. Returns what is wrong with the pages that it leads through.
async fn take_every_action(browser: &Browser, site: &Site, way: Way) -> Vec<String> {
    let mut problems = Vec::new();
    for action in actions() {
        let walk = prepared(site, &action).await;
        let walk =
            walk.unwrap_or_else(|| panic!("{action} has no walk: write it, so that the action is tested"));
        assert!(!is_done(site, &action).await, "{action} is done before it begins");
        let before = entries(site).await;
        walk.lead(browser, site).await;
        let name = action
            .trim_start_matches('/')
            .replace('/', "-")
            .replace(['{', '}'], "");
        problems.extend(way.look_at(browser, &format!("action-{name}")).await);
        // The browser does not send a form without a reason.
        let button = format!("{} button", walk.form);
        let asked = browser.url().await;
        browser.click_in(walk.form, walk.button).await;
        assert_eq!(browser.url().await, asked, "{action}");
        assert!(browser.count(&button).await > 0, "{action}");
        assert!(!is_done(site, &action).await, "{action} is done without a reason");
        assert_eq!(entries(site).await, before, "{action}");

        browser
            .fill(&format!("{} input[name=reason]", walk.form), WHY)
            .await;
        browser.click_in(walk.form, walk.button).await;
        browser.expect("[role=status]", walk.said).await;
        assert!(is_done(site, &action).await, "{action} is not done");
        problems.extend(way.look_at(browser, &format!("action-{name}-done")).await);
        let entry = last_entry(browser, site).await;
        let (did, target) = walk.recorded;
        for part in ["ann", "console", did, WHY].into_iter().chain(target.as_deref()) {
            assert!(entry.contains(part), "{action}: no {part} in {entry}");
        }
    }
    problems
}

/// The actions of the table, and those that begin and end a session.
async fn every_action_can_be_taken(way: Way) {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let site = guarded_site().await;
    way.choose(&browser).await;
    sign_in(&browser, &site, ANN).await;
    let problems = take_every_action(&browser, &site, way).await;
    for (button, action) in [
        ("Sign out", "sign_out"),
        ("Sign out everywhere", "sign_out.everywhere"),
    ] {
        browser.open(&site.url("/clients")).await;
        browser.click_in(".side .foot", button).await;
        browser.expect_url("/sign-in").await;
        browser.open(&site.url("/clients")).await;
        browser.expect_url("/sign-in?next=").await;
        sign_in(&browser, &site, ANN).await;
        let filter = AuditFilter {
            action: Some(action.into()),
            ..AuditFilter::default()
        };
        let log = site
            .engine
            .audit_log(&filter, i64::MAX, 10)
            .await
            .expect("the audit log")
            .entries;
        assert_eq!(
            log.iter().filter(|record| record.entry.action == action).count(),
            1,
            "{log:?}"
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_in_light() {
    every_action_can_be_taken(Way::Scripted(Look::Light)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_in_dark() {
    every_action_can_be_taken(Way::Scripted(Look::Dark)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_on_a_phone() {
    every_action_can_be_taken(Way::Scripted(Look::Phone)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_without_scripts() {
    every_action_can_be_taken(Way::Unscripted(Look::Light)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_in_dark_without_scripts() {
    every_action_can_be_taken(Way::Unscripted(Look::Dark)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_can_be_taken_on_a_phone_without_scripts() {
    every_action_can_be_taken(Way::Unscripted(Look::Phone)).await;
}
