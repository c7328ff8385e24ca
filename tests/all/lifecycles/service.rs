//! The service (001): assignments, report schedules, margin rules, termination and reactivation.

use serde_json::{Value, json};

use super::*;

const TABLE: &str = "
seed | event                                   | pending         | set_up          | terminated          | in_grace            | reactivated
001  | assignment.added assignment_id=new      | active          | active          | !terminated         | !terminated         | active
001  | assignment.added assignment_id=a1       | active          | !duplicate_id   | !terminated         | !terminated         | active
001  | assignment.removed assignment_id=a1     | !unknown_id     | active          | !unknown_id         | terminated          | !unknown_id
001  | assignment.removed assignment_id=new    | !unknown_id     | !unknown_id     | !unknown_id         | !unknown_id         | !unknown_id
001  | report_schedule.created schedule_id=new | !not_active     | active          | !not_active         | !not_active         | active
001  | report_schedule.created schedule_id=r1  | !not_active     | !duplicate_id   | !not_active         | !not_active         | active
001  | report_schedule.deleted schedule_id=r1  | !unknown_id     | active          | !unknown_id         | terminated          | !unknown_id
001  | report_schedule.deleted schedule_id=new | !unknown_id     | !unknown_id     | !unknown_id         | !unknown_id         | !unknown_id
001  | margin_rule.created rule_id=new         | !not_active     | active          | !not_active         | !not_active         | active
001  | margin_rule.created rule_id=m1          | !not_active     | !duplicate_id   | !not_active         | !not_active         | active
001  | margin_rule.deleted rule_id=m1          | !unknown_id     | active          | !unknown_id         | terminated          | !unknown_id
001  | margin_rule.deleted rule_id=new         | !unknown_id     | !unknown_id     | !unknown_id         | !unknown_id         | !unknown_id
001  | client.terminated                       | terminated      | terminated      | !already_terminated | !already_terminated | terminated
001  | client.reactivated                      | !not_terminated | !not_terminated | active              | active              | !not_terminated
";

fn service(view: &Value) -> String {
    view["service"].as_str().unwrap_or("none").to_owned()
}

/// An active client with an assignment, a report schedule and a margin rule.
pub fn set_up() -> Vec<Event> {
    draft()
        .and("assignment.added assignment_id=a1 service=ads", t(0))
        .and("report_schedule.created schedule_id=r1", t(1))
        .and("margin_rule.created rule_id=m1", t(1))
}

pub fn terminated() -> Vec<Event> {
    set_up().and("client.terminated", t(10))
}

pub fn stories() -> Vec<Story> {
    let matrix = Matrix {
        columns: vec![
            Column::new("pending", draft()),
            Column::new("set_up", set_up()),
            Column::new("terminated", terminated()),
            Column::new("in_grace", terminated()).under(policy(|p| p.cleanup_grace = days(30))),
            Column::new("reactivated", terminated().and("client.reactivated", t(12))),
        ],
        shows: service,
        table: TABLE,
    };
    [
        matrix.stories(),
        assigning(),
        terminating(),
        offering(),
        former_assignments(),
        whatever_the_link(),
    ]
    .concat()
}

