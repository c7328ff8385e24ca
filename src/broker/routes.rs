//! Decides which heartbeats to send, and how they reach their lanes.
//!
//! Heartbeats go through the exchange `tenure.events`, as events do, so a heartbeat that never arrives shows that
//! events do not reach the lane either. Where the exchange spreads events over several lanes by a hash of their key,
//! the lane of a key is unpredictable. Heartbeats therefore try random keys, and each lane remembers the key of its
//! last heartbeat. A change of the bindings may route a key to another lane: random keys are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::topology;
use crate::store::LaneProgress;

/// How long to wait for a heartbeat before sending the next. The wait doubles with each lost heartbeat.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);
/// Random keys per lane while a lane's key is unknown or no longer works: with 64 lanes, they miss one lane in fifty.
const TRIES: usize = 4;

/// The heartbeats to send now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Partition keys of heartbeats that go through the exchange.
    pub keys: Vec<String>,
    /// Queues of lanes that the exchange no longer routes to, and that are consumed until they are empty.
    pub left_over: Vec<String>,
    /// A heartbeat arrived in another lane than its key's, or none arrived for a long time: the bindings may be
    /// missing.
    pub is_lost: bool,
}

/// The heartbeats sent to a lane that have not arrived yet.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: DateTime<Utc>,
    /// How many earlier heartbeats are missing too.
    lost: u32,
}

/// Remembers the heartbeats sent.
#[derive(Debug)]
pub(super) struct Routes {
    /// Number of lanes that the exchange routes to.
    lanes: u16,
    interval: Duration,
    sent: BTreeMap<String, Sent>,
    /// Keys known to route to a lane.
    keys: BTreeMap<String, String>,
}

