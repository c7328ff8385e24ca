//! A walk over clients in key order, a page of keys at a time.

use tokio_util::sync::CancellationToken;

use crate::domain::ClientKey;
use crate::store::{StoreError, Verification};

/// Keys read at a time.
const PAGE: u32 = 1_000;

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

/// A walk over a scope. Between two clients it holds only a page of keys.
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

    /// The next client. None: the walk has ended or was stopped.
    pub async fn next(&mut self, store: &dyn Verification) -> Result<Option<ClientKey>, StoreError> {
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
