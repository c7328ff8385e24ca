//! Finds the clients that events are related to besides their own, for a dry run: it copies them.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{NameClaim, Result};
use crate::domain::ClientKey;

/// Reads committed state, and locks nothing.
#[async_trait]
pub trait RelatedClients: Send + Sync + 'static {
    /// The clients whose event log has one of these pairs of source and id.
    async fn clients_of_events(&self, ids: &[(&str, &str)]) -> Result<BTreeSet<ClientKey>>;

    /// The clients that hold these names. A deleted client holds none.
    async fn clients_of_names(&self, names: &[NameClaim]) -> Result<BTreeSet<ClientKey>>;
}
