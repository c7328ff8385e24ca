//! A partner's access to a client's account: it expires without use, the customer can disable and enable it, and it ends
//! with the connection (002).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::client::Client;
use super::event::AccessedBy;
use super::link::Link;
use super::policy::{Policy, later};
use super::refusal::Refusal;
use super::text_enum::text_enum;

/// Access of a connected partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Enabled(Renewal),
    Disabled {
        /// When the partner opened its request, while it is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<DateTime<Utc>>,
    },
    Expired {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<DateTime<Utc>>,
    },
}

/// A period of enabled access, and the last renewal in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub since: DateTime<Utc>,
    pub renewed_at: DateTime<Utc>,
    /// The nearest warning that was published since the renewal, in microseconds before expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<i64>,
}

/// The last request for access that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRequest {
    pub opened_at: DateTime<Utc>,
    pub by: RequestEnd,
}

text_enum! {
    /// How a request for access was closed.
    pub enum RequestEnd {
        Approved = "approved",
        Denied = "denied",
        /// The customer enabled access without an answer.
        Enabled = "enabled",
        /// The customer disabled access that had expired.
        Disabled = "disabled",
        Disconnected = "disconnected",
    }
}

text_enum! {
    /// The status of access.
    #[derive(Default)]
    pub enum AccessStatus {
        /// Partner and client are not connected.
        #[default]
        None = "none",
        Enabled = "enabled",
        Disabled = "disabled",
        Expired = "expired",
    }
}

impl Access {
    /// Access that begins at this moment, which counts as its first renewal.
    #[must_use]
    pub fn enabled(at: DateTime<Utc>) -> Self {
        Self::Enabled(Renewal {
            since: at,
            renewed_at: at,
            warned: None,
        })
    }

    #[must_use]
    pub fn status(&self) -> AccessStatus {
        match self {
            Self::Enabled(_) => AccessStatus::Enabled,
            Self::Disabled { .. } => AccessStatus::Disabled,
            Self::Expired { .. } => AccessStatus::Expired,
        }
    }

    #[must_use]
    pub fn request(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Enabled(_) => None,
            Self::Disabled { request } | Self::Expired { request } => *request,
        }
    }

    #[must_use]
    pub fn renewal(&self) -> Option<&Renewal> {
        match self {
            Self::Enabled(renewal) => Some(renewal),
            _ => None,
        }
    }

    fn request_mut(&mut self) -> Option<&mut Option<DateTime<Utc>>> {
        match self {
            Self::Enabled(_) => None,
            Self::Disabled { request } | Self::Expired { request } => Some(request),
        }
    }
}

impl Client {
    /// 002: entering the account renews the partner's access. Staff always have access, and do not affect the partner's.
    pub(super) fn access_account(&mut self, by: AccessedBy, at: DateTime<Utc>) -> Result<(), Refusal> {
        if by == AccessedBy::Staff {
            return Ok(());
        }
        match self.access_mut() {
            Some(Access::Enabled(renewal)) => {
                renewal.renewed_at = at;
                renewal.warned = None;
                self.account.last_accessed_at = Some(at);
                Ok(())
            }
            _ => Err(Refusal::NoAccess),
        }
    }

    pub(super) fn disable_access(&mut self) -> Result<(), Refusal> {
        let access = self.access_mut().ok_or(Refusal::NotConnected)?;
        if matches!(access, Access::Disabled { .. }) {
            return Err(Refusal::AlreadyDisabled);
        }
        self.change_access(Access::Disabled { request: None }, RequestEnd::Disabled);
        Ok(())
    }

    pub(super) fn enable_access(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        let access = self.access_mut().ok_or(Refusal::NotConnected)?;
        if matches!(access, Access::Enabled(_)) {
            return Err(Refusal::AlreadyEnabled);
        }
        self.change_access(Access::enabled(at), RequestEnd::Enabled);
        Ok(())
    }

    pub(super) fn request_access(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        let access = self.access_mut().ok_or(Refusal::NotConnected)?;
        let request = access.request_mut().ok_or(Refusal::AlreadyEnabled)?;
        if request.is_some() {
            return Err(Refusal::AlreadyRequested);
        }
        *request = Some(at);
        Ok(())
    }

