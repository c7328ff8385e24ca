//! Generates clients and their events from a seed: all types, in order, none refused. The domain decides which events
//! are possible.
//!
//! The generator of the demo (`src/demo/life.rs`) cannot be used here: a benchmark needs a given number of events in a
//! given period, and no refusals.

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tenure::demo::names;
use tenure::domain::access::AccessStatus;
use tenure::domain::event::{AccessedBy, Channel, ManagedBy, NameVerdict, Side, Step, Steps, Via};
use tenure::domain::link::Link;
use tenure::domain::service::ServiceStatus;
use tenure::domain::{Actor, Client, ClientKey, Event, EventKind, Id, Name, Policies};

/// Clients per partner.
const CLIENTS_OF_A_PARTNER: usize = 100;
/// Maximum number of events per client before the first measurement.
const SETUP_EVENTS: usize = 9;
/// Number of events until a client is linked.
const LINKED_AFTER: usize = 5;

/// The phase of a client before the first measurement.
#[derive(Clone, Copy)]
enum Phase {
    /// Without events; added during the measurement.
    Unknown,
    Draft,
    Invited,
    Active,
}

/// The clients in their current state, and the generator of their next events.
pub struct Population {
    rng: StdRng,
    policies: Policies,
    clients: Vec<(ClientKey, Client)>,
}

/// A period in which events are evenly distributed.
#[derive(Clone, Copy)]
pub struct Period {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Period {
    /// Part number `place` of `of` equal parts, counted from 0.
    pub fn part(self, place: usize, of: usize) -> Self {
        Self {
            from: self.moment(place, of),
            until: self.moment(place + 1, of),
        }
    }

    fn moment(self, place: usize, of: usize) -> DateTime<Utc> {
        let whole = (self.until - self.from).num_microseconds().unwrap_or(i64::MAX);
        let step = whole / i64::try_from(of.max(1)).unwrap_or(i64::MAX);
        self.from + TimeDelta::microseconds(step * i64::try_from(place).unwrap_or(i64::MAX))
    }
}

impl Population {
    /// Clients without events. The ids of their partners begin with `partner`. The same seed gives the same events.
    pub fn new(seed: u64, partner: &str, clients: usize) -> Self {
        let key = |number: usize| {
            let partner = format!("{partner}-{:04}", number / CLIENTS_OF_A_PARTNER);
            ClientKey::new(&partner, &format!("client-{number:07}")).expect("plain ids")
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            policies: Policies::default(),
            clients: (0..clients)
                .map(|number| (key(number), Client::default()))
                .collect(),
        }
    }

    /// The same clients in their current state, with a different random future.
    pub fn with_seed(&self, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            policies: self.policies.clone(),
            clients: self.clients.clone(),
        }
    }

    /// Brings every client into a random phase, and returns the events that do so.
    pub fn set_up(&mut self, during: Period) -> Vec<Event> {
        let phases: Vec<Phase> = (0..self.clients.len())
            .map(|_| match self.rng.random_range(0..50) {
                0 => Phase::Unknown,
                1..6 => Phase::Draft,
                6..11 => Phase::Invited,
                _ => Phase::Active,
            })
            .collect();
        let of = self.clients.len() * SETUP_EVENTS;
        let mut events = Vec::with_capacity(of);
        for wave in 0..SETUP_EVENTS {
            for (client, phase) in phases.iter().enumerate() {
                let at = during.moment(wave * self.clients.len() + client, of);
                let kind = setup(*phase, wave, &name(&mut self.rng, client));
                match kind {
                    Setup::This(kind) => events.extend(self.apply(client, at, kind)),
                    Setup::Any => events.push(self.next_event(client, at)),
                    Setup::Nothing => {}
                }
            }
        }
        events
    }

    /// Adds, invites and links the first client, all at one moment.
    pub fn activate(&mut self, at: DateTime<Utc>) -> Vec<Event> {
        let name = name(&mut self.rng, 0);
        (0..LINKED_AFTER)
            .filter_map(|wave| match setup(Phase::Active, wave, &name) {
                Setup::This(kind) => self.apply(0, at, kind),
                Setup::Any | Setup::Nothing => None,
            })
            .collect()
    }

    /// Adds, invites and links every client, with five events.
    pub fn activate_all(&mut self, during: Period) -> Vec<Event> {
        let of = self.clients.len() * LINKED_AFTER;
        let mut events = Vec::with_capacity(of);
        let names: Vec<Name> = (0..self.clients.len())
            .map(|client| name(&mut self.rng, client))
            .collect();
        for wave in 0..LINKED_AFTER {
            for (client, name) in names.iter().enumerate() {
                let at = during.moment(wave * names.len() + client, of);
                if let Setup::This(kind) = setup(Phase::Active, wave, name) {
                    events.extend(self.apply(client, at, kind));
                }
            }
        }
        events
    }

