//! What the tests in the browser share: ways to look at the console, signing in, and what is wrong with a page.

use chrono::TimeDelta;
use serde_json::json;

use super::axe;
use super::browser::{Browser, Look};
use super::site::{Site, noon};

/// The reason that an operator gives.
pub const WHY: &str = "the partner asked for it";
/// The token of `ann`, who may do everything.
pub const ANN: &str = "token-of-ann-0123456789";
/// The token of `eve`, who may only read.
pub const EVE: &str = "token-of-eve-0123456789";

/// Both tokens, as settings.
pub const TOKENS: (&str, &str) = (
    "TENURE_HTTP__TOKENS",
    r#"[
        { name = "ann", token = "token-of-ann-0123456789", scopes = ["read", "operate"] },
        { name = "eve", token = "token-of-eve-0123456789", scopes = ["read"] },
    ]"#,
);

/// A way to use the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Scripted(Look),
    /// Without JavaScript.
    Unscripted(Look),
}

impl Way {
    /// Makes the browser use it from the next page on.
    pub async fn choose(self, browser: &Browser) {
        let (Self::Scripted(look) | Self::Unscripted(look)) = self;
        browser.look(look).await;
        browser.scripts(matches!(self, Self::Scripted(_))).await;
    }

    /// What is wrong with the page that is shown.
    pub async fn look_at(self, browser: &Browser, name: &str) -> Vec<String> {
        match self {
            Self::Scripted(look) => look_at(browser, name, look).await,
            // axe-core needs scripts.
            Self::Unscripted(_) => too_wide(browser, name).await.into_iter().collect(),
        }
    }
}

/// Keeps a picture of the page. Returns what is wrong with how it looks.
pub async fn look_at(browser: &Browser, name: &str, look: Look) -> Vec<String> {
    browser.shoot(&format!("{name}-{}", look.name())).await;
    let mut problems: Vec<String> = too_wide(browser, name).await.into_iter().collect();
    if let Some(axe) = axe() {
        let found = browser.axe(axe).await;
        problems.extend(found.into_iter().map(|found| format!("{name}: {found}")));
    }
    let foreign = browser
        .evaluate("return performance.getEntriesByType('resource').map(one => one.name).filter(name => !name.startsWith(location.origin))")
        .await;
    assert_eq!(foreign, json!([]), "{name}");
    problems
}

/// On a phone, the inner width grows with the content.
pub async fn too_wide(browser: &Browser, name: &str) -> Option<String> {
    let wide = browser
        .evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        .await;
    let fits = wide.as_i64().is_some_and(|wide| wide <= 0);
    (!fits).then(|| format!("{name} is {wide} px too wide"))
}

/// Signs in with a token, on the page that asks for one.
pub async fn sign_in(browser: &Browser, site: &Site, token: &str) {
    browser.open(&site.url("/sign-in?next=/clients")).await;
    browser.fill("input[name=token]", token).await;
    browser.click("button[type=submit]").await;
    browser.expect("h1", "Clients").await;
}

/// Gives the reason and presses a button of the page's form.
pub async fn confirm(browser: &Browser, button: &str) {
    browser.fill("input[name=reason]", WHY).await;
    browser.click_text("button", button).await;
}

/// The last entry of the audit log, as the page shows it.
pub async fn last_entry(browser: &Browser, site: &Site) -> String {
    browser.open(&site.url("/audit")).await;
    browser.text("tbody tr").await
}

/// Lets time pass.
pub fn pass(site: &Site, time: TimeDelta) {
    site.clock.set(site.engine.now() + time);
}

/// The moment at which the tests with tokens begin.
pub async fn guarded_site() -> Site {
    Site::start(noon(), &[TOKENS]).await
}
