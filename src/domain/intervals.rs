//! Intervals: when a client had access, was billable, and earned commission and status credit, as a fold over its history.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use super::access::AccessStatus;
use super::client::Client;
use super::event::Event;
use super::policy::Policies;
use super::time::serialize;

/// A period: from `from`, up to and excluding `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Interval {
    #[serde(serialize_with = "serialize")]
    pub from: DateTime<Utc>,
    #[serde(serialize_with = "serialize")]
    pub to: DateTime<Utc>,
}

/// Periods in order of time. None is empty, and between two of them there is a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Merges periods in order of their beginnings.
    #[must_use]
    pub fn of(sorted: impl IntoIterator<Item = Interval>) -> Self {
        let mut intervals = Self::default();
        for interval in sorted {
            intervals.push(interval);
        }
        intervals
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts of these periods within another.
    #[must_use]
    pub fn within(&self, bounds: Interval) -> Self {
        Self::of(self.0.iter().map(|interval| Interval {
            from: interval.from.max(bounds.from),
            to: interval.to.min(bounds.to),
        }))
    }

    /// The parts of these periods that are in none of the others.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let mut rest = Self::default();
        for interval in &self.0 {
            let mut from = interval.from;
            let first = others.0.partition_point(|other| other.to <= from);
            for other in &others.0[first..] {
                if other.from >= interval.to {
                    break;
                }
                rest.push(Interval { from, to: other.from });
                from = other.to;
            }
            rest.push(Interval {
                from,
                to: interval.to,
            });
        }
        rest
    }

    /// The days (UTC) that these periods touch, as periods from midnight to midnight.
    #[must_use]
    pub fn days(&self) -> Self {
        let last = TimeDelta::microseconds(1);
        Self::of(self.0.iter().map(|interval| {
            Interval {
                from: midnight(interval.from),
                to: midnight(interval.to - last)
                    .checked_add_days(Days::new(1))
                    .unwrap_or(DateTime::<Utc>::MAX_UTC),
            }
        }))
    }

    /// The number of days (UTC) that these periods touch.
    #[must_use]
    pub fn count_days(&self) -> u64 {
        u64::try_from(self.days().total().num_days()).unwrap_or_default()
    }

    #[must_use]
    pub fn total(&self) -> TimeDelta {
        self.0.iter().map(|interval| interval.to - interval.from).sum()
    }

    /// Adds a period that begins no earlier than the last one.
    fn push(&mut self, interval: Interval) {
        if interval.from >= interval.to {
            return;
        }
        match self.0.last_mut() {
            Some(last) if interval.from <= last.to => last.to = last.to.max(interval.to),
            _ => self.0.push(interval),
        }
    }
}

fn midnight(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// When a client had access, was billable, and earned commission and status credit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientIntervals {
    /// Access was enabled.
    pub access: Intervals,
    pub billable: Intervals,
    pub commission: Intervals,
    pub status_credit: Intervals,
}

/// A client as its history goes on, with its intervals so far.
#[derive(Clone, Debug)]
pub struct IntervalFold<'a> {
    pub client: Client,
    policies: &'a Policies,
    /// The beginnings of the intervals that have not ended.
    since: [Option<DateTime<Utc>>; 4],
    ended: ClientIntervals,
}

impl<'a> IntervalFold<'a> {
    /// A client without events.
    #[must_use]
    pub fn new(policies: &'a Policies) -> Self {
        Self {
            client: Client::default(),
            policies,
            since: [None; 4],
            ended: ClientIntervals::default(),
        }
    }

