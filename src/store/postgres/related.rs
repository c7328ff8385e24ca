//! Finds the clients that events are related to.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{PostgresStore, batch, duplicates};
use crate::domain::ClientKey;
use crate::store::{NameClaim, RelatedClients, Result};

#[async_trait]
impl RelatedClients for PostgresStore {
    async fn clients_of_events(&self, ids: &[(&str, &str)]) -> Result<BTreeSet<ClientKey>> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            duplicates::clients(&mut connection, ids).await
        })
        .await
    }

    async fn clients_of_names(&self, names: &[NameClaim]) -> Result<BTreeSet<ClientKey>> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            let holders = batch::holders(&mut connection, names).await?;
            Ok(holders.into_values().collect())
        })
        .await
    }
}
