//! What a publisher must know about each event type, besides its data: when to send it, what it does, and what to do about each
//! refusal. `docs/lifecycles.md` has the rules; a test compares the refusals.

use crate::domain::Refusal;
use crate::domain::Refusal::{
    AccessWasRejected, AlreadyDisabled, AlreadyEnabled, AlreadyEnded, AlreadyExists, AlreadyLinked,
    AlreadyRequested, AlreadyTerminated, DuplicateId, InvitationWasRejected, NameTaken, NoAccess, NoHandover,
    NoRequest, NotAReferral, NotActive, NotConnected, NotInvited, NotLinked, NotRejected, NotTerminated,
    StillLinked, Terminated, UnknownId,
};

/// The app whose developers send an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    PartnerSpace,
    Dashboard,
    AccountApp,
}

impl App {
    pub const ALL: [Self; 3] = [Self::PartnerSpace, Self::Dashboard, Self::AccountApp];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::PartnerSpace => "The partner space",
            Self::Dashboard => "The reporting dashboard",
            Self::AccountApp => "The account app",
        }
    }

    /// The `source` of its events in examples.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::PartnerSpace => "/partner-space",
            Self::Dashboard => "/dashboard",
            Self::AccountApp => "/account-app",
        }
    }
}

/// The guide to one event type.
#[derive(Clone, Copy, Debug)]
pub struct EventGuide {
    pub kind: &'static str,
    pub app: App,
    /// When to send it.
    pub when: &'static str,
    /// What it does.
    pub effect: &'static str,
    /// The refusals that only some types have, and what to do about each.
    pub refusals: &'static [(Refusal, &'static str)],
    /// The data of the example, as JSON.
    pub data: &'static str,
    /// The types whose examples come before it, so that it applies.
    pub after: &'static [&'static str],
}

const ADDED: &[&str] = &["client.added"];
const INVITED: &[&str] = &["client.added", "client.invited"];
const ACTIVE: &[&str] = &[
    "client.added",
    "client.invited",
    "invitation.accepted",
    "onboarding.completed",
    "consent.granted",
];
const DISABLED: &[&str] = &[
    "client.added",
    "client.invited",
    "invitation.accepted",
    "onboarding.completed",
    "consent.granted",
    "access.disabled",
];
const REQUESTED: &[&str] = &[
    "client.added",
    "client.invited",
    "invitation.accepted",
    "onboarding.completed",
    "consent.granted",
    "access.disabled",
    "access.requested",
];
const ASSIGNED: &[&str] = &["client.added", "assignment.added"];

const NEW_ID: &str =
    "Ids are unique within the client and are not reused. If this is the same holding again, do nothing.";
const KNOWN_ID: &str = "Check the id. If the event that adds it is on its way, do nothing.";
const LINK_ENDED: &str = "The link has ended. Invite the client again first.";
const NOT_ACTIVE: &str = "The service is not active. Assign something first, or reactivate the client.";
const TERMINATED_SERVICE: &str = "The service is terminated. Reactivate the client first.";
const STEP_WITHOUT_INVITATION: &str = "The client has no open invitation. Nothing to do if it is active; otherwise the partner invites it again.";
const DISCONNECTED: &str = "Partner and client are not connected. The partner sends a new invitation.";

macro_rules! guides {
    ($($kind:literal $app:ident after $after:ident, data $data:literal {
        when: $when:literal,
        effect: $effect:literal,
        $($refusal:ident: $advice:expr,)*
    })*) => {
        /// Every event type, in the order of the code.
        pub const EVENT_GUIDES: &[EventGuide] = &[$(EventGuide {
            kind: $kind,
            app: App::$app,
            when: $when,
            effect: $effect,
            refusals: &[$(($refusal, $advice)),*],
            data: $data,
            after: $after,
        }),*];
    };
}

const NOTHING: &[&str] = &[];
const REFUSED_IDENTITY: &[&str] = &["client.added", "client.invited", "identity.rejected"];
const TERMINATED: &[&str] = &["client.added", "assignment.added", "client.terminated"];
const SCHEDULED: &[&str] = &["client.added", "assignment.added", "report_schedule.created"];
const RULED: &[&str] = &["client.added", "assignment.added", "margin_rule.created"];
const SUBSCRIBED: &[&str] = &["client.added", "subscription.added"];
const WITH_USER: &[&str] = &["client.added", "user.added"];
const INTEGRATED: &[&str] = &["client.added", "integration.added"];
const WITH_ACCOUNT: &[&str] = &["client.added", "account.created"];