    pub(super) fn approve_access(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        self.access_request().ok_or(Refusal::NoRequest)?;
        self.change_access(Access::enabled(at), RequestEnd::Approved);
        Ok(())
    }

    pub(super) fn deny_access(&mut self) -> Result<(), Refusal> {
        self.access_request().ok_or(Refusal::NoRequest)?;
        self.note_request_end(RequestEnd::Denied);
        if let Some(request) = self.access_mut().and_then(Access::request_mut) {
            *request = None;
        }
        Ok(())
    }

    /// Replaces the access of a connected client, which closes an open request.
    fn change_access(&mut self, to: Access, request_end: RequestEnd) {
        self.note_request_end(request_end);
        if let Some(access) = self.access_mut() {
            *access = to;
        }
    }

    /// Notes how the open request closes, if there is one.
    pub(super) fn note_request_end(&mut self, by: RequestEnd) {
        if let Some(opened_at) = self.access_request() {
            self.closed_request = Some(ClosedRequest { opened_at, by });
        }
    }

    pub(super) fn access_mut(&mut self) -> Option<&mut Access> {
        match &mut self.link {
            Link::Active(connection) => Some(&mut connection.access),
            _ => None,
        }
    }

    /// When enabled access expires under a policy: `access_idle` after the latest of the last
    /// renewal, the account's maturity and its update (002). None while no expiry is scheduled: access is not enabled,
    /// the counted account is below the threshold, or the policy waits for its update.
    #[must_use]
    pub fn expires_at(&self, policy: &Policy) -> Option<DateTime<Utc>> {
        let mut from = self.access()?.renewal()?.renewed_at;
        if self.account.jobs_total.is_some() {
            from = from.max(self.account.mature_at?);
        }
        if policy.from_account_update {
            from = from.max(self.account.updated_at?);
        }
        Some(later(from, policy.access_idle))
    }

    /// The next warning to publish, and how long before expiry it is.
    pub(super) fn next_warning(&self, policy: &Policy) -> Option<(DateTime<Utc>, TimeDelta)> {
        let warned = self.access()?.renewal()?.warned;
        let expiry = self.expires_at(policy)?;
        policy
            .warn_before
            .iter()
            .copied()
            .filter(|span| warned.is_none_or(|warned| micros(*span) < warned))
            .max()
            .map(|span| (earlier(expiry, span), span))
    }

    /// Marks the warnings that are due as published. Of several that are overdue at once, only the nearest to expiry
    /// counts.
    pub(super) fn warn(&mut self, at: DateTime<Utc>, policy: &Policy) {
        let Some(expiry) = self.expires_at(policy) else {
            return;
        };
        let nearest = policy
            .warn_before
            .iter()
            .copied()
            .filter(|span| earlier(expiry, *span) <= at)
            .min();
        if let (Some(span), Some(Access::Enabled(renewal))) = (nearest, self.access_mut()) {
            renewal.warned = Some(micros(span));
        }
    }
}

fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap_or(i64::MAX)
}

fn earlier(moment: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    moment.checked_sub_signed(by).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Whether the partner may enter the account, or do something in it, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub allowed: bool,
    /// A code for programs: `access_enabled`, `access_none`, `access_disabled`,
    /// `access_expired`, `unknown_client` or `action_forbidden`.
    pub reason: &'static str,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Decision {
    /// Decides for a client whose timers have fired up to the moment of the question.
    #[must_use]
    pub fn decide(client: &Client, action: Option<&Action>, policy: &Policy) -> Self {
        let is_forbidden = |action: &Action| action.is_forbidden(client.account.handover());
        let reason = match client.access_status() {
            _ if !client.exists() => "unknown_client",
            AccessStatus::None => "access_none",
            AccessStatus::Disabled => "access_disabled",
            AccessStatus::Expired => "access_expired",
            AccessStatus::Enabled if action.is_some_and(is_forbidden) => "action_forbidden",
            AccessStatus::Enabled => "access_enabled",
        };
        Self {
            allowed: reason == "access_enabled",
            reason,
            expires_at: client.expires_at(policy),
        }
    }
}
