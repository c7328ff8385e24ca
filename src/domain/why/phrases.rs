//! What each event says, as a clause: "the customer disabled access", "the customer disables access".

use crate::domain::EventKind;
use crate::domain::event::{AccessedBy, Creator, Side, Via};

/// The tense of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Past,
    Present,
}

/// What an event says.
pub(super) fn clause(kind: &EventKind, tense: Tense) -> String {
    let (subject, past, present, object) = parts(kind);
    let verb = match tense {
        Tense::Past => past,
        Tense::Present => present,
    };
    [subject.as_str(), verb, object.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Subject, verb in the past, verb in the present, and the rest.
type Parts = (String, &'static str, &'static str, String);

const PARTNER: &str = "the partner";
const CLIENT: &str = "the client";
const CUSTOMER: &str = "the customer";
const BACK_OFFICE: &str = "the back office";
const ACCOUNT: &str = "the account";

fn parts(kind: &EventKind) -> Parts {
    let say =
        |subject: &str, past, present, object: &str| (subject.to_owned(), past, present, object.to_owned());
    match kind {
        EventKind::ClientAdded { imported: false, .. } => say(PARTNER, "added", "adds", CLIENT),
        EventKind::ClientAdded { imported: true, .. } => say(PARTNER, "imported", "imports", CLIENT),
        EventKind::ClientRenamed { .. } => say(PARTNER, "renamed", "renames", CLIENT),
        EventKind::ClientInvited { .. } => say(PARTNER, "invited", "invites", CLIENT),
        EventKind::InvitationAccepted {} => say(CLIENT, "accepted", "accepts", "the invitation"),
        EventKind::OnboardingCompleted { via: Via::Invitation } => {
            say(CLIENT, "completed", "completes", "onboarding")
        }
        EventKind::OnboardingCompleted {
            via: Via::Independent,
        } => say(CLIENT, "onboarded", "onboards", "without the invitation"),
        EventKind::ConsentGranted {} => say(CLIENT, "granted", "grants", "consent"),
        EventKind::InvitationRejected { .. } => say("the invitation", "was rejected", "is rejected", ""),
        EventKind::IdentityRejected { .. } => {
            say(BACK_OFFICE, "rejected", "rejects", "the client's identity")
        }
        EventKind::IdentityCleared { .. } => say(BACK_OFFICE, "cleared", "clears", "the client's identity"),
        EventKind::InvitationBounced { .. } => say("the invitation", "bounced", "bounces", ""),
        EventKind::ClientArchived { .. } => say(PARTNER, "archived", "archives", CLIENT),
        EventKind::ClientLost { .. } => say(CLIENT, "removed", "removes", "the link"),
        EventKind::PartnerDisconnected { by: Side::Partner } => {
            say(PARTNER, "disconnected", "disconnects", "from the client")
        }
        EventKind::PartnerDisconnected { by: Side::Client } => {
            say(CLIENT, "disconnected", "disconnects", "from the partner")
        }
        EventKind::ClientDeleted {} => say(PARTNER, "deleted", "deletes", CLIENT),
        EventKind::ClientTerminated { .. } => say(PARTNER, "terminated", "terminates", "the service"),
        EventKind::ClientReactivated {} => say(PARTNER, "reactivated", "reactivates", "the service"),
        EventKind::CommissionEligibilityChanged { eligible: true } => say(
            BACK_OFFICE,
            "made",
            "makes",
            "the partner eligible for commission",
        ),
        EventKind::CommissionEligibilityChanged { eligible: false } => say(
            BACK_OFFICE,
            "ended",
            "ends",
            "the partner's eligibility for commission",
        ),
        _ => parts_of_account(kind).unwrap_or_else(|| parts_of_holding(kind)),
    }
}

/// Events about access and the account.
fn parts_of_account(kind: &EventKind) -> Option<Parts> {
    let say =
        |subject: &str, past, present, object: &str| (subject.to_owned(), past, present, object.to_owned());
    Some(match kind {
        EventKind::AccountAccessed { by, user } => {
            let by = match by {
                AccessedBy::Partner => PARTNER,
                AccessedBy::Staff => "the customer's staff",
            };
            say(user.as_deref().unwrap_or(by), "entered", "enters", ACCOUNT)
        }
        EventKind::AccessDisabled {} => say(CUSTOMER, "disabled", "disables", "access"),
        EventKind::AccessEnabled {} => say(CUSTOMER, "enabled", "enables", "access"),
        EventKind::AccessRequested {} => say(PARTNER, "requested", "requests", "access"),
        EventKind::AccessApproved {} => say(CUSTOMER, "approved", "approves", "the request for access"),
        EventKind::AccessDenied {} => say(CUSTOMER, "denied", "denies", "the request for access"),
        EventKind::JobsCounted { total } => (
            BACK_OFFICE.to_owned(),
            "counted",
            "counts",
            format!("{total} jobs in the account"),
        ),
        EventKind::AccountUpdated {} => say(ACCOUNT, "got", "gets", "the new access rules"),
        EventKind::AccountCreated { by, .. } => {
            let by = match by {
                Creator::Partner => PARTNER,
                Creator::Customer => CUSTOMER,
            };
            say(by, "created", "creates", ACCOUNT)
        }
        EventKind::AccountOwnerSet {} => say(PARTNER, "set", "sets", "the owner of the account"),
        _ => return None,
    })
}

/// Events about a holding.
fn parts_of_holding(kind: &EventKind) -> Parts {
    let (past, present, noun, id) = match kind {
        EventKind::AssignmentAdded { assignment_id, .. } => ("added", "adds", "assignment", assignment_id),
        EventKind::AssignmentRemoved { assignment_id } => ("removed", "removes", "assignment", assignment_id),
        EventKind::ReportScheduleCreated { schedule_id } => {
            ("created", "creates", "report schedule", schedule_id)
        }
        EventKind::ReportScheduleDeleted { schedule_id } => {
            ("deleted", "deletes", "report schedule", schedule_id)
        }
        EventKind::MarginRuleCreated { rule_id } => ("created", "creates", "margin rule", rule_id),
        EventKind::MarginRuleDeleted { rule_id } => ("deleted", "deletes", "margin rule", rule_id),
        EventKind::SubscriptionAdded { subscription_id, .. } => {
            ("added", "adds", "subscription", subscription_id)
        }
        EventKind::SubscriptionRenewed { subscription_id, .. } => {
            ("renewed", "renews", "subscription", subscription_id)
        }
        EventKind::SubscriptionEnded { subscription_id } => {
            ("ended", "ends", "subscription", subscription_id)
        }
        EventKind::UserAdded { user_id } => ("added", "adds", "user", user_id),
        EventKind::UserRemoved { user_id } => ("removed", "removes", "user", user_id),
        EventKind::IntegrationAdded { integration_id } => ("added", "adds", "integration", integration_id),
        EventKind::IntegrationRemoved { integration_id } => {
            ("removed", "removes", "integration", integration_id)
        }
        other => {
            return (
                format!("an event {}", other.type_name()),
                "happened",
                "happens",
                String::new(),
            );
        }
    };
    (
        PARTNER.to_owned(),
        past,
        present,
        format!("{noun} {}", id.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::TYPES;
    use crate::domain::possible::examples;
    use crate::domain::{Client, ClientKey};
    use chrono::DateTime;

    #[test]
    fn every_event_type_has_a_clause_of_its_own() {
        let key = ClientKey::new("acme", "c").unwrap();
        let events = examples(&key, &Client::default(), DateTime::UNIX_EPOCH, None, 100);
        assert!(events.len() > TYPES.len());
        for event in events {
            for tense in [Tense::Past, Tense::Present] {
                let clause = clause(&event.kind, tense);
                assert!(
                    !clause.starts_with("an event "),
                    "{clause}: add a line for the type"
                );
            }
        }
    }
}
