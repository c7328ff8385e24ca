//! What a lane was delivered and has not acknowledged. Workers finish in any order; RabbitMQ is answered in the order of
//! delivery, with one answer for all that is finished from the oldest on.

use std::collections::VecDeque;
use std::sync::Arc;

use lapin::Channel;
use lapin::options::BasicAckOptions;
use lapin::types::DeliveryTag;
use tokio::sync::{Mutex, Notify};

use super::error::BrokerError;
use super::flight::Flight;
use super::pressure::{Pressed, Pressure};

/// The deliveries of one channel that are not acknowledged.
pub(super) struct AckTracker {
    channel: Channel,
    flight: Arc<Flight>,
    pressure: Pressure,
    /// With more than so many, the lane does not keep up.
    behind_at: usize,
    open: Mutex<Open>,
    emptied: Notify,
}

/// Tags of one channel count up by one, so the oldest and a mark for each that follows say it all.
#[derive(Default)]
struct Open {
    /// The tag of the first in `finished_marks`.
    oldest: DeliveryTag,
    finished_marks: VecDeque<bool>,
    /// There, since the lane did not keep up, until it does.
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

    /// Marks deliveries as finished, and takes out all that are from the oldest on. The last of those, if any.
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

    /// Enters a delivery. Before anything is done with it.
    pub async fn deliver(&self, tag: DeliveryTag) {
        let mut open = self.open.lock().await;
        open.deliver(tag);
        if open.pressed.is_none() && open.finished_marks.len() > self.behind_at {
            open.pressed = Some(self.pressure.rise());
        }
    }

    /// How many deliveries are not acknowledged.
    pub async fn waiting(&self) -> usize {
        self.open.lock().await.finished_marks.len()
    }

    /// Waits until all are.
    pub async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting().await == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Deliveries are finished; acknowledges what can be.
    pub async fn acknowledge(&self, tags: impl IntoIterator<Item = DeliveryTag>) -> Result<(), BrokerError> {
        // Held until the answer is on its way: one that stands for fewer must not come after it.
        let mut open = self.open.lock().await;
        if let Some(last) = open.finish(tags) {
            let options = BasicAckOptions { multiple: true };
            self.channel.basic_ack(last, options).await?;
            self.flight.acknowledge(last);
            // Well below where it began, so that it does not come and go with each batch.
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
    fn answers_are_given_from_the_oldest_on() {
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
