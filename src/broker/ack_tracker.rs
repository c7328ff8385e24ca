//! Tracks a lane's unacknowledged deliveries. Workers finish in any order; acknowledgements go out in delivery order,
//! with one acknowledgement for all finished deliveries from the oldest on.

use std::collections::VecDeque;
use std::sync::Arc;

use lapin::Channel;
use lapin::options::BasicAckOptions;
use lapin::types::DeliveryTag;
use tokio::sync::{Mutex, Notify};

use super::error::BrokerError;
use super::flight::Flight;
use super::pressure::{Pressed, Pressure};

/// The unacknowledged deliveries of one channel.
pub(super) struct AckTracker {
    channel: Channel,
    flight: Arc<Flight>,
    pressure: Pressure,
    /// With more deliveries than this, the lane does not keep up.
    behind_at: usize,
    open: Mutex<Open>,
    emptied: Notify,
}

/// Tags of a channel are consecutive, so the oldest tag and a mark for each later delivery are enough.
#[derive(Default)]
struct Open {
    /// The tag of the first mark in `finished_marks`.
    oldest: DeliveryTag,
    finished_marks: VecDeque<bool>,
    /// Present from the moment the lane falls behind until it catches up.
    pressed: Option<Pressed>,
}

impl Open {
    fn deliver(&mut self, tag: DeliveryTag) {
        if self.finished_marks.is_empty() {
            self.oldest = tag;
        }
        debug_assert_eq!(
            tag,
            self.oldest + self.finished_marks.len() as u64,
            "tags count up by one"
        );
        self.finished_marks.push_back(false);
    }

    /// Marks deliveries as finished, and removes all finished deliveries from the oldest on. Returns the last removed
    /// tag, if any.
    fn finish(&mut self, tags: impl IntoIterator<Item = DeliveryTag>) -> Option<DeliveryTag> {
        for tag in tags {
            let place = tag.checked_sub(self.oldest).and_then(|n| usize::try_from(n).ok());
            if let Some(finished_marks) = place.and_then(|place| self.finished_marks.get_mut(place)) {
                *finished_marks = true;
            }
        }
        let finished = self
            .finished_marks
            .iter()
            .take_while(|finished_marks| **finished_marks)
            .count();
        self.finished_marks.drain(..finished);
        self.oldest += finished as u64;
        (finished > 0).then(|| self.oldest - 1)
    }
}

impl AckTracker {
    pub fn new(channel: Channel, flight: Arc<Flight>, pressure: Pressure, behind_at: usize) -> Self {
        Self {
            channel,
            flight,
            pressure,
            behind_at,
            open: Mutex::default(),
            emptied: Notify::new(),
        }
    }

    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Registers a delivery. Must precede any work on it.
    pub async fn deliver(&self, tag: DeliveryTag) {
        let mut open = self.open.lock().await;
        open.deliver(tag);
        if open.pressed.is_none() && open.finished_marks.len() > self.behind_at {
            open.pressed = Some(self.pressure.rise());
        }
    }

    /// How many deliveries are unacknowledged.
    pub async fn waiting(&self) -> usize {
        self.open.lock().await.finished_marks.len()
    }

    /// Waits until every delivery is acknowledged.
    pub async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting().await == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Marks deliveries as finished, and acknowledges as many as possible.
    pub async fn acknowledge(&self, tags: impl IntoIterator<Item = DeliveryTag>) -> Result<(), BrokerError> {
        // Hold the lock until the acknowledgement is sent: an acknowledgement of fewer deliveries must not follow it.
        let mut open = self.open.lock().await;
        if let Some(last) = open.finish(tags) {
            let options = BasicAckOptions { multiple: true };
            self.channel.basic_ack(last, options).await?;
            self.flight.acknowledge(last);
            // Well below the threshold, so that the state does not flap with each batch.
            if open.finished_marks.len() <= self.behind_at / 2 {
                open.pressed = None;
            }
            if open.finished_marks.is_empty() {
                self.emptied.notify_waiters();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_acknowledged_oldest_first() {
        let mut open = Open::default();
        (1..=6).for_each(|tag| open.deliver(tag));
        assert_eq!(open.finish([2, 3, 5]), None);
        assert_eq!(open.finish([1]), Some(3));
        assert_eq!(open.finish([6]), None);
        assert_eq!(open.finish([6]), None, "twice is once");
        open.deliver(7);
        assert_eq!(open.finish([4]), Some(6));
        assert_eq!(open.finish([3]), None, "answered already");
        assert_eq!(open.finish([7]), Some(7));
        open.deliver(8);
        assert_eq!(open.finish([8]), Some(8));
    }
}
