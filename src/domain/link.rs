//! The link between a partner and a client, and the invitation that brings it about (000).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::client::Client;
use super::event::{Channel, EventKind, Side, Step, Steps, Via};
use super::refusal::Refusal;
use super::service::Service;
use super::text_enum::text_enum;

/// Where the relationship stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Never added: all that is known are refused events.
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

/// An invitation that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub sent_at: DateTime<Utc>,
    pub channel: Channel,
    pub steps: Steps,
    pub done: BTreeSet<Step>,
    /// Whether the connection it leads to earns commission (002).
    pub commission_eligible: bool,
    /// The business onboarded without the invitation, which does not count (000, FAQ).
    pub onboarded_independently: bool,
    /// Its sender was told that it has been open for long.
    pub stalled: bool,
}

/// What partner and client have while they are linked. Access exists nowhere else.
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

impl Client {
    pub(super) fn apply_to_link(&mut self, kind: &EventKind, at: DateTime<Utc>) -> Result<(), Refusal> {
        match kind {
            EventKind::ClientInvited {
                channel,
                steps,
                commission_eligible,
            } => self.invite(*channel, steps, *commission_eligible, at),
            EventKind::InvitationAccepted {} => self.complete(Step::Accepted, at),
            EventKind::OnboardingCompleted { via: Via::Invitation } => self.complete(Step::Onboarded, at),
            EventKind::OnboardingCompleted {
                via: Via::Independent,
            } => {
                self.open_invitation()?.onboarded_independently = true;
                Ok(())
            }
            EventKind::ConsentGranted {} => self.complete(Step::Consented, at),
            EventKind::InvitationRejected { .. } => {
                // 000: "this only applies to referral partners".
                if self.open_invitation()?.channel != Channel::Referral {
                    return Err(Refusal::NotAReferral);
                }
                self.link = Link::InvitationRejected;
                Ok(())
            }
            EventKind::IdentityRejected { .. } => {
                self.open_invitation()?;
                self.link = Link::AccessRejected;
                Ok(())
            }
            EventKind::ClientArchived { .. } => self.part(Side::Partner, at),
            EventKind::ClientLost { .. } => self.part(Side::Client, at),
            EventKind::PartnerDisconnected { by } => self.part(*by, at),
            EventKind::ClientDeleted {} => self.delete(at),
            other => unreachable!("{} is no event of the link", other.type_name()),
        }
    }

    fn open_invitation(&mut self) -> Result<&mut Invitation, Refusal> {
        match &mut self.link {
            Link::Invited(invitation) => Ok(invitation),
            _ => Err(Refusal::NotInvited),
        }
    }

    /// 000: drafts are invited; archived and lost clients can be invited again; a resend starts
    /// the invitation anew.
    fn invite(
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
        });
        Ok(())
    }

    /// A step that is done twice stays done. With the last one the client becomes active (000).
    fn complete(&mut self, step: Step, at: DateTime<Utc>) -> Result<(), Refusal> {
        let invitation = self.open_invitation()?;
        invitation.done.insert(step);
        if !invitation.steps.done_by(&invitation.done) {
            return Ok(());
        }
        self.link = Link::Active(Connection {
            commission_eligible: invitation.commission_eligible,
            access: Access::enabled(at),
        });
        self.start_subscriptions();
        Ok(())
    }

    /// The partner may withdraw an invitation as well as a link; the client can only leave a link.
    fn part(&mut self, by: Side, at: DateTime<Utc>) -> Result<(), Refusal> {
        self.link = match (&self.link, by) {
            (Link::Active(_) | Link::Invited(_), Side::Partner) => Link::Archived,
            (Link::Active(_), Side::Client) => Link::Lost,
            _ => return Err(Refusal::NotLinked),
        };
        self.mark_subscriptions_to_end(at);
        Ok(())
    }

    /// Everything ends at once, without grace; the history stays.
    fn delete(&mut self, at: DateTime<Utc>) -> Result<(), Refusal> {
        if matches!(self.link, Link::Active(_) | Link::Invited(_)) {
            return Err(Refusal::StillLinked);
        }
        self.link = Link::Deleted;
        if !matches!(self.service, Service::Terminated { .. }) {
            self.service = Service::Terminated { at };
        }
        self.clean_up();
        self.end_partner_subscriptions(at);
        Ok(())
    }
}
