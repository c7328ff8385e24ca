//! The laws of the domain: properties that hold for every history, every policy and every moment.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tenure::domain::access::AccessStatus;
use tenure::domain::change::Holding;
use tenure::domain::event::{ManagedBy, NameVerdict, Position, TYPES};
use tenure::domain::holdings::{Subscription, SubscriptionStatus};
use tenure::domain::link::LinkStatus;
use tenure::domain::replica::Replica;
use tenure::domain::service::ServiceStatus;
use tenure::domain::{
    Change, ChangeKind, Client, Event, EventKind, LastChanges, Policies, Policy, Refusal, Sweep, changes,
    fold,
};

use crate::generate::{
    arbitrary_case, arbitrary_history, arbitrary_moment, arbitrary_policies, arbitrary_policy, moment,
    shuffled,
};

const LONGEST: usize = 40;
const MICRO: TimeDelta = TimeDelta::microseconds(1);

/// `PROPTEST_CASES` raises the number of cases.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A client's history with policies, some of its names refused.
pub fn one_life() -> impl Strategy<Value = (Policies, Vec<Event>)> {
    let verdicts = proptest::collection::vec(proptest::bool::weighted(0.1), LONGEST);
    (arbitrary_case(1, LONGEST), verdicts).prop_map(|((policies, mut events), taken)| {
        for (event, taken) in events.iter_mut().zip(taken) {
            if taken && event.kind.claimed_name().is_some() {
                event.name_verdict = NameVerdict::Taken;
            }
        }
        (policies, events)
    })
}

/// A history, and the same events in order of arrival.
fn life_and_arrivals() -> impl Strategy<Value = (Policies, Vec<Event>, Vec<Event>)> {
    one_life().prop_flat_map(|(policies, events)| (Just(policies), Just(events.clone()), shuffled(events)))
}

fn sorted(events: &[Event]) -> Vec<Event> {
    let mut sorted = events.to_vec();
    sorted.sort_by_cached_key(Event::position);
    sorted
}

/// The events up to a moment, sorted, each once.
pub fn up_to(events: &[Event], until: DateTime<Utc>) -> Vec<Event> {
    let mut known = sorted(events);
    known.retain(|event| event.time <= until);
    known.dedup_by(|a, b| a.source == b.source && a.id == b.id);
    known
}

/// One step of a history: an event with its outcome, or a timer.
struct Step<'a> {
    before: &'a Client,
    after: &'a Client,
    at: DateTime<Utc>,
    event: Option<(&'a Event, Result<(), Refusal>)>,
}

/// Walks through a history event by event and timer by timer, and passes each step to `step`.
fn walk(
    events: &[Event],
    until: DateTime<Utc>,
    policies: &Policies,
    mut step: impl FnMut(&Step) -> Result<(), TestCaseError>,
) -> Result<Client, TestCaseError> {
    let mut client = Client::default();
    let mut pass =
        |client: &mut Client, to: DateTime<Utc>, event: Option<&Event>| -> Result<(), TestCaseError> {
            while let Some(due) = client.next_due(to, policies) {
                let before = client.clone();
                client.fire(due, policies);
                let (before, after) = (&before, &*client);
                step(&Step {
                    before,
                    after,
                    at: due.at,
                    event: None,
                })?;
            }
            let Some(event) = event else { return Ok(()) };
            let before = client.clone();
            let outcome = client.apply(event, policies);
            let (before, after) = (&before, &*client);
            step(&Step {
                before,
                after,
                at: event.time,
                event: Some((event, outcome)),
            })
        };
    for event in sorted(events).iter().filter(|event| event.time <= until) {
        pass(&mut client, event.time, Some(event))?;
    }
    pass(&mut client, until, None)?;
    Ok(client)
}

