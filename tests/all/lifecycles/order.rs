//! Order and time: the state depends only on the set of events and the moment.

use serde_json::json;
use tenure::domain::event::{Position, TYPES};
use tenure::domain::{Client, Refusal, fold};

use super::*;
use crate::generate;

fn at(events: &[Event], moment: DateTime<Utc>) -> Client {
    fold(events, moment, &Policies::default())
}

fn link_of(events: &[Event], moment: DateTime<Utc>) -> &'static str {
    at(events, moment)
        .link_status()
        .map_or("nothing", |link| link.as_str())
}

#[test]
fn the_rank_of_an_event_type_is_its_place_in_the_tables() {
    for (rank, kind) in TYPES.iter().enumerate() {
        let event = ev(kind, t(0), &generate::sample(kind));
        assert_eq!(
            (event.kind.type_name(), usize::from(event.kind.rank())),
            (*kind, rank)
        );
    }
}

#[test]
fn events_are_ordered_by_time_sequence_type_source_and_id() {
    let event = |text: &str, time, sequence: Option<&str>, source: &str, id: &str| {
        let event = named(on(text, time), source, id);
        sequence.map_or(event.clone(), |sequence| sequenced(event, sequence))
    };
    let sorted = [
        event("client.deleted", t(0) - MICRO, Some("9"), "z", "z"),
        event("client.added name=x", t(0), None, "b", "b"),
        event("client.deleted", t(0), None, "a", "a"),
        event("client.deleted", t(0), Some("1"), "a", "a"),
        event("client.added name=x", t(0), Some("2"), "z", "z"),
        event("client.renamed name=x", t(0), Some("2"), "a", "b"),
        event("client.renamed name=x", t(0), Some("2"), "b", "a"),
        event("client.renamed name=x", t(0), Some("2"), "b", "b"),
        event("client.deleted", t(0), Some("9"), "a", "a"),
        event("client.deleted", t(0), Some("10"), "a", "a"),
        event("client.deleted", t(0), Some("1a"), "a", "a"),
        event("client.deleted", t(0), Some("a"), "a", "a"),
        event("client.added name=x", t(0) + MICRO, None, "a", "a"),
    ];
    let positions: Vec<Position> = sorted.iter().map(Event::position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:#?}");
}

#[test]
fn an_app_can_add_and_invite_in_one_step() {
    let events = vec![
        on("consent.granted", t(0)),
        on("client.invited", t(0)),
        on("invitation.accepted", t(0)),
        on("client.added name=Bakery", t(0)),
        on("onboarding.completed", t(0)),
    ];
    assert_eq!(link_of(&events, t(0)), "active");
}

#[test]
fn the_sequence_orders_events_of_a_moment_before_the_type() {
    let archive_first = draft()
        .and(r#"client.invited steps=["accepted"]"#, t(-2))
        .and("invitation.accepted", t(-1))
        .and_event(sequenced(on("client.archived", t(0)), "1"))
        .and_event(sequenced(on("client.invited", t(0)), "2"));
    assert_eq!(link_of(&archive_first, t(0)), "invited");
    let by_type = draft()
        .and(r#"client.invited steps=["accepted"]"#, t(-2))
        .and("invitation.accepted", t(-1))
        .and("client.invited", t(0))
        .and("client.archived", t(0));
    assert_eq!(
        link_of(&by_type, t(0)),
        "archived",
        "the invitation comes first and is refused"
    );
}

#[test]
fn sequences_of_digits_are_compared_as_numbers_and_come_before_text() {
    let last = |sequences: &[&str]| {
        let renamed =
            |sequence: &&str| sequenced(on(&format!("client.renamed name=n{sequence}"), t(0)), sequence);
        let events = sequences.iter().map(renamed).fold(draft(), And::and_event);
        at(&events, t(0)).name.expect("a name").as_str().to_owned()
    };
    assert_eq!(last(&["9", "10"]), "n10");
    assert_eq!(last(&["10", "9"]), "n10");
    assert_eq!(last(&["010", "9"]), "n010");
    assert_eq!(last(&["18446744073709551616", "99"]), "n18446744073709551616");
    assert_eq!(last(&["b", "a", "99"]), "nb");
    assert_eq!(last(&["a10", "a9"]), "na9");
}

#[test]
fn the_source_and_then_the_id_order_equal_events() {
    let renamed = |name: &str, source: &str, id: &str| {
        named(on(&format!("client.renamed name={name}"), t(0)), source, id)
    };
    let last = |events: Vec<Event>| at(&events, t(0)).name.expect("a name").as_str().to_owned();
    let by_source = draft()
        .and_event(renamed("b", "b", "1"))
        .and_event(renamed("a", "a", "2"));
    assert_eq!(last(by_source), "b");
    let by_id = draft()
        .and_event(renamed("two", "a", "2"))
        .and_event(renamed("one", "a", "1"));
    assert_eq!(last(by_id), "two");
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let history = archived()
        .and("client.invited", t(20))
        .and("access.requested", t(21))
        .and("assignment.added assignment_id=a1", t(5));
    let mut backwards = history.clone();
    backwards.reverse();
    let mut rotated = history.clone();
    rotated.rotate_left(4);
    assert_eq!(at(&history, t(30)), at(&backwards, t(30)));
    assert_eq!(at(&history, t(30)), at(&rotated, t(30)));
}

#[test]
fn a_duplicate_changes_nothing() {
    let once = draft().and("client.invited", t(-2));
    let twice = [once.clone(), once.clone(), once.clone()].concat();
    assert_eq!(at(&once, t(0)), at(&twice, t(0)));
    assert_eq!(at(&twice, t(0)).invitations, 1);
    let resent = once.and_event(named(on("client.invited", t(-2)), "app", "another"));
    assert_eq!(at(&resent, t(0)).invitations, 2, "another id is another event");
}

#[test]
fn events_after_the_moment_do_not_count() {
    let history = archived();
    assert_eq!(
        link_of(&history, t(10)),
        "archived",
        "an event at the moment counts"
    );
    assert_eq!(link_of(&history, t(10) - MICRO), "active");
    assert_eq!(link_of(&history, t(-4)), "nothing");
}

#[test]
fn a_timer_of_the_same_moment_fires_before_the_event() {
    let entered = active().and("account.accessed", t(60));
    assert_eq!(at(&entered, t(60)).access_status().as_str(), "expired");
    let asked = active().and("access.requested", t(60));
    assert_eq!(at(&asked, t(60)).access_request(), Some(t(60)));
}

#[test]
fn a_timer_that_is_due_at_once_fires_between_two_events_of_a_moment() {
    let events = super::service::set_up()
        .and_event(sequenced(on("client.terminated", t(5)), "1"))
        .and_event(sequenced(on("client.reactivated", t(5)), "2"));
    let client = at(&events, t(5));
    assert!(client.billable());
    assert!(
        client.assignments.is_empty(),
        "the clean-up was due, so it is too late to cancel"
    );
}

#[test]
fn a_refused_event_is_evaluated_again_when_an_earlier_event_arrives() {
    let mut client = Client::default();
    let policies = Policies::default();
    let invited = on("client.invited", t(1));
    assert_eq!(client.apply(&invited, &policies), Err(Refusal::UnknownClient));
    let added = on("client.added name=Bakery", t(0));
    assert!(
        client.is_past(&added.position()),
        "it arrives too late to be applied in order"
    );
    assert_eq!(link_of(&[invited, added], t(1)), "invited");
}

#[test]
fn an_event_is_late_after_a_later_event_or_a_fired_timer() {
    let policies = Policies::default();
    let mut client = at(&active(), t(1));
    let position = |moment| on("access.disabled", moment).position();
    assert!(client.is_past(&position(t(0) - MICRO)));
    let last = on("consent.granted", t(0)).position();
    assert_eq!(client.seen.as_ref(), Some(&last));
    assert!(client.is_past(&last), "a seen event is in the past");
    assert!(!client.is_past(&position(t(1))), "no event and no timer is later");
    client.advance(t(50), &policies);
    assert_eq!(client.as_of(), Some(t(46)), "the first warning");
    assert!(client.is_past(&position(t(46) - MICRO)));
    assert!(
        !client.is_past(&position(t(46))),
        "a timer fires before an event of the same moment"
    );
}

#[test]
fn two_touches_at_the_same_moment_count_once() {
    let entry = |source: &str| named(on("account.accessed", t(5)), source, "1");
    assert_eq!(entry("a").position(), entry("b").position());
    let one = active().and_event(entry("a"));
    let both = active().and_event(entry("b")).and_event(entry("a"));
    assert_eq!(at(&one, t(6)), at(&both, t(6)));
}

#[test]
fn times_are_truncated_to_the_microsecond() {
    let fine: DateTime<Utc> = "2026-01-01T00:00:00.123456789Z".parse().expect("a time");
    let truncated: DateTime<Utc> = "2026-01-01T00:00:00.123456Z".parse().expect("a time");
    assert_eq!(Event::truncate(fine), truncated);
    let early: DateTime<Utc> = "1969-12-31T23:59:59.999999999Z".parse().expect("a time");
    assert_eq!(
        z(Event::truncate(early)),
        "1969-12-31T23:59:59.999999Z",
        "towards the past, even before 1970"
    );
    let leap: DateTime<Utc> = "2016-12-31T23:59:60Z".parse().expect("a leap second");
    assert_eq!(
        z(Event::truncate(leap)),
        "2017-01-01T00:00:00Z",
        "stores have no leap seconds"
    );
    let renewed = ev(
        "subscription.renewed",
        t(0),
        &json!({ "subscription_id": "s1", "paid_until": z(fine) }),
    );
    let paid = serde_json::to_value(&renewed.kind).expect("JSON");
    assert_eq!(paid["data"]["paid_until"], json!(z(truncated)));
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_errors() {
    assert!(
        kind_of(
            "consent.granted",
            &json!({ "channel": "phone", "by": { "x": 1 } })
        )
        .is_ok()
    );
    assert!(kind_of("client.exploded", &json!({})).is_err());
    for kind in TYPES {
        assert!(kind_of(kind, &json!([])).is_err(), "{kind}: data is an object");
    }
}
