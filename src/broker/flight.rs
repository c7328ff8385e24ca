//! What is in flight on a channel: delivered and not acknowledged. It is bounded in bytes.
//!
//! RabbitMQ has a prefetch in messages only, and lapin takes into memory whatever comes. So deliveries are counted where they
//! come in. Behind the one that exceeds the bound all are discarded, and the lane gives everything back to RabbitMQ and begins
//! anew with a smaller prefetch.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::types::{ChannelId, DeliveryTag};
use tokio_util::sync::CancellationToken;

/// What a message takes in memory beside its bytes.
const OVERHEAD: usize = 512;
/// A prefetch that was made smaller may grow after so many times as many messages, and not before [`LEAST_SEEN`].
const SEEN_BEFORE_GROWTH: u64 = 20;
const LEAST_SEEN: u64 = 1_000;

/// The channels of a connection on which something is in flight. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<ChannelId, Arc<Flight>>>>);

impl Flights {
    /// For a channel on which nothing was delivered yet: so many bytes at most, or one message.
    pub fn open(&self, channel: ChannelId, most_bytes: usize) -> Arc<Flight> {
        let flight = Arc::new(Flight {
            most_bytes,
            overflowed: CancellationToken::new(),
            state: Mutex::default(),
        });
        self.channels().insert(channel, flight.clone());
        flight
    }

    pub fn of(&self, channel: ChannelId) -> Option<Arc<Flight>> {
        self.channels().get(&channel).cloned()
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in flight on one channel.
pub(super) struct Flight {
    most_bytes: usize,
    overflowed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The tag of the first in `sizes`. Tags of a channel count up by one.
    oldest: DeliveryTag,
    sizes: VecDeque<usize>,
    /// The sum of `sizes`.
    bytes: usize,
    /// Messages since the channel was opened, and their bytes.
    seen: u64,
    seen_bytes: u64,
}

impl Flight {
    /// A delivery of so many bytes comes in.
    pub fn arrive(&self, tag: DeliveryTag, bytes: usize) {
        let mut state = self.state();
        if state.sizes.is_empty() {
            state.oldest = tag;
        }
        let size = bytes.saturating_add(OVERHEAD);
        state.sizes.push_back(size);
        state.bytes = state.bytes.saturating_add(size);
        state.seen += 1;
        state.seen_bytes += size as u64;
        // One alone has to be taken, whatever its size.
        if state.bytes > self.most_bytes && state.sizes.len() > 1 {
            self.overflowed.cancel();
        }
    }

    /// All deliveries up to this one are acknowledged.
    pub fn acknowledge(&self, last: DeliveryTag) {
        let mut state = self.state();
        let count = last.saturating_add(1).saturating_sub(state.oldest);
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(state.sizes.len());
        let bytes: usize = state.sizes.drain(..count).sum();
        state.bytes -= bytes;
        state.oldest += count as u64;
    }

    /// Too many bytes were in flight: what comes now is discarded.
    pub fn is_overflowed(&self) -> bool {
        self.overflowed.is_cancelled()
    }

    /// Waits until it is.
    pub async fn overflowed(&self) {
        self.overflowed.cancelled().await;
    }

    /// The prefetch with which what was in flight takes half of the bound: less than half of what is in flight now.
    pub fn smaller_prefetch(&self) -> u16 {
        let state = self.state();
        let half = state.sizes.len() / 2;
        let average = state.bytes / state.sizes.len().max(1);
        let fits = self.most_bytes / 2 / average.max(1);
        u16::try_from(half.min(fits)).unwrap_or(u16::MAX).max(1)
    }

    /// A prefetch at least twice as large as this one, and `most` at most, if the messages seen with it are small enough.
    pub fn larger_prefetch(&self, prefetch: u16, most: u16) -> Option<u16> {
        if prefetch >= most {
            return None;
        }
        let state = self.state();
        if state.seen < LEAST_SEEN.max(SEEN_BEFORE_GROWTH * u64::from(prefetch)) {
            return None;
        }
        let fits = self.most_bytes as u64 / 2 / (state.seen_bytes / state.seen).max(1);
        let larger = u16::try_from(fits).unwrap_or(u16::MAX).min(most);
        (larger == most || larger / 2 >= prefetch).then_some(larger)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prefetch of each queue for which the one of the settings was too large. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Prefetches(Arc<Mutex<HashMap<String, u16>>>);

impl Prefetches {
    pub fn of(&self, queue: &str, most: u16) -> u16 {
        let prefetches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prefetches.get(queue).map_or(most, |&prefetch| prefetch.min(most))
    }

    pub fn set(&self, queue: &str, prefetch: u16) {
        let mut prefetches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prefetches.insert(queue.to_owned(), prefetch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1_000 - OVERHEAD;

    #[test]
    fn more_than_the_bound_overflows() {
        let flight = Flights::default().open(1, 10_000);
        (1..=10).for_each(|tag| flight.arrive(tag, SIZE));
        assert!(!flight.is_overflowed());
        flight.acknowledge(4);
        (11..=14).for_each(|tag| flight.arrive(tag, SIZE));
        assert!(!flight.is_overflowed());
        flight.arrive(15, SIZE);
        assert!(flight.is_overflowed());
        assert_eq!(flight.smaller_prefetch(), 5);
    }

    #[test]
    fn one_message_alone_is_taken_whatever_its_size() {
        let flight = Flights::default().open(1, 10_000);
        flight.arrive(1, 1_000_000);
        assert!(!flight.is_overflowed());
        flight.acknowledge(1);
        flight.arrive(2, SIZE);
        assert!(!flight.is_overflowed());
        flight.arrive(3, 1_000_000);
        assert!(flight.is_overflowed());
        assert_eq!(flight.smaller_prefetch(), 1);
    }

    #[test]
    fn a_prefetch_grows_again_when_messages_are_small() {
        let flight = Flights::default().open(1, 1_000_000);
        for tag in 1..=LEAST_SEEN {
            assert_eq!(flight.larger_prefetch(5, 4_000), None, "{tag}");
            flight.arrive(tag, SIZE);
            flight.acknowledge(tag);
        }
        assert_eq!(flight.larger_prefetch(5, 4_000), Some(500));
        assert_eq!(flight.larger_prefetch(5, 100), Some(100));
        assert_eq!(flight.larger_prefetch(40, 4_000), Some(500));
        assert_eq!(flight.larger_prefetch(400, 4_000), None);
        assert_eq!(flight.larger_prefetch(4_000, 4_000), None);
    }
}