guides! {
    "client.added" PartnerSpace after NOTHING, data r#"{"name":"Bluebird Bakery"}"# {
        when: "A partner adds a business to its client list, or imports it.",
        effect: "The client exists: its link is `draft`, its service is `pending_assigning`, and it has no access. A client \
                 that was deleted and is added again begins with nothing.",
        AlreadyExists: "Nothing to do: the client exists. To change its name, send `client.renamed`.",
        NameTaken: "Ask the partner for another name. `GET /v1/partners/{partner}/names/{name}` shows which client has the \
                    name; terminated and archived clients keep theirs.",
    }
    "client.renamed" PartnerSpace after ADDED, data r#"{"name":"Bluebird Bakery & Café"}"# {
        when: "A partner changes the name of a client.",
        effect: "The client has the new name, and the old one is free for other clients of the partner.",
        NameTaken: "Ask the partner for another name. `GET /v1/partners/{partner}/names/{name}` shows which client has it.",
    }
    "client.invited" PartnerSpace after ADDED,
    data r#"{"channel":"referral","steps":["accepted","onboarded","consented"],"commission_eligible":true}"# {
        when: "A partner invites a client, or sends the invitation again.",
        effect: "The link becomes `invited`. Of a client that is invited already, the invitation starts again: completed steps \
                 no longer count. When every step in `steps` is completed, the link becomes `active`.",
        AlreadyLinked: "Nothing to do: the client is active.",
        InvitationWasRejected: "The business refused the invitation. Delete the client, and add it again to invite it anew.",
        AccessWasRejected: "The identity check failed. Wait for the back office: `identity.cleared` makes an invitation \
                            possible again.",
    }
    "invitation.accepted" PartnerSpace after INVITED, data "{}" {
        when: "The business accepts the invitation.",
        effect: "Completes the step `accepted`. With the last step, the link becomes `active`.",
        NotInvited: "The client has no open invitation: it is a draft, is active already, or its link has ended. Nothing to do if \
                     it is active; otherwise the partner invites it again.",
    }
    "onboarding.completed" PartnerSpace after INVITED, data r#"{"via":"invitation"}"# {
        when: "The business completes its onboarding. Say `\"via\":\"independent\"` if it did so on its own, not through the \
               invitation.",
        effect: "Completes the step `onboarded`. Independent onboarding completes nothing: the client stays `invited`, and \
                 `invitation.bypassed` tells the partner to send the invitation again.",
        NotInvited: STEP_WITHOUT_INVITATION,
    }
    "consent.granted" PartnerSpace after INVITED, data "{}" {
        when: "The business consents to the partner's access to its data.",
        effect: "Completes the step `consented`. With the last step, the link becomes `active`.",
        NotInvited: STEP_WITHOUT_INVITATION,
    }
    "invitation.rejected" PartnerSpace after INVITED, data r#"{"reason":"the business has a space already"}"# {
        when: "An invitation through the channel `referral` is rejected, because the business has a space already.",
        effect: "The link becomes `invitation_rejected`.",
        NotAReferral: "Only an invitation with `\"channel\":\"referral\"` can be rejected. To end another one, send \
                       `client.archived`.",
        NotInvited: "The client has no open invitation. Nothing to do.",
    }
    "identity.rejected" PartnerSpace after INVITED, data r#"{"reason":"the documents do not match"}"# {
        when: "The back office's identity check of an invited business fails.",
        effect: "The link becomes `access_rejected`. The client cannot be invited until `identity.cleared`.",
        NotInvited: "The client has no open invitation. Nothing to do.",
    }
    "client.archived" PartnerSpace after ACTIVE, data r#"{"reason":"moved to another accountant"}"# {
        when: "The partner ends its link to an active or invited client.",
        effect: "The link becomes `archived`. Access, commission and status credit end, integrations are removed, and the \
                 subscriptions that the partner manages end by the policy. Only a new invitation brings access back.",
        NotLinked: "The client is neither active nor invited: there is no link to end. To remove a draft, send \
                    `client.deleted`.",
    }
    "client.lost" PartnerSpace after ACTIVE, data r#"{"reason":"the client removed the accountant"}"# {
        when: "The client ends its link to the partner.",
        effect: "As `client.archived`, but the link becomes `lost`.",
        NotLinked: "The client is not active: there is no link to end.",
    }
    "partner.disconnected" PartnerSpace after ACTIVE, data r#"{"by":"client"}"# {
        when: "One side ends the connection, in an app that calls it that. Send this or `client.archived` and `client.lost`, not \
               both.",
        effect: "By the partner it is `client.archived`, by the client `client.lost`.",
        NotLinked: "The client is not active (by the partner: neither active nor invited). There is no connection to end.",
    }
    "client.deleted" PartnerSpace after ADDED, data "{}" {
        when: "A partner deletes a client that is not linked.",
        effect: "The link becomes `deleted` and the service `terminated`. Holdings are removed, what is known about the account \
                 is forgotten, and the name is free. The history stays.",
        StillLinked: "The client is active or invited. Send `client.archived` first.",
    }
    "assignment.added" Dashboard after ADDED, data r#"{"assignment_id":"campaign-7","service":"seo"}"# {
        when: "A campaign or a data source is assigned to the client.",
        effect: "The service becomes `active`, and with it the client billable. Data is retrieved while there is an assignment.",
        Terminated: "The service is terminated. Send `client.reactivated` first.",
        DuplicateId: NEW_ID,
    }
    "assignment.removed" Dashboard after ASSIGNED, data r#"{"assignment_id":"campaign-7"}"# {
        when: "An assignment is removed.",
        effect: "The assignment is gone. The service keeps its status; without any assignment no data is retrieved.",
        UnknownId: KNOWN_ID,
    }
    "report_schedule.created" Dashboard after ASSIGNED, data r#"{"schedule_id":"weekly-1"}"# {
        when: "A report is scheduled for the client.",
        effect: "The client has the report schedule.",
        NotActive: NOT_ACTIVE,
        DuplicateId: NEW_ID,
    }
    "report_schedule.deleted" Dashboard after SCHEDULED, data r#"{"schedule_id":"weekly-1"}"# {
        when: "A report schedule is deleted.",
        effect: "The report schedule is gone.",
        UnknownId: KNOWN_ID,
    }
    "margin_rule.created" Dashboard after ASSIGNED, data r#"{"rule_id":"margin-1"}"# {
        when: "A margin rule is created for the client.",
        effect: "The client has the margin rule.",
        NotActive: NOT_ACTIVE,
        DuplicateId: NEW_ID,
    }
    "margin_rule.deleted" Dashboard after RULED, data r#"{"rule_id":"margin-1"}"# {
        when: "A margin rule is deleted.",
        effect: "The margin rule is gone.",
        UnknownId: KNOWN_ID,
    }
    "client.terminated" Dashboard after ASSIGNED, data r#"{"reason":"contract ended"}"# {
        when: "The client's service ends.",
        effect: "The service becomes `terminated`. Billing ends and dashboards no longer show the client. A clean-up removes its \
                 report schedules, margin rules and assignments, at once or after `cleanup.grace`. The name stays taken.",
        AlreadyTerminated: "Nothing to do.",
    }
    "client.reactivated" Dashboard after TERMINATED, data "{}" {
        when: "The service of a terminated client begins again.",
        effect: "The service becomes `active` and the client billable. No data is retrieved until something is assigned.",
        NotTerminated: "Nothing to do: the service was not terminated.",
    }
    "subscription.added" PartnerSpace after ADDED,
    data r#"{"subscription_id":"sub-1","plan":"gold","managed_by":"partner","paid_until":"2026-12-31T00:00:00Z"}"# {
        when: "A subscription is bought for the client, or prepared before it is linked.",
        effect: "The subscription is `active` if the link is, and otherwise `prepared`: it starts when the link becomes active.",
        NotLinked: LINK_ENDED,
        DuplicateId: "Ids of subscriptions are not reused, not even those of ended ones. If this is the same subscription again, \
                      do nothing.",
    }
    "subscription.renewed" PartnerSpace after SUBSCRIBED,
    data r#"{"subscription_id":"sub-1","paid_until":"2027-12-31T00:00:00Z"}"# {
        when: "A subscription is paid for a further period.",
        effect: "Sets `paid_until`.",
        UnknownId: KNOWN_ID,
        AlreadyEnded: "The subscription has ended and cannot continue. Add a new one.",
    }
    "subscription.ended" PartnerSpace after SUBSCRIBED, data r#"{"subscription_id":"sub-1"}"# {
        when: "A subscription is cancelled, or ends.",
        effect: "The subscription is `ended`.",
        UnknownId: KNOWN_ID,
        AlreadyEnded: "Nothing to do.",
    }
    "user.added" PartnerSpace after ADDED, data r#"{"user_id":"user-7"}"# {
        when: "The partner gives one of its users access to the client.",
        effect: "The client has the user.",
        NotLinked: LINK_ENDED,
        Terminated: TERMINATED_SERVICE,
        DuplicateId: NEW_ID,
    }
    "user.removed" PartnerSpace after WITH_USER, data r#"{"user_id":"user-7"}"# {
        when: "A user loses access to the client.",
        effect: "The user is gone from the client.",
        UnknownId: KNOWN_ID,
    }
    "integration.added" PartnerSpace after ADDED, data r#"{"integration_id":"ledger-1"}"# {
        when: "An integration is connected to the client.",
        effect: "The client has the integration. It is removed when the link ends.",
        NotLinked: LINK_ENDED,
        Terminated: TERMINATED_SERVICE,
        DuplicateId: NEW_ID,
    }
    "integration.removed" PartnerSpace after INTEGRATED, data r#"{"integration_id":"ledger-1"}"# {
        when: "An integration is disconnected.",
        effect: "The integration is gone.",
        UnknownId: "Check the id. When a link ends, Tenure removes the integrations itself: then there is nothing to do.",
    }
    "account.accessed" AccountApp after ACTIVE, data r#"{"by":"partner","user":"user-7"}"# {
        when: "Someone enters the account. Send it for every entry: it keeps the partner's access from expiring.",
        effect: "By the partner: renews enabled access at `time`. By staff: nothing expires later, and the entry is in the access \
                 log, if that is on.",
        NoAccess: "The partner had no access at that moment. If your app let somebody in, ask Tenure for the access decision \
                   before you do.",
    }
    "access.disabled" AccountApp after ACTIVE, data "{}" {
        when: "The customer disables the partner's access.",
        effect: "Access becomes `disabled`. An open request is closed.",
        NotConnected: "Partner and client are not connected, so there is no access. Nothing to do.",
        AlreadyDisabled: "Nothing to do.",
    }
    "access.enabled" AccountApp after DISABLED, data "{}" {
        when: "The customer enables the partner's access.",
        effect: "Access becomes `enabled` and is renewed. An open request is closed.",
        NotConnected: DISCONNECTED,
        AlreadyEnabled: "Nothing to do.",
    }
    "access.requested" AccountApp after DISABLED, data "{}" {
        when: "The partner asks the customer for access that is disabled or has expired.",
        effect: "A request is open, until the customer answers, changes access, or `access.request_lapses` is over.",
        AlreadyEnabled: "Nothing to do: the partner has access.",
        AlreadyRequested: "Nothing to do: a request is open.",
        NotConnected: DISCONNECTED,
    }
    "access.approved" AccountApp after REQUESTED, data "{}" {
        when: "The customer approves the partner's request.",
        effect: "Access becomes `enabled` and is renewed. The request is closed.",
        NoRequest: "There is no open request: it was answered or has lapsed. To give access without one, send `access.enabled`.",
    }
    "access.denied" AccountApp after REQUESTED, data "{}" {
        when: "The customer denies the partner's request.",
        effect: "The request is closed. Access stays as it is.",
        NoRequest: "There is no open request. Nothing to do.",
    }
    "account.jobs_counted" AccountApp after ADDED, data r#"{"total":100}"# {
        when: "The number of jobs in the account has grown. Send the total, not the difference.",
        effect: "Tenure remembers the highest total. Of a counted account, access expires only after the threshold \
                 `access.mature_after_jobs` was reached.",
    }
    "account.updated" AccountApp after ADDED, data "{}" {
        when: "The account gets the new rules of access.",
        effect: "Tenure remembers when. It matters only with the policy `access.from_account_update`.",
    }
    "commission.eligibility_changed" PartnerSpace after ACTIVE, data r#"{"eligible":false}"# {
        when: "The back office decides whether the partner earns commission for the client.",
        effect: "Of an active client, commission starts or stops. Of an invited one, the promise of the invitation changes.",
        NotLinked: "The client is neither active nor invited. Decide again with the next invitation (`commission_eligible`).",
    }
    "identity.cleared" PartnerSpace after REFUSED_IDENTITY, data r#"{"reason":"passport checked"}"# {
        when: "The back office clears a client whose identity check failed.",
        effect: "The link becomes `draft`: the client can be invited again.",
        NotRejected: "Nothing to do: no identity check has failed.",
    }
    "invitation.bounced" PartnerSpace after INVITED, data r#"{"reason":"no such mailbox"}"# {
        when: "The invitation could not be delivered.",
        effect: "Tenure publishes `invitation.bounced`, once for each invitation. The client stays `invited`.",
        NotInvited: "The client has no open invitation. Nothing to do.",
    }
    "account.created" AccountApp after ADDED, data r#"{"by":"partner","account_id":"account-42"}"# {
        when: "The client's account is created, by the partner or by the customer; or its id becomes known.",
        effect: "Tenure remembers who created it. By the partner, the handover is `pending`. A later event only adds the \
                 `account_id` if there is none.",
    }
    "account.owner_set" AccountApp after WITH_ACCOUNT, data "{}" {
        when: "The partner hands the account over to its owner.",
        effect: "The handover is `done`: the partner may no longer add an owner.",
        NoHandover: "No account that the partner created waits for an owner. If `account.created` is on its way, do nothing.",
    }
}

/// What a refusal that every type can have means for its sender.
pub const UNKNOWN_CLIENT_ADVICE: &str = "The client was never added, or is deleted. If `client.added` is on its way, do nothing: \
                                         Tenure evaluates this event again when it arrives. Otherwise add the client.";
/// The same of `not_theirs`.
pub const NOT_THEIRS_ADVICE: &str = "The event has the `actorkind` of a side that may not cause it. Check who did it. Leave \
                                     `actorkind` out if you do not know.";
