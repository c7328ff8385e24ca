//! The link between a partner and a client, and the invitation that leads to it (000).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::{Access, RequestEnd};
use super::account::Account;
use super::client::Client;
use super::event::{Channel, Side, Step, Steps, Via};
use super::refusal::Refusal;
use super::service::Service;
use super::text_enum::text_enum;

/// The state of the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Never added: the client has only refused events.
    #[default]
    Unknown,
    Draft,
    Invited(Invitation),
    Active(Connection),
    InvitationRejected,
    AccessRejected,
    Archived,
    Lost,
    Deleted,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Invitation {
    pub sent_at: DateTime<Utc>,
    pub channel: Channel,
    pub steps: Steps,
    /// Those of the steps that are complete.
    pub done: BTreeSet<Step>,
    /// Whether the connection earns commission once it is active (002).
    pub commission_eligible: bool,
    /// The business onboarded without the invitation. That does not count (000, FAQ).
    pub onboarded_independently: bool,
    /// `invitation.stalled` was published for it.
    pub stalled: bool,
    /// The business did not receive it (000: it "should have received an email").
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bounced: bool,
}

/// The connection of an active link. Access exists only here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub commission_eligible: bool,
    pub access: Access,
}

text_enum! {
    /// The status of a link.
    pub enum LinkStatus {
        Draft = "draft",
        Invited = "invited",
        Active = "active",
        InvitationRejected = "invitation_rejected",
        AccessRejected = "access_rejected",
        Archived = "archived",
        Lost = "lost",
        Deleted = "deleted",
    }
}

impl Link {
    /// Whether the client was added, and not deleted since.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Deleted)
    }

    #[must_use]
    pub fn status(&self) -> Option<LinkStatus> {
        Some(match self {
            Self::Unknown => return None,
            Self::Draft => LinkStatus::Draft,
            Self::Invited(_) => LinkStatus::Invited,
            Self::Active(_) => LinkStatus::Active,
            Self::InvitationRejected => LinkStatus::InvitationRejected,
            Self::AccessRejected => LinkStatus::AccessRejected,
            Self::Archived => LinkStatus::Archived,
            Self::Lost => LinkStatus::Lost,
            Self::Deleted => LinkStatus::Deleted,
        })
    }

    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Active(connection) => Some(connection),
            _ => None,
        }
    }

    #[must_use]
    pub fn invitation(&self) -> Option<&Invitation> {
        match self {
            Self::Invited(invitation) => Some(invitation),
            _ => None,
        }
    }
}

impl Invitation {
    /// The steps that are not complete yet.
    pub fn missing(&self) -> impl Iterator<Item = Step> {
        self.steps.iter().filter(|step| !self.done.contains(step))
    }
}

impl Client {
    /// 000, FAQ: the client stays invited until it onboards through an invitation.
    pub(super) fn onboard(&mut self, via: Via, at: DateTime<Utc>) -> Result<(), Refusal> {
        match via {
            Via::Invitation => self.complete_step(Step::Onboarded, at),
            Via::Independent => {
                self.open_invitation()?.onboarded_independently = true;
                Ok(())
            }
        }
    }

    /// 000: "this only applies to referral partners".
    pub(super) fn reject_invitation(&mut self) -> Result<(), Refusal> {
        if self.open_invitation()?.channel != Channel::Referral {
            return Err(Refusal::NotAReferral);
        }
        self.link = Link::InvitationRejected;
        Ok(())
    }

    pub(super) fn reject_identity(&mut self) -> Result<(), Refusal> {
        self.open_invitation()?;
        self.link = Link::AccessRejected;
        Ok(())
    }

    /// 000: "reach out to support". When they clear the client, it can be invited again.
    pub(super) fn clear_identity(&mut self) -> Result<(), Refusal> {
        if self.link != Link::AccessRejected {
            return Err(Refusal::NotRejected);
        }
        self.link = Link::Draft;
        Ok(())
    }

    pub(super) fn bounce_invitation(&mut self) -> Result<(), Refusal> {
        self.open_invitation()?.bounced = true;
        Ok(())
    }

    fn open_invitation(&mut self) -> Result<&mut Invitation, Refusal> {
        match &mut self.link {
            Link::Invited(invitation) => Ok(invitation),
            _ => Err(Refusal::NotInvited),
        }
    }

    /// 000: drafts are invited, archived and lost clients can be invited again, and a resend starts the invitation
    /// again.
    pub(super) fn invite(
        &mut self,
        channel: Channel,
        steps: &Steps,
        commission_eligible: bool,
        at: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        match self.link {
            Link::Draft | Link::Invited(_) | Link::Archived | Link::Lost => {}
            Link::Active(_) => return Err(Refusal::AlreadyLinked),
            Link::InvitationRejected => return Err(Refusal::InvitationWasRejected),
            Link::AccessRejected => return Err(Refusal::AccessWasRejected),
            Link::Unknown | Link::Deleted => return Err(Refusal::UnknownClient),
        }
        self.invitations += 1;
        self.link = Link::Invited(Invitation {
            sent_at: at,
            channel,
            steps: steps.clone(),
            done: BTreeSet::new(),
            commission_eligible,
            onboarded_independently: false,
            stalled: false,
            bounced: false,
        });
        Ok(())
    }

    /// A step that is completed twice stays complete, and one that the invitation does not require is none. The last one
    /// makes the client active (000).
    pub(super) fn complete_step(&mut self, step: Step, at: DateTime<Utc>) -> Result<(), Refusal> {
        let invitation = self.open_invitation()?;
        if invitation.steps.contains(step) {
            invitation.done.insert(step);
        }
        if invitation.missing().next().is_some() {
            return Ok(());
        }
        self.link = Link::Active(Connection {
            commission_eligible: invitation.commission_eligible,
            access: Access::enabled(at),
        });
        self.start_subscriptions();
        Ok(())
    }

    /// 002: revenue share "if eligible". An invited client keeps the answer for the connection that follows.
    pub(super) fn set_commission_eligible(&mut self, eligible: bool) -> Result<(), Refusal> {
        match &mut self.link {
            Link::Invited(invitation) => invitation.commission_eligible = eligible,
            Link::Active(connection) => connection.commission_eligible = eligible,
            _ => return Err(Refusal::NotLinked),
        }
        Ok(())
    }

    /// The partner can end an invitation or a link; the client can only end a link. 000: "the data connection" ends, and
    /// with it every integration. Users stay.
    pub(super) fn end_link(&mut self, by: Side, at: DateTime<Utc>) -> Result<(), Refusal> {
        let ended = match (&self.link, by) {
            (Link::Active(_) | Link::Invited(_), Side::Partner) => Link::Archived,
            (Link::Active(_), Side::Client) => Link::Lost,
            _ => return Err(Refusal::NotLinked),
        };
        self.note_request_end(RequestEnd::Disconnected);
        self.link = ended;
        self.integrations.clear();
        self.mark_subscriptions_to_end(at);
        Ok(())
    }

    /// Everything ends at once, without grace, and the client lets go of all that it had: users, integrations, its own
    /// subscriptions, the account. The history stays.
    pub(super) fn delete(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        if matches!(self.link, Link::Active(_) | Link::Invited(_)) {
            return Err(Refusal::StillLinked);
        }
        self.link = Link::Deleted;
        if !matches!(self.service, Service::Terminated { .. }) {
            self.service = Service::Terminated { at };
        }
        self.clean_up();
        self.former_assignments.clear();
        self.let_go_of_subscriptions(at);
        self.users.clear();
        self.integrations.clear();
        self.account = Account::default();
        self.closed_request = None;
        self.invitations = 0;
        Ok(())
    }
}
