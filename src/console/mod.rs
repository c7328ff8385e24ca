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
mod csv;
mod dead_letters;
mod error;
mod forecast;
mod health;
mod layout;
mod live;
mod overview;
mod policy;
mod refusals;
mod sources;
mod statements;
mod story;
mod sweeps;
mod timeline;
mod ui;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::routing::{MethodRouter, get, post};
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
    counts: clients::Counts,
    /// Whether changes are published to a broker.
    is_relayed: bool,
    /// How long before it takes effect a policy is recorded.
    notice: TimeDelta,
}

/// The pages of the console, for [`Api::mount`].
#[must_use]
pub fn pages(settings: &Settings) -> Pages {
    let console = Arc::new(Console {
        schedules: settings.sweeps.schedules.clone(),
        expiries: Expiries::default(),
        summary: health::Latest::default(),
        counts: clients::Counts::default(),
        is_relayed: settings.broker.url.is_some(),
        notice: worker::notice(settings),
    });
    let page = |methods: MethodRouter<Arc<Api>>| methods.layer(Extension(console.clone()));
    let (read, operate) = (Scope::Read, Scope::Operate);
    Pages::default()
        .add_open("/assets/{file}", get(assets::show))
        .add_open("/console.css", get(assets::style))
        .add("/", read, Reach::All, page(get(overview::show)))
        .add("/console/live", read, Reach::All, page(get(live::stream)))
        .add("/clients", read, Reach::InQuery, page(get(clients::list)))
        .add("/clients.csv", read, Reach::InQuery, page(get(clients::export)))
        .add(
            "/clients/{partner}/{client}",
            read,
            Reach::InPath,
            page(get(timeline::show)),
        )
        .add("/sweeps", read, Reach::All, page(get(sweeps::list)))
        .add("/sweeps/runs/{run}", read, Reach::All, page(get(sweeps::run)))
        .add("/dead-letters", read, Reach::All, page(get(dead_letters::list)))
        .add(
            "/dead-letters/{id}",
            read,
            Reach::All,
            page(get(dead_letters::show)),
        )
        .add("/refusals", read, Reach::All, page(get(refusals::list)))
        .add("/forecast", read, Reach::InQuery, page(get(forecast::show)))
        .add("/what-if", read, Reach::InQuery, page(get(forecast::what_if)))
        .add("/statements", read, Reach::All, page(get(statements::list)))
        .add(
            "/statements/{month}",
            read,
            Reach::InQuery,
            page(get(statements::show)),
        )
        .add("/audit", read, Reach::All, page(get(audit::list)))
        .add("/policy", read, Reach::All, page(get(policy::show)))
        .add("/sources", read, Reach::All, page(get(sources::show)))
        .add(
            "/sweeps/{sweep}/{verb}",
            operate,
            Reach::All,
            page(get(actions::ask_sweep).post(actions::do_sweep)),
        )
        .add(
            "/dead-letters/{id}/{verb}",
            operate,
            Reach::All,
            page(post(actions::do_letter)),
        )
        .add(
            "/dead-letter-groups/{verb}",
            operate,
            Reach::All,
            page(get(actions::ask_group).post(actions::do_group)),
        )
        .add(
            "/statements/{month}/close",
            operate,
            Reach::All,
            page(get(actions::ask_close).post(actions::do_close)),
        )
        .add(
            "/policy/adopt",
            operate,
            Reach::All,
            page(get(actions::ask_adopt).post(actions::do_adopt)),
        )
}
