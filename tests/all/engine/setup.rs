//! An engine on either store, and tests that run on both.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tenure::clock::SimulatedClock;
use tenure::domain::Policy;
use tenure::engine::Engine;

use crate::store::Fresh;

/// An engine on a fresh store, by a clock that stands still.
pub struct Setup {
    pub fresh: Fresh,
    pub clock: Arc<SimulatedClock>,
    pub engine: Engine,
}

impl Setup {
    pub async fn start(fresh: Fresh, now: DateTime<Utc>, policy: &Policy) -> Self {
        let clock = Arc::new(SimulatedClock::at(now));
        let engine = Engine::start(fresh.store.clone(), clock.clone(), policy)
            .await
            .expect("an engine");
        Self { fresh, clock, engine }
    }
}

/// Makes two tests of each case, one for each store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::store::Fresh::postgres(stringify!($case)).await).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::store::Fresh::sqlite(stringify!($case)).await).await;
            })*
        }
    };
}

pub(crate) use on_both_stores;
