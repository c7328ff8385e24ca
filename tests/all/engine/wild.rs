//! Random histories in whole hours, so that many events have the same time: a plausible course, then noise of every type.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tenure::domain::event::{AccessedBy, Channel, NameVerdict, Side, Steps, Via};
use tenure::domain::policy::{SubscriptionsEnd, Zero};
use tenure::domain::{ClientKey, Event, EventKind, Name, Policy};

use crate::generate;

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a time")
}

/// A history of one client: mostly plausible, mixed with random events.
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
            actor: crate::generate::actor(number),
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
    let menu = generate::menu();
    for _ in 0..noise {
        // Whole hours, so that times are equal and their order must be decided.
        let at = start() + TimeDelta::hours(rng.random_range(0..days * 24));
        let kind = anything(rng, &menu, key);
        push(rng, at, kind);
    }
    events
}

/// Any event, possible or not. Names are this client's own: which of two clients gets a name depends on the order of
/// arrival, and the tests that use these histories compare orders.
fn anything(rng: &mut StdRng, menu: &[(u32, EventKind)], key: &ClientKey) -> EventKind {
    let mut kind = menu.choose(rng).expect("the menu is not empty").1.clone();
    match &mut kind {
        EventKind::ClientAdded { name, .. } | EventKind::ClientRenamed { name } => {
            let number = rng.random_range(0..3);
            *name = Name::try_from(format!("Name {number} of {key}")).expect("a name");
        }
        EventKind::SubscriptionAdded {
            paid_until: Some(paid_until),
            ..
        }
        | EventKind::SubscriptionRenewed { paid_until, .. } => {
            *paid_until = start() + TimeDelta::days(rng.random_range(0..200));
        }
        EventKind::JobsCounted { total } => *total = rng.random_range(0..200),
        _ => {}
    }
    kind
}

pub fn policy(rng: &mut StdRng) -> Policy {
    let mut policy = Policy {
        mature_after_jobs: rng.random_range(50..150),
        from_account_update: rng.random_bool(0.3),
        subscriptions_end: if rng.random_bool(0.5) {
            SubscriptionsEnd::PaidUntil
        } else {
            SubscriptionsEnd::AtOnce
        },
        ..Policy::default()
    };
    for duration in Policy::DURATIONS {
        let least = i64::from(duration.zero == Zero::Invalid);
        duration.set(&mut policy, TimeDelta::days(rng.random_range(least..20)));
    }
    // Longer than the first warning.
    policy.access_idle = TimeDelta::days(rng.random_range(16..61));
    policy
}