    /// Events of clients chosen at random.
    pub fn random_events(&mut self, events: usize, during: Period) -> Vec<Event> {
        (0..events)
            .map(|place| {
                let client = self.rng.random_range(0..self.clients.len());
                self.next_event(client, during.moment(place, events))
            })
            .collect()
    }

    /// Events of all clients in rotation that do not make a document grow: each client has a few holdings of a kind at
    /// most, and its name does not change. Only the histories grow.
    pub fn steady_events(&mut self, events: usize, during: Period) -> Vec<Event> {
        (0..events)
            .map(|place| {
                let client = place % self.clients.len();
                self.next_event_if(client, during.moment(place, events), is_steady)
            })
            .collect()
    }

    /// The next event of each of these clients. A client may occur more than once.
    pub fn next_events(&mut self, clients: &[usize], during: Period) -> Vec<Event> {
        clients
            .iter()
            .enumerate()
            .map(|(place, client)| self.next_event(*client, during.moment(place, clients.len())))
            .collect()
    }

    /// Clients with these keys, in the current state of the first client.
    pub fn copies(&self, seed: u64, keys: Vec<ClientKey>) -> Self {
        let (_, first) = &self.clients[0];
        Self {
            rng: StdRng::seed_from_u64(seed),
            policies: self.policies.clone(),
            clients: keys.into_iter().map(|key| (key, first.clone())).collect(),
        }
    }

    /// New clients of one partner, which claim these few names in turn.
    pub fn claims(clients: usize, names: usize, at: DateTime<Utc>) -> Vec<Event> {
        let key = |number| ClientKey::new("claims", &format!("client-{number:07}")).expect("plain ids");
        let mut claimants = Self::new(12, "claims", 1).copies(12, (0..clients).map(key).collect());
        (0..clients)
            .map(|client| {
                let name = Name::try_from(format!("Business {}", client % names)).expect("a short name");
                claimants.event(
                    client,
                    at,
                    EventKind::ClientAdded {
                        name,
                        imported: false,
                    },
                )
            })
            .collect()
    }

    /// New holdings of the first client, which is active, of all kinds in turn.
    pub fn add_holdings(&mut self, holdings: usize, during: Period) -> Vec<Event> {
        (0..holdings)
            .map(|place| {
                let at = during.moment(place, holdings);
                let kind = holding(&mut self.rng, place, at);
                self.event(0, at, kind)
            })
            .collect()
    }

    /// Touches of accounts chosen at random among those that are accessible.
    pub fn touches(&mut self, events: usize, during: Period) -> Vec<Event> {
        let open: Vec<usize> = (0..self.clients.len())
            .filter(|client| self.clients[*client].1.access_status() == AccessStatus::Enabled)
            .collect();
        (0..events)
            .map(|place| {
                let client = *open.choose(&mut self.rng).expect("someone has access");
                let user = Some(format!("advisor-{}", self.rng.random_range(1..20)));
                let by = AccessedBy::Partner;
                let at = during.moment(place, events);
                self.apply(client, at, EventKind::AccountAccessed { by, user })
                    .expect("access is enabled")
            })
            .collect()
    }

    /// New users of clients chosen at random. Each is a change.
    pub fn add_users(&mut self, events: usize, during: Period) -> Vec<Event> {
        (0..events)
            .map(|place| {
                loop {
                    let client = self.rng.random_range(0..self.clients.len());
                    let kind = EventKind::UserAdded {
                        user_id: id("user", &mut self.rng),
                    };
                    if let Some(event) = self.apply(client, during.moment(place, events), kind) {
                        return event;
                    }
                }
            })
            .collect()
    }

    /// New users of all clients in rotation, reported long afterwards.
    pub fn late_users(&mut self, events: usize, during: Period) -> Vec<Event> {
        (0..events)
            .map(|place| {
                let kind = EventKind::UserAdded {
                    user_id: id("user", &mut self.rng),
                };
                let client = place % self.clients.len();
                self.event(client, during.moment(place, events), kind)
            })
            .collect()
    }

    /// The next event of a client.
    fn next_event(&mut self, client: usize, at: DateTime<Utc>) -> Event {
        self.next_event_if(client, at, |_, _| true)
    }

    /// The next event of a client that satisfies the condition.
    fn next_event_if(
        &mut self,
        client: usize,
        at: DateTime<Utc>,
        is_wanted: impl Fn(&EventKind, &Client) -> bool,
    ) -> Event {
        loop {
            let now = &self.clients[client].1;
            let kind = propose(&mut self.rng, client, now, at).filter(|kind| is_wanted(kind, now));
            if let Some(event) = kind.and_then(|kind| self.apply(client, at, kind)) {
                return event;
            }
        }
    }