fn assigning() -> Vec<Story> {
    vec![
        story(
            "001",
            "the first assignment makes a pending client active, billable and retrieving",
        )
        .given(draft())
        .when(on("assignment.added assignment_id=a1", t(0)))
        .shows(json!({
            "service": "active", "billable": true, "visible": true, "retrieving": true, "assignments": ["a1"],
        }))
        .changes(&[
            "service.active",
            "assignment.added a1",
            "billing.started",
            "data_retrieval.started",
        ]),
        story(
            "001",
            "a client does not return to pending with its last assignment",
        )
        .given(draft().and("assignment.added assignment_id=a1", t(0)))
        .when(on("assignment.removed assignment_id=a1", t(1)))
        .shows(json!({ "service": "active", "billable": true, "retrieving": false, "assignments": [] }))
        .changes(&["assignment.removed a1", "data_retrieval.stopped"]),
        story("001", "data is retrieved while one assignment remains")
            .given(set_up().and("assignment.added assignment_id=a2", t(2)))
            .when(on("assignment.removed assignment_id=a1", t(3)))
            .shows(json!({ "retrieving": true, "assignments": ["a2"] }))
            .changes(&["assignment.removed a1"]),
        story("001", "a removed assignment can be added again")
            .given(set_up().and("assignment.removed assignment_id=a1", t(2)))
            .when(on("assignment.added assignment_id=a1", t(3)))
            .changes(&["assignment.added a1", "data_retrieval.started"]),
        story("001", "a report schedule can be created for an active client")
            .given(set_up())
            .when(on("report_schedule.created schedule_id=r2", t(2)))
            .shows(json!({ "report_schedules": ["r1", "r2"] }))
            .changes(&["report_schedule.added r2"]),
        story("001", "a report schedule can be deleted")
            .given(set_up())
            .when(on("report_schedule.deleted schedule_id=r1", t(2)))
            .changes(&["report_schedule.removed r1"]),
        story("001", "a margin rule can be created for an active client")
            .given(set_up())
            .when(on("margin_rule.created rule_id=m2", t(2)))
            .shows(json!({ "margin_rules": ["m1", "m2"] }))
            .changes(&["margin_rule.added m2"]),
        story("001", "a margin rule can be deleted")
            .given(set_up())
            .when(on("margin_rule.deleted rule_id=m1", t(2)))
            .changes(&["margin_rule.removed m1"]),
    ]
}

fn terminating() -> Vec<Story> {
    vec![
        story(
            "001",
            "a terminated client loses its schedules, rules and assignments, and is not billed",
        )
        .given(set_up())
        .when(on("client.terminated", t(10)))
        .shows(json!({
            "service": "terminated", "billable": false, "visible": false, "retrieving": false,
            "assignments": [], "report_schedules": [], "margin_rules": [],
        }))
        .changes(&[
            "service.terminated",
            "billing.stopped",
            "data_retrieval.stopped",
            "visibility.stopped",
            "assignment.removed a1",
            "former_assignment.added a1",
            "report_schedule.removed r1",
            "margin_rule.removed m1",
        ]),
        story(
            "001",
            "a pending client can be terminated without ever being billable",
        )
        .given(draft())
        .when(on("client.terminated reason=mistake", t(0)))
        .shows(json!({ "service": "terminated", "visible": false }))
        .changes(&["service.terminated", "visibility.stopped"]),
        story(
            "001",
            "a reactivated client is billable at once, and retrieves nothing until a new assignment",
        )
        .given(terminated())
        .when(on("client.reactivated", t(12)))
        .shows(json!({ "service": "active", "billable": true, "visible": true, "retrieving": false }))
        .changes(&["service.active", "billing.started", "visibility.started"]),
        story(
            "001",
            "a client that was terminated while pending becomes active when reactivated",
        )
        .given(draft().and("client.terminated", t(0)))
        .when(on("client.reactivated", t(1)))
        .shows(json!({ "service": "active", "billable": true })),
        story("001", "a new assignment starts data retrieval again")
            .given(terminated().and("client.reactivated", t(12)))
            .when(on("assignment.added assignment_id=a1", t(13)))
            .shows(json!({ "retrieving": true }))
            .changes(&[
                "assignment.added a1",
                "former_assignment.removed a1",
                "data_retrieval.started",
            ]),
        story(
            "001",
            "a client that is reactivated before the clean-up keeps its holdings",
        )
        .under(policy(|p| p.cleanup_grace = days(7)))
        .given(terminated())
        .when(on("client.reactivated", t(12)))
        .shows(json!({ "retrieving": true, "report_schedules": ["r1"], "margin_rules": ["m1"] }))
        .changes(&[
            "service.active",
            "billing.started",
            "data_retrieval.started",
            "visibility.started",
        ])
        .no_timer_is_due(),
        story(
            "001",
            "termination does not change the link: access and commission continue",
        )
        .given(active())
        .when(on("client.terminated", t(5)))
        .shows(json!({ "link": "active", "access": "enabled", "commission": true, "status_credit": true }))
        .changes(&["service.terminated", "visibility.stopped"]),
    ]
}

