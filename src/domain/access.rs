//! A partner's access to a client's account: it expires without use, the customer can disable and enable it, and it ends
//! with the connection (002).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::action::{Action, forbidden_actions};
use super::client::Client;
use super::event::AccessedBy;
use super::link::Link;
use super::policy::{Policies, Policy, later};
use super::refusal::Refusal;
use super::text_enum::text_enum;
use super::time::{serialize, serialize_optional};

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
        /// Nobody answered it in time.
        Lapsed = "lapsed",
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
        self.close_request(RequestEnd::Denied);
        Ok(())
    }

    /// Ours: when the open request lapses, so that the partner can ask again. None: there is none, or it never lapses.
    pub(super) fn request_lapses_at(&self, policy: &Policy) -> Option<DateTime<Utc>> {
        let span = Some(policy.request_lapses).filter(|span| !span.is_zero())?;
        Some(later(self.access_request()?, span))
    }

    /// Closes the open request. The status of access stays.
    pub(super) fn close_request(&mut self, by: RequestEnd) {
        self.note_request_end(by);
        if let Some(request) = self.access_mut().and_then(Access::request_mut) {
            *request = None;
        }
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

    /// When a policy takes effect under which access expires at another moment than under the policy of `moment`.
    pub(super) fn expiry_moves_at(
        &self,
        moment: DateTime<Utc>,
        policies: &Policies,
    ) -> Option<DateTime<Utc>> {
        let expires_at = self.expires_at(policies.at(moment));
        policies
            .eras_from(moment)
            .find(|era| era.start > moment && self.expires_at(era.policy) != expires_at)
            .map(|era| era.start)
    }

    /// When access, or the moment at which it expires, next becomes different without an event. Every timer that is due at or
    /// before `moment` must have fired. No timer gives access back, so without access the answer is never.
    fn access_holds_until(&self, moment: DateTime<Utc>, policies: &Policies) -> Option<DateTime<Utc>> {
        let expires_at = self.expires_at(policies.at(moment));
        let moved = self.expiry_moves_at(moment, policies);
        expires_at.into_iter().chain(moved).min()
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

/// The role of a partner that has access: it may do what a business owner may, but for a few actions (002).
pub const ROLE: &str = "business_owner";

/// Whether the partner may enter the account, or do something in it, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub allowed: bool,
    /// A code for programs: `access_enabled`, `access_none`, `access_disabled`,
    /// `access_expired`, `unknown_client` or `action_forbidden`. For a question about an account, `unknown_account` too.
    pub reason: &'static str,
    /// [`ROLE`]. None: the partner has no access.
    pub role: Option<&'static str>,
    /// The actions that the role does not include. Empty without a role.
    pub forbidden: Vec<&'static str>,
    #[serde(serialize_with = "serialize_optional")]
    pub expires_at: Option<DateTime<Utc>>,
    /// False while an expected source is silent: events that the decision depends on may not have arrived.
    pub assured: bool,
    /// The source whose events may be missing, if it is not assured.
    pub silent_source: Option<String>,
    /// When this decision becomes different without a new event, at the earliest. None: never.
    #[serde(serialize_with = "serialize_optional")]
    pub holds_until: Option<DateTime<Utc>>,
    /// The moment that it is about.
    #[serde(serialize_with = "serialize")]
    pub decided_at: DateTime<Utc>,
}

/// Every code that [`Decision::reason`] can have.
pub const DECISION_REASONS: [&str; 7] = [
    "access_enabled",
    "access_none",
    "access_disabled",
    "access_expired",
    "action_forbidden",
    "unknown_client",
    "unknown_account",
];

impl Decision {
    /// The same decision, while this source is silent.
    #[must_use]
    pub fn unassured(self, silent_source: String) -> Self {
        Self {
            assured: false,
            silent_source: Some(silent_source),
            ..self
        }
    }

    /// Decides for a client whose timers have fired up to the moment of the question.
    #[must_use]
    pub fn decide(
        client: &Client,
        action: Option<&Action>,
        moment: DateTime<Utc>,
        policies: &Policies,
    ) -> Self {
        let handover = client.account.handover();
        let reason = match client.access_status() {
            _ if !client.exists() => "unknown_client",
            AccessStatus::None => "access_none",
            AccessStatus::Disabled => "access_disabled",
            AccessStatus::Expired => "access_expired",
            AccessStatus::Enabled if action.is_some_and(|action| action.is_forbidden(handover)) => {
                "action_forbidden"
            }
            AccessStatus::Enabled => "access_enabled",
        };
        let has_access = client.access_status() == AccessStatus::Enabled;
        Self {
            allowed: reason == "access_enabled",
            reason,
            role: has_access.then_some(ROLE),
            forbidden: if has_access {
                forbidden_actions(handover)
            } else {
                Vec::new()
            },
            expires_at: client.expires_at(policies.at(moment)),
            holds_until: client.access_holds_until(moment, policies),
            decided_at: moment,
            assured: true,
            silent_source: None,
        }
    }

    /// Decides while a source is silent, for a client whose access has expired during the silence: as if it had not. `before` is the
    /// client when the silence began. The decision holds for its moment only, because an event of any client can end the silence.
    #[must_use]
    pub fn despite_expiry(
        client: &Client,
        before: &Client,
        action: Option<&Action>,
        moment: DateTime<Utc>,
        policies: &Policies,
    ) -> Self {
        let mut client = client.clone();
        if let (Some(access), Some(enabled)) = (client.access_mut(), before.access()) {
            *access = enabled.clone();
        }
        Self {
            holds_until: Some(moment),
            ..Self::decide(&client, action, moment, policies)
        }
    }

    /// The decision about an account that no client of the partner has.
    #[must_use]
    pub fn unknown_account(moment: DateTime<Utc>) -> Self {
        Self {
            allowed: false,
            reason: "unknown_account",
            role: None,
            forbidden: Vec::new(),
            expires_at: None,
            holds_until: None,
            decided_at: moment,
            assured: true,
            silent_source: None,
        }
    }
}
