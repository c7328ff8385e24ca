//! A partner's access to a client's account: it lapses when it is not used, the customer may
//! take it and give it back, and it ends with the connection (002).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::client::Client;
use super::event::{AccessedBy, EventKind};
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
        /// Since when a request of the partner is open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<DateTime<Utc>>,
    },
    Expired {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<DateTime<Utc>>,
    },
}

/// A stretch of enabled access, and the last renewal in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub since: DateTime<Utc>,
    pub renewed_at: DateTime<Utc>,
    /// The nearest warning that went out since the renewal, as its distance from expiry in
    /// microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned: Option<i64>,
}

/// What the account app tells of the account itself, linked or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The highest total of jobs that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_total: Option<u64>,
    /// When that total first reached the threshold in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mature_at: Option<DateTime<Utc>>,
    /// When the account got the new access rules; an account gets them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// When a partner last entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_accessed_at: Option<DateTime<Utc>>,
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
    /// Access that begins, and is renewed, at this moment.
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

impl Account {
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count_jobs(&mut self, total: u64, at: DateTime<Utc>, policy: &Policy) {
        let highest = self.jobs_total.map_or(total, |known| known.max(total));
        self.jobs_total = Some(highest);
        if self.mature_at.is_none() && highest >= policy.mature_after_jobs {
            self.mature_at = Some(at);
        }
    }

    pub(super) fn update(&mut self, at: DateTime<Utc>) {
        self.updated_at.get_or_insert(at);
    }
}

impl Client {
    pub(super) fn apply_to_access(&mut self, kind: &EventKind, at: DateTime<Utc>) -> Result<(), Refusal> {
        if let EventKind::AccountAccessed { by, .. } = kind {
            return self.enter(*by, at);
        }
        let Some(access) = self.access_mut() else {
            return Err(match kind {
                EventKind::AccessApproved {} | EventKind::AccessDenied {} => Refusal::NoRequest,
                _ => Refusal::NotConnected,
            });
        };
        match kind {
            EventKind::AccessDisabled {} => {
                if matches!(access, Access::Disabled { .. }) {
                    return Err(Refusal::AlreadyDisabled);
                }
                *access = Access::Disabled { request: None };
            }
            EventKind::AccessEnabled {} => {
                if matches!(access, Access::Enabled(_)) {
                    return Err(Refusal::AlreadyEnabled);
                }
                *access = Access::enabled(at);
            }
            EventKind::AccessRequested {} => {
                let request = access.request_mut().ok_or(Refusal::AlreadyEnabled)?;
                if request.is_some() {
                    return Err(Refusal::AlreadyRequested);
                }
                *request = Some(at);
            }
            EventKind::AccessApproved {} => {
                access.request().ok_or(Refusal::NoRequest)?;
                *access = Access::enabled(at);
            }
            EventKind::AccessDenied {} => {
                let request = access.request_mut().ok_or(Refusal::NoRequest)?;
                request.take().ok_or(Refusal::NoRequest)?;
            }
            other => unreachable!("{} is no event of access", other.type_name()),
        }
        Ok(())
    }

    /// 002: entering renews a partner's access; staff always have access and never matter to it.
    fn enter(&mut self, by: AccessedBy, at: DateTime<Utc>) -> Result<(), Refusal> {
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

    pub(super) fn access_mut(&mut self) -> Option<&mut Access> {
        match &mut self.link {
            Link::Active(connection) => Some(&mut connection.access),
            _ => None,
        }
    }

    /// When enabled access expires under a policy: `access_idle` after the latest of the last
    /// renewal, the account's maturity and its update (002). None while nothing is running: access is
    /// not enabled, the counted account is below the threshold, or its update is awaited.
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

    /// The next warning that is to go out, with its distance from expiry.
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

    /// Sends the warnings that are due: several overdue at once count as the nearest to expiry.
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
    /// Why, as a word for programs: `access_enabled`, `access_none`, `access_disabled`,
    /// `access_expired`, `unknown_client` or `action_forbidden`.
    pub reason: &'static str,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Decision {
    /// Takes the decision for a client whose timers have fired up to that very moment.
    #[must_use]
    pub fn decide(client: &Client, action: Option<&Action>, policy: &Policy) -> Self {
        let reason = match client.access_status() {
            _ if !client.exists() => "unknown_client",
            AccessStatus::None => "access_none",
            AccessStatus::Disabled => "access_disabled",
            AccessStatus::Expired => "access_expired",
            AccessStatus::Enabled if action.is_some_and(Action::is_forbidden) => "action_forbidden",
            AccessStatus::Enabled => "access_enabled",
        };
        Self {
            allowed: reason == "access_enabled",
            reason,
            expires_at: client.expires_at(policy),
        }
    }
}
