//! What a subscriber must know about each change type: when it comes, and which fields it has. The match is exhaustive, so a new
//! type cannot be forgotten; tests compare the shapes with the changes of random histories.

use serde_json::{Value, json};

use super::schemas::schema_of;
use crate::domain::access::{AccessStatus, RequestEnd};
use crate::domain::change::{Flag, Holding};
use crate::domain::event::{Creator, Step};
use crate::domain::holdings::SubscriptionStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::{ChangeKind, Id, Name, Refusal};

/// A field of the data of a change: `id`, `from` or `to`.
pub(super) struct Field {
    pub name: &'static str,
    pub is_required: bool,
    pub schema: Value,
    pub description: &'static str,
}

/// What the data of a change type has, besides what all types have.
#[derive(Default)]
pub(super) struct Shape {
    pub fields: Vec<Field>,
    /// The fields of `data` within the data.
    pub details: &'static [&'static str],
    /// Those of the details that are there whenever `data` is.
    pub required_details: &'static [&'static str],
    /// Whether `data` is always there.
    pub needs_details: bool,
}

impl Shape {
    fn with(fields: Vec<Field>) -> Self {
        Self {
            fields,
            ..Self::default()
        }
    }

    fn and(mut self, details: &'static [&'static str]) -> Self {
        self.details = details;
        self
    }

    /// The fields of a type.
    pub fn of(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Link(to) => Self::status(schema_of::<LinkStatus>(), to.as_str()),
            ChangeKind::Service(to) => Self::status(schema_of::<ServiceStatus>(), to.as_str()),
            ChangeKind::Access(_)
            | ChangeKind::AccessRequestClosed
            | ChangeKind::AccessExpiring
            | ChangeKind::AccountCreated
            | ChangeKind::AccountJobsCounted => Self::of_account(kind),
            ChangeKind::ClientNamed
            | ChangeKind::ClientRenamed
            | ChangeKind::InvitationSent
            | ChangeKind::InvitationStepCompleted
            | ChangeKind::CommissionEligibilityChanged => Self::of_invitation(kind),
            ChangeKind::Subscription(_)
            | ChangeKind::SubscriptionRenewed
            | ChangeKind::SubscriptionRemoved => Self::of_subscription(kind),
            ChangeKind::Added(holding) | ChangeKind::Removed(holding) => {
                Self::with(vec![required("id", schema_of::<Id>(), holding_id(holding))])
            }
            ChangeKind::EventRefused => {
                Self::with(vec![required("to", refusal(), "The code of the refusal.")])
                    .and(&["conflicts_with"])
            }
            ChangeKind::EventAccepted => {
                let description = "The code of the refusal that no longer holds.";
                Self::with(vec![required("from", refusal(), description)])
            }
            ChangeKind::AccessRequested
            | ChangeKind::InvitationStalled
            | ChangeKind::InvitationBypassed
            | ChangeKind::InvitationBounced
            | ChangeKind::AccountHandedOver
            | ChangeKind::Started(_)
            | ChangeKind::Stopped(_) => Self::default(),
        }
    }

    /// A change to one status of a facet that a client has from its beginning.
    fn status(statuses: Value, to: &str) -> Self {
        let before = "The status before. Absent for a client that was just added.";
        Self::with(vec![optional("from", statuses, before), now(to)])
    }

    fn of_account(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Access(to) => {
                let before = required("from", schema_of::<AccessStatus>(), "The status before.");
                let details: &[&str] = match to {
                    AccessStatus::Enabled => &["expires_at"],
                    _ => &[],
                };
                Self::with(vec![before, now(to.as_str())]).and(details)
            }
            ChangeKind::AccessRequestClosed => Self::with(vec![optional(
                "to",
                schema_of::<RequestEnd>(),
                "How the request was closed. A correction without it says that the request was never opened.",
            )]),
            ChangeKind::AccessExpiring => {
                let duration = json!({"type": "string", "pattern": "^P[0-9DHMSTW.]+$"});
                let description = "The time left, as an ISO 8601 duration.";
                Self::with(vec![required("to", duration, description)]).and(&["expires_at"])
            }
            ChangeKind::AccountCreated => Self::with(vec![
                optional(
                    "id",
                    schema_of::<Id>(),
                    "The id of the account, if an event named it.",
                ),
                optional(
                    "from",
                    schema_of::<Creator>(),
                    "Who created it, as published before: equal to `to` if only the id is new.",
                ),
                optional(
                    "to",
                    schema_of::<Creator>(),
                    "Who created it. A correction without it says that it was not created.",
                ),
            ]),
            ChangeKind::AccountJobsCounted => Self::with(vec![
                optional("from", digits(), "The highest total before, in digits."),
                optional(
                    "to",
                    digits(),
                    "The highest total now, in digits. A correction without it says that jobs were never counted.",
                ),
            ]),
            _ => Self::default(),
        }
    }

    fn of_invitation(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::ClientNamed => Self {
                required_details: &["origin"],
                needs_details: true,
                ..Self::with(vec![required("to", schema_of::<Name>(), "The name.")]).and(&["origin"])
            },
            ChangeKind::ClientRenamed => Self::with(vec![
                required("from", schema_of::<Name>(), "The name before."),
                required("to", schema_of::<Name>(), "The name now."),
            ]),
            ChangeKind::InvitationSent => Self {
                required_details: INVITATION,
                ..Self::default().and(INVITATION)
            },
            ChangeKind::InvitationStepCompleted => {
                Self::with(vec![required("to", schema_of::<Step>(), "The step.")])
            }
            ChangeKind::CommissionEligibilityChanged => Self {
                required_details: &["commission_eligible"],
                needs_details: true,
                ..Self::default().and(&["commission_eligible"])
            },
            _ => Self::default(),
        }
    }

    fn of_subscription(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Subscription(to) => Self::subscription(to),
            ChangeKind::SubscriptionRenewed => Self::with(vec![
                subscription_id(),
                optional("from", time(), "Up to when it was paid before, if known."),
                optional(
                    "to",
                    time(),
                    "Up to when it is paid now. A correction may lack it.",
                ),
            ]),
            ChangeKind::SubscriptionRemoved => Self::with(vec![
                subscription_id(),
                required("from", schema_of::<SubscriptionStatus>(), "The status before."),
            ]),
            _ => Self::default(),
        }
    }

    fn subscription(to: SubscriptionStatus) -> Self {
        Self {
            required_details: &["managed_by"],
            ..Self::with(vec![
                subscription_id(),
                optional(
                    "from",
                    schema_of::<SubscriptionStatus>(),
                    "The status before. Absent for one that was just added.",
                ),
                required(
                    "to",
                    json!({"type": "string", "const": to.as_str()}),
                    "The status now.",
                ),
            ])
            .and(&["managed_by", "plan", "paid_until"])
        }
    }
}

