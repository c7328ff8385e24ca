//! Tracks the deliveries in flight on a channel, that is, delivered and not acknowledged. Their total size in bytes is
//! bounded.
//!
//! RabbitMQ has a prefetch in messages only, and lapin reads every delivery into memory. So deliveries are counted as
//! they arrive. After the delivery that exceeds the bound, all later deliveries are discarded; the lane returns
//! everything to RabbitMQ and subscribes again with a smaller prefetch.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::types::{ChannelId, DeliveryTag};
use tokio_util::sync::CancellationToken;

/// Memory that a message uses in addition to its bytes.
const OVERHEAD: usize = 512;
/// A reduced prefetch may grow after this many times as many messages, but not before [`LEAST_SEEN`].
const SEEN_BEFORE_GROWTH: u64 = 20;
const LEAST_SEEN: u64 = 1_000;

/// The channels of a connection with deliveries in flight. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<ChannelId, Arc<Flight>>>>);

impl Flights {
    /// Opens the tracking of a new channel: `most_bytes` at most, or a single message.
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

/// The deliveries in flight on one channel.
pub(super) struct Flight {
    most_bytes: usize,
    overflowed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The tag of the first in `sizes`. Tags of a channel are consecutive.
    oldest: DeliveryTag,
    sizes: VecDeque<usize>,
    /// The sum of `sizes`.
    bytes: usize,
    /// Messages since the channel was opened, and their bytes.
    seen: u64,
    seen_bytes: u64,
}

impl Flight {
    /// Counts a delivery that arrives.
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
        // A single message must be accepted, whatever its size.
        if state.bytes > self.most_bytes && state.sizes.len() > 1 {
            self.overflowed.cancel();
        }
    }

    /// All deliveries up to this tag are acknowledged.
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

    /// Too many bytes were in flight: further deliveries are discarded.
    pub fn is_overflowed(&self) -> bool {
        self.overflowed.is_cancelled()
    }

    /// Waits until too many bytes are in flight.
    pub async fn overflowed(&self) {
        self.overflowed.cancelled().await;
    }

    /// A prefetch at which these messages use half of the bound: less than half of the messages in flight now.
    pub fn smaller_prefetch(&self) -> u16 {
        let state = self.state();
        let half = state.sizes.len() / 2;
        let average = state.bytes / state.sizes.len().max(1);
        let fits = self.most_bytes / 2 / average.max(1);
        u16::try_from(half.min(fits)).unwrap_or(u16::MAX).max(1)
    }

    /// A prefetch at least twice as large as this prefetch, and `most` at most, if the messages so far are small
    /// enough.
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

/// The reduced prefetch of each queue whose configured prefetch was too large. Clones share it.
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
    fn a_single_message_is_accepted_regardless_of_its_size() {
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
