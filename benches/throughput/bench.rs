//! A run of the benchmark. Sections that are compared alternate for several rounds, each time on a fresh copy of the
//! same database and with new queues.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::clock::{Clock as _, SystemClock};
use tenure::domain::Event;
use tenure::store::Store;
use tenure::store::postgres::{PostgresOptions, PostgresStore};

use crate::args::Args;
use crate::environment::{Database, Environment, Vhost};
use crate::figures::Figures;
use crate::growth::Growth;
use crate::messages::{self, Message};
use crate::pages::Page;
use crate::population::{Period, Population};
use crate::rows::{Pattern, Written};
use crate::scale::Scale;
use crate::{check, preload, publish};

const SEED: u64 = 42;

/// The environment, input and results of all sections.
pub struct Bench<'g> {
    pub environment: &'g Environment,
    pub scale: Scale,
    pub figures: Figures,
    /// The clients before the first measurement.
    pub population: Population,
    /// The events that produced them.
    pub setup: Vec<Event>,
    /// A database with these clients, which is copied for each measurement.
    pub template: Database<'g>,
    /// The same clients in tables as an engineer would make them in an afternoon.
    plain_template: Database<'g>,
    /// Number of events in its log.
    pub logged_before: usize,
    /// The measured events of all types except touches.
    pub lifecycle_events: Vec<Message>,
    /// The measured touches.
    pub touches: Vec<Message>,
    /// The period of the measured events.
    pub present: Period,
    /// The rows that Tenure writes per event.
    pub pattern: Pattern,
    /// The rows written per event, by section.
    pub written: Vec<(&'static str, Written)>,
    /// The cost of an event at each size.
    pub growth: Vec<Growth>,
    /// The pages of the console.
    pub pages: Vec<Page>,
    /// What else the report should say about the conditions.
    pub notes: Vec<String>,
    args: &'g Args,
}

impl<'g> Bench<'g> {
    /// Generates the population and its database, and counts the rows that Tenure writes per event.
    pub fn new(environment: &'g Environment, args: &'g Args) -> Self {
        let scale = args.scale;
        let now = SystemClock.now();
        let past = Period {
            from: now - TimeDelta::days(40),
            until: now - TimeDelta::hours(2),
        };
        let present = Period {
            from: now - TimeDelta::hours(1),
            until: now - TimeDelta::minutes(1),
        };
        let mut population = Population::new(SEED, "partner", scale.clients);
        let setup = population.set_up(past);
        let template = environment.database("population");
        environment
            .runtime
            .block_on(preload::into(store(&template), &setup));
        // Mark all changes as published, so that the relay starts without a backlog.
        template.sql(
            "update relay
             set (xid, seq) = (select xid, seq from journal order by xid desc, seq desc limit 1)",
        );
        template.sql("vacuum analyze");
        let plain_template = environment.copy(&template, "plain_population");
        plain_template.sql(include_str!("plain.sql"));
        plain_template.sql("vacuum analyze");
        environment.progress(&format!(
            "created a database of {} clients from {} events; every measurement uses a copy",
            scale.clients,
            setup.len()
        ));
        let touches = messages::of(&population.with_seed(SEED + 1).touches(scale.events, present));
        let lifecycle_events = population
            .with_seed(SEED + 2)
            .random_events(scale.events, present);
        let copy = environment.copy(&template, "calibration");
        let pattern = Pattern::of_tenure(environment, &copy, &lifecycle_events);
        drop(copy);
        Self {
            environment,
            scale,
            figures: Figures::default(),
            population,
            logged_before: setup.len(),
            setup,
            template,
            plain_template,
            lifecycle_events: messages::of(&lifecycle_events),
            touches,
            present,
            pattern,
            written: Vec::new(),
            growth: Vec::new(),
            pages: Vec::new(),
            notes: Vec::new(),
            args,
        }
    }

    pub fn run(&mut self) {
        let (mut compared, alone): (Vec<_>, Vec<_>) = self
            .args
            .sections
            .iter()
            .copied()
            .partition(|section| section.is_compared());
        let rounds = self.args.rounds.unwrap_or(self.scale.rounds);
        for round in 1..=rounds {
            for section in &compared {
                let name = section.name();
                self.environment
                    .progress(&format!("round {round} of {rounds}: {name}"));
                section.measure(self);
            }
            // Alternate the order, so that no section always runs first or after the same other one.
            compared.reverse();
        }
        for section in alone {
            self.environment.progress(section.name());
            section.measure(self);
        }
    }

    /// The time of the first measured event.
    pub fn since(&self) -> DateTime<Utc> {
        self.present.from
    }

    /// Records a figure.
    pub fn record(&mut self, key: &'static str, value: f64) {
        self.figures.record(key, value);
        self.environment.progress(&format!("    {key}: {value:.1}"));
    }

    /// Measures publishing. The other sections measure it when they fill their queues, so this runs only when named.
    pub fn measure_publishing(&mut self) {
        if self.args.named {
            self.vhost_with_backlog("publish");
        }
    }

    /// A vhost whose lane contains all lifecycle events. Records how fast it was filled.
    pub fn vhost_with_backlog(&mut self, hint: &str) -> Vhost<'g> {
        let vhost = self.environment.vhost(hint);
        let took = publish::fill(self.environment, &vhost, &self.lifecycle_events);
        self.record("publish", self.lifecycle_events.len() as f64 / took.as_secs_f64());
        vhost
    }

    /// A copy of the template database.
    pub fn copy_of_population(&self, hint: &str) -> Database<'g> {
        self.environment.copy(&self.template, hint)
    }

    /// A database with these clients in tables as an engineer would make them in an afternoon.
    pub fn copy_of_population_in_plain_tables(&self, hint: &str) -> Database<'g> {
        self.environment.copy(&self.plain_template, hint)
    }

    /// Checks that every event is in the log and was applied, and records the rows written per event.
    pub fn check_and_count(
        &mut self,
        by: &'static str,
        vhost: &Vhost<'_>,
        database: &Database<'_>,
        events: usize,
    ) {
        check::all_in_log(database, self.logged_before, events);
        check::nothing_waits(vhost);
        if self.written.iter().all(|(other, _)| *other != by) {
            let written = Written::to(database, events, self.since());
            self.written.push((by, written));
        }
    }
}

/// Tenure's store on a database.
pub fn store(database: &Database<'_>) -> Arc<dyn Store> {
    Arc::new(PostgresStore::connect(&database.url, &PostgresOptions::default()).expect("a URL"))
}
