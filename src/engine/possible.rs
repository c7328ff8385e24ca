//! Which events a client would accept, as of now or of another moment.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Engine;
use super::read::present;
use crate::domain::possible::{Possibility, possibilities};
use crate::domain::time::serialize;
use crate::domain::{Client, ClientKey};
use crate::store::StoreError;

/// Every event type, and whether an event of it would be applied.
#[derive(Clone, Debug, Serialize)]
pub struct PossibleEvents {
    /// The moment that the answer is about.
    #[serde(serialize_with = "serialize")]
    pub at: DateTime<Utc>,
    pub events: Vec<Possibility>,
}

impl Engine {
    /// Which events a client would accept at a moment, by default now. Due timers count, whether or not a sweep has fired them.
    /// A client that does not exist can only be added.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn possible(
        &self,
        key: &ClientKey,
        at: Option<DateTime<Utc>>,
    ) -> Result<PossibleEvents, StoreError> {
        let policies = self.policies().await?;
        let (client, at) = match self.store.client(key).await? {
            None => (Client::default(), at.unwrap_or_else(|| self.now())),
            Some(stored) => {
                let client = stored.client(&policies);
                let at = at.unwrap_or_else(|| present(&client, self.now()));
                (self.at_moment(key, client, at, &policies).await?, at)
            }
        };
        Ok(PossibleEvents {
            at,
            events: possibilities(key, &client, at, &policies),
        })
    }
}
