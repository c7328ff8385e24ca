//! The procedure that changes the policy.

use serde_json::{Value, json};

use super::{STRUCTURED, added};
use crate::support::servers::Postgres;
use crate::support::tenure::{Running, Tenure};

fn recorded(shown: &[Value]) -> usize {
    shown.iter().filter(|line| line["line"] == "policy").count()
}

/// Whether the access of the client has this status.
fn is_access(worker: &Running, status: &str) -> bool {
    let (_, client) = worker.get("/v1/partners/p/clients/a");
    client.contains(&format!(r#""access":"{status}""#))
}

#[test]
fn a_policy_is_shown_before_the_workers_get_it_one_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Postgres::shared().database("policy_by_steps");
    let tenure = |idle: &str| {
        let settings = [
            ("DATABASE_URL", &*url),
            ("TENURE_ACCESS__IDLE", idle),
            ("TENURE_EVENTS__MAX_CLOCK_SKEW", "0s"),
        ];
        Tenure::new(folder.path(), &settings)
    };
    let (before, after) = (tenure("36000d"), tenure("60d"));
    let (one, two) = (before.run(), before.run());
    for (kind, data) in [
        ("client.added", json!({"name": "A"})),
        ("client.invited", json!({"steps": ["accepted"]})),
        ("invitation.accepted", json!({})),
    ] {
        let mut event = added("a");
        event["id"] = kind.into();
        event["type"] = kind.into();
        event["data"] = data;
        let (status, answer) = one.post("/v1/events", STRUCTURED, &event.to_string());
        assert!(status == 200 && answer.contains("applied"), "{answer}");
    }
    assert!(is_access(&two, "enabled"));

    // Step 1 changes nothing.
    let was = recorded(&before.json(&["policy", "show"]));
    let shown = after.json(&["policy", "show"]);
    assert_eq!(recorded(&shown), was);
    let would = &shown.last().expect("a line")["at_once"];
    assert_eq!(
        (&would["clients"], &would["held_back"]),
        (&json!(1), &json!(false))
    );
    assert!(is_access(&one, "enabled"));

    // Step 2. The worker that has the old settings does not take the policy back.
    assert!(one.stop().success());
    let one = after.run();
    one.wait_until("expired", || is_access(&one, "expired"));
    two.wait_until("expired", || is_access(&two, "expired"));
    assert!(two.stop().success());
    let two = after.run();
    assert!(is_access(&two, "expired"));
    let shown = after.json(&["policy", "show"]);
    assert_eq!((recorded(&shown), shown.len()), (was + 1, was + 1), "{shown:?}");
    for worker in [one, two] {
        assert!(worker.metric("tenure_policy_held_back").abs() < 0.5);
        assert!(worker.stop().success());
    }
    after.assert_no_drift();
}
