//! Endpoints of webhooks: where changes are sent, and how far each endpoint has received the journal.
//!
//! Delivery writes only [`DeliveryProgress`]. Everything else is changed by people or by the settings, and each such change raises
//! the revision: whoever delivers for an earlier revision can no longer record progress, and begins again from the row.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::columns::{Moment, RowId, row};
use super::feed::{FeedCursor, FeedFilter};
use super::outbox::{Cursor, Published};
use crate::domain::id::{IdError, check_id, clip};
use crate::domain::{kinds_of, kinds_of_any};

/// The endpoints of webhooks.
#[async_trait]
pub trait Webhooks: Send + Sync + 'static {
    /// All endpoints, by name.
    async fn endpoints(&self) -> Result<Vec<Endpoint>>;

    /// Adds an endpoint. False: there is one with this name.
    async fn add_endpoint(&self, endpoint: &Endpoint) -> Result<bool>;

    /// Changes an endpoint, and raises its revision. False: there is no endpoint with this name, or not with this revision.
    async fn change_endpoint(
        &self,
        name: &str,
        revision: Option<i64>,
        change: &EndpointChange,
    ) -> Result<bool>;

    /// Removes an endpoint. False: there is none with this name.
    async fn remove_endpoint(&self, name: &str) -> Result<bool>;

    /// Records how far an endpoint has received the journal. False: nothing is recorded, because its revision is another one by now,
    /// its cursor is further, or the journal does not have the line of the cursor. Whoever delivers begins again from the row.
    async fn record_delivery(&self, name: &str, revision: i64, progress: &DeliveryProgress) -> Result<bool>;

    /// Acquires the lead of delivery, or checks that this worker still has it. One worker at a time delivers. False: another
    /// worker has the lead.
    async fn acquire_delivery_lead(&self) -> Result<bool>;

    /// Releases the lead of delivery, if this worker has it.
    async fn release_delivery_lead(&self) -> Result<()>;
}

/// An endpoint. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub origin: EndpointOrigin,
    pub url: String,
    pub filter: EndpointFilter,
    /// The newest first. Empty for an endpoint of the settings: the settings have them.
    pub secrets: Vec<SigningSecret>,
    pub status: EndpointStatus,
    /// Why it is disabled. Empty: it is not.
    pub why: String,
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub progress: DeliveryProgress,
}

/// How far an endpoint has received the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryProgress {
    /// The endpoint has received every change up to here that its filter matches.
    pub cursor: FeedCursor,
    /// The first failed attempt at a change that still waits. None: no change that waits has failed.
    pub failing_since: Option<DateTime<Utc>>,
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The outcome of the last attempt, for people: `204`, or why there was no response. Empty: there was no attempt.
    pub last_outcome: String,
    pub delivered_at: Option<DateTime<Utc>>,
}

impl DeliveryProgress {
    /// Of an endpoint that nothing was sent to.
    #[must_use]
    pub fn from(cursor: FeedCursor) -> Self {
        Self {
            cursor,
            failing_since: None,
            last_attempt_at: None,
            last_outcome: String::new(),
            delivered_at: None,
        }
    }
}

/// Where an endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointOrigin {
    /// `tenure webhook add`.
    Command,
    /// The section `[webhooks.endpoints]` of the settings.
    Settings,
}

/// Whether an endpoint receives changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It receives changes. Retention keeps those that it has not received.
    Active,
    /// A person has paused it.
    Paused,
    /// It failed for too long, or cannot continue. A person can resume it.
    Disabled,
}

impl EndpointOrigin {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Settings => "settings",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Command, Self::Settings]
            .into_iter()
            .find(|origin| origin.as_str() == word)
    }
}

impl EndpointStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// Which changes an endpoint receives. A change must match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The id of a client; needs `partner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Types or patterns such as `access.*`, as people wrote them: a pattern also matches types that a later version adds. Empty:
    /// all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// Why a field of an endpoint is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFieldError {
    #[error("expected a name of at most 64 lower-case letters, digits, hyphens and underscores, such as crm")]
    Name,
    #[error(transparent)]
    Id(#[from] IdError),
    #[error(
        "there is no type of change `{0}`; expected a type such as link.active, or a pattern such as access.*"
    )]
    Type(String),
}

