//! Finds the clients that events are related to.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::numbers::Numbers;
use super::{SqliteStore, batch, duplicates};
use crate::domain::ClientKey;
use crate::store::{NameClaim, RelatedClients, Result};

#[async_trait]
impl RelatedClients for SqliteStore {
    async fn clients_of_events(&self, ids: &[(&str, &str)]) -> Result<BTreeSet<ClientKey>> {
        let mut connection = self.readers.acquire().await?;
        duplicates::clients(&mut connection, &mut Numbers::default(), ids).await
    }

    async fn clients_of_names(&self, names: &[NameClaim]) -> Result<BTreeSet<ClientKey>> {
        let mut connection = self.readers.acquire().await?;
        let holders = batch::holders(&mut connection, names).await?;
        Ok(holders.into_values().collect())
    }
}
