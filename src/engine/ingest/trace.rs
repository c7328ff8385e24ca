//! The spans of a batch, if traces are on.

use super::{Engine, Incoming, MakeDead};
use crate::traces::{BatchTrace, TracedMessage};
use crate::wire::TraceContext;

impl Engine {
    /// Begins the spans of a batch of messages. None: traces are off, or the events did not come as messages.
    pub(super) fn begin_trace(
        &self,
        incoming: &[Incoming],
        make_dead: Option<MakeDead<'_>>,
    ) -> Option<BatchTrace> {
        let (traces, make_dead) = (self.traces.as_ref()?, make_dead?);
        if incoming.is_empty() {
            return None;
        }
        let mut origin = None;
        let messages: Vec<TracedMessage<'_>> = incoming
            .iter()
            .enumerate()
            .map(|(place, one)| {
                let made;
                let (event, message) = match one {
                    Incoming::Event(event) => {
                        made = make_dead(place, "");
                        (Some(event), &made)
                    }
                    Incoming::Dead(dead_letter) => (None, dead_letter),
                };
                origin.get_or_insert_with(|| message.origin.clone());
                TracedMessage {
                    event,
                    context: TraceContext::of(message),
                }
            })
            .collect();
        Some(BatchTrace::begin(traces, &origin?, &messages))
    }
}