const INVITATION: &[&str] = &["channel", "steps", "commission_eligible", "count"];

fn required(name: &'static str, schema: Value, description: &'static str) -> Field {
    Field {
        name,
        is_required: true,
        schema,
        description,
    }
}

fn optional(name: &'static str, schema: Value, description: &'static str) -> Field {
    Field {
        is_required: false,
        ..required(name, schema, description)
    }
}

fn now(to: &str) -> Field {
    required("to", json!({"type": "string", "const": to}), "The status now.")
}

fn subscription_id() -> Field {
    required("id", schema_of::<Id>(), "The id of the subscription.")
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn digits() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{1,20}$"})
}

fn refusal() -> Value {
    let codes: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
    json!({"type": "string", "enum": codes})
}

fn holding_id(holding: Holding) -> &'static str {
    match holding {
        Holding::Assignment | Holding::FormerAssignment => "The id of the assignment.",
        Holding::ReportSchedule => "The id of the report schedule.",
        Holding::MarginRule => "The id of the margin rule.",
        Holding::User => "The id of the user.",
        Holding::Integration => "The id of the integration.",
    }
}

/// When a change of a type comes.
pub(super) fn when(kind: ChangeKind) -> String {
    let fixed = match kind {
        ChangeKind::Link(to) => return link(to),
        ChangeKind::Service(to) => service(to),
        ChangeKind::Access(to) => access(to),
        ChangeKind::AccessRequested => "The partner asks for access that is disabled or has expired.",
        ChangeKind::AccessRequestClosed => {
            "The request for access is closed: the customer answers it, access changes otherwise, the connection ends, or nobody \
             answers in time."
        }
        ChangeKind::AccessExpiring => {
            "Access is about to expire: 14 days, 7 days and 1 day before, unless `access.warn_before` says otherwise. Once each \
             per renewal."
        }
        ChangeKind::ClientNamed => "The client is added, or added again after it was deleted.",
        ChangeKind::ClientRenamed => "The name of the client changes.",
        ChangeKind::InvitationSent => {
            "An invitation is sent, or sent again. It took effect at `time`. A correction without `data` says that there was an \
             invitation, which is over already."
        }
        ChangeKind::InvitationStalled => {
            "The open invitation has waited for 14 days, or what `invitations.stalled_after` says: send it again. Once per \
             invitation."
        }
        ChangeKind::InvitationStepCompleted => "A step that the invitation requires is completed.",
        ChangeKind::InvitationBypassed => {
            "The business onboarded on its own, which does not count: send the invitation again. Once per invitation."
        }
        ChangeKind::InvitationBounced => {
            "The business did not receive the invitation: send it again. Once per invitation."
        }
        ChangeKind::CommissionEligibilityChanged => {
            "The open invitation promises commission, or no longer does. Of an active client, `commission.started` and \
             `commission.stopped` report it."
        }
        ChangeKind::Subscription(to) => subscription(to),
        ChangeKind::SubscriptionRenewed => "The time up to which a subscription is paid changes.",
        ChangeKind::SubscriptionRemoved => {
            "The client is deleted, or added again; or a late event shows that the subscription never existed."
        }
        ChangeKind::AccountCreated => "The account is created, or its id becomes known.",
        ChangeKind::AccountHandedOver => "The account that the partner created has an owner.",
        ChangeKind::AccountJobsCounted => "A higher total of jobs is counted in the account.",
        ChangeKind::Added(holding) => return added(holding),
        ChangeKind::Removed(holding) => return removed(holding),
        ChangeKind::Started(flag) => started(flag),
        ChangeKind::Stopped(flag) => stopped(flag),
        ChangeKind::EventRefused => {
            "An event is not possible at its place in the client's history. It changes nothing. A correction says that a late event \
             made it impossible."
        }
        ChangeKind::EventAccepted => {
            "An event that was refused is applied now, because a late event made it possible. It changes nothing by itself: other \
             changes report the effect."
        }
    };
    fixed.to_owned()
}