/// Observes an act, and compares the changes that it made with those between the client before and after it.
fn observe(
    client: &mut Client,
    policies: &Policies,
    act: impl FnOnce(&mut Client),
) -> Result<(), TestCaseError> {
    let before = client.clone();
    let (copy, found) = client.observed(policies, |client| {
        act(client);
        client.clone()
    });
    let expected = changes(&before, client, policies);
    prop_assert_eq!(found, expected);
    prop_assert_eq!(&copy, &*client);
    prop_assert_eq!(&crashed(client), &*client);
    Ok(())
}

fn last_moment(events: &[Event]) -> DateTime<Utc> {
    events
        .iter()
        .map(|event| event.time)
        .max()
        .unwrap_or_else(|| moment(0))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn observing_an_act_finds_the_changes_between_the_states(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
    ) {
        let events = sorted(&events);
        let mut client = Client::default();
        for event in &events {
            while let Some(due) = client.next_due(event.time, &policies) {
                observe(&mut client, &policies, |client| client.fire(due, &policies))?;
            }
            observe(&mut client, &policies, |client| {
                let _ = client.apply(event, &policies);
            })?;
        }
        observe(&mut client, &policies, |client| client.advance(until, &policies))?;
        let mut at_once = Client::default();
        observe(&mut at_once, &policies, |client| {
            for event in &events {
                client.advance(event.time, &policies);
                let _ = client.apply(event, &policies);
            }
            client.advance(until, &policies);
        })?;
        prop_assert_eq!(at_once, client);
    }

    #[test]
    fn only_link_events_change_the_link_and_the_name((policies, events) in one_life()) {
        let outcomes = |events: &[Event]| {
            let mut client = Client::default();
            let mut outcomes = Vec::new();
            for event in sorted(events) {
                client.advance(event.time, &policies);
                let result = client.apply(&event, &policies);
                outcomes.push((event, result, client.link_status(), client.name.clone()));
            }
            outcomes.retain(|(event, ..)| event.kind.is_link_event());
            outcomes
        };
        let mut link_events = events.clone();
        link_events.retain(|event| event.kind.is_link_event());
        prop_assert_eq!(outcomes(&events), outcomes(&link_events));
    }

    #[test]
    fn the_order_of_arrival_and_duplicates_do_not_matter(
        (policies, events, arrivals) in life_and_arrivals(),
        until in arbitrary_moment(),
    ) {
        prop_assert_eq!(fold(&events, until, &policies), fold(&arrivals, until, &policies));
    }

    #[test]
    fn sweeps_at_any_moment_do_not_change_the_state(
        (policies, events) in one_life(),
        sweeps in proptest::collection::vec(arbitrary_moment(), 0..40),
        until in arbitrary_moment(),
    ) {
        let mut client = Client::default();
        let mut reached = DateTime::<Utc>::MIN_UTC;
        for event in sorted(&events).iter().filter(|event| event.time <= until) {
            for sweep in sweeps.iter().filter(|sweep| reached < **sweep && **sweep <= event.time) {
                client.advance(*sweep, &policies);
                client = crashed(&client);
            }
            client.advance(event.time, &policies);
            let _ = client.apply(event, &policies);
            reached = event.time;
        }
        for sweep in sweeps.iter().filter(|sweep| reached < **sweep && **sweep <= until) {
            client.advance(*sweep, &policies);
        }
        client.advance(until, &policies);
        prop_assert_eq!(client, fold(&events, until, &policies));
    }

    /// The promise of Tenure: events in order of arrival, with a replay for late ones (`is_past`) and sweeps in between, lead
    /// to the same state as folding the history at the end.
    #[test]
    fn any_order_of_arrival_with_sweeps_leads_to_the_same_state(
        (policies, events, arrivals) in life_and_arrivals(),
        sweeps in proptest::collection::vec(proptest::option::weighted(0.3, arbitrary_moment()), 2 * LONGEST),
    ) {
        let (mut client, mut log) = (Client::default(), Vec::<Event>::new());
        for (event, sweep) in arrivals.iter().zip(sweeps) {
            let known = log.iter().any(|other| other.source == event.source && other.id == event.id);
            if !known {
                log.push(event.clone());
                if client.is_past(&event.position()) {
                    client = fold(&log, client.as_of().expect("a past"), &policies);
                } else {
                    client.advance(event.time, &policies);
                    let _ = client.apply(event, &policies);
                    client.advance(event.time, &policies);
                }
            }
            if let (Some(now), Some(_)) = (sweep, client.as_of()) {
                client.advance(now, &policies);
            }
        }
        let end = client.as_of().unwrap_or_else(|| moment(0)).max(last_moment(&events));
        client.advance(end, &policies);
        prop_assert_eq!(client, fold(&events, end, &policies));
    }

    #[test]
    fn nothing_is_due_after_advancing((policies, events) in one_life(), until in arbitrary_moment()) {
        let client = fold(&events, until, &policies);
        prop_assert_eq!(client.next_due(until, &policies), None);
        let mut again = client.clone();
        again.advance(until, &policies);
        prop_assert_eq!(&again, &client);
        if policies.eras_from(until).count() == 1 {
            for sweep in Sweep::ALL {
                prop_assert!(client.deadline(sweep, &policies).is_none_or(|at| at > until));
            }
        }
    }

    #[test]
    fn a_timer_fires_when_it_is_due_and_not_a_microsecond_before(
        (policies, events) in one_life(),
    ) {
        let last = last_moment(&events);
        let client = fold(&events, last, &policies);
        let far = moment(0) + TimeDelta::days(5000);
        let Some(due) = client.next_due(far, &policies) else { return Ok(()) };
        prop_assert!(due.at > last);
        prop_assert_eq!(&fold(&events, due.at - MICRO, &policies), &client);
        let mut fired = client;
        fired.fire(due, &policies);
        fired.advance(due.at, &policies);
        prop_assert_eq!(fold(&events, due.at, &policies), fired);
    }

    #[test]
    fn timers_fire_in_order_and_never_before_the_last_event(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
    ) {
        let mut reached = DateTime::<Utc>::MIN_UTC;
        walk(&events, until, &policies, |step| {
            prop_assert!(step.at >= reached);
            prop_assert_eq!(step.after.as_of(), Some(step.at));
            reached = step.at;
            Ok(())
        })?;
    }

    #[test]
    fn later_events_and_policies_do_not_change_the_past(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
        later in arbitrary_policy(),
    ) {
        let answer = fold(&events, until, &policies);
        let known: Vec<Event> = events.iter().filter(|event| event.time <= until).cloned().collect();
        prop_assert_eq!(&fold(&known, until, &policies), &answer);
        let mut eras: Vec<(DateTime<Utc>, Policy)> = policies
            .eras_from(DateTime::<Utc>::MIN_UTC)
            .filter(|era| era.start <= until)
            .map(|era| (era.start, era.policy.clone()))
            .collect();
        eras.push((until + MICRO, later));
        let changed = Policies::recorded(eras).expect("one at least");
        prop_assert_eq!(&fold(&events, until, &changed), &answer);
    }

    /// There are no changes if and only if everything that changes report is equal: the replica and the notices. (No change leads
    /// from a client that was added to one that never was.)
    #[test]
    fn there_are_no_changes_iff_everything_published_is_equal(
        (policies, events, others) in life_and_arrivals(),
        count in 0..=2 * LONGEST,
        (from, to) in (arbitrary_moment(), arbitrary_moment()),
    ) {
        let before = fold(&events, from, &policies);
        let some = &others[..count.min(others.len())];
        for after in [fold(&events, to, &policies), fold(some, from, &policies), before.clone()] {
            if before.is_known() && !after.is_known() {
                continue;
            }
            prop_assert_eq!(changes(&before, &after, &policies).is_empty(), publishes_the_same(&before, &after));
        }
    }

    #[test]
    fn the_changes_of_every_step_rebuild_the_client(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
    ) {
        let mut replica = Replica::default();
        let end = walk(&events, until, &policies, |step| {
            for change in changes(step.before, step.after, &policies) {
                replica.apply(&change, step.at);
            }
            prop_assert_eq!(&replica, &Replica::of(step.after));
            Ok(())
        })?;
        prop_assert_eq!(&end, &fold(&events, until, &policies));
        let (_, last) = LastChanges::of_history(&up_to(&events, until), until, &policies);
        let mut at_once = Replica::default();
        for change in changes(&Client::default(), &end, &policies) {
            at_once.apply(&change, took_effect_at(&change, &last));
        }
        prop_assert_eq!(at_once, Replica::of(&end));
    }

    #[test]
    fn corrections_lead_from_the_published_state_to_the_right_one(
        (policies, events, arrivals) in life_and_arrivals(),
        count in 0..=2 * LONGEST,
        until in arbitrary_moment(),
    ) {
        let published = fold(&arrivals[..count.min(arrivals.len())], until, &policies);
        let expected = fold(&events, until, &policies);
        // Refused names can make a client unknown that was added with fewer events. The log never takes back an addition.
        if published.is_known() && !expected.is_known() {
            return Ok(());
        }
        let (folded, last) = LastChanges::of_history(&up_to(&events, until), until, &policies);
        prop_assert_eq!(&folded, &expected);
        let mut replica = Replica::of(&published);
        for change in changes(&published, &expected, &policies) {
            replica.apply(&change, took_effect_at(&change, &last));
        }
        prop_assert_eq!(&replica, &Replica::of(&expected));
        let mut replica = Replica::of(&published);
        for change in replica.changes_to(&Replica::of(&expected)) {
            replica.apply(&change, took_effect_at(&change, &last));
        }
        prop_assert_eq!(replica, Replica::of(&expected), "from the replica alone");
    }

    #[test]
    fn every_state_obeys_the_rules(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
    ) {
        walk(&events, until, &policies, |step| {
            obeys_the_rules(step.after)?;
            step_obeys_the_rules(step, &policies)
        })?;
    }

    #[test]
    fn a_refused_event_changes_only_the_last_position(
        (policies, events) in one_life(),
        until in arbitrary_moment(),
    ) {
        walk(&events, until, &policies, |step| {
            let Some((event, outcome)) = step.event else { return Ok(()) };
            prop_assert_eq!(step.after.seen.as_ref(), Some(&event.position()));
            if outcome.is_err() {
                let untouched = Client {
                    seen: step.after.seen.clone(),
                    fired: None,
                    ..step.before.clone()
                };
                prop_assert_eq!(step.after, &untouched);
                prop_assert!(changes(step.before, step.after, &policies).is_empty());
            }
            Ok(())
        })?;
    }

    #[test]
    fn documents_survive_a_round_trip((policies, events) in one_life(), until in arbitrary_moment()) {
        let client = fold(&events, until, &policies);
        prop_assert_eq!(&crashed(&client), &client);
        for event in &events {
            let text = serde_json::to_string(&event.kind).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<EventKind>(&text).expect("an event kind"), &event.kind);
            let position = event.position();
            let text = serde_json::to_string(&position).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Position>(&text).expect("a position"), position);
        }
    }

    #[test]
    fn policies_survive_a_round_trip(policy in arbitrary_policy()) {
        let text = serde_json::to_string(&policy).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Policy>(&text).expect("a policy"), policy);
    }

    #[test]
    fn the_order_of_positions_is_total(events in arbitrary_history(1, 12)) {
        for a in &events {
            for b in &events {
                let (pa, pb) = (a.position(), b.position());
                prop_assert_eq!(pa.cmp(&pb), pb.cmp(&pa).reverse());
                let same = a == b || (a.is_touch() && b.is_touch() && (a.time, &a.sequence) == (b.time, &b.sequence));
                prop_assert_eq!(pa == pb, same);
                prop_assert!(a.time >= b.time || pa < pb, "time comes first");
                for c in &events {
                    let pc = c.position();
                    prop_assert!(!(pa <= pb && pb <= pc) || pa <= pc);
                }
            }
        }
    }

    #[test]
    fn at_every_moment_one_policy_is_in_force(policies in arbitrary_policies(), now in arbitrary_moment()) {
        let eras: Vec<_> = policies.eras_from(DateTime::<Utc>::MIN_UTC).collect();
        let here: Vec<_> = eras.iter().filter(|era| era.start <= now && now < era.end).collect();
        prop_assert_eq!(here.len(), 1);
        prop_assert_eq!(here[0].policy, policies.at(now));
        prop_assert_eq!(eras[eras.len() - 1].policy, policies.latest());
    }
}

