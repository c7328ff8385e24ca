//! Reads a change back from its text.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::{ChangeError, ChangeText};
use crate::domain::access::{AccessStatus, RequestEnd};
use crate::domain::change::{Change, ChangeKind, Details};
use crate::domain::event::{Creator, Step};
use crate::domain::holdings::SubscriptionStatus;
use crate::domain::id::{Id, clip};
use crate::domain::link::LinkStatus;
use crate::domain::name::Name;
use crate::domain::refusal::Refusal;
use crate::domain::service::ServiceStatus;

/// The text of a change, as it is read back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnedText {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    data: Option<Details>,
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = OwnedText::deserialize(from)?;
        Self::try_from(ChangeText {
            kind: &text.kind,
            id: text.id.as_deref(),
            from: text.from.map(Cow::from),
            to: text.to.map(Cow::from),
            data: text.data,
        })
        .map_err(serde::de::Error::custom)
    }
}

impl TryFrom<ChangeText<'_>> for Change {
    type Error = ChangeError;

    /// Ignores fields that the type does not have.
    fn try_from(text: ChangeText<'_>) -> Result<Self, ChangeError> {
        let Some(kind) = ChangeKind::from_name(text.kind) else {
            return Err(ChangeError::UnknownKind(clip(text.kind)));
        };
        let read = Fields { kind, text: &text };
        Ok(match kind {
            ChangeKind::Link(to) => read.link(to)?,
            ChangeKind::Service(to) => read.service(to)?,
            ChangeKind::Access(to) => read.access(to)?,
            ChangeKind::AccessRequested => Self::AccessRequested,
            ChangeKind::AccessRequestClosed => read.access_request_closed()?,
            ChangeKind::AccessExpiring => read.access_expiring()?,
            ChangeKind::ClientNamed => read.client_named()?,
            ChangeKind::ClientRenamed => read.client_renamed()?,
            ChangeKind::InvitationSent => Self::InvitationSent(read.data().invitation()),
            ChangeKind::InvitationStalled => Self::InvitationStalled,
            ChangeKind::InvitationStepCompleted => {
                Self::InvitationStepCompleted(read.required("to", Step::from_name)?)
            }
            ChangeKind::InvitationBypassed => Self::InvitationBypassed,
            ChangeKind::InvitationBounced => Self::InvitationBounced,
            ChangeKind::CommissionEligibilityChanged => read.commission_eligibility_changed()?,
            ChangeKind::SubscriptionRemoved => read.subscription_removed()?,
            ChangeKind::AccountCreated => read.account_created()?,
            ChangeKind::AccountHandedOver => Self::AccountHandedOver,
            ChangeKind::AccountJobsCounted => read.account_jobs_counted()?,
            ChangeKind::Subscription(to) => read.subscription(to)?,
            ChangeKind::SubscriptionRenewed => read.subscription_renewed()?,
            ChangeKind::Added(holding) => Self::Added {
                holding,
                id: read.id()?,
            },
            ChangeKind::Removed(holding) => Self::Removed {
                holding,
                id: read.id()?,
            },
            ChangeKind::Started(flag) => Self::Started(flag),
            ChangeKind::Stopped(flag) => Self::Stopped(flag),
            ChangeKind::EventRefused => read.event_refused()?,
            ChangeKind::EventAccepted => Self::EventAccepted(read.required("from", Refusal::from_code)?),
        })
    }
}

/// The fields of a change that is being read.
struct Fields<'a> {
    kind: ChangeKind,
    text: &'a ChangeText<'a>,
}

