//! Random lives with many touches where the engine takes short cuts: on both sides of every event or timer that ends access,
//! warns of expiry or delays it, and in runs that become full.
//!
//! This is a generator of its own, because the one of the property tests (`generate.rs`) draws single events and hardly
//! ever produces these sequences.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tenure::domain::event::NameVerdict;
use tenure::domain::{ClientKey, Event, EventKind, Policy};

use crate::generate;

/// Events of one or a few clients, in the order of their times.
pub fn events(rng: &mut StdRng, policy: &Policy) -> Vec<Event> {
    let clients = rng.random_range(1..=3);
    let mut events = Vec::new();
    for number in 0..clients {
        let mut life = Life {
            key: generate::client_key(number),
            at: generate::beginning() + TimeDelta::hours(rng.random_range(0..24)),
            policy,
            events: Vec::new(),
            rng,
        };
        life.begin();
        if clients == 1 && life.chance(0.2) {
            life.fill_runs();
        }
        for _ in 0..life.rng.random_range(1..=6) {
            life.touches();
            life.turn();
        }
        life.touches();
        events.extend(life.events);
    }
    events
}

struct Life<'a> {
    rng: &'a mut StdRng,
    policy: &'a Policy,
    key: ClientKey,
    at: DateTime<Utc>,
    events: Vec<Event>,
}

impl Life<'_> {
    fn chance(&mut self, chance: f64) -> bool {
        self.rng.random_bool(chance)
    }

    fn put_at(&mut self, at: DateTime<Utc>, kind: &str, data: &Value) {
        let kind: EventKind =
            serde_json::from_value(json!({ "type": kind, "data": data })).expect("an event kind");
        let sequence = self
            .chance(0.1)
            .then(|| self.rng.random_range(0..3).to_string().into());
        self.events.push(Event {
            source: "app/accounts".into(),
            id: format!("{}-{}", self.key, self.events.len()).into(),
            key: self.key.clone(),
            time: at,
            sequence,
            kind,
            actor: crate::generate::actor(self.events.len()),
            name_verdict: NameVerdict::Open,
        });
    }

    fn put(&mut self, kind: &str, data: &Value) {
        self.put_at(self.at, kind, data);
    }

    fn wait(&mut self) {
        self.at += match self.rng.random_range(0..4) {
            0 => TimeDelta::seconds(self.rng.random_range(0..3)),
            1 => TimeDelta::minutes(self.rng.random_range(1..600)),
            _ => TimeDelta::hours(self.rng.random_range(1..96)),
        };
    }

    fn touch_at(&mut self, at: DateTime<Utc>) {
        self.put_at(at, "account.accessed", &json!({}));
        if self.chance(0.05) {
            // Another user at the same moment.
            self.put_at(at, "account.accessed", &json!({}));
        }
    }

    fn begin(&mut self) {
        let name = if self.chance(0.3) {
            "Bakery".to_owned()
        } else {
            self.key.to_string()
        };
        self.put("client.added", &json!({ "name": name }));
        self.link();
    }

    fn link(&mut self) {
        self.wait();
        self.put("client.invited", &json!({ "steps": ["accepted"] }));
        self.wait();
        self.put("invitation.accepted", &json!({}));
    }

    /// More touches than a run holds, close to each other.
    fn fill_runs(&mut self) {
        for _ in 0..self.rng.random_range(126..=270) {
            self.at += TimeDelta::minutes(self.rng.random_range(1..120));
            self.put("account.accessed", &json!({}));
        }
    }

    /// Some touches: close together, or so far apart that a warning or the expiry is due just before or after one.
    fn touches(&mut self) {
        for _ in 0..self.rng.random_range(0..=7) {
            let idle = self.policy.access_idle;
            let offset = TimeDelta::microseconds(self.rng.random_range(-1..=1));
            let warning = match self.policy.warn_before.len() {
                0 => TimeDelta::zero(),
                n => self.policy.warn_before[self.rng.random_range(0..n)],
            };
            let gap = match self.rng.random_range(0..10) {
                0 => idle + offset,
                1 => idle - warning + offset,
                2 => idle - warning / 2,
                3 => idle / 2,
                4 => TimeDelta::zero(),
                _ => TimeDelta::minutes(self.rng.random_range(1..3_000)),
            };
            self.at += gap.max(TimeDelta::zero());
            self.touch_at(self.at);
        }
    }

    /// An event that affects access, with touches before, after and at the same moment.
    fn turn(&mut self) {
        if self.chance(0.8) {
            self.wait();
        }
        for _ in 0..self.rng.random_range(0..=3) {
            let offset = match self.rng.random_range(0..4) {
                0 => TimeDelta::zero(),
                1 => TimeDelta::microseconds(self.rng.random_range(-1..=1)),
                2 => TimeDelta::seconds(self.rng.random_range(-2..=2)),
                _ => TimeDelta::hours(self.rng.random_range(-30..=30)),
            };
            self.touch_at(self.at + offset);
        }
        match self.rng.random_range(0..14) {
            0..4 => self.disable(),
            4 => self.expire(),
            5 => self.leave("client.archived", &json!({})),
            6 => self.leave("client.lost", &json!({})),
            7 => {
                let by = ["client", "partner"][self.rng.random_range(0..2)];
                self.leave("partner.disconnected", &json!({ "by": by }));
            }
            8 => self.delete(),
            9 => self.terminate(),
            10 => {
                let total = [3, 7, 120][self.rng.random_range(0..3)];
                self.put("account.jobs_counted", &json!({ "total": total }));
            }
            11 => self.put("account.updated", &json!({})),
            12 => self.subscribe(),
            _ => self.put("account.accessed", &json!({ "by": "staff" })),
        }
    }

    fn disable(&mut self) {
        self.put("access.disabled", &json!({}));
        self.come_back();
    }

    fn expire(&mut self) {
        self.at += self.policy.access_idle + TimeDelta::hours(self.rng.random_range(0..48));
        self.come_back();
    }

    /// Perhaps enables access again, in one of several ways.
    fn come_back(&mut self) {
        self.touches();
        self.wait();
        match self.rng.random_range(0..4) {
            0 => self.put("access.enabled", &json!({})),
            1 => {
                self.put("access.requested", &json!({}));
                self.wait();
                let verdict = ["access.approved", "access.denied"][self.rng.random_range(0..2)];
                self.put(verdict, &json!({}));
            }
            2 => self.put("access.requested", &json!({})),
            _ => {}
        }
    }

    fn leave(&mut self, kind: &str, data: &Value) {
        self.put(kind, data);
        self.touches();
        if self.chance(0.7) {
            self.link();
        }
    }

    fn delete(&mut self) {
        if self.chance(0.7) {
            self.put("client.archived", &json!({}));
            self.wait();
        }
        self.put("client.deleted", &json!({}));
        self.touches();
        if self.chance(0.7) {
            self.begin();
        }
    }

    fn terminate(&mut self) {
        self.put("assignment.added", &json!({ "assignment_id": "a1" }));
        self.wait();
        self.put("client.terminated", &json!({}));
        self.touches();
        if self.chance(0.5) {
            self.put("client.reactivated", &json!({}));
        }
    }

    fn subscribe(&mut self) {
        let id = ["s1", "s2", "s3"][self.rng.random_range(0..3)];
        self.put("subscription.added", &json!({ "subscription_id": id }));
        self.wait();
        if self.chance(0.3) {
            self.put("subscription.ended", &json!({ "subscription_id": id }));
        }
    }
}