    /// Applies an event, and returns it if it is possible.
    fn apply(&mut self, client: usize, at: DateTime<Utc>, kind: EventKind) -> Option<Event> {
        let event = self.event(client, at, kind);
        let client = &mut self.clients[client].1;
        let mut after = client.clone();
        after.advance(event.time, &self.policies);
        after.apply(&event, &self.policies).ok()?;
        *client = after;
        Some(event)
    }

    fn event(&mut self, client: usize, at: DateTime<Utc>, kind: EventKind) -> Event {
        Event {
            source: source(&kind).into(),
            id: uuid(&mut self.rng).into(),
            key: self.clients[client].0.clone(),
            time: Event::truncate(at),
            sequence: None,
            kind: kind.truncate(),
            actor: Actor::default(),
            name_verdict: NameVerdict::Open,
        }
    }
}

enum Setup {
    This(EventKind),
    Any,
    Nothing,
}

/// The event of a client in a round of the setup: first those that lead to its phase, then random ones.
fn setup(phase: Phase, wave: usize, name: &Name) -> Setup {
    let kind = match wave {
        _ if matches!(phase, Phase::Unknown) => return Setup::Nothing,
        0 => EventKind::ClientAdded {
            name: name.clone(),
            imported: false,
        },
        1 if !matches!(phase, Phase::Draft) => invitation(),
        2 if matches!(phase, Phase::Active) => EventKind::InvitationAccepted {},
        3 if matches!(phase, Phase::Active) => EventKind::OnboardingCompleted { via: Via::Invitation },
        4 if matches!(phase, Phase::Active) => EventKind::ConsentGranted {},
        LINKED_AFTER.. if matches!(phase, Phase::Active) => return Setup::Any,
        _ => return Setup::Nothing,
    };
    Setup::This(kind)
}

/// A random event, which the domain may refuse.
fn propose(rng: &mut StdRng, number: usize, client: &Client, at: DateTime<Utc>) -> Option<EventKind> {
    match rng.random_range(0..100) {
        0..14 => propose_for_link(rng, number, client),
        14..42 => propose_for_service(rng, client),
        42..63 => propose_for_subscriptions(rng, client, at),
        63..83 => propose_for_people(rng, client),
        _ => propose_for_account(rng, client),
    }
}

/// Whether the client's document does not grow beyond a few holdings of each kind.
fn is_steady(kind: &EventKind, client: &Client) -> bool {
    const MOST: usize = 5;
    match kind {
        EventKind::ClientRenamed { .. } | EventKind::ClientDeleted {} => false,
        EventKind::AssignmentAdded { .. } => client.assignments.len() < MOST,
        EventKind::ReportScheduleCreated { .. } => client.report_schedules.len() < MOST,
        EventKind::MarginRuleCreated { .. } => client.margin_rules.len() < MOST,
        EventKind::SubscriptionAdded { .. } => client.subscriptions.len() < MOST,
        EventKind::UserAdded { .. } => client.users.len() < MOST,
        EventKind::IntegrationAdded { .. } => client.integrations.len() < MOST,
        _ => true,
    }
}

fn propose_for_link(rng: &mut StdRng, number: usize, client: &Client) -> Option<EventKind> {
    let chance = rng.random_range(0..20);
    let reason = Some("moved to another firm".to_owned());
    Some(match &client.link {
        Link::Unknown | Link::Deleted => EventKind::ClientAdded {
            name: name(rng, number),
            imported: chance == 0,
        },
        _ if chance < 3 => EventKind::ClientRenamed {
            name: name(rng, number),
        },
        Link::Invited(_) if chance < 4 => EventKind::ClientArchived { reason },
        Link::Invited(invitation) => {
            [
                (Step::Accepted, EventKind::InvitationAccepted {}),
                (
                    Step::Onboarded,
                    EventKind::OnboardingCompleted { via: Via::Invitation },
                ),
                (Step::Consented, EventKind::ConsentGranted {}),
            ]
            .into_iter()
            .find(|(step, _)| !invitation.done.contains(step))?
            .1
        }
        Link::Active(_) => match chance {
            3..5 => EventKind::ClientArchived { reason },
            5..7 => EventKind::ClientLost { reason },
            7 => EventKind::PartnerDisconnected { by: Side::Client },
            _ => return None,
        },
        Link::Archived | Link::Lost if chance < 6 => EventKind::ClientDeleted {},
        Link::Draft | Link::Archived | Link::Lost => invitation(),
        Link::InvitationRejected | Link::AccessRejected => return None,
    })
}