/// The changes of more than one field.
impl Fields<'_> {
    fn link(&self, to: LinkStatus) -> Result<Change, ChangeError> {
        Ok(Change::Link {
            from: self.optional("from", LinkStatus::from_name)?,
            to: self.agreeing(to, to.as_str())?,
        })
    }

    fn service(&self, to: ServiceStatus) -> Result<Change, ChangeError> {
        Ok(Change::Service {
            from: self.optional("from", ServiceStatus::from_name)?,
            to: self.agreeing(to, to.as_str())?,
        })
    }

    fn access(&self, to: AccessStatus) -> Result<Change, ChangeError> {
        Ok(Change::Access {
            from: self.required("from", AccessStatus::from_name)?,
            to: self.agreeing(to, to.as_str())?,
            expires_at: self.data().expires_at,
        })
    }

    fn access_request_closed(&self) -> Result<Change, ChangeError> {
        Ok(Change::AccessRequestClosed {
            to: self.optional("to", RequestEnd::from_name)?,
        })
    }

    fn access_expiring(&self) -> Result<Change, ChangeError> {
        Ok(Change::AccessExpiring {
            left: self.required("to", |text| Some(text.to_owned()))?,
            expires_at: self.data().expires_at,
        })
    }

    fn client_named(&self) -> Result<Change, ChangeError> {
        Ok(Change::ClientNamed {
            name: self.required("to", name)?,
            origin: self.data().origin.unwrap_or_default(),
        })
    }

    fn client_renamed(&self) -> Result<Change, ChangeError> {
        Ok(Change::ClientRenamed {
            from: self.required("from", name)?,
            to: self.required("to", name)?,
        })
    }

    fn commission_eligibility_changed(&self) -> Result<Change, ChangeError> {
        Ok(Change::CommissionEligibilityChanged {
            eligible: self
                .data()
                .commission_eligible
                .ok_or_else(|| self.invalid("data"))?,
        })
    }

    fn subscription(&self, to: SubscriptionStatus) -> Result<Change, ChangeError> {
        Ok(Change::Subscription {
            id: self.id()?,
            from: self.optional("from", SubscriptionStatus::from_name)?,
            to: self.agreeing(to, to.as_str())?,
            terms: self.data().subscription(),
        })
    }

    fn subscription_renewed(&self) -> Result<Change, ChangeError> {
        Ok(Change::SubscriptionRenewed {
            id: self.id()?,
            from: self.optional("from", time)?,
            to: self.optional("to", time)?,
        })
    }

    fn subscription_removed(&self) -> Result<Change, ChangeError> {
        Ok(Change::SubscriptionRemoved {
            id: self.id()?,
            from: self.required("from", SubscriptionStatus::from_name)?,
        })
    }

    fn account_created(&self) -> Result<Change, ChangeError> {
        Ok(Change::AccountCreated {
            id: self.optional("id", id)?,
            from: self.optional("from", Creator::from_name)?,
            to: self.optional("to", Creator::from_name)?,
        })
    }

    fn account_jobs_counted(&self) -> Result<Change, ChangeError> {
        Ok(Change::AccountJobsCounted {
            from: self.optional("from", |text| text.parse().ok())?,
            to: self.optional("to", |text| text.parse().ok())?,
        })
    }

    fn event_refused(&self) -> Result<Change, ChangeError> {
        Ok(Change::EventRefused {
            refusal: self.required("to", Refusal::from_code)?,
            conflicts_with: self.data().conflicts_with,
        })
    }
}

impl Fields<'_> {
    fn data(&self) -> Details {
        self.text.data.clone().unwrap_or_default()
    }

    fn field(&self, field: &'static str) -> Option<&str> {
        match field {
            "id" => self.text.id,
            "from" => self.text.from.as_deref(),
            "to" => self.text.to.as_deref(),
            // Details that the type needs are missing.
            _ => None,
        }
    }

    fn optional<T>(
        &self,
        field: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ChangeError> {
        self.field(field)
            .map(|text| read(text).ok_or_else(|| self.invalid(field)))
            .transpose()
    }

    fn required<T>(&self, field: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, ChangeError> {
        self.optional(field, read)?.ok_or_else(|| self.invalid(field))
    }

    fn id(&self) -> Result<Id, ChangeError> {
        self.required("id", id)
    }

    /// The status that the type names, provided that `to` names it too.
    fn agreeing<T>(&self, status: T, name: &str) -> Result<T, ChangeError> {
        if self.field("to") == Some(name) {
            Ok(status)
        } else {
            Err(self.invalid("to"))
        }
    }

    fn invalid(&self, field: &'static str) -> ChangeError {
        ChangeError::InvalidField {
            kind: self.kind.as_str(),
            field,
            value: self
                .field(field)
                .map_or_else(|| "null".to_owned(), |text| format!("`{}`", clip(text))),
        }
    }
}

pub(super) fn id(text: &str) -> Option<Id> {
    Id::try_from(text.to_owned()).ok()
}

pub(super) fn name(text: &str) -> Option<Name> {
    Name::try_from(text.to_owned()).ok()
}

pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}
