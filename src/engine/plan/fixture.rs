//! Clients for the tests of the planner, and everything that the store has about them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CheckpointSpacing, Present, Situation, plan, plan_sweep};
use crate::domain::event::{AccessedBy, Channel, NameVerdict, Steps, Via};
use crate::domain::{Actor, ClientKey, Event, EventKind, Id, Name, Policies, Sweep};
use crate::store::{
    CheckpointWrite, ClientSnapshot, Columns, Commit, Logged, RecordedOutcome, SnapshotRow, Stored,
};

pub fn day(n: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(n)
}

/// Later than all that happens to the clients.
pub fn present() -> Present {
    Present {
        now: day(1_000),
        tolerance: TimeDelta::zero(),
    }
}

pub fn id(text: &str) -> Id {
    Id::try_from(text.to_owned()).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::try_from(text.to_owned()).unwrap()
}

pub fn event(client: &str, time: DateTime<Utc>, kind: EventKind) -> Event {
    Event {
        source: "app".into(),
        id: format!("{time} {}", kind.type_name()).into(),
        key: ClientKey::new("acme", client).unwrap(),
        time,
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}

pub fn touch(client: &str, time: DateTime<Utc>) -> Event {
    let by = AccessedBy::Partner;
    event(client, time, EventKind::AccountAccessed { by, user: None })
}

/// An event that is refused, because the client has no such user.
pub fn refused(client: &str, time: DateTime<Utc>) -> Event {
    let user_id = id("nobody");
    event(client, time, EventKind::UserRemoved { user_id })
}

/// A client with access from day 0 on, and a touch on day 10.
pub fn active(client: &str) -> Stored {
    snapshot_of_active(client).stored().unwrap()
}

/// All that is stored about a client with access from day 0 on, and a touch on day 10, which is only in its open run.
pub fn snapshot_of_active(client: &str) -> ClientSnapshot {
    let kinds = [
        EventKind::ClientAdded {
            name: name(client),
            imported: false,
        },
        EventKind::ClientInvited {
            channel: Channel::Standard,
            steps: Steps::default(),
            commission_eligible: true,
        },
        EventKind::InvitationAccepted {},
        EventKind::OnboardingCompleted { via: Via::Invitation },
        EventKind::ConsentGranted {},
    ];
    let mut snapshot = nothing(client);
    ingest(
        &mut snapshot,
        kinds.map(|kind| event(client, day(0), kind)).into(),
    );
    ingest(&mut snapshot, vec![touch(client, day(10))]);
    snapshot
}

/// The snapshot of a client of which nothing is stored.
pub fn nothing(client: &str) -> ClientSnapshot {
    ClientSnapshot::nothing(ClientKey::new("acme", client).unwrap())
}

/// Plans a batch of events of the client, none of them late, and writes the commit.
pub fn ingest(snapshot: &mut ClientSnapshot, events: Vec<Event>) {
    let situation = Situation {
        present: present(),
        low_watermark: None,
        policies: &Policies::default(),
        stored: snapshot.stored().into_iter().collect(),
        histories: HashMap::new(),
        spacing: CheckpointSpacing::default(),
        holders: HashMap::new(),
    };
    write(snapshot, plan(situation, events).commit);
}

/// Plans a sweep of the client, and writes the commit.
pub fn sweep(snapshot: &mut ClientSnapshot, sweep: Sweep, until: DateTime<Utc>) {
    let stored = snapshot.stored().into_iter().collect();
    let (commit, _) = plan_sweep(stored, sweep, until, until, &Policies::default());
    write(snapshot, commit);
}

/// Writes a commit of one client, as the stores do.
pub fn write(snapshot: &mut ClientSnapshot, commit: Commit) {
    for client in commit.clients {
        snapshot.renew_only = None;
        snapshot.row = Some(SnapshotRow {
            version: client.read_version + 1,
            columns: Columns::of(&client.document),
            document: Ok(client.document),
        });
    }
    for touches in commit.touches {
        for run in touches.closed.iter().chain([&touches.open]) {
            let new = run
                .iter()
                .filter(|touch| !snapshot.touches.iter().any(|known| known == *touch));
            snapshot.history.extend(new.map(|touch| Logged {
                event: touch.to_event(&touches.key),
                outcome: RecordedOutcome::Applied,
            }));
        }
        snapshot.touches = touches.open;
        snapshot.renew_only = touches.renew_only;
    }
    for write in commit.events {
        let (event, outcome) = (write.event, write.outcome);
        snapshot.history.push(Logged { event, outcome });
    }
    snapshot
        .history
        .sort_by_cached_key(|logged| logged.event.position());
    for update in commit.outcomes {
        for logged in &mut snapshot.history {
            if (&logged.event.source, &logged.event.id) == (&update.source, &update.id) {
                logged.outcome = update.outcome;
            }
        }
    }
    for write in commit.checkpoints {
        let CheckpointWrite { removed, added, .. } = write;
        snapshot
            .checkpoints
            .retain(|one| !removed.contains(&one.time) && added.iter().all(|new| new.time != one.time));
        snapshot.checkpoints.extend(added);
        snapshot.checkpoints.sort_by_key(|one| one.time);
    }
    snapshot.journal.extend(commit.journal);
    for (_, sweep, due) in commit.deadlines_set {
        snapshot.deadlines.insert(sweep, due);
    }
    for (_, sweep) in commit.deadlines_cleared {
        snapshot.deadlines.remove(&sweep);
    }
}
