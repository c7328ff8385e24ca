//! Events without regard for what is possible: every type, small pools of ids, times that meet.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use tenure::domain::event::{AccessedBy, Channel, ManagedBy, NameVerdict, Side, Steps, Via};
use tenure::domain::policy::SubscriptionsEnd;
use tenure::domain::{ClientKey, Event, EventKind, Id, Name, Policy};

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
}

/// A history of one client: mostly the course of a real one, mixed with anything at all.
pub fn history(rng: &mut StdRng, key: &ClientKey, days: i64, noise: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let mut at = start() + TimeDelta::hours(rng.random_range(0..48));
    let mut push = |rng: &mut StdRng, at, kind| {
        let number = events.len();
        let sequence = rng
            .random_bool(0.1)
            .then(|| format!("{:02}", rng.random_range(0..20)).into());
        events.push(Event {
            source: ["/space", "/dashboard", "/accounts"][number % 3].into(),
            id: format!("{key}-{number}").into(),
            key: key.clone(),
            time: at,
            sequence,
            kind,
            name_verdict: NameVerdict::Open,
        });
    };
    let name = Name::try_from(format!("Name of {key}")).expect("a name");
    push(
        rng,
        at,
        EventKind::ClientAdded {
            name,
            imported: false,
        },
    );
    for _ in 0..rng.random_range(0..4) {
        let commission_eligible = rng.random_bool(0.5);
        push(
            rng,
            at,
            EventKind::ClientInvited {
                channel: Channel::Standard,
                steps: Steps::default(),
                commission_eligible,
            },
        );
        for kind in [
            EventKind::InvitationAccepted {},
            EventKind::OnboardingCompleted { via: Via::Invitation },
            EventKind::ConsentGranted {},
        ] {
            at += TimeDelta::hours(rng.random_range(0..30));
            push(rng, at, kind);
        }
        for _ in 0..rng.random_range(0..12) {
            at += TimeDelta::days(rng.random_range(0..30));
            push(
                rng,
                at,
                EventKind::AccountAccessed {
                    by: AccessedBy::Partner,
                    user: None,
                },
            );
        }
        if rng.random_bool(0.7) {
            at += TimeDelta::days(rng.random_range(0..5));
            let by = if rng.random_bool(0.5) {
                Side::Client
            } else {
                Side::Partner
            };
            push(rng, at, EventKind::PartnerDisconnected { by });
        }
        at += TimeDelta::days(rng.random_range(0..9));
    }
    for _ in 0..noise {
        // Whole hours, so that times meet and their order has to be decided.
        let at = start() + TimeDelta::hours(rng.random_range(0..days * 24));
        let kind = anything(rng, key);
        push(rng, at, kind);
    }
    events
}

fn anything(rng: &mut StdRng, key: &ClientKey) -> EventKind {
    let id = |rng: &mut StdRng| Id::try_from(format!("i{}", rng.random_range(0..3))).expect("an id");
    let name = |rng: &mut StdRng| {
        Name::try_from(format!("Name {} of {key}", rng.random_range(0..3))).expect("a name")
    };
    match rng.random_range(0..40) {
        0 => EventKind::ClientAdded {
            name: name(rng),
            imported: true,
        },
        1 => EventKind::ClientRenamed { name: name(rng) },
        2 | 3 => EventKind::ClientInvited {
            channel: if rng.random_bool(0.5) {
                Channel::Referral
            } else {
                Channel::Standard
            },
            steps: Steps::default(),
            commission_eligible: rng.random_bool(0.5),
        },
        4 => EventKind::InvitationAccepted {},
        5 => EventKind::OnboardingCompleted {
            via: if rng.random_bool(0.5) {
                Via::Independent
            } else {
                Via::Invitation
            },
        },
        6 => EventKind::ConsentGranted {},
        7 => EventKind::InvitationRejected { reason: None },
        8 => EventKind::IdentityRejected { reason: None },
        9 => EventKind::ClientArchived { reason: None },
        10 => EventKind::ClientLost { reason: None },
        11 => EventKind::PartnerDisconnected { by: Side::Partner },
        12 => EventKind::ClientDeleted {},
        13 => EventKind::AssignmentAdded {
            assignment_id: id(rng),
            service: None,
        },
        14 => EventKind::AssignmentRemoved {
            assignment_id: id(rng),
        },
        15 => EventKind::ReportScheduleCreated { schedule_id: id(rng) },
        16 => EventKind::ReportScheduleDeleted { schedule_id: id(rng) },
        17 => EventKind::MarginRuleCreated { rule_id: id(rng) },
        18 => EventKind::MarginRuleDeleted { rule_id: id(rng) },
        19 => EventKind::ClientTerminated { reason: None },
        20 => EventKind::ClientReactivated {},
        21 | 22 => EventKind::SubscriptionAdded {
            subscription_id: id(rng),
            plan: None,
            managed_by: if rng.random_bool(0.7) {
                ManagedBy::Partner
            } else {
                ManagedBy::Client
            },
            paid_until: rng
                .random_bool(0.5)
                .then(|| start() + TimeDelta::days(rng.random_range(0..200))),
        },
        23 => EventKind::SubscriptionRenewed {
            subscription_id: id(rng),
            paid_until: start() + TimeDelta::days(rng.random_range(0..200)),
        },
        24 => EventKind::SubscriptionEnded {
            subscription_id: id(rng),
        },
        25 => EventKind::UserAdded { user_id: id(rng) },
        26 => EventKind::UserRemoved { user_id: id(rng) },
        27 => EventKind::IntegrationAdded {
            integration_id: id(rng),
        },
        28 => EventKind::IntegrationRemoved {
            integration_id: id(rng),
        },
        29 => EventKind::AccessDisabled {},
        30 => EventKind::AccessEnabled {},
        31 => EventKind::AccessRequested {},
        32 => EventKind::AccessApproved {},
        33 => EventKind::AccessDenied {},
        34 => EventKind::JobsCounted {
            total: rng.random_range(0..200),
        },
        35 => EventKind::AccountUpdated {},
        36 => EventKind::AccountAccessed {
            by: AccessedBy::Staff,
            user: None,
        },
        _ => EventKind::AccountAccessed {
            by: AccessedBy::Partner,
            user: None,
        },
    }
}

pub fn policy(rng: &mut StdRng) -> Policy {
    let days = |rng: &mut StdRng, most| TimeDelta::days(rng.random_range(0..most));
    Policy {
        access_idle: TimeDelta::days(rng.random_range(16..61)),
        mature_after_jobs: rng.random_range(50..150),
        from_account_update: rng.random_bool(0.3),
        warn_before: [14, 7, 1].map(TimeDelta::days).into(),
        subscriptions_grace: days(rng, 20),
        subscriptions_end: if rng.random_bool(0.5) {
            SubscriptionsEnd::PaidUntil
        } else {
            SubscriptionsEnd::AtOnce
        },
        cleanup_grace: days(rng, 20),
        stalled_after: TimeDelta::days(rng.random_range(1..20)),
    }
}
