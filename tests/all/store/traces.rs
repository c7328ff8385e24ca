//! The trace contexts of events.

use std::collections::BTreeMap;

use tenure::domain::{Cause, ClientKey, Entry};
use tenure::store::{Commit, Cursor, EventTrace, Recorded, RetentionTarget, Store, TraceHeaders};

use super::Fresh;
use super::given::*;

const UUID: &str = "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11";

fn headers(span: u8, state: &str) -> TraceHeaders {
    TraceHeaders {
        traceparent: format!("00-0af7651916cd43dd8448eb211c80319c-{span:016x}-01"),
        tracestate: state.to_owned(),
    }
}

fn trace(client: &ClientKey, id: &str, headers: TraceHeaders) -> EventTrace {
    EventTrace {
        client: client.clone(),
        source: "/apps/space".into(),
        id: id.into(),
        headers,
    }
}

/// A line that this event caused.
fn caused(client: &ClientKey, to: &str, event: &str) -> Entry {
    let mut entry = entry(client, to);
    if let Cause::Event { id, .. } = &mut entry.cause {
        *id = event.into();
    }
    entry
}

/// The contexts of the lines, by their `to`.
async fn read(store: &dyn Store, lines: usize) -> BTreeMap<String, TraceHeaders> {
    let lines = relayed(store, lines, 100).await;
    let places: Vec<Cursor> = lines.iter().map(|line| line.cursor).collect();
    let found = store.event_traces(&places).await.unwrap();
    let found: BTreeMap<Cursor, TraceHeaders> = found.into_iter().collect();
    let of_line = |line: &Recorded| {
        let (_, to) = clients_and_values(std::slice::from_ref(line)).remove(0);
        Some((to, found.get(&line.cursor)?.clone()))
    };
    lines.iter().filter_map(of_line).collect()
}

pub async fn a_line_has_the_trace_context_of_the_event_that_caused_it(fresh: Fresh) {
    let store = &*fresh.store;
    let (bakery, florist) = (key("bakery"), key("florist"));
    let committed = Commit {
        clients: vec![new_client(&bakery, "Bakery"), new_client(&florist, "Florist")],
        traces: vec![
            trace(&bakery, "e-1", headers(1, "vendor=1,other=a b")),
            trace(&florist, UUID, headers(2, "")),
            trace(&florist, "without a line", headers(3, "")),
        ],
        ..journal(vec![
            caused(&bakery, "A", "e-1"),
            caused(&bakery, "B", "e-1"),
            caused(&florist, "C", UUID),
            caused(&florist, "D", "untraced"),
        ])
    };
    put(store, committed).await.unwrap();
    let expected: BTreeMap<String, TraceHeaders> = [
        ("A", headers(1, "vendor=1,other=a b")),
        ("B", headers(1, "vendor=1,other=a b")),
        ("C", headers(2, "")),
    ]
    .map(|(to, headers)| (to.to_owned(), headers))
    .into();
    assert_eq!(read(store, 4).await, expected);
    assert_eq!(store.event_traces(&[]).await.unwrap(), []);

    let again = Commit {
        traces: vec![trace(&bakery, "e-1", headers(9, ""))],
        ..commit()
    };
    put(store, again).await.unwrap();
    assert_eq!(read(store, 4).await, expected, "the first one stays");
}

pub async fn old_trace_contexts_are_pruned(fresh: Fresh) {
    let store = &*fresh.store;
    let bakery = key("bakery");
    for (id, recorded) in [("e-1", 10), ("e-2", 20), ("e-3", 30)] {
        let committed = Commit {
            traces: vec![trace(&bakery, id, headers(1, ""))],
            recorded_at: moment(recorded),
            ..journal(vec![caused(&bakery, id, id)])
        };
        put(store, committed).await.unwrap();
    }
    let target = RetentionTarget::Traces;
    assert_eq!(store.count_prunable(target, moment(30)).await.unwrap(), 2);
    for removed in [1, 1, 0] {
        assert_eq!(store.prune(target, moment(30), 1).await.unwrap(), removed);
    }
    let left: Vec<String> = read(store, 3).await.into_keys().collect();
    assert_eq!(left, ["e-3"]);
}