/// What the dashboard offers for a client.
fn offering() -> Vec<Story> {
    let offers = |view: &str, assignable: bool| json!({ "view_as_client": view, "assignable": assignable });
    vec![
        story("001", "a pending client can be viewed, but shows no connections")
            .given(draft())
            .until(t(0))
            .shows(offers("no_connections", true)),
        story("001", "an assigned client shows its data")
            .given(set_up())
            .until(t(1))
            .shows(offers("data", true)),
        story("001", "an active client without assignments shows no connections")
            .given(set_up().and("assignment.removed assignment_id=a1", t(2)))
            .until(t(2))
            .shows(offers("no_connections", true)),
        story("001", "a terminated client can be neither viewed nor assigned")
            .given(terminated())
            .until(t(10))
            .shows(offers("no", false)),
        story(
            "001",
            "a terminated client that is not cleaned up yet shows nothing either",
        )
        .under(policy(|p| p.cleanup_grace = days(7)))
        .given(terminated())
        .until(t(10))
        .shows(offers("no", false)),
        story(
            "001",
            "a reactivated client shows no connections until it is assigned again",
        )
        .given(terminated().and("client.reactivated", t(12)))
        .until(t(12))
        .shows(offers("no_connections", true)),
        story("ours", "a deleted client can be neither viewed nor assigned")
            .given(set_up())
            .when(on("client.deleted", t(5)))
            .shows(offers("no", false)),
    ]
}

/// What a clean-up removed, so that the client can be mapped back.
fn former_assignments() -> Vec<Story> {
    let formerly = |ids: &[&str]| json!({ "former_assignments": ids });
    let reactivated = || {
        set_up()
            .and("assignment.added assignment_id=a2", t(2))
            .and("client.terminated", t(10))
            .and("client.reactivated", t(12))
    };
    vec![
        story(
            "001",
            "the clean-up of a terminated client remembers its assignments",
        )
        .given(reactivated())
        .until(t(12))
        .shows(formerly(&["a1", "a2"])),
        story(
            "001",
            "an assignment that was removed before the clean-up is not remembered",
        )
        .given(
            set_up()
                .and("assignment.added assignment_id=a2", t(2))
                .and("assignment.removed assignment_id=a1", t(3)),
        )
        .when(on("client.terminated", t(10)))
        .shows(formerly(&["a2"])),
        story("001", "nothing is remembered before the clean-up")
            .under(policy(|p| p.cleanup_grace = days(7)))
            .given(terminated())
            .until(t(17) - MICRO)
            .shows(formerly(&[])),
        story("001", "they are remembered until the client is assigned again")
            .given(reactivated())
            .when(on("assignment.added assignment_id=a3", t(13)))
            .shows(formerly(&[])),
        story(
            "001",
            "a clean-up without assignments leaves what an earlier one removed",
        )
        .given(
            reactivated()
                .and("report_schedule.created schedule_id=r9", t(13))
                .and("client.terminated", t(14)),
        )
        .until(t(14))
        .shows(formerly(&["a1", "a2"])),
        story("001", "the next clean-up remembers only what it removed itself")
            .given(reactivated().and("assignment.added assignment_id=a3", t(13)))
            .when(on("client.terminated", t(14)))
            .shows(formerly(&["a3"])),
        story("ours", "a deleted client has no former assignments")
            .given(terminated())
            .when(on("client.deleted", t(11)))
            .shows(formerly(&[])),
        story("ours", "the clean-up of a deletion remembers nothing")
            .given(set_up())
            .when(on("client.deleted", t(11)))
            .shows(formerly(&[])),
    ]
}

/// The facets change independently.
fn whatever_the_link() -> Vec<Story> {
    [
        ("draft", draft()),
        ("invited", invited()),
        ("active", active()),
        ("invitation_rejected", invitation_rejected()),
        ("access_rejected", access_rejected()),
        ("archived", archived()),
        ("lost", lost()),
    ]
    .into_iter()
    .map(|(link, given)| {
        story(
            "001",
            format!("a client whose link is {link} becomes active with its first assignment"),
        )
        .given(given)
        .when(on("assignment.added assignment_id=a1", t(12)))
        .shows(json!({ "link": link, "service": "active", "billable": true, "retrieving": true }))
    })
    .collect()
}

#[test]
fn the_service_follows_the_tables() {
    check(&stories());
}
