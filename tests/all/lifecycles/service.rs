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
    [matrix.stories(), assigning(), terminating(), whatever_the_link()].concat()
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
            "assignment.removed a1",
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
        .changes(&["service.terminated"]),
        story(
            "001",
            "a reactivated client is billable at once, and retrieves nothing until a new assignment",
        )
        .given(terminated())
        .when(on("client.reactivated", t(12)))
        .shows(json!({ "service": "active", "billable": true, "visible": true, "retrieving": false }))
        .changes(&["service.active", "billing.started"]),
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
            .changes(&["assignment.added a1", "data_retrieval.started"]),
        story(
            "001",
            "a client that is reactivated before the clean-up keeps its holdings",
        )
        .under(policy(|p| p.cleanup_grace = days(7)))
        .given(terminated())
        .when(on("client.reactivated", t(12)))
        .shows(json!({ "retrieving": true, "report_schedules": ["r1"], "margin_rules": ["m1"] }))
        .changes(&["service.active", "billing.started", "data_retrieval.started"])
        .no_timer_is_due(),
        story(
            "001",
            "termination does not change the link: access and commission continue",
        )
        .given(active())
        .when(on("client.terminated", t(5)))
        .shows(json!({ "link": "active", "access": "enabled", "commission": true, "status_credit": true }))
        .changes(&["service.terminated"]),
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