fn added(holding: Holding) -> String {
    match holding {
        Holding::FormerAssignment => {
            "The clean-up of a terminated client has removed the assignment, which can be mapped back later."
                .to_owned()
        }
        other => format!("{} is added.", holding_name(other)),
    }
}

fn removed(holding: Holding) -> String {
    match holding {
        Holding::FormerAssignment => {
            "The client is assigned again, or is deleted: the assignment is no longer remembered.".to_owned()
        }
        other => format!("{} is removed, by an event or a clean-up.", holding_name(other)),
    }
}

fn link(to: LinkStatus) -> String {
    let when = match to {
        LinkStatus::Draft => "The client is added, or its identity is cleared after a failed check.",
        LinkStatus::Invited => "The client is invited.",
        LinkStatus::Active => "Every step of the invitation is completed: partner and client are connected.",
        LinkStatus::InvitationRejected => "An invitation by referral is rejected.",
        LinkStatus::AccessRejected => "The identity check fails.",
        LinkStatus::Archived => "The partner ends the link.",
        LinkStatus::Lost => "The client ends the link.",
        LinkStatus::Deleted => "The client is deleted. What is known about its account is forgotten.",
    };
    let ends = match to {
        LinkStatus::Invited | LinkStatus::Draft => "",
        _ => " An open invitation is over.",
    };
    format!("{when}{ends}")
}

fn service(to: ServiceStatus) -> &'static str {
    match to {
        ServiceStatus::PendingAssigning => "The client is added, and nothing is assigned yet.",
        ServiceStatus::Active => {
            "Something is assigned for the first time, or a terminated client is reactivated."
        }
        ServiceStatus::Terminated => "The service is terminated, or the client is deleted.",
    }
}

fn access(to: AccessStatus) -> &'static str {
    match to {
        AccessStatus::None => "The connection ends, and access with it.",
        AccessStatus::Enabled => {
            "The link becomes active, or the customer enables access or approves a request. Without `expires_at`, access does not \
             expire."
        }
        AccessStatus::Disabled => "The customer disables access.",
        AccessStatus::Expired => {
            "The partner has not entered the account for 60 days, or what `access.idle` says."
        }
    }
}

fn subscription(to: SubscriptionStatus) -> &'static str {
    match to {
        SubscriptionStatus::Prepared => {
            "A subscription is added before the link is active. It starts with the link."
        }
        SubscriptionStatus::Active => {
            "A subscription is added, or a prepared one starts because the link becomes active."
        }
        SubscriptionStatus::Ended => "A subscription ends: by an event, or because the link ended.",
    }
}

fn started(flag: Flag) -> &'static str {
    match flag {
        Flag::Billing => "The client becomes billable: its service is active.",
        Flag::Commission => "The partner earns commission for the client from now on.",
        Flag::StatusCredit => "The client counts towards the partner's status: it is connected.",
        Flag::DataRetrieval => "New data is retrieved: the service is active and something is assigned.",
        Flag::Visibility => "Dashboards show the client.",
    }
}

fn stopped(flag: Flag) -> &'static str {
    match flag {
        Flag::Billing => "The client is no longer billable.",
        Flag::Commission => "The partner no longer earns commission for the client.",
        Flag::StatusCredit => "The client no longer counts towards the partner's status.",
        Flag::DataRetrieval => "New data is no longer retrieved.",
        Flag::Visibility => "Dashboards no longer show the client.",
    }
}

fn holding_name(holding: Holding) -> &'static str {
    match holding {
        Holding::Assignment | Holding::FormerAssignment => "An assignment",
        Holding::ReportSchedule => "A report schedule",
        Holding::MarginRule => "A margin rule",
        Holding::User => "A user",
        Holding::Integration => "An integration",
    }
}