fn propose_for_service(rng: &mut StdRng, client: &Client) -> Option<EventKind> {
    let terminated = client.service_status() == Some(ServiceStatus::Terminated);
    Some(match rng.random_range(0..28) {
        0..8 => EventKind::AssignmentAdded {
            assignment_id: id("campaign", rng),
            service: Some("search".to_owned()),
        },
        8..12 => EventKind::AssignmentRemoved {
            assignment_id: client.assignments.keys().next()?.clone(),
        },
        12..17 => EventKind::ReportScheduleCreated {
            schedule_id: id("report", rng),
        },
        17..20 => EventKind::ReportScheduleDeleted {
            schedule_id: client.report_schedules.keys().next()?.clone(),
        },
        20..24 => EventKind::MarginRuleCreated {
            rule_id: id("margin", rng),
        },
        24..26 => EventKind::MarginRuleDeleted {
            rule_id: client.margin_rules.keys().next()?.clone(),
        },
        _ if terminated => EventKind::ClientReactivated {},
        _ => EventKind::ClientTerminated {
            reason: Some("the contract is over".to_owned()),
        },
    })
}

fn propose_for_subscriptions(rng: &mut StdRng, client: &Client, at: DateTime<Utc>) -> Option<EventKind> {
    let paid_until = at + TimeDelta::days(rng.random_range(30..365));
    Some(match rng.random_range(0..21) {
        0..9 => EventKind::SubscriptionAdded {
            subscription_id: id("subscription", rng),
            plan: Some("plus".to_owned()),
            managed_by: ManagedBy::Partner,
            paid_until: Some(paid_until),
        },
        9..16 => EventKind::SubscriptionRenewed {
            subscription_id: client.subscriptions.keys().next()?.clone(),
            paid_until,
        },
        _ => EventKind::SubscriptionEnded {
            subscription_id: client.subscriptions.keys().next()?.clone(),
        },
    })
}

fn propose_for_people(rng: &mut StdRng, client: &Client) -> Option<EventKind> {
    Some(match rng.random_range(0..20) {
        0..8 => EventKind::UserAdded {
            user_id: id("user", rng),
        },
        8..13 => EventKind::UserRemoved {
            user_id: client.users.keys().next()?.clone(),
        },
        13..17 => EventKind::IntegrationAdded {
            integration_id: id("bank-feed", rng),
        },
        _ => EventKind::IntegrationRemoved {
            integration_id: client.integrations.keys().next()?.clone(),
        },
    })
}

fn propose_for_account(rng: &mut StdRng, client: &Client) -> Option<EventKind> {
    Some(match rng.random_range(0..17) {
        0..3 => EventKind::JobsCounted {
            total: rng.random_range(1..300),
        },
        3 => EventKind::AccountUpdated {},
        4..8 => EventKind::AccessDisabled {},
        8..11 => EventKind::AccessEnabled {},
        11..14 => EventKind::AccessRequested {},
        14..16 => EventKind::AccessApproved {},
        _ => EventKind::AccessDenied {},
    })
    .filter(|_| client.connected())
}

/// A new holding. The first is an assignment, which makes the client's service active.
fn holding(rng: &mut StdRng, place: usize, at: DateTime<Utc>) -> EventKind {
    match place % 6 {
        0 => EventKind::AssignmentAdded {
            assignment_id: id("campaign", rng),
            service: Some("search".to_owned()),
        },
        1 => EventKind::SubscriptionAdded {
            subscription_id: id("subscription", rng),
            plan: Some("plus".to_owned()),
            managed_by: ManagedBy::Partner,
            paid_until: Some(at + TimeDelta::days(30)),
        },
        2 => EventKind::ReportScheduleCreated {
            schedule_id: id("report", rng),
        },
        3 => EventKind::MarginRuleCreated {
            rule_id: id("margin", rng),
        },
        4 => EventKind::UserAdded {
            user_id: id("user", rng),
        },
        _ => EventKind::IntegrationAdded {
            integration_id: id("bank-feed", rng),
        },
    }
}

fn invitation() -> EventKind {
    EventKind::ClientInvited {
        channel: Channel::Standard,
        steps: Steps::default(),
        commission_eligible: true,
    }
}

/// The app that reports an event.
fn source(kind: &EventKind) -> &'static str {
    match kind.type_name().split_once('.') {
        Some(
            ("assignment" | "report_schedule" | "margin_rule", _) | ("client", "terminated" | "reactivated"),
        ) => "/apps/dashboard",
        Some(("account" | "access", _)) => "/apps/accounts",
        _ => "/apps/partner-space",
    }
}

/// A unique name.
fn name(rng: &mut StdRng, number: usize) -> Name {
    Name::try_from(format!("{} {number:07}", names::business(rng))).expect("a short name")
}

fn id(of: &str, rng: &mut StdRng) -> Id {
    Id::try_from(format!("{of}-{:08x}", rng.random::<u32>())).expect("a short id")
}

/// An event id of 36 characters, as most apps use them.
fn uuid(rng: &mut StdRng) -> String {
    let bits: u128 = rng.random();
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-4{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}
