//! The text form of a change: the journal's columns and the JSON that subscribers read.

mod read;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{Change, Details};
use crate::domain::event::Creator;
use crate::domain::id::Id;
use crate::domain::time::rfc3339;

/// A change as text. `from` and `to` are statuses, names, times, durations or refusal codes; `id` is the holding's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeText<'a> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Cow<'a, str>>,
    /// None: the change has no details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Details>,
}

/// Why text is not a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("unknown change type `{0}`; a newer version of Tenure may have written it")]
    UnknownKind(String),
    #[error("a change of type `{kind}` cannot have {field} {value}")]
    InvalidField {
        kind: &'static str,
        field: &'static str,
        value: String,
    },
}

impl Change {
    #[must_use]
    pub fn text(&self) -> ChangeText<'_> {
        let (from, to) = self.before_and_after();
        ChangeText {
            kind: self.kind().as_str(),
            id: self.id().map(Id::as_str),
            from,
            to,
            data: self.details().filter(|details| *details != Details::default()),
        }
    }

    fn details(&self) -> Option<Details> {
        Some(match self {
            Self::Access { expires_at, .. } | Self::AccessExpiring { expires_at, .. } => Details {
                expires_at: *expires_at,
                ..Details::default()
            },
            Self::ClientNamed { origin, .. } => Details {
                origin: Some(*origin),
                ..Details::default()
            },
            Self::InvitationSent(Some(terms)) => terms.details(),
            Self::CommissionEligibilityChanged { eligible } => Details {
                commission_eligible: Some(*eligible),
                ..Details::default()
            },
            Self::Subscription {
                terms: Some(terms), ..
            } => terms.details(),
            Self::EventRefused { conflicts_with, .. } => Details {
                conflicts_with: conflicts_with.clone(),
                ..Details::default()
            },
            _ => return None,
        })
    }

    fn before_and_after(&self) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
        let time = |time: &Option<DateTime<Utc>>| time.map(|time| rfc3339(time).into());
        match self {
            Self::Link { from, to } => (from.map(|from| from.as_str().into()), Some(to.as_str().into())),
            Self::Service { from, to } => (from.map(|from| from.as_str().into()), Some(to.as_str().into())),
            Self::Access { from, to, .. } => (Some(from.as_str().into()), Some(to.as_str().into())),
            Self::AccessExpiring { left, .. } => (None, Some(left.into())),
            Self::ClientNamed { name, .. } => (None, Some(name.as_str().into())),
            Self::AccessRequestClosed { to } => (None, to.map(|to| to.as_str().into())),
            Self::ClientRenamed { from, to } => (Some(from.as_str().into()), Some(to.as_str().into())),
            Self::Subscription { from, to, .. } => {
                (from.map(|from| from.as_str().into()), Some(to.as_str().into()))
            }
            Self::SubscriptionRemoved { from, .. } => (Some(from.as_str().into()), None),
            Self::AccountCreated { from, to, .. } => {
                let text = |by: &Option<Creator>| by.map(|by| by.as_str().into());
                (text(from), text(to))
            }
            Self::InvitationStepCompleted(step) => (None, Some(step.as_str().into())),
            Self::SubscriptionRenewed { from, to, .. } => (time(from), time(to)),
            Self::AccountJobsCounted { from, to } => {
                let text = |total: &Option<u64>| total.map(|total| total.to_string().into());
                (text(from), text(to))
            }
            Self::EventRefused { refusal, .. } => (None, Some(refusal.code().into())),
            Self::EventAccepted(refusal) => (Some(refusal.code().into()), None),
            Self::AccessRequested
            | Self::InvitationSent(_)
            | Self::InvitationStalled
            | Self::InvitationBypassed
            | Self::InvitationBounced
            | Self::CommissionEligibilityChanged { .. }
            | Self::AccountHandedOver
            | Self::Added { .. }
            | Self::Removed { .. }
            | Self::Started(_)
            | Self::Stopped(_) => (None, None),
        }
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::read::{name, time};
    use super::*;
    use crate::domain::access::{AccessStatus, RequestEnd};
    use crate::domain::change::{Flag, Holding, InvitationTerms, SubscriptionTerms};
    use crate::domain::client::Origin;
    use crate::domain::event::{Channel, ManagedBy, Step};
    use crate::domain::holdings::SubscriptionStatus;
    use crate::domain::link::LinkStatus;
    use crate::domain::refusal::Refusal;
    use crate::domain::service::ServiceStatus;

    /// One change of each shape, with the JSON that subscribers read.
    fn changes() -> Vec<(Change, &'static str)> {
        [
            status_changes(),
            name_changes(),
            invitation_changes(),
            subscription_changes(),
            account_changes(),
            plain_changes(),
        ]
        .concat()
    }

    fn status_changes() -> Vec<(Change, &'static str)> {
        vec![
            (
                Change::Link {
                    from: None,
                    to: LinkStatus::Draft,
                },
                r#"{"type":"link.draft","to":"draft"}"#,
            ),
            (
                Change::Link {
                    from: Some(LinkStatus::Invited),
                    to: LinkStatus::InvitationRejected,
                },
                r#"{"type":"link.invitation_rejected","from":"invited","to":"invitation_rejected"}"#,
            ),
            (
                Change::Service {
                    from: Some(ServiceStatus::PendingAssigning),
                    to: ServiceStatus::Active,
                },
                r#"{"type":"service.active","from":"pending_assigning","to":"active"}"#,
            ),
            (
                Change::Access {
                    from: AccessStatus::None,
                    to: AccessStatus::Enabled,
                    expires_at: time("2026-04-30T12:00:00Z"),
                },
                r#"{"type":"access.enabled","from":"none","to":"enabled","data":{"expires_at":"2026-04-30T12:00:00Z"}}"#,
            ),
            (
                Change::Access {
                    from: AccessStatus::Enabled,
                    to: AccessStatus::Expired,
                    expires_at: None,
                },
                r#"{"type":"access.expired","from":"enabled","to":"expired"}"#,
            ),
            (Change::AccessRequested, r#"{"type":"access.requested"}"#),
            (
                Change::AccessRequestClosed { to: None },
                r#"{"type":"access.request_closed"}"#,
            ),
            (
                Change::AccessRequestClosed {
                    to: Some(RequestEnd::Disconnected),
                },
                r#"{"type":"access.request_closed","to":"disconnected"}"#,
            ),
            (
                Change::AccessExpiring {
                    left: "P14D".into(),
                    expires_at: time("2026-04-30T12:00:00Z"),
                },
                r#"{"type":"access.expiring","to":"P14D","data":{"expires_at":"2026-04-30T12:00:00Z"}}"#,
            ),
        ]
    }

    fn name_changes() -> Vec<(Change, &'static str)> {
        let named = |text| name(text).unwrap();
        vec![
            (
                Change::ClientNamed {
                    name: named("Bakery"),
                    origin: Origin::Imported,
                },
                r#"{"type":"client.named","to":"Bakery","data":{"origin":"imported"}}"#,
            ),
            (
                Change::ClientRenamed {
                    from: named("Bakery"),
                    to: named("Mühle"),
                },
                r#"{"type":"client.renamed","from":"Bakery","to":"Mühle"}"#,
            ),
        ]
    }

    fn invitation_changes() -> Vec<(Change, &'static str)> {
        vec![
            (Change::InvitationSent(None), r#"{"type":"invitation.sent"}"#),
            (
                Change::InvitationSent(Some(InvitationTerms {
                    channel: Channel::Referral,
                    steps: [Step::Accepted, Step::Consented]
                        .into_iter()
                        .collect::<BTreeSet<_>>()
                        .try_into()
                        .unwrap(),
                    commission_eligible: false,
                    count: 2,
                })),
                r#"{"type":"invitation.sent","data":{"channel":"referral","steps":["accepted","consented"],"commission_eligible":false,"count":2}}"#,
            ),
            (
                Change::CommissionEligibilityChanged { eligible: false },
                r#"{"type":"commission.eligibility_changed","data":{"commission_eligible":false}}"#,
            ),
            (Change::InvitationStalled, r#"{"type":"invitation.stalled"}"#),
            (
                Change::InvitationStepCompleted(Step::Consented),
                r#"{"type":"invitation.step_completed","to":"consented"}"#,
            ),
            (Change::InvitationBypassed, r#"{"type":"invitation.bypassed"}"#),
            (Change::InvitationBounced, r#"{"type":"invitation.bounced"}"#),
        ]
    }

    fn subscription_changes() -> Vec<(Change, &'static str)> {
        let id = |text| super::read::id(text).unwrap();
        let moment = |text| time(text).unwrap();
        vec![
            (
                Change::Subscription {
                    id: id("s1"),
                    from: Some(SubscriptionStatus::Prepared),
                    to: SubscriptionStatus::Active,
                    terms: None,
                },
                r#"{"type":"subscription.started","id":"s1","from":"prepared","to":"active"}"#,
            ),
            (
                Change::Subscription {
                    id: id("s1"),
                    from: None,
                    to: SubscriptionStatus::Prepared,
                    terms: Some(SubscriptionTerms {
                        managed_by: ManagedBy::Client,
                        plan: Some("basic".into()),
                        paid_until: time("2026-03-01T12:00:00Z"),
                    }),
                },
                r#"{"type":"subscription.prepared","id":"s1","to":"prepared","data":{"managed_by":"client","plan":"basic","paid_until":"2026-03-01T12:00:00Z"}}"#,
            ),
            (
                Change::SubscriptionRemoved {
                    id: id("s1"),
                    from: SubscriptionStatus::Active,
                },
                r#"{"type":"subscription.removed","id":"s1","from":"active"}"#,
            ),
            (
                Change::SubscriptionRenewed {
                    id: id("s1"),
                    from: None,
                    to: Some(moment("2026-03-01T12:00:00.000001Z")),
                },
                r#"{"type":"subscription.renewed","id":"s1","to":"2026-03-01T12:00:00.000001Z"}"#,
            ),
        ]
    }

    fn account_changes() -> Vec<(Change, &'static str)> {
        let id = |text| super::read::id(text).unwrap();
        vec![
            (
                Change::AccountCreated {
                    id: Some(id("acc-1")),
                    from: None,
                    to: Some(Creator::Partner),
                },
                r#"{"type":"account.created","id":"acc-1","to":"partner"}"#,
            ),
            (
                Change::AccountCreated {
                    id: None,
                    from: Some(Creator::Customer),
                    to: None,
                },
                r#"{"type":"account.created","from":"customer"}"#,
            ),
            (Change::AccountHandedOver, r#"{"type":"account.handed_over"}"#),
            (
                Change::AccountJobsCounted {
                    from: Some(7),
                    to: Some(u64::MAX),
                },
                r#"{"type":"account.jobs_counted","from":"7","to":"18446744073709551615"}"#,
            ),
            (
                Change::AccountJobsCounted {
                    from: Some(0),
                    to: None,
                },
                r#"{"type":"account.jobs_counted","from":"0"}"#,
            ),
        ]
    }

    /// Of holdings, flags and refusals.
    fn plain_changes() -> Vec<(Change, &'static str)> {
        let id = |text| super::read::id(text).unwrap();
        vec![
            (
                Change::Added {
                    holding: Holding::MarginRule,
                    id: id("m1"),
                },
                r#"{"type":"margin_rule.added","id":"m1"}"#,
            ),
            (
                Change::Removed {
                    holding: Holding::User,
                    id: id("u1"),
                },
                r#"{"type":"user.removed","id":"u1"}"#,
            ),
            (
                Change::Started(Flag::StatusCredit),
                r#"{"type":"status_credit.granted"}"#,
            ),
            (
                Change::Stopped(Flag::DataRetrieval),
                r#"{"type":"data_retrieval.stopped"}"#,
            ),
            (
                Change::EventRefused {
                    refusal: Refusal::NameTaken,
                    conflicts_with: Some("c-2".into()),
                },
                r#"{"type":"event.refused","to":"name_taken","data":{"conflicts_with":"c-2"}}"#,
            ),
            (
                Change::EventRefused {
                    refusal: Refusal::NotInvited,
                    conflicts_with: None,
                },
                r#"{"type":"event.refused","to":"not_invited"}"#,
            ),
            (
                Change::EventAccepted(Refusal::NotInvited),
                r#"{"type":"event.accepted","from":"not_invited"}"#,
            ),
        ]
    }

    #[test]
    fn a_change_is_written_as_subscribers_read_it() {
        for (change, expected) in changes() {
            assert_eq!(serde_json::to_string(&change).unwrap(), expected);
        }
    }

    #[test]
    fn a_change_reads_back_from_its_text() {
        for (change, _) in changes() {
            assert_eq!(Change::try_from(change.text()).as_ref(), Ok(&change));
        }
    }

    #[test]
    fn text_that_is_not_a_change_is_an_error() {
        let read = |kind, id, from: Option<&'static str>, to: Option<&'static str>| {
            let text = ChangeText {
                kind,
                id,
                from: from.map(Cow::from),
                to: to.map(Cow::from),
                data: None,
            };
            Change::try_from(text).unwrap_err().to_string()
        };
        for (error, expected) in [
            (
                read("link.vanished", None, None, None),
                "unknown change type `link.vanished`; a newer version of Tenure may have written it",
            ),
            (
                read("link.active", None, None, Some("lost")),
                "a change of type `link.active` cannot have to `lost`",
            ),
            (
                read("access.expired", None, None, Some("expired")),
                "a change of type `access.expired` cannot have from null",
            ),
            (
                read("user.added", None, None, None),
                "a change of type `user.added` cannot have id null",
            ),
            (
                read("subscription.renewed", Some("s1"), None, Some("soon")),
                "a change of type `subscription.renewed` cannot have to `soon`",
            ),
            (
                read("invitation.step_completed", None, None, None),
                "a change of type `invitation.step_completed` cannot have to null",
            ),
            (
                read("account.created", Some(""), None, Some("partner")),
                "a change of type `account.created` cannot have id ``",
            ),
            (
                read("event.refused", None, None, Some("mood")),
                "a change of type `event.refused` cannot have to `mood`",
            ),
            (
                read("account.jobs_counted", None, None, Some("-1")),
                "a change of type `account.jobs_counted` cannot have to `-1`",
            ),
            (
                read("commission.eligibility_changed", None, None, None),
                "a change of type `commission.eligibility_changed` cannot have data null",
            ),
        ] {
            assert_eq!(error, expected);
        }
    }
}
