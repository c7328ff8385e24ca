//! The run: what is compared runs in turn, several times over, every time on a fresh copy of the same database and on
//! queues of its own.

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
use crate::population::{Population, Stretch};
use crate::rows::{Pattern, Written};
use crate::scale::Scale;
use crate::{check, preload, publish};

const SEED: u64 = 42;

/// What every section works with.
pub struct Bench<'g> {
    pub environment: &'g Environment,
    pub scale: Scale,
    pub figures: Figures,
    /// The town when measuring begins: its clients,
    pub population: Population,
    /// how they came to be what they are,
    pub settling: Vec<Event>,
    /// and the database that holds that.
    pub template: Database<'g>,
    /// The same in tables as an engineer would make them in an afternoon.
    plain_template: Database<'g>,
    /// Events of its log.
    pub logged_before: usize,
    /// What happens then: events of all types but entries into accounts.
    pub lives: Vec<Message>,
    /// Entries into accounts.
    pub entries: Vec<Message>,
    /// When it happens.
    pub present: Stretch,
    /// What Tenure writes for an event.
    pub pattern: Pattern,
    /// What was written for each event, by whom.
    pub written: Vec<(&'static str, Written)>,
    /// What an event cost at each size.
    pub growth: Vec<Growth>,
    args: &'g Args,
}

impl<'g> Bench<'g> {
    /// Makes the town, and learns what Tenure writes for its events.
    pub fn new(environment: &'g Environment, args: &'g Args) -> Self {
        let scale = args.scale;
        let now = SystemClock.now();
        let past = Stretch {
            from: now - TimeDelta::days(40),
            until: now - TimeDelta::hours(2),
        };
        let present = Stretch {
            from: now - TimeDelta::hours(1),
            until: now - TimeDelta::minutes(1),
        };
        let mut population = Population::new(SEED, "partner", scale.clients);
        let settling = population.settle(past);
        let template = environment.database("town");
        environment
            .runtime
            .block_on(preload::into(store(&template), &settling));
        // All that there is to tell of the past has been told: a relay has nothing to make up for.
        template.sql(
            "update relay
             set (xid, seq) = (select xid, seq from journal order by xid desc, seq desc limit 1)",
        );
        template.sql("vacuum analyze");
        let plain_template = environment.copy(&template, "plain_town");
        plain_template.sql(include_str!("plain.sql"));
        plain_template.sql("vacuum analyze");
        environment.tell(&format!(
            "a town of {} clients is in a database, brought there by {} events; every measurement gets a copy",
            scale.clients,
            settling.len()
        ));
        let entries = messages::of(
            &population
                .with_seed(SEED + 1)
                .enter_accounts(scale.events, present),
        );
        let lives = population.with_seed(SEED + 2).lead_lives(scale.events, present);
        let copy = environment.copy(&template, "calibration");
        let pattern = Pattern::of_tenure(environment, &copy, &lives);
        drop(copy);
        Self {
            environment,
            scale,
            figures: Figures::default(),
            population,
            logged_before: settling.len(),
            settling,
            template,
            plain_template,
            lives: messages::of(&lives),
            entries,
            present,
            pattern,
            written: Vec::new(),
            growth: Vec::new(),
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
                    .tell(&format!("round {round} of {rounds}: {name}"));
                section.measure(self);
            }
            // There and back, so that nobody always comes first, or after the same other.
            compared.reverse();
        }
        for section in alone {
            self.environment.tell(section.name());
            section.measure(self);
        }
    }

    /// When the first of the measured events happened.
    pub fn since(&self) -> DateTime<Utc> {
        self.present.from
    }

    /// Notes a figure.
    pub fn note(&mut self, key: &'static str, value: f64) {
        self.figures.note(key, value);
        self.environment.tell(&format!("    {key}: {value:.1}"));
    }

    /// Filling the queues for the others is just this: on its own it is only done where it is asked for.
    pub fn measure_publishing(&mut self) {
        if self.args.chosen {
            self.vhost_full_of_lives("publish");
        }
    }

    /// A vhost whose lane holds all of the lives; how fast it was filled is a figure of its own.
    pub fn vhost_full_of_lives(&mut self, hint: &str) -> Vhost<'g> {
        let vhost = self.environment.vhost(hint);
        let took = publish::fill(self.environment, &vhost, &self.lives);
        self.note("publish", self.lives.len() as f64 / took.as_secs_f64());
        vhost
    }

    /// A database with the town in it.
    pub fn copy_of_population(&self, hint: &str) -> Database<'g> {
        self.environment.copy(&self.template, hint)
    }

    /// A database with the town in tables as an engineer would make them in an afternoon.
    pub fn copy_of_population_in_plain_tables(&self, hint: &str) -> Database<'g> {
        self.environment.copy(&self.plain_template, hint)
    }

    /// Every event is in the log and was applied; what was written for it is kept for the report.
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
