//! The messages that the events of a batch were decoded from. An event can turn out to be its sender's mistake only when the store
//! is read, and is then stored as a dead letter with the bytes and headers that were sent.

use crate::domain::Event;
use crate::store::{DeadLetter, EventTrace};
use crate::traces::{BatchTrace, Child};
use crate::wire::{self, TraceContext};

/// Makes a dead letter of the message at a place in the batch, with a reason.
pub type MakeDead<'a> = &'a (dyn Fn(usize, &str) -> DeadLetter + Sync);

/// The origin of events that did not come as messages.
const NO_MESSAGE: &str = "engine";

/// Where the events of a batch come from.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Origin<'a> {
    /// None: they did not come as messages.
    pub make_dead: Option<MakeDead<'a>>,
    /// The span of the request that sent all of them.
    pub request: Option<&'a TraceContext>,
}

impl Origin<'_> {
    /// The span that the sender of a message names. The span of a request replaces the header of its transport.
    pub fn sender(&self, message: &DeadLetter) -> Option<TraceContext> {
        match self.request {
            Some(_) => TraceContext::of_event(message),
            None => TraceContext::of(message),
        }
    }

    /// The id of the trace that a message belongs to.
    pub fn trace_id(&self, message: &DeadLetter) -> Option<String> {
        let sender = self.sender(message);
        let context = sender.as_ref().or(self.request)?;
        Some(context.trace_id_text())
    }
}

/// The messages of a batch.
#[derive(Clone, Copy)]
pub(super) struct Originals<'a> {
    pub origin: Origin<'a>,
    /// Two events of the batch have one source and id.
    pub has_namesakes: bool,
    /// The spans of the batch. None: traces are off.
    pub trace: Option<&'a BatchTrace>,
}

impl Originals<'_> {
    /// Begins a span of work for the whole batch.
    pub fn span(&self, name: &'static str) -> Option<Child> {
        self.trace.map(|trace| trace.child(name))
    }

    /// The trace contexts of these events, each with its place in the batch. Empty: traces are off.
    pub fn traces<'e>(&self, events: impl IntoIterator<Item = (usize, &'e Event)>) -> Vec<EventTrace> {
        self.trace.map(|trace| trace.stored(events)).unwrap_or_default()
    }

    /// The message of an event as a dead letter.
    pub fn dead(&self, place: usize, event: &Event, reason: &str) -> DeadLetter {
        match self.origin.make_dead {
            Some(make_dead) => make_dead(place, reason),
            None => wire::dead_event(NO_MESSAGE, &wire::event(event), reason),
        }
    }
}
