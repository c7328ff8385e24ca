//! Every client in key order, a page of keys at a time.

use tokio_util::sync::CancellationToken;

use crate::domain::ClientKey;
use crate::store::{Store, StoreError};

/// Keys read at a time.
const PAGE: u32 = 1_000;

/// Which clients to look at. Everyone without: ghosts, and those whose row is missing, included.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// This client alone.
    pub client: Option<ClientKey>,
    pub partner: Option<String>,
    /// Clients after this key only: where the last walk ended.
    pub after: Option<ClientKey>,
    /// Stops the walk at the next client.
    pub stop: CancellationToken,
}

impl Scope {
    /// Whether nobody is left out.
    pub(super) fn is_everyone(&self) -> bool {
        self.client.is_none() && self.partner.is_none() && self.after.is_none()
    }
}

/// A walk over a scope. Nothing is held from one client to the next but a page of keys.
pub(super) struct Walk<'a> {
    scope: &'a Scope,
    page: std::vec::IntoIter<ClientKey>,
    after: Option<ClientKey>,
    is_last: bool,
}

impl<'a> Walk<'a> {
    pub fn over(scope: &'a Scope) -> Self {
        Self {
            scope,
            page: Vec::from_iter(scope.client.clone()).into_iter(),
            after: scope.after.clone(),
            is_last: scope.client.is_some(),
        }
    }

    /// None at the end, or when the walk is stopped.
    pub async fn next(&mut self, store: &dyn Store) -> Result<Option<ClientKey>, StoreError> {
        if self.scope.stop.is_cancelled() {
            return Ok(None);
        }
        if let Some(key) = self.page.next() {
            return Ok(Some(key));
        }
        if self.is_last {
            return Ok(None);
        }
        let partner = self.scope.partner.as_deref();
        let page = store.keys(partner, self.after.as_ref(), PAGE).await?;
        self.is_last = page.len() < PAGE as usize;
        self.after = page.last().cloned().or(self.after.take());
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}