impl Routes {
    pub fn new(lanes: u16, interval: Duration) -> Self {
        Self {
            lanes,
            interval,
            sent: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    /// At most one heartbeat is in flight per lane, whatever the number of workers, so that heartbeats do not fill a
    /// queue without a consumer.
    pub fn due(&mut self, lanes: &[LaneProgress], now: DateTime<Utc>, random: impl Fn() -> String) -> Due {
        let mut due = Due::default();
        let mut tries = 0;
        for lane in lanes {
            let key = self.key(lanes, lane);
            let is_reached = self.is_reached(&lane.lane);
            let lost_its_key = is_reached && key.is_none() && self.keys.remove(&lane.lane).is_some();
            due.is_lost |= lost_its_key;
            if !lost_its_key && !self.is_due(lanes, lane, now, is_reached && key.is_none()) {
                continue;
            }
            let is_lost = self.send(lane, now) > 0;
            due.is_lost |= is_lost;
            if !is_reached {
                due.left_over.push(lane.lane.clone());
                continue;
            }
            // The lost key may reach another lane, unnoticed: that lane remembers only the key that came last.
            if key.is_none() || is_lost && self.lanes > 1 {
                tries = usize::from(self.lanes) * TRIES;
            }
            if let Some(key) = key {
                self.keys.insert(lane.lane.clone(), key.clone());
                due.keys.push(key);
            }
        }
        due.keys.extend((0..tries).map(|_| random()));
        due
    }

    /// Records a heartbeat as sent. Returns how many earlier heartbeats are lost, or wait behind a long backlog.
    fn send(&mut self, lane: &LaneProgress, now: DateTime<Utc>) -> u32 {
        let lost = match self.sent.get(&lane.lane) {
            Some(sent) if lane.watermark < Some(sent.at) => sent.lost + 1,
            _ => 0,
        };
        self.sent.insert(lane.lane.clone(), Sent { at: now, lost });
        lost
    }

    fn is_reached(&self, lane: &str) -> bool {
        (0..self.lanes).any(|number| topology::lane(number) == lane)
    }

    /// A key whose heartbeats reach the lane: the last heartbeat with this key arrived in this lane.
    fn key(&self, lanes: &[LaneProgress], lane: &LaneProgress) -> Option<String> {
        if self.lanes == 1 {
            return Some(lane.lane.clone());
        }
        let key = lane.partition_key.as_ref()?;
        let is_elsewhere = lanes
            .iter()
            .any(|other| other.partition_key.as_ref() == Some(key) && other.watermark > lane.watermark);
        (!is_elsewhere).then(|| key.clone())
    }

    /// False while a heartbeat is in flight, or right after another worker's heartbeat has arrived.
    fn is_due(
        &self,
        lanes: &[LaneProgress],
        lane: &LaneProgress,
        now: DateTime<Utc>,
        by_chance: bool,
    ) -> bool {
        let within = |then: DateTime<Utc>, span: Duration| {
            let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
            (TimeDelta::zero()..span).contains(&(now - then))
        };
        let under_way = self.sent.get(&lane.lane).is_some_and(|sent| {
            // Random keys that reached other lanes have missed this lane.
            let missed = by_chance
                && !within(sent.at, self.interval * 2)
                && lanes.iter().any(|other| other.watermark >= Some(sent.at));
            let patience = PATIENCE
                .saturating_mul(1 << sent.lost.min(16))
                .min(LONGEST_PATIENCE);
            lane.watermark < Some(sent.at) && within(sent.at, patience) && (!missed || sent.lost > 2)
        });
        let just_come = lane.watermark.is_some_and(|at| within(at, self.interval / 2));
        !under_way && !just_come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn lane(number: u16, watermark: Option<i64>, key: Option<&str>) -> LaneProgress {
        LaneProgress {
            lane: topology::lane(number),
            watermark: watermark.map(at),
            recorded_at: at(0),
            partition_key: key.map(str::to_owned),
        }
    }

    #[test]
    fn one_heartbeat_is_in_flight_at_a_time() {
        for (watermark, sent, now, due) in [
            (None, None, 0, true),
            // In flight.
            (None, Some(0), 5, false),
            (Some(0), Some(10), 15, false),
            // Arrived.
            (Some(10), Some(10), 15, true),
            // Another worker's heartbeat has just arrived.
            (Some(13), Some(10), 15, false),
            (Some(13), None, 15, false),
            // Lost, or waiting behind a long backlog: another heartbeat does no harm.
            (Some(0), Some(10), 70, true),
            // The clock was set back.
            (Some(100), Some(100), 50, true),
        ] {
            let mut routes = Routes::new(1, BEAT);
            if let Some(sent) = sent {
                let sent = Sent {
                    at: at(sent),
                    lost: 0,
                };
                routes.sent.insert(topology::lane(0), sent);
            }
            let is = routes.due(&[lane(0, watermark, None)], at(now), String::new);
            assert_eq!(!is.keys.is_empty(), due, "{watermark:?} {sent:?} {now}");
        }
    }

    #[test]
    fn a_missing_heartbeat_is_lost_and_the_next_timeout_is_longer() {
        let mut routes = Routes::new(1, BEAT);
        let mut sent = Vec::new();
        for now in (0..300).step_by(5) {
            let due = routes.due(&[lane(0, None, None)], at(now), String::new);
            if !due.keys.is_empty() {
                assert_eq!(due.is_lost, !sent.is_empty());
                sent.push(now);
            }
        }
        assert_eq!(sent, [0, 20, 60, 140]);
    }

    #[test]
    fn a_lane_without_a_key_is_searched_at_random() {
        let mut routes = Routes::new(2, BEAT);
        let random = || "random".to_owned();
        let due = routes.due(&[lane(0, None, None), lane(1, None, None)], at(0), random);
        assert_eq!(due.keys, vec!["random"; 2 * TRIES]);
        // All of them arrived in one of the two lanes: the search for the other starts again.
        let lanes = [lane(0, Some(0), Some("a")), lane(1, None, None)];
        assert_eq!(routes.due(&lanes, at(5), random).keys, ["a"]);
        let due = routes.due(&lanes, at(10), random);
        assert_eq!(due.keys.len(), 2 * TRIES);
    }

    #[test]
    fn a_key_that_routes_elsewhere_is_dropped() {
        let mut routes = Routes::new(2, BEAT);
        let random = || "random".to_owned();
        let lanes = [lane(0, Some(0), Some("a")), lane(1, Some(0), Some("b"))];
        let due = routes.due(&lanes, at(5), random);
        assert_eq!(
            (due.keys, due.is_lost),
            (vec!["a".to_owned(), "b".to_owned()], false)
        );
        let lanes = [lane(0, Some(5), Some("b")), lane(1, Some(0), Some("b"))];
        let due = routes.due(&lanes, at(10), random);
        assert!(due.is_lost && due.keys.contains(&"random".to_owned()), "{due:?}");
    }

    #[test]
    fn a_lane_whose_key_reaches_another_lane_unnoticed_is_searched_for() {
        let mut routes = Routes::new(2, BEAT);
        let random = || "random".to_owned();
        let due = |routes: &mut Routes, now, other| {
            let lanes = [lane(0, Some(0), Some("a")), lane(1, Some(other), Some("b"))];
            routes.due(&lanes, at(now), random)
        };
        assert_eq!(due(&mut routes, 5, 0).keys, ["a", "b"]);
        // Both keys reach lane 1 now, and "b" comes last each time.
        assert_eq!(due(&mut routes, 10, 5).keys, ["b"]);
        let lost = due(&mut routes, 25, 10);
        assert_eq!((lost.keys.len(), lost.is_lost), (2 + 2 * TRIES, true), "{lost:?}");
    }

    #[test]
    fn lanes_beyond_the_configured_number_are_reached_directly() {
        let mut routes = Routes::new(1, BEAT);
        let due = routes.due(
            &[lane(0, None, None), lane(1, None, Some("x"))],
            at(0),
            String::new,
        );
        assert_eq!(due.left_over, [topology::lane(1)]);
        assert_eq!(due.keys.len(), 1);
    }
}