/// A law would hold vacuously if the random histories never got anywhere.
#[test]
fn random_histories_reach_every_event_refusal_and_change() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::<String>::new();
    for _ in 0..600 {
        let (policies, events) = one_life().new_tree(&mut runner).expect("a life").current();
        let end = last_moment(&events) + TimeDelta::days(100);
        walk(&events, end, &policies, |step| {
            seen.extend(
                changes(step.before, step.after, &policies)
                    .iter()
                    .map(|change| change.kind().to_string()),
            );
            if let Some((event, outcome)) = step.event {
                seen.extend([match outcome {
                    Ok(()) => event.kind.type_name(),
                    Err(refusal) => refusal.code(),
                }
                .to_owned()]);
            }
            Ok(())
        })
        .expect("a walk");
    }
    let refusals = Refusal::ALL.iter().map(|refusal| refusal.code());
    let all = TYPES
        .iter()
        .copied()
        .chain(ChangeKind::ALL.iter().map(|kind| kind.as_str()))
        .chain(refusals);
    // The engine publishes outcomes.
    let missing: Vec<&str> = all
        .filter(|what| !seen.contains(*what) && *what != "event.refused" && *what != "event.accepted")
        .collect();
    assert!(missing.is_empty(), "no random history reaches {missing:?}");
}

