//! Late events. Each falls into a history that was ingested before, a part of which is then replayed, and the differences
//! are written.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::clock::SystemClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming, Outcome};

use super::latency::in_millis;
use crate::bench::{Bench, store};
use crate::environment::Database;
use crate::figures::Spread;
use crate::population::{Period, Population};
use crate::preload;
use crate::scale::LongHistories;

pub fn measure(bench: &mut Bench<'_>) {
    let present = bench.present.from;
    // The histories end a day before the present.
    let (middle, day, hours) = (TimeDelta::days(20), TimeDelta::days(2), TimeDelta::hours(26));
    let histories = bench.scale.late;
    let mut long = Histories::load(bench, histories);
    let times = long.ingest_late(bench, histories, present - middle);
    long.check(bench);
    if let Some(spread) = Spread::of(&times) {
        bench.record("late_median", spread.median);
        bench.record("late_most", spread.most);
    }
    drop(long);
    let histories = bench.scale.very_late;
    let mut very_long = Histories::load(bench, histories);
    // Nearest to the end first, where each finds the checkpoints of those before it.
    let hours_late = very_long.ingest_late(bench, histories, present - hours);
    let day_late = very_long.ingest_late(bench, histories, present - day);
    let times = very_long.ingest_late(bench, histories, present - middle);
    very_long.check(bench);
    let spreads = (Spread::of(&hours_late), Spread::of(&day_late), Spread::of(&times));
    if let (Some(hours_late), Some(day_late), Some(spread)) = spreads {
        bench.record("hours_late_median", hours_late.median);
        bench.record("hours_late_most", hours_late.most);
        bench.record("day_late_median", day_late.median);
        bench.record("day_late_most", day_late.most);
        bench.record("very_late_median", spread.median);
        bench.record("very_late_most", spread.most);
    }
}

/// A database in which some clients have long histories.
struct Histories<'g> {
    population: Population,
    database: Database<'g>,
    /// The number of events of these clients in the log.
    events: usize,
}

impl<'g> Histories<'g> {
    /// The histories last from 40 days before the present to a day before it. No client is deleted meanwhile: what a late event
    /// adds would be deleted with it, and nothing would be corrected.
    fn load(bench: &Bench<'g>, histories: LongHistories) -> Self {
        let before = |days| bench.present.from - TimeDelta::days(days);
        let period = |from, until| Period {
            from: before(from),
            until: before(until),
        };
        let mut population = Population::new(7, "late", histories.clients);
        let mut history = population.set_up(period(40, 39));
        let rest = (histories.events * histories.clients).saturating_sub(history.len());
        history.extend(population.steady_events(rest, period(39, 1)));
        let database = bench.copy_of_population("late");
        bench
            .environment
            .runtime
            .block_on(preload::into(store(&database), &history));
        Self {
            population,
            database,
            events: history.len(),
        }
    }

    /// Ingests late events one by one, within an hour of this moment. Returns the milliseconds that each took.
    fn ingest_late(&mut self, bench: &Bench<'_>, histories: LongHistories, from: DateTime<Utc>) -> Vec<f64> {
        let period = Period {
            from,
            until: from + TimeDelta::hours(1),
        };
        let late = self
            .population
            .late_users(histories.clients * histories.late, period);
        self.events += late.len();
        bench
            .environment
            .runtime
            .block_on(ingest_each(&self.database, late))
    }

    fn check(&self, bench: &Bench<'_>) {
        assert_eq!(
            self.database.count("event_log"),
            bench.logged_before + self.events,
            "events in the log"
        );
        let corrections = self.database.count("change_log where correction");
        assert!(corrections > 0, "corrections");
    }
}

async fn ingest_each(database: &Database<'_>, late: Vec<Event>) -> Vec<f64> {
    let store = store(database);
    let engine = Engine::join(store.clone(), Arc::new(SystemClock), &Policy::default())
        .await
        .expect("an engine");
    let mut times = Vec::new();
    for event in late {
        let began = Instant::now();
        let outcomes = engine
            .ingest(vec![Incoming::Event(event)])
            .await
            .expect("ingested");
        times.push(in_millis(began.elapsed()));
        assert!(
            matches!(outcomes[..], [Outcome::Applied | Outcome::Refused { .. }]),
            "{outcomes:?}"
        );
    }
    store.close().await;
    times
}
