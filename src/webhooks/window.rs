//! The order of deliveries to one endpoint: which change may be sent next, and how far the cursor may move. Pure.
//!
//! See `docs/decisions/0017-webhooks-have-one-cursor-and-a-window.md`.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::store::{FeedCursor, FeedPage, Recorded};

/// The most changes after the cursor that are read. Until the oldest one is delivered, none beyond is sent, and a worker that takes
/// over sends at most these again.
pub(super) const WINDOW: u32 = 256;

/// Changes after the cursor of an endpoint, in the order of the journal.
pub(super) struct Window {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    /// The place after the last change that was delivered with all before it.
    cursor: FeedCursor,
    /// The place after the last line that was read.
    reached: FeedCursor,
}

struct Slot {
    epoch: i64,
    line: Recorded,
    state: State,
    /// The number of attempts that have failed.
    failures: u32,
    failed_first: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    InProgress,
    Retry(Instant),
    Delivered,
}

/// A change to send.
pub(super) struct Next<'a> {
    /// Identifies it to [`Window::delivered`] and [`Window::failed`].
    pub number: u64,
    pub epoch: i64,
    pub line: &'a Recorded,
}

impl Window {
    pub fn new(cursor: FeedCursor) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            cursor,
            reached: cursor,
        }
    }

    /// The place after which to read.
    pub fn reached(&self) -> FeedCursor {
        self.reached
    }

    /// How many changes may be read.
    pub fn room(&self) -> u32 {
        WINDOW.saturating_sub(u32::try_from(self.slots.len()).unwrap_or(u32::MAX))
    }

    /// Adds a page that was read after [`Window::reached`].
    pub fn add(&mut self, page: FeedPage) {
        let epoch = page.epoch;
        self.slots.extend(page.lines.into_iter().map(|line| Slot {
            epoch,
            line,
            state: State::Waiting,
            failures: 0,
            failed_first: None,
        }));
        self.reached = page.next;
        self.move_cursor();
    }

    /// The next change to send, which is in progress from now on. A change waits for every earlier one of its client. One that
    /// failed keeps its place among the `concurrency` ones until it is delivered.
    pub fn start(&mut self, now: Instant, concurrency: usize) -> Option<Next<'_>> {
        let is_held = |slot: &&Slot| matches!(slot.state, State::InProgress | State::Retry(_));
        let has_room = self.slots.iter().filter(is_held).count() < concurrency;
        let mut busy = HashSet::new();
        let index = self.slots.iter().position(|slot| match slot.state {
            State::Delivered => false,
            State::Retry(at) if at <= now => true,
            State::Waiting if has_room && !busy.contains(&slot.line.entry.key) => true,
            _ => {
                busy.insert(&slot.line.entry.key);
                false
            }
        })?;
        let slot = &mut self.slots[index];
        slot.state = State::InProgress;
        Some(Next {
            number: self.first + index as u64,
            epoch: slot.epoch,
            line: &slot.line,
        })
    }

    pub fn delivered(&mut self, number: u64) {
        if let Some(slot) = self.slot(number) {
            slot.state = State::Delivered;
        }
        self.move_cursor();
    }

    /// Records a failed attempt. `retry` says from the number of failures when to try again.
    pub fn failed(&mut self, number: u64, at: DateTime<Utc>, retry: impl FnOnce(u32) -> Instant) {
        if let Some(slot) = self.slot(number) {
            slot.failures += 1;
            slot.failed_first.get_or_insert(at);
            slot.state = State::Retry(retry(slot.failures));
        }
    }

    /// When the next failed change is sent again.
    pub fn next_retry(&self) -> Option<Instant> {
        let retries = self.slots.iter().filter_map(|slot| match slot.state {
            State::Retry(at) => Some(at),
            _ => None,
        });
        retries.min()
    }

    /// The endpoint has received everything up to here.
    pub fn cursor(&self) -> FeedCursor {
        self.cursor
    }

    /// The first failed attempt at a change that still waits.
    pub fn failing_since(&self) -> Option<DateTime<Utc>> {
        let waiting = self.slots.iter().filter(|slot| slot.state != State::Delivered);
        waiting.filter_map(|slot| slot.failed_first).min()
    }

    /// When the oldest change that is not delivered was recorded.
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        let mut waiting = self.slots.iter().filter(|slot| slot.state != State::Delivered);
        waiting.next().map(|slot| slot.line.recorded_at)
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let index = number.checked_sub(self.first)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn move_cursor(&mut self) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.state == State::Delivered) {
            self.cursor = FeedCursor(slot.line.published(slot.epoch));
            self.first += 1;
        }
        if self.slots.is_empty() {
            self.cursor = self.reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::link::LinkStatus;
    use crate::domain::{Cause, Change, ClientKey, Entry, Repair};
    use crate::store::{Cursor, Published};

    fn place(sequence: i64) -> FeedCursor {
        FeedCursor(Published {
            epoch: 1,
            cursor: Cursor {
                transaction: 0,
                sequence,
            },
            recorded_at: DateTime::from_timestamp(sequence, 0).unwrap(),
        })
    }

    fn line(sequence: i64, client: &str) -> Recorded {
        Recorded {
            cursor: place(sequence).0.cursor,
            entry: Entry {
                key: ClientKey::new("acme", client).unwrap(),
                change: Change::Link {
                    from: None,
                    to: LinkStatus::Draft,
                },
                time: DateTime::UNIX_EPOCH,
                cause: Cause::Rebuild {
                    rebuild: Repair::State,
                },
                corrected_by: None,
            },
            recorded_at: place(sequence).0.recorded_at,
        }
    }

    /// A window over changes of these clients, numbered from 1, after which two lines follow that do not match.
    fn window(clients: &[&str]) -> Window {
        let mut window = Window::new(place(0));
        let lines: Vec<Recorded> = (1..)
            .zip(clients)
            .map(|(number, client)| line(number, client))
            .collect();
        let last = i64::try_from(lines.len()).unwrap();
        window.add(FeedPage {
            epoch: 1,
            gap: None,
            lines,
            next: place(last + 2),
            more: false,
        });
        window
    }

    fn started(window: &mut Window, now: Instant, concurrency: usize) -> Vec<u64> {
        std::iter::from_fn(|| window.start(now, concurrency).map(|next| next.number)).collect()
    }

    #[test]
    fn the_changes_of_a_client_are_sent_one_after_the_other() {
        let mut window = window(&["a", "a", "b", "a", "c"]);
        let now = Instant::now();
        assert_eq!(started(&mut window, now, 8), [0, 2, 4]);
        window.delivered(2);
        assert_eq!(started(&mut window, now, 8), [0; 0]);
        window.delivered(0);
        assert_eq!(started(&mut window, now, 8), [1]);
        window.delivered(1);
        assert_eq!(started(&mut window, now, 8), [3]);
    }

    #[test]
    fn the_cursor_stays_before_the_oldest_change_that_is_not_delivered() {
        let mut window = window(&["a", "b", "c"]);
        started(&mut window, Instant::now(), 8);
        window.delivered(1);
        assert_eq!(window.cursor(), place(0));
        window.delivered(0);
        assert_eq!(window.cursor(), place(2));
        window.delivered(2);
        assert_eq!(window.cursor(), place(5), "lines that do not match are done with");
        assert_eq!(window.oldest(), None);
    }

    #[test]
    fn a_failed_change_holds_up_its_client_and_keeps_one_request() {
        let mut window = window(&["a", "b", "a", "c", "d"]);
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        assert_eq!(started(&mut window, now, 2), [0, 1]);
        let at = DateTime::from_timestamp(9, 0).unwrap();
        window.failed(0, at, |failures| now + Duration::from_secs(5) * failures);
        window.delivered(1);
        assert_eq!(started(&mut window, now, 2), [3], "one request is left");
        window.delivered(3);
        assert_eq!(started(&mut window, now, 2), [4]);
        assert_eq!(window.next_retry(), Some(later));
        assert_eq!((window.cursor(), window.failing_since()), (place(0), Some(at)));
        assert_eq!(started(&mut window, later, 2), [0]);
        window.delivered(0);
        assert_eq!((window.cursor(), window.failing_since()), (place(2), None));
        assert_eq!(started(&mut window, later, 2), [2]);
    }

    #[test]
    fn a_failing_client_holds_up_the_endpoint_when_the_window_is_full() {
        let window = window(&["a"; WINDOW as usize]);
        assert_eq!(window.room(), 0);
        assert_eq!(super::Window::new(place(0)).room(), WINDOW);
    }
}
