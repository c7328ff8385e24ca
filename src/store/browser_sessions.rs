//! The sessions of browsers that are signed in to the console.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::audit::AuditEntry;
use super::columns::{Moment, RowId, row};
use super::{Result, StoreError};

/// The digest of a cookie or a token.
pub type SessionDigest = [u8; 32];

/// The sessions of browsers. Every worker on the store knows them.
#[async_trait]
pub trait BrowserSessions: Send + Sync + 'static {
    /// Adds a session, with the entry of the audit log. Removes those that have expired.
    async fn add_browser_session(&self, session: &BrowserSession, entry: &AuditEntry) -> Result<()>;

    /// The session with this digest, expired or not.
    async fn browser_session(&self, digest: &SessionDigest) -> Result<Option<BrowserSession>>;

    /// Records that a session is used.
    async fn use_browser_session(&self, digest: &SessionDigest, at: DateTime<Utc>) -> Result<()>;

    /// Ends sessions, with the entry of the audit log, and returns their number. If there are none, nothing is written.
    async fn end_browser_sessions(&self, which: &EndedSessions, entry: &AuditEntry) -> Result<u64>;
}

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserSession {
    /// Of the cookie.
    pub digest: SessionDigest,
    /// The name of the token.
    pub token: String,
    /// Of that token.
    pub token_digest: SessionDigest,
    pub created_at: DateTime<Utc>,
    /// When it was last used, to within a minute.
    pub seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// The sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedSessions {
    One(SessionDigest),
    /// All that signed in with the token of this name.
    OfToken(String),
}

row! {
    BrowserSessionRow<T> {
        digest: Vec<u8>,
        token: String,
        token_digest: Vec<u8>,
        created_at: T,
        seen_at: T,
        expires_at: T,
    }
}

impl<T: Moment> BrowserSessionRow<T> {
    pub(super) fn read(self) -> Result<BrowserSession, StoreError> {
        let id = RowId {
            table: "browser_sessions",
            key: &self.token,
        };
        let digest = |column, bytes: Vec<u8>| {
            SessionDigest::try_from(bytes).map_err(|_| id.unreadable(column, "it has not 32 bytes"))
        };
        Ok(BrowserSession {
            digest: digest("digest", self.digest)?,
            token_digest: digest("token_digest", self.token_digest)?,
            created_at: id.moment("created_at", self.created_at)?,
            seen_at: id.moment("seen_at", self.seen_at)?,
            expires_at: id.moment("expires_at", self.expires_at)?,
            token: self.token.clone(),
        })
    }
}