/// Serialised and read back, as after a crash.
fn crashed(client: &Client) -> Client {
    let text = serde_json::to_string(client).expect("JSON");
    serde_json::from_str(&text).expect("a client")
}

/// A change without a place in the history takes something back: its time says nothing.
fn took_effect_at(change: &Change, last: &LastChanges) -> DateTime<Utc> {
    last.of(change)
        .map_or(DateTime::UNIX_EPOCH, |occurrence| occurrence.time)
}

fn publishes_the_same(before: &Client, after: &Client) -> bool {
    let warned = |client: &Client| client.access()?.renewal()?.warned;
    let stalled = |client: &Client| {
        let invitation = client.link.invitation()?;
        invitation.stalled.then_some(invitation.sent_at)
    };
    Replica::of(before) == Replica::of(after)
        && after.invitations <= before.invitations
        && (warned(after).is_none() || warned(after) == warned(before))
        && (stalled(after).is_none() || stalled(after) == stalled(before))
}

/// Checks the rules that hold for every state.
fn obeys_the_rules(client: &Client) -> Result<(), TestCaseError> {
    let active = client.link_status() == Some(LinkStatus::Active);
    let access = client.access_status().as_str();
    // 002: access, commission and status credit begin and end with the link.
    prop_assert_eq!(access != "none", active);
    prop_assert_eq!(client.connected(), active);
    prop_assert_eq!(client.status_credit(), active);
    prop_assert!(active || !client.commission());
    prop_assert!(active || client.access_request().is_none());
    // 001: a terminated client is neither billable nor visible, and retrieves no data.
    let terminated = client.service_status() == Some(ServiceStatus::Terminated);
    prop_assert!(!(terminated && (client.billable() || client.visible() || client.retrieving())));
    let pending = client.service_status() == Some(ServiceStatus::PendingAssigning);
    let unassigned =
        client.assignments.is_empty() && client.report_schedules.is_empty() && client.margin_rules.is_empty();
    prop_assert!(!pending || (unassigned && !client.billable()));
    // 000: a draft has no active subscription but one from before its link was lost (its identity was rejected when it was invited
    // again, and then cleared), and a linked client has no prepared one. The loss of the link leaves the client's own ones alone.
    let states: Vec<&str> = client
        .subscriptions
        .values()
        .map(|s| s.state.status().as_str())
        .collect();
    let was_invited_again = client.invitations > 1;
    let from_before = |s: &Subscription| {
        was_invited_again && (s.link_lost_at.is_some() || s.managed_by == ManagedBy::Client)
    };
    let never_or_before = |s: &Subscription| s.state.status().as_str() != "active" || from_before(s);
    prop_assert!(
        client.link_status() != Some(LinkStatus::Draft) || client.subscriptions.values().all(never_or_before)
    );
    prop_assert!(!active || !states.contains(&"prepared"));
    // 000: the data connection of an archived or lost client has ended.
    let is_over = matches!(
        client.link_status(),
        Some(LinkStatus::Archived | LinkStatus::Lost | LinkStatus::Deleted)
    );
    prop_assert!(!is_over || client.integrations.is_empty());
    // Ours: all that a deleted client has left are its partner's subscriptions, ended.
    if client.link_status() == Some(LinkStatus::Deleted) {
        let is_left = |s: &Subscription| s.managed_by == ManagedBy::Partner && s.has_ended();
        prop_assert!(client.subscriptions.values().all(is_left));
        prop_assert!(terminated && unassigned && client.former_assignments.is_empty());
        prop_assert!(client.users.is_empty() && client.account.is_unknown());
    }
    if let Some(invitation) = client.link.invitation() {
        prop_assert!(
            invitation
                .done
                .iter()
                .all(|step| invitation.steps.contains(*step))
        );
        prop_assert!(invitation.missing().next().is_some(), "nothing is missing");
        prop_assert!(client.invitations > 0);
    }
    prop_assert!(client.exists() || client.name.is_some() == client.is_known());
    Ok(())
}