    /// Applies events, sorted by [`Event::position`] and after those before, each after the timers that are due by then. Names
    /// are as they were decided on arrival.
    pub fn apply<'e>(&mut self, sorted: impl IntoIterator<Item = &'e Event>) {
        for event in sorted {
            self.advance(event.time);
            // A refused event leaves the state unchanged.
            let _ = self.client.apply(event, self.policies);
            self.note(event.time);
        }
    }

    /// Fires every timer that is due at or before a moment.
    pub fn advance(&mut self, until: DateTime<Utc>) {
        while let Some(due) = self.client.next_due(until, self.policies) {
            self.client.fire(due, self.policies);
            self.note(due.at);
        }
    }

    /// Notes what the client is from a moment on. For a caller that changes the client itself.
    pub fn note(&mut self, at: DateTime<Utc>) {
        let is_on = [
            self.client.access_status() == AccessStatus::Enabled,
            self.client.billable(),
            self.client.commission(),
            self.client.status_credit(),
        ];
        for ((since, is_on), ended) in self.since.iter_mut().zip(is_on).zip(self.ended.all_mut()) {
            match (*since, is_on) {
                (None, true) => *since = Some(at),
                (Some(from), false) => {
                    ended.push(Interval { from, to: at });
                    *since = None;
                }
                _ => {}
            }
        }
    }

    /// The intervals up to a moment, those included that have not ended by then.
    #[must_use]
    pub fn until(mut self, moment: DateTime<Utc>) -> ClientIntervals {
        for (since, ended) in self.since.into_iter().zip(self.ended.all_mut()) {
            if let Some(from) = since {
                ended.push(Interval { from, to: moment });
            }
        }
        let before = Interval {
            from: DateTime::<Utc>::MIN_UTC,
            to: moment,
        };
        self.ended.within(before)
    }
}

impl ClientIntervals {
    /// The intervals of a history, sorted by [`Event::position`], up to a moment.
    #[must_use]
    pub fn of_history<'e>(
        sorted: impl IntoIterator<Item = &'e Event>,
        until: DateTime<Utc>,
        policies: &Policies,
    ) -> Self {
        let mut fold = IntervalFold::new(policies);
        fold.apply(sorted.into_iter().take_while(|event| event.time <= until));
        fold.advance(until);
        fold.until(until)
    }

    /// The parts of these intervals within another.
    #[must_use]
    pub fn within(mut self, bounds: Interval) -> Self {
        for intervals in self.all_mut() {
            *intervals = intervals.within(bounds);
        }
        self
    }

    fn all_mut(&mut self) -> [&mut Intervals; 4] {
        [
            &mut self.access,
            &mut self.billable,
            &mut self.commission,
            &mut self.status_credit,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(n)
    }

    fn intervals(hours: &[(i64, i64)]) -> Intervals {
        Intervals::of(hours.iter().map(|(from, to)| Interval {
            from: hour(*from),
            to: hour(*to),
        }))
    }

    #[test]
    fn periods_that_meet_are_one() {
        assert_eq!(intervals(&[(0, 1), (1, 2), (3, 3)]), intervals(&[(0, 2)]));
        assert_eq!(intervals(&[(0, 5), (1, 2)]), intervals(&[(0, 5)]));
    }

    #[test]
    fn what_others_cover_is_removed() {
        type Hours = &'static [(i64, i64)];
        let cases: [(Hours, Hours, Hours); 6] = [
            (&[(0, 10)], &[], &[(0, 10)]),
            (&[(0, 10)], &[(0, 10)], &[]),
            (&[(0, 10)], &[(2, 3), (5, 6)], &[(0, 2), (3, 5), (6, 10)]),
            (&[(0, 10)], &[(-5, 2), (9, 20)], &[(2, 9)]),
            (&[(0, 2), (4, 6)], &[(1, 5)], &[(0, 1), (5, 6)]),
            (&[(4, 6)], &[(0, 1), (8, 9)], &[(4, 6)]),
        ];
        for (of, others, rest) in cases {
            assert_eq!(
                intervals(of).without(&intervals(others)),
                intervals(rest),
                "{of:?} {others:?}"
            );
        }
    }

    #[test]
    fn a_day_counts_if_any_part_of_it_does() {
        let cases: [(&[(i64, i64)], u64); 6] = [
            (&[], 0),
            (&[(1, 2)], 1),
            (&[(0, 24)], 1),
            (&[(23, 25)], 2),
            (&[(1, 2), (3, 4)], 1),
            (&[(1, 2), (49, 50)], 2),
        ];
        for (hours, days) in cases {
            assert_eq!(intervals(hours).count_days(), days, "{hours:?}");
        }
        assert_eq!(intervals(&[(23, 25)]).days(), intervals(&[(0, 48)]));
    }

    #[test]
    fn only_the_parts_within_bounds_count() {
        let bounds = Interval {
            from: hour(1),
            to: hour(3),
        };
        assert_eq!(intervals(&[(0, 2), (4, 5)]).within(bounds), intervals(&[(1, 2)]));
    }
}
