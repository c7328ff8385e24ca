//! A walk over clients in key order, a group at a time.

use tokio_util::sync::CancellationToken;

use crate::domain::ClientKey;
use crate::store::{StoreError, Verification};

/// The clients of a group.
const GROUP: u32 = 250;

/// Which clients a walk visits. By default every client, including clients that were never added, and clients whose row is
/// missing.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this client.
    pub client: Option<ClientKey>,
    pub partner: Option<String>,
    /// Only clients after this key, where the last walk ended.
    pub after: Option<ClientKey>,
    /// Stops the walk before the next client.
    pub stop: CancellationToken,
}

impl Scope {
    /// Whether the walk visits every client.
    pub(super) fn is_everyone(&self) -> bool {
        self.client.is_none() && self.partner.is_none() && self.after.is_none()
    }
}

/// A walk over the keys of a scope.
pub(super) struct Walk<'a> {
    scope: &'a Scope,
    after: Option<ClientKey>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    pub fn over(scope: &'a Scope) -> Self {
        Self {
            scope,
            after: scope.after.clone(),
            is_over: false,
        }
    }

    /// The next clients. Empty: the walk is over.
    pub async fn next(&mut self, store: &dyn Verification) -> Result<Vec<ClientKey>, StoreError> {
        if self.is_over {
            return Ok(Vec::new());
        }
        if let Some(client) = &self.scope.client {
            self.is_over = true;
            return Ok(vec![client.clone()]);
        }
        let partner = self.scope.partner.as_deref();
        let group = store.keys(partner, self.after.as_ref(), GROUP).await?;
        self.is_over = group.len() < GROUP as usize;
        self.after = group.last().cloned().or(self.after.take());
        Ok(group)
    }
}
