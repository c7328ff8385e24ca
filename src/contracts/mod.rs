//! The contracts of events and changes, made from the types in the code: JSON Schemas, the AsyncAPI document, and the reference in
//! `docs/events.md` and `docs/changes.md`. Pure: it depends on the domain and the wire format.

mod asyncapi;
mod change_guide;
mod examples;
mod guide;
mod reference;
mod schemas;

pub use asyncapi::asyncapi;
pub use examples::{Story, change_examples, event_example, events_of, stories};
pub use guide::{App, EVENT_GUIDES, EventGuide};
pub use reference::{changes as changes_reference, events as events_reference, refusals_of};
pub use schemas::{SUBJECT, change, data_of_change, data_of_event, event};
pub(crate) use schemas::{change_attributes, change_specifics, event_attributes, event_specifics};

use serde_json::Value;

use crate::domain::ChangeKind;
use crate::domain::event::TYPES;
use crate::wire::{SchemaFamily, SchemaUris};

/// Every schema, with its place below a folder or a path: `events/client.added` and `events/client.added/data`.
#[must_use]
pub fn all_schemas(uris: &SchemaUris) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut add = |family: SchemaFamily, kind: &str, whole: Option<Value>, data: Option<Value>| {
        let place = format!("{}/{kind}", family.as_str());
        all.extend(whole.map(|schema| (place.clone(), schema)));
        all.extend(data.map(|schema| (format!("{place}/data"), schema)));
    };
    for kind in TYPES {
        add(
            SchemaFamily::Events,
            kind,
            event(kind, uris),
            data_of_event(kind, uris),
        );
    }
    for kind in ChangeKind::ALL {
        let kind = kind.as_str();
        add(
            SchemaFamily::Changes,
            kind,
            change(kind, uris),
            data_of_change(kind, uris),
        );
    }
    all
}
