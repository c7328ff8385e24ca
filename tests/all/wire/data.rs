//! The data of an event: what each type requires, and how values may be written.

use tenure::domain::EventKind;

use super::{data, id, moment, name};

#[test]
fn data_must_be_right() {
    let cases = [
        ("client.added", "{}", "`name` is missing"),
        (
            "client.added",
            r#"{"name": 5}"#,
            "`name` is integer `5`; expected a string",
        ),
        ("client.added", r#"{"name": " "}"#, "`name`: the name is empty"),
        (
            "client.added",
            r#"{"name": "A", "name": "B"}"#,
            "`name` is given twice",
        ),
        (
            "client.added",
            "{\n  \"name\": \"A\",\n  \"imported\": \"yes\"\n}",
            "`imported` is string \"yes\"; expected true or false",
        ),
        (
            "client.added",
            "{\n\"name\": [\"A\"],\n\"imported\": true}",
            "`name` is sequence; expected a string",
        ),
        (
            "client.added",
            "{\n\n\n\"imported\": true,\n\"name\": {}}",
            "`name` is map; expected a string",
        ),
        (
            "client.invited",
            r#"{"channel": "pigeon"}"#,
            "`channel` is `pigeon`; expected `standard` or `referral`",
        ),
        (
            "client.invited",
            r#"{"steps": []}"#,
            "`steps`: `steps` is empty; leave it out for all three",
        ),
        (
            "client.invited",
            r#"{"steps": "accepted"}"#,
            "`steps` is string \"accepted\"; expected a list",
        ),
        ("partner.disconnected", "{}", "`by` is missing"),
        (
            "account.jobs_counted",
            r#"{"total": -1}"#,
            "`total` is integer `-1`; expected a whole number, 0 or more",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 1.5}"#,
            "`total` is floating point `1.5`; expected a whole",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 1e400}"#,
            "`total`: number out of range",
        ),
        (
            "account.jobs_counted",
            r#"{"total": 18446744073709551616}"#,
            "`total` is floating point",
        ),
        (
            "subscription.renewed",
            r#"{"subscription_id": "s", "paid_until": "soon"}"#,
            "`paid_until` is not an RFC 3339 time such as",
        ),
        (
            "subscription.added",
            r#"{"subscription_id": ""}"#,
            "`subscription_id`: an id is empty",
        ),
        (
            "account.created",
            r#"{"by": "staff"}"#,
            "`by` is `staff`; expected `partner` or `customer`",
        ),
        (
            "account.created",
            r#"{"account_id": ""}"#,
            "`account_id`: an id is empty",
        ),
    ];
    for (kind, json, reason) in cases {
        let found = data(kind, json).unwrap_err();
        let reason = format!("the data of {kind}: {reason}");
        assert!(found.starts_with(&reason), "{kind} {json}: {found}");
    }
    for kind in ["subscription.added", "subscription.renewed"] {
        assert_eq!(
            data(
                kind,
                r#"{"subscription_id": "s", "paid_until": "+10000-01-01T00:00:00Z"}"#
            ),
            Err("`paid_until` is outside the years 1 to 9999 (UTC)".into()),
            "{kind}"
        );
    }
}

#[test]
fn times_in_data_are_truncated() {
    assert_eq!(
        data(
            "subscription.renewed",
            r#"{"subscription_id": "s", "paid_until": "2030-01-01T00:00:00.1234567Z"}"#
        ),
        Ok(EventKind::SubscriptionRenewed {
            subscription_id: id("s"),
            paid_until: moment("2030-01-01T00:00:00.123456Z"),
        })
    );
}

#[test]
fn a_nul_in_data_that_is_kept_is_refused() {
    for (kind, json, field) in [
        ("client.added", r#"{"name": "a\u0000b"}"#, "name"),
        ("client.lost", r#"{"reason": "\u0000"}"#, "reason"),
        (
            "assignment.added",
            r#"{"assignment_id": "a", "service": "\u0000"}"#,
            "service",
        ),
        ("user.added", r#"{"user_id": "\u0000"}"#, "user_id"),
    ] {
        let reason = data(kind, json).unwrap_err();
        let start = format!("the data's `{field}` has a NUL character (U+0000)");
        assert!(reason.starts_with(&start), "{reason}");
    }
    // Six characters that only look like one.
    assert_eq!(
        data("client.added", r#"{"name": "\\u0000"}"#),
        Ok(EventKind::ClientAdded {
            name: name("\\u0000"),
            imported: false
        })
    );
}

#[test]
fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
    for (total, expected) in [
        ("100.0", 100),
        ("1e2", 100),
        ("-0.0", 0),
        ("9007199254740993", 9_007_199_254_740_993),
    ] {
        assert_eq!(
            data("account.jobs_counted", &format!("{{\"total\": {total}}}")),
            Ok(EventKind::JobsCounted { total: expected }),
            "{total}"
        );
    }
    for total in [
        "100.5",
        "18446744073709551616",
        "9007199254740994.0",
        "-1.0",
        "\"100\"",
    ] {
        let reason = data("account.jobs_counted", &format!("{{\"total\": {total}}}")).unwrap_err();
        assert!(reason.ends_with("expected a whole number, 0 or more"), "{reason}");
    }
}
