//! Late events: each falls into the middle of a history of a thousand events, which is then replayed, and the
//! differences are written.

use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use tenure::clock::SystemClock;
use tenure::domain::Policy;
use tenure::engine::{Engine, Incoming, Outcome};

use super::latency::in_millis;
use crate::bench::{Bench, store};
use crate::figures::Spread;
use crate::population::{Period, Population};
use crate::preload;

pub fn measure(bench: &mut Bench<'_>) {
    let (environment, scale) = (bench.environment, bench.scale);
    let mut population = Population::new(7, "late", scale.late_clients);
    let middle = Period {
        from: bench.present.from - TimeDelta::days(20),
        until: bench.present.from - TimeDelta::days(19),
    };
    let mut history = population.set_up(Period {
        from: bench.present.from - TimeDelta::days(40),
        until: bench.present.from - TimeDelta::days(39),
    });
    let rest = (scale.late_history * scale.late_clients).saturating_sub(history.len());
    history.extend(population.random_events(
        rest,
        Period {
            from: bench.present.from - TimeDelta::days(39),
            until: bench.present.from - TimeDelta::days(1),
        },
    ));
    let database = bench.copy_of_population("late");
    environment
        .runtime
        .block_on(preload::into(store(&database), &history));
    let late = population.late_users(scale.late_clients * scale.late_events, middle);
    let times: Vec<f64> = environment.runtime.block_on(async {
        let store = store(&database);
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
                matches!(outcomes[..], [Outcome::Applied | Outcome::Refused(_)]),
                "{outcomes:?}"
            );
        }
        store.close().await;
        times
    });
    assert_eq!(
        database.count("event_log"),
        bench.logged_before + history.len() + times.len(),
        "events in the log"
    );
    assert!(database.count("change_log where correction") > 0, "corrections");
    if let Some(spread) = Spread::of(&times) {
        bench.record("late_median", spread.median);
        bench.record("late_most", spread.most);
    }
}
