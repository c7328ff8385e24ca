//! The breaker before a run: finds out whether the sweep would change too many clients at once.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use super::{Engine, SweepOptions, SweepReport};
use crate::domain::{ClientKey, Entry, Sweep};
use crate::store::StoreError;

impl Engine {
    /// Why the breaker stops the sweep. None: it is within bounds. The population are the clients with a deadline of this
    /// sweep.
    ///
    /// Counts only as far as it must, because usually few clients are due. Only if too many are, a preview finds out which
    /// of them would change: a client may have been touched since its deadline was written.
    pub(super) async fn would_trip(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        options: &SweepOptions,
    ) -> Result<Option<String>, StoreError> {
        let breaker = self.breaker;
        let Some(population) = breaker
            .population_if_exceeded(self.store.as_ref(), sweep, until)
            .await?
        else {
            return Ok(None);
        };
        // The preview ends as soon as it has counted enough.
        let stop = options.stop.child_token();
        let mut changed = 0;
        let mut count = |chunk: &[(ClientKey, Vec<Entry>)]| {
            changed += chunk.len() as u64;
            if breaker.trips(changed, population) {
                stop.cancel();
            }
        };
        let pass = Pass::preview(sweep, until, options).stopped_by(&stop);
        let mut report = SweepReport::new(sweep, Some(until), true);
        self.sweep_chunks(&pass, &mut report, &mut count).await?;
        Ok(breaker.trips(changed, population).then(|| {
            format!(
                "it would change {changed} or more of {population} clients at once; without confirmation it may change \
                 {} %, or {} clients. Has the clock jumped, or a setting changed? Preview the changes with `tenure sweep \
                 preview {sweep}`. If they are right, run `tenure sweep confirm {sweep}`",
                breaker.percent, breaker.clients,
            )
        }))
    }
}
