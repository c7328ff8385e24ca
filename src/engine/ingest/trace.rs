//! The spans of a batch, if traces are on.

use super::{Engine, Incoming, Origin};
use crate::traces::{BatchTrace, TracedMessage};

impl Engine {
    /// Begins the spans of a batch of messages. None: traces are off, or the events did not come as messages.
    pub(super) fn begin_trace(&self, incoming: &[Incoming], origin: Origin<'_>) -> Option<BatchTrace> {
        let (traces, make_dead) = (self.traces.as_ref()?, origin.make_dead?);
        if incoming.is_empty() {
            return None;
        }
        let mut place = None;
        let messages: Vec<TracedMessage<'_>> = incoming
            .iter()
            .enumerate()
            .map(|(number, one)| {
                let made;
                let (event, message) = match one {
                    Incoming::Event(event) => {
                        made = make_dead(number, "");
                        (Some(event), &made)
                    }
                    Incoming::Dead(dead_letter) => (None, dead_letter),
                };
                place.get_or_insert_with(|| message.origin.clone());
                TracedMessage {
                    event,
                    sender: origin.sender(message),
                }
            })
            .collect();
        Some(BatchTrace::begin(traces, &place?, origin.request, &messages))
    }
}
