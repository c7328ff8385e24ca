//! A year in the life of one client: the events that three apps send, mostly possible, a few refused.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::names;
use crate::domain::event::{AccessedBy, Channel, Creator, ManagedBy, NameVerdict, Side, Steps, Via};
use crate::domain::{Actor, ClientKey, Event, EventKind, Id, Name};

const PARTNERS: [&str; 8] = [
    "north-ledger",
    "harbour-tax",
    "brightbooks",
    "agency-nine",
    "oak-and-sons",
    "numera",
    "civica",
    "tally-works",
];
/// The sources of the three apps.
pub const SOURCES: [&str; 3] = ["/partner-space", "/dashboard", "/accounts"];

/// The app that sends an event.
#[derive(Clone, Copy)]
enum App {
    Space,
    Dashboard,
    Account,
}

/// What becomes of an invitation.
enum Answer {
    /// The client accepts it then.
    Accepted(DateTime<Utc>),
    /// The client never joins.
    Rejected,
    /// The partner invites the client again then.
    InviteAgain(DateTime<Utc>),
}

struct Life<'r> {
    rng: &'r mut StdRng,
    key: ClientKey,
    end: DateTime<Utc>,
    events: Vec<Event>,
    /// The number of events so far, with those that were withdrawn: an id is not used again.
    sent: usize,
}

/// The events of client `number`, unsorted.
pub fn of(number: usize, start: DateTime<Utc>, end: DateTime<Utc>, rng: &mut StdRng) -> Vec<Event> {
    let partner = PARTNERS[number % PARTNERS.len()];
    let Ok(key) = ClientKey::new(partner, &format!("c-{number:05}")) else {
        return Vec::new();
    };
    let mut life = Life {
        rng,
        key,
        end,
        events: Vec::new(),
        sent: 0,
    };
    let whole = (end - start).num_minutes().max(2);
    let added = start + TimeDelta::minutes(life.rng.random_range(0..whole * 2 / 3));
    life.live(number, added);
    life.events.retain(|event| event.time < end);
    life.events
}

