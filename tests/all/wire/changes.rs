//! Changes as they are published.

use serde_json::{Value, json};
use tenure::domain::access::AccessStatus;
use tenure::domain::{Cause, Change, ClientKey, Corrector, Entry, Repair, Timer};
use tenure::store::{Cursor, Recorded};
use tenure::wire::{self, SchemaUris};

use super::{moment, now};

#[test]
fn the_published_form_of_a_change() {
    let line = Recorded {
        cursor: Cursor {
            transaction: 7,
            sequence: 42,
        },
        entry: Entry {
            key: ClientKey::new("acme", "c-1").unwrap(),
            change: Change::Access {
                from: AccessStatus::Enabled,
                to: AccessStatus::Expired,
                expires_at: None,
            },
            time: moment("2026-03-01T11:00:00.5Z"),
            cause: Cause::Timer {
                timer: Timer::AccessExpiry,
            },
            corrected_by: None,
        },
        recorded_at: now(),
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&wire::change(
            1_764_119_999_123_000_042,
            &line,
            &SchemaUris::default()
        ))
        .unwrap(),
        json!({
            "specversion": "1.0",
            "id": "1764119999123000042_0000000000000000042",
            "source": "tenure",
            "type": "access.expired",
            "subject": "acme/c-1",
            "time": "2026-03-01T11:00:00.500Z",
            "partitionkey": "acme/c-1",
            "datacontenttype": "application/json",
            "dataschema": "urn:tenure:schemas:changes:access.expired:data",
            "data": {
                "epoch": "1764119999123000042",
                "sequence": 42,
                "type": "access.expired",
                "from": "enabled",
                "to": "expired",
                "recorded": "2026-03-01T12:00:00Z",
                "cause": {"timer": "access_expiry"},
                "correction": false,
            },
        })
    );
}

#[test]
fn the_published_form_of_a_correction() {
    let mut line = Recorded {
        cursor: Cursor::default(),
        entry: Entry {
            key: ClientKey::new("acme", "c-1").unwrap(),
            change: Change::Access {
                from: AccessStatus::Expired,
                to: AccessStatus::Enabled,
                expires_at: Some(moment("2026-03-02T11:00:00Z")),
            },
            time: moment("2026-01-01T11:00:00Z"),
            cause: Cause::Timer {
                timer: Timer::AccessExpiry,
            },
            corrected_by: Some(Corrector::LateEvent {
                source: "/app".into(),
                id: "7".into(),
                kind: "account.accessed".into(),
            }),
        },
        recorded_at: now(),
    };
    let published = |line: &Recorded| {
        serde_json::from_slice::<Value>(&wire::change(1, line, &SchemaUris::default())).unwrap()
    };
    let data = published(&line)["data"].clone();
    assert_eq!(data["correction"], true);
    assert_eq!(
        data["corrected_by"],
        json!({"source": "/app", "id": "7", "type": "account.accessed"})
    );
    assert_eq!(data["data"], json!({"expires_at": "2026-03-02T11:00:00Z"}));
    line.entry.corrected_by = Some(Corrector::Rebuild {
        rebuild: Repair::Journal,
    });
    assert_eq!(
        published(&line)["data"]["corrected_by"],
        json!({"rebuild": "journal"})
    );
}