/// The longest name of an endpoint, in characters.
const LONGEST_NAME: usize = 64;

/// Checks the name of an endpoint.
///
/// # Errors
/// [`EndpointFieldError::Name`].
pub fn check_endpoint_name(name: &str) -> Result<(), EndpointFieldError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(EndpointFieldError::Name)
    }
}

impl EndpointFilter {
    /// Checks what people wrote.
    ///
    /// # Errors
    /// The first field that is invalid.
    pub fn check(&self) -> Result<(), EndpointFieldError> {
        if let Some(partner) = &self.partner {
            check_id("partner", partner)?;
        }
        if let Some(client) = &self.client {
            check_id("client", client)?;
        }
        match self.types.iter().find(|pattern| kinds_of(pattern).is_none()) {
            None => Ok(()),
            Some(pattern) => Err(EndpointFieldError::Type(clip(pattern))),
        }
    }

    /// As the feed filters. None: it has a type that this version does not know, so that nothing says what to deliver.
    #[must_use]
    pub fn of_feed(&self) -> Option<FeedFilter> {
        let kinds = kinds_of_any(self.types.iter().map(String::as_str))?;
        Some(FeedFilter {
            partner: self.partner.clone(),
            client: self.client.clone(),
            kinds,
        })
    }
}

/// A secret that signs. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningSecret {
    /// `whsec_` and base64.
    pub secret: String,
    /// When it no longer signs. None: it was not replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningSecret")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What to change of an endpoint. None: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Its URL and its filter.
    pub target: Option<(String, EndpointFilter)>,
    pub secrets: Option<Vec<SigningSecret>>,
    /// Its status, and why it is disabled. Ends the failure that was recorded.
    pub status: Option<(EndpointStatus, String)>,
    /// Where delivery continues. Ends the failure that was recorded.
    pub cursor: Option<FeedCursor>,
}

impl EndpointChange {
    /// Whether the failure that was recorded ends.
    pub(super) fn ends_failure(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|(status, _)| *status == EndpointStatus::Active)
            || self.cursor.is_some()
    }
}

row! {
    EndpointRow<T> {
        name: String,
        origin: String,
        url: String,
        filter: String,
        secrets: String,
        status: String,
        why: String,
        revision: i64,
        created_at: T,
        epoch: i64,
        xid: i64,
        seq: i64,
        recorded_at: T,
        failing_since: Option<T>,
        last_attempt_at: Option<T>,
        last_outcome: String,
        delivered_at: Option<T>,
    }
}

impl<T: Moment> EndpointRow<T> {
    pub(super) fn read(self) -> Result<Endpoint> {
        let id = RowId {
            table: "webhook_endpoints",
            key: &self.name,
        };
        let cursor = FeedCursor(Published {
            epoch: self.epoch,
            cursor: Cursor {
                transaction: self.xid,
                sequence: self.seq,
            },
            recorded_at: id.moment("recorded_at", self.recorded_at)?,
        });
        Ok(Endpoint {
            origin: id.word("origin", &self.origin, EndpointOrigin::read)?,
            filter: id.json("filter", &self.filter)?,
            secrets: id.json("secrets", &self.secrets)?,
            status: id.word("status", &self.status, EndpointStatus::read)?,
            revision: self.revision,
            created_at: id.moment("created_at", self.created_at)?,
            progress: DeliveryProgress {
                cursor,
                failing_since: id.optional_moment("failing_since", self.failing_since)?,
                last_attempt_at: id.optional_moment("last_attempt_at", self.last_attempt_at)?,
                last_outcome: self.last_outcome,
                delivered_at: id.optional_moment("delivered_at", self.delivered_at)?,
            },
            url: self.url,
            why: self.why,
            name: self.name,
        })
    }
}