impl Life<'_> {
    fn live(&mut self, number: usize, added: DateTime<Utc>) {
        let name = names::business(self.rng);
        let name = if self.chance(0.85) {
            format!("{name} {number}")
        } else {
            name
        };
        let imported = self.chance(0.3);
        self.send(
            App::Space,
            added,
            EventKind::ClientAdded {
                name: named(&name),
                imported,
            },
        );
        if self.chance(0.03) {
            let later = self.after(added, 1, 90);
            self.send(
                App::Space,
                later,
                EventKind::ClientRenamed {
                    name: named(&format!("{name} & Co")),
                },
            );
        }
        self.prepare(added);
        self.serve(added);
        if self.chance(0.9)
            && let Some(active) = self.invite(added)
        {
            self.create_account(active);
            self.enter_accounts(active);
            self.part(active);
        }
    }

    fn prepare(&mut self, added: DateTime<Utc>) {
        for n in 0..self.rng.random_range(0..3) {
            self.subscribe(n, added);
        }
        for n in 0..self.rng.random_range(0..3) {
            let at = self.after(added, 0, 30);
            self.send(
                App::Space,
                at,
                EventKind::UserAdded {
                    user_id: id(&format!("user-{n}")),
                },
            );
        }
        if self.chance(0.5) {
            let at = self.after(added, 0, 20);
            self.send(
                App::Space,
                at,
                EventKind::IntegrationAdded {
                    integration_id: id("bank-feed"),
                },
            );
        }
    }

    /// Adds a subscription that is perhaps renewed, and perhaps ends.
    fn subscribe(&mut self, n: i32, added: DateTime<Utc>) {
        let at = self.after(added, 0, 3);
        let managed_by = if self.chance(0.75) {
            ManagedBy::Partner
        } else {
            ManagedBy::Client
        };
        let plan = ["starter", "plus", "pro"]
            .choose(self.rng)
            .map(ToString::to_string);
        let paid_until = self
            .chance(0.5)
            .then(|| at + TimeDelta::days(self.rng.random_range(30..365)));
        let subscription_id = id(&format!("sub-{n}"));
        let added = EventKind::SubscriptionAdded {
            subscription_id: subscription_id.clone(),
            plan,
            managed_by,
            paid_until,
        };
        self.send(App::Space, at, added);
        if self.chance(0.3) {
            let renewed = self.after(at, 20, 120);
            let paid_until = renewed + TimeDelta::days(90);
            self.send(
                App::Space,
                renewed,
                EventKind::SubscriptionRenewed {
                    subscription_id: subscription_id.clone(),
                    paid_until,
                },
            );
        }
        if self.chance(0.1) {
            let ended = self.after(at, 60, 200);
            self.send(
                App::Space,
                ended,
                EventKind::SubscriptionEnded { subscription_id },
            );
        }
    }

    /// Invites up to three times, until the client is active or rejects. Returns when it became active.
    fn invite(&mut self, added: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut at = if self.chance(0.3) {
            added
        } else {
            self.after(added, 1, 15)
        };
        for _ in 0..3 {
            let channel = if self.chance(0.2) {
                Channel::Referral
            } else {
                Channel::Standard
            };
            let invited = EventKind::ClientInvited {
                channel,
                steps: Steps::default(),
                commission_eligible: self.chance(0.7),
            };
            self.send(App::Space, at, invited);
            match self.answer(channel, at) {
                Answer::Accepted(answer) => return Some(self.accept(answer)),
                Answer::Rejected => return None,
                Answer::InviteAgain(next) => at = next,
            }
        }
        None
    }

    /// Answers an invitation, with what happens until the next one.
    fn answer(&mut self, channel: Channel, at: DateTime<Utc>) -> Answer {
        let answer = self.after(at, 0, 6);
        match self.rng.random_range(0..100) {
            0..4 => {
                let reason = Some("already has a space".into());
                self.send(App::Space, answer, EventKind::InvitationRejected { reason });
                if channel == Channel::Referral {
                    return Answer::Rejected;
                }
            }
            4..6 => {
                self.send(App::Space, answer, EventKind::IdentityRejected { reason: None });
                if self.chance(0.5) {
                    return Answer::Rejected;
                }
                let cleared = self.after(answer, 2, 20);
                let reason = Some("passport checked".into());
                self.send(App::Space, cleared, EventKind::IdentityCleared { reason });
                return Answer::InviteAgain(self.after(cleared, 0, 5));
            }
            6..16 => {
                let via = Via::Independent;
                self.send(App::Space, answer, EventKind::OnboardingCompleted { via });
                return Answer::InviteAgain(self.after(at, 15, 25));
            }
            16..26 => {
                if self.chance(0.4) {
                    let reason = Some("no such mailbox".into());
                    let bounced = at + TimeDelta::minutes(2);
                    self.send(App::Space, bounced, EventKind::InvitationBounced { reason });
                }
                return Answer::InviteAgain(self.after(at, 15, 40));
            }
            _ => {}
        }
        Answer::Accepted(answer)
    }

    /// Completes the three steps. Returns when the client became active.
    fn accept(&mut self, accepted: DateTime<Utc>) -> DateTime<Utc> {
        self.send(App::Space, accepted, EventKind::InvitationAccepted {});
        let onboarded = self.after(accepted, 0, 3);
        self.send(
            App::Space,
            onboarded,
            EventKind::OnboardingCompleted { via: Via::Invitation },
        );
        let active = self.after(onboarded, 0, 2);
        self.send(App::Space, active, EventKind::ConsentGranted {});
        active
    }

    /// The events of the dashboard.
    fn serve(&mut self, added: DateTime<Utc>) {
        if self.chance(0.05) {
            let too_early = self.after(added, 0, 1);
            self.send(
                App::Dashboard,
                too_early,
                EventKind::ReportScheduleCreated {
                    schedule_id: id("weekly"),
                },
            );
        }
        if self.chance(0.2) {
            return;
        }
        let assigned = self.after(added, 1, 30);
        self.set_up(assigned);
        if self.chance(0.2) {
            let at = self.after(assigned, 10, 90);
            self.send(
                App::Dashboard,
                at,
                EventKind::AssignmentRemoved {
                    assignment_id: id("campaign-0"),
                },
            );
        }
        if self.chance(0.15) {
            self.terminate(assigned);
        }
    }

    /// Assigns campaigns, and creates report schedules and margin rules.
    fn set_up(&mut self, assigned: DateTime<Utc>) {
        for n in 0..self.rng.random_range(1..4) {
            let at = assigned + TimeDelta::hours(n);
            let service = ["ads", "search", "social"]
                .choose(self.rng)
                .map(ToString::to_string);
            self.send(
                App::Dashboard,
                at,
                EventKind::AssignmentAdded {
                    assignment_id: id(&format!("campaign-{n}")),
                    service,
                },
            );
        }
        for n in 0..self.rng.random_range(0..4) {
            let at = self.after(assigned, 1, 60);
            self.send(
                App::Dashboard,
                at,
                EventKind::ReportScheduleCreated {
                    schedule_id: id(&format!("report-{n}")),
                },
            );
        }
        for n in 0..self.rng.random_range(0..3) {
            let at = self.after(assigned, 1, 60);
            self.send(
                App::Dashboard,
                at,
                EventKind::MarginRuleCreated {
                    rule_id: id(&format!("margin-{n}")),
                },
            );
        }
    }

    /// Terminates the client, and perhaps reactivates it.
    fn terminate(&mut self, assigned: DateTime<Utc>) {
        let terminated = self.after(assigned, 30, 200);
        self.send(
            App::Dashboard,
            terminated,
            EventKind::ClientTerminated {
                reason: Some("contract over".into()),
            },
        );
        if self.chance(0.3) {
            let again = self.after(terminated, 5, 60);
            self.send(App::Dashboard, again, EventKind::ClientReactivated {});
            let mapped = self.after(again, 1, 9);
            self.send(
                App::Dashboard,
                mapped,
                EventKind::AssignmentAdded {
                    assignment_id: id("campaign-9"),
                    service: None,
                },
            );
        }
    }

    /// The account that the partner, or the customer, creates. The partner hands its own over.
    fn create_account(&mut self, active: DateTime<Utc>) {
        if !self.chance(0.3) {
            return;
        }
        let by = if self.chance(0.7) {
            Creator::Partner
        } else {
            Creator::Customer
        };
        let account_id = Some(id(&format!("account-{}", self.key.client)));
        let created = self.after(active, 0, 5);
        self.send(
            App::Account,
            created,
            EventKind::AccountCreated { by, account_id },
        );
        if by == Creator::Partner && self.chance(0.8) {
            let owned = self.after(created, 1, 40);
            self.send(App::Account, owned, EventKind::AccountOwnerSet {});
        }
    }

    /// The events of the account app. Some partners enter daily, some hardly ever.
    fn enter_accounts(&mut self, active: DateTime<Utc>) {
        if self.chance(0.35) {
            let mut total = 0;
            let mut at = active;
            while at < self.end && total < 160 {
                total += self.rng.random_range(1..30);
                self.send(App::Account, at, EventKind::JobsCounted { total });
                at = self.after(at, 5, 10);
            }
        }
        if self.chance(0.2) {
            let at = self.after(active, 1, 100);
            self.send(App::Account, at, EventKind::AccountUpdated {});
        }
        let (least, most) = *[(1, 3), (2, 9), (5, 30), (20, 110)]
            .choose(self.rng)
            .unwrap_or(&(2, 9));
        let mut at = self.after(active, 0, most);
        while at < self.end {
            let by = if self.chance(0.04) {
                AccessedBy::Staff
            } else {
                AccessedBy::Partner
            };
            let user = self.chance(0.5).then(|| "advisor".to_owned());
            self.send(App::Account, at, EventKind::AccountAccessed { by, user });
            if most > 60 && self.chance(0.4) {
                let asked = self.after(at, 60, 90);
                self.send(App::Account, asked, EventKind::AccessRequested {});
                let answered = self.after(asked, 0, 4);
                let approved = self.chance(0.7);
                self.send(
                    App::Account,
                    answered,
                    if approved {
                        EventKind::AccessApproved {}
                    } else {
                        EventKind::AccessDenied {}
                    },
                );
            }
            at = self.after(at, least, most);
        }
        if self.chance(0.12) {
            let disabled = self.after(active, 10, 150);
            self.send(App::Account, disabled, EventKind::AccessDisabled {});
            if self.chance(0.6) {
                let enabled = self.after(disabled, 3, 40);
                self.send(App::Account, enabled, EventKind::AccessEnabled {});
            }
        }
    }

    fn part(&mut self, active: DateTime<Utc>) {
        let at = self.after(active, 20, 250);
        match self.rng.random_range(0..100) {
            0..10 => self.send(App::Space, at, EventKind::ClientArchived { reason: None }),
            10..17 => self.send(
                App::Space,
                at,
                EventKind::ClientLost {
                    reason: Some("moved on".into()),
                },
            ),
            17..22 => self.send(
                App::Account,
                at,
                EventKind::PartnerDisconnected { by: Side::Client },
            ),
            _ => return,
        }
        if self.chance(0.9) {
            // Few partners try to enter an account after the link has ended.
            self.events
                .retain(|event| &*event.source != "/accounts" || event.time <= at);
        }
        match self.rng.random_range(0..10) {
            0..3 => {
                let again = self.after(at, 5, 40);
                self.invite(again);
            }
            3..5 => {
                let deleted = self.after(at, 10, 60);
                self.send(App::Space, deleted, EventKind::ClientDeleted {});
            }
            _ => {}
        }
    }

    fn send(&mut self, app: App, time: DateTime<Utc>, kind: EventKind) {
        let source = match app {
            App::Space => SOURCES[0],
            App::Dashboard => SOURCES[1],
            App::Account => SOURCES[2],
        };
        self.events.push(Event {
            source: source.into(),
            id: format!("{}-{:04}", self.key.client, self.sent).into(),
            key: self.key.clone(),
            time: Event::truncate(time),
            sequence: None,
            kind: kind.truncate(),
            actor: Actor::default(),
            name_verdict: NameVerdict::Open,
        });
        self.sent += 1;
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    /// A random second, `least` to `most` days later.
    fn after(&mut self, moment: DateTime<Utc>, least: i64, most: i64) -> DateTime<Utc> {
        const DAY: i64 = 24 * 60 * 60;
        moment + TimeDelta::seconds(self.rng.random_range(least * DAY..=most.max(least + 1) * DAY))
    }
}

fn id(text: &str) -> Id {
    Id::try_from(text.to_owned()).expect("it is short and not empty")
}

fn named(text: &str) -> Name {
    Name::try_from(text.to_owned()).expect("it is short and not empty")
}
