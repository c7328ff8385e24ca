//! The console in a real browser: every page, every action, light, dark, on a phone, with and without scripts.

mod accessible;
mod actions;
mod agreement;
mod browser;
mod counts;
mod forecast;
mod guards;
mod hostile;
mod html;
mod keys;
mod lists;
mod live;
mod logs;
mod outcomes;
mod overview;
mod pages;
mod policies;
mod reach;
mod readers;
mod reasons;
mod scans;
mod searches;
mod shift;
pub mod site;
mod sources;
mod stage;
mod stories;
mod styles;
mod values;
mod verification;
mod walk;
mod walks;
mod webhooks;
mod what_if;
mod without_console;
mod zone;

use std::sync::OnceLock;

use crate::support::packages;

/// The source of axe-core. None, with a line on standard error: it cannot be installed here.
fn axe() -> Option<&'static str> {
    static SOURCE: OnceLock<Option<String>> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        let folder = packages::node("tests/browser")?;
        let file = folder.join("node_modules/axe-core/axe.min.js");
        Some(std::fs::read_to_string(file).expect("axe-core"))
    });
    source.as_deref()
}