/// Checks the rules that hold for every step from one state to the next.
fn step_obeys_the_rules(step: &Step, policies: &Policies) -> Result<(), TestCaseError> {
    let (before, after) = (step.before, step.after);
    // 001: a client never returns to pending, unless it is deleted and added again.
    if after.service_status() == Some(ServiceStatus::PendingAssigning)
        && before.service_status() != after.service_status()
    {
        prop_assert!(!before.exists(), "pending again");
    }
    // An ended subscription stays ended, until the client is deleted or added again.
    let begins_anew = before.link_status() != after.link_status() && !(before.exists() && after.exists());
    for (id, old) in before.subscriptions.iter() {
        if old.has_ended() && !begins_anew {
            prop_assert_eq!(after.subscriptions.get(id), Some(old));
        }
    }
    // Timers change neither link nor service, and add nothing but the memory of what they remove.
    if step.event.is_none() {
        let published = changes(before, after, policies);
        let is_allowed = |change: &Change| {
            matches!(
                change.kind(),
                ChangeKind::Access(AccessStatus::Expired)
                    | ChangeKind::AccessExpiring
                    | ChangeKind::AccessRequestClosed
                    | ChangeKind::Subscription(SubscriptionStatus::Ended)
                    | ChangeKind::InvitationStalled
                    | ChangeKind::Removed(_)
                    | ChangeKind::Added(Holding::FormerAssignment)
            )
        };
        prop_assert!(published.iter().all(is_allowed), "{}", json!(published));
        prop_assert!(!published.is_empty(), "a timer fired and caused no change");
    }
    Ok(())
}
