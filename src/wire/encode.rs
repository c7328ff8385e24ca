//! Encodes events and changes as structured CloudEvents.

use serde::Serialize;

use super::{SchemaFamily, SchemaUris, TraceContext};
use crate::domain::event::OWN_SOURCE;
use crate::domain::time::rfc3339;
use crate::domain::{Actor, Cause, Change, Corrector, Event, EventKind};
use crate::store::Recorded;

#[derive(Serialize)]
struct EventEnvelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    subject: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<&'a str>,
    #[serde(flatten)]
    actor: &'a Actor,
    partitionkey: &'a str,
    datacontenttype: &'static str,
    /// `type` and `data`.
    #[serde(flatten)]
    kind: &'a EventKind,
}

/// An event as structured JSON, in the form that an upstream app sends.
///
/// # Panics
/// Never: every part of an event is serializable.
#[must_use]
pub fn event(event: &Event) -> Vec<u8> {
    let subject = event.key.to_string();
    let envelope = EventEnvelope {
        specversion: "1.0",
        id: &event.id,
        source: &event.source,
        subject: &subject,
        time: rfc3339(event.time),
        sequence: event.sequence.as_deref(),
        actor: &event.actor,
        partitionkey: &subject,
        datacontenttype: "application/json",
        kind: &event.kind,
    };
    serde_json::to_vec(&envelope).expect("strings, numbers and lists of them can be written")
}

#[derive(Serialize)]
struct ChangeEnvelope<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: String,
    partitionkey: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    datacontenttype: &'static str,
    dataschema: String,
    data: ChangeData<'a>,
}

#[derive(Serialize)]
struct ChangeData<'a> {
    /// As text: it exceeds the integers that JavaScript represents exactly.
    epoch: String,
    sequence: i64,
    /// `type`, `id`, `from`, `to`, `data`.
    #[serde(flatten)]
    change: &'a Change,
    recorded: String,
    cause: &'a Cause,
    correction: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected_by: Option<&'a Corrector>,
}

/// The id of a change's event: the epoch of the journal and the number of the line, both as 19 digits. A change that is
/// published twice in an epoch has the same id both times. Of two changes of a client, the newer has the greater id,
/// compared as text, because a later epoch is greater.
#[must_use]
pub fn change_id(epoch: i64, line: &Recorded) -> String {
    id_of_change(epoch, line.cursor.sequence)
}

/// As [`change_id`], of the line with this number.
#[must_use]
pub fn id_of_change(epoch: i64, sequence: i64) -> String {
    format!("{epoch:019}_{sequence:019}")
}

/// A journal line as structured JSON, for subscribers of `tenure.changes`.
///
/// # Panics
/// Never: every part of a change is serializable.
#[must_use]
pub fn change(epoch: i64, line: &Recorded, schemas: &SchemaUris) -> Vec<u8> {
    traced_change(epoch, line, schemas, None)
}

/// As [`change`], of a change that belongs to a trace.
pub(crate) fn traced_change(
    epoch: i64,
    line: &Recorded,
    schemas: &SchemaUris,
    trace: Option<&TraceContext>,
) -> Vec<u8> {
    let entry = &line.entry;
    let subject = entry.key.to_string();
    let envelope = ChangeEnvelope {
        specversion: "1.0",
        id: change_id(epoch, line),
        source: OWN_SOURCE,
        kind: entry.change.kind().as_str(),
        subject: &subject,
        time: rfc3339(entry.time),
        partitionkey: &subject,
        traceparent: trace.map(TraceContext::traceparent),
        tracestate: trace.map(|trace| &*trace.state).filter(|state| !state.is_empty()),
        datacontenttype: "application/json",
        dataschema: schemas.data(SchemaFamily::Changes, entry.change.kind().as_str()),
        data: ChangeData {
            epoch: format!("{epoch:019}"),
            sequence: line.cursor.sequence,
            change: &entry.change,
            recorded: rfc3339(line.recorded_at),
            cause: &entry.cause,
            correction: entry.is_correction(),
            corrected_by: entry.corrected_by.as_ref(),
        },
    };
    serde_json::to_vec(&envelope).expect("strings, numbers and lists of them can be written")
}
