//! The console: pages for the people who run Tenure. They show what the engine answers, for any moment, and start what the
//! command line starts too. No page has a rule or a query of its own.
//!
//! Pages are Rust functions that return HTML ([`maud`]): the compiler checks them, and text is escaped unless a function says
//! otherwise. `docs/console.md` lists the pages.

mod actions;
mod assets;
mod audit;
mod charts;
mod clients;
#[cfg(test)]
mod contrast;
mod csv;
mod dead_letters;
mod error;
mod forecast;
mod health;
mod joints;
mod layout;
mod live;
mod overview;
mod policy;
mod refusals;
mod remembered;
mod slider;
mod sources;
mod state;
mod statements;
mod story;
mod sweeps;
mod tabs;
mod timeline;
mod ui;
mod view;
mod webhooks;
mod what_if;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::routing::{MethodRouter, get};
use chrono::TimeDelta;

use crate::config::{Schedule, Scope, Settings};
use crate::domain::Sweep;
use crate::http::{Api, Pages, Reach};
use crate::worker;
use overview::Expiries;

/// What pages need besides the API.
pub struct Console {
    schedules: BTreeMap<Sweep, Schedule>,
    expiries: Expiries,
    summary: health::Latest,
    counts: tabs::Counts,
    sums: statements::Sums,
    /// Whether changes are published to a broker.
    is_relayed: bool,
    /// How long before it takes effect a policy is recorded.
    notice: TimeDelta,
    /// The clients that a download has at most.
    most_in_download: usize,
}

/// The pages of the console, for [`Api::mount`].
#[must_use]
pub fn pages(settings: &Settings) -> Pages {
    pages_within(settings, csv::MOST_CLIENTS)
}

/// The pages of the console, whose downloads have at most this many clients.
#[must_use]
pub fn pages_within(settings: &Settings, most_in_download: usize) -> Pages {
    let console = Arc::new(Console {
        schedules: settings.sweeps.schedules.clone(),
        expiries: Expiries::default(),
        summary: health::Latest::default(),
        counts: tabs::Counts::default(),
        sums: statements::Sums::default(),
        is_relayed: settings.broker.url.is_some(),
        notice: worker::notice(settings),
        most_in_download,
    });
    let page = |methods: MethodRouter<Arc<Api>>| methods.layer(Extension(console.clone()));
    let pages = Pages::default()
        .with_errors(error::page)
        .add_open("/assets/{file}", get(assets::show))
        .add_open("/console.css", get(assets::style));
    actions(shown(pages, &page), &page)
}

/// Pages that show something.
fn shown(pages: Pages, page: &impl Fn(MethodRouter<Arc<Api>>) -> MethodRouter<Arc<Api>>) -> Pages {
    let add = |pages: Pages, path: &str, reach, methods| pages.add(path, Scope::Read, reach, page(methods));
    [
        ("/", Reach::InHandler, get(overview::show)),
        ("/console/live", Reach::All, get(live::stream)),
        ("/clients", Reach::InHandler, get(clients::list)),
        ("/clients.csv", Reach::InHandler, get(clients::export)),
        ("/clients/{partner}/{client}", Reach::InPath, get(timeline::show)),
        ("/sweeps", Reach::All, get(sweeps::list)),
        ("/sweeps/runs/{run}", Reach::All, get(sweeps::run)),
        ("/dead-letters", Reach::All, get(dead_letters::list)),
        ("/dead-letters/{id}", Reach::All, get(dead_letters::show)),
        ("/refusals", Reach::All, get(refusals::list)),
        ("/forecast", Reach::InQuery, get(forecast::show)),
        ("/what-if", Reach::InQuery, get(what_if::show)),
        ("/statements", Reach::All, get(statements::list)),
        ("/statements/{month}", Reach::InQuery, get(statements::show)),
        ("/audit", Reach::All, get(audit::list)),
        ("/policy", Reach::All, get(policy::show)),
        ("/sources", Reach::All, get(sources::show)),
        ("/webhooks", Reach::All, get(webhooks::list)),
    ]
    .into_iter()
    .fold(pages, |pages, (path, reach, methods)| {
        add(pages, path, reach, methods)
    })
}

/// Pages that ask back before an action, and the actions themselves. Each action has a path of its own, so that the table of the
/// routes lists every action.
fn actions(pages: Pages, page: &impl Fn(MethodRouter<Arc<Api>>) -> MethodRouter<Arc<Api>>) -> Pages {
    let sweeps = actions::sweep_routes();
    let dead_letters = actions::dead_letter_routes();
    let webhooks = actions::webhook_routes();
    let others = [
        (
            "/statements/{month}/close".to_owned(),
            get(actions::ask_close).post(actions::do_close),
        ),
        (
            "/workers/{name}/remove".to_owned(),
            get(actions::ask_worker).post(actions::do_worker),
        ),
        (
            "/policy/adopt".to_owned(),
            get(actions::ask_adopt).post(actions::do_adopt),
        ),
    ];
    let all = sweeps.into_iter().chain(dead_letters).chain(webhooks);
    all.chain(others).fold(pages, |pages, (path, methods)| {
        pages.add(&path, Scope::Operate, Reach::All, page(methods))
    })
}
