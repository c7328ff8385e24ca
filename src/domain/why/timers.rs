//! The timers that an answer rests on. A run of a timer lasts from the event that starts it until it fires or is cancelled.
//! Clients in different runs differ only in when the run began, so what follows if the timer does not fire is computed once for
//! each block of events.

use chrono::{DateTime, Utc};

use super::course::{BLOCK, Course, Firing, World, are_alike};
use crate::domain::{Client, Timer};

/// The beginning of every run of a timer, in comparisons of clients that differ only in that.
const ANY_BEGINNING: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;

/// What becomes of a client without a run of a timer.
#[derive(Clone, Debug)]
enum Outcome {
    /// The run ends, or the client becomes as it is in fact. Whether the answer is another at the end.
    Decided(bool),
    /// The run goes on to the end. The client after the last event, but for the beginning of the run.
    Unended(Box<Client>),
}

/// Outcomes for clients at the beginning of a block, by block.
struct Outcomes(Vec<Vec<(Timer, Client, Outcome)>>);

impl Outcomes {
    /// Clients that are remembered at the beginning of a block. Few are ever different.
    const MOST: usize = 16;

    fn of(&self, block: usize, timer: Timer, client: &Client) -> Option<&Outcome> {
        let known = self.0[block].iter();
        known
            .filter(|(other, ..)| *other == timer)
            .find(|(_, other, _)| are_alike(other, client))
            .map(|(.., outcome)| outcome)
    }

    fn record(&mut self, block: usize, timer: Timer, client: Client, outcome: &Outcome) {
        if self.0[block].len() < Self::MOST {
            self.0[block].push((timer, client, outcome.clone()));
        }
    }
}

impl Course<'_> {
    /// The timers without which the answer would be different, each of them alone.
    pub(super) fn timers(&self) -> Vec<Firing> {
        let mut outcomes = Outcomes(vec![Vec::new(); self.events.len() / BLOCK + 1]);
        let mut timers = Vec::new();
        let blocks = self
            .firings
            .chunk_by(|one, next| one.place / BLOCK == next.place / BLOCK);
        // From the last, so that the outcomes of those that follow are known.
        for firings in blocks.rev() {
            let before = self.of_block(firings[0].place / BLOCK);
            for firing in firings.iter().rev() {
                if self.rests_on(*firing, before[firing.place % BLOCK].clone(), &mut outcomes) {
                    timers.push(*firing);
                }
            }
        }
        timers.reverse();
        timers
    }

    /// Whether the answer would be different had a timer not fired.
    fn rests_on(&self, firing: Firing, before: Client, outcomes: &mut Outcomes) -> bool {
        let (timer, from) = (firing.due.timer, firing.runs_from);
        let world = World {
            without: Some((timer, from)),
            ..self.world()
        };
        let (mut client, mut other) = (before.clone(), before);
        let (mut passed, mut outcome) = (Vec::new(), None);
        for (place, event) in self.events.iter().enumerate().skip(firing.place) {
            // A later event begins no run at the same moment.
            if place.is_multiple_of(BLOCK) && event.time > from {
                let other = self.of_any_run(timer, from, &other);
                outcome = outcomes.of(place / BLOCK, timer, &other).cloned();
                if outcome.is_some() {
                    break;
                }
                passed.push((place / BLOCK, other));
            }
            self.step(&mut client, event, &self.world());
            self.step(&mut other, event, &world);
            if are_alike(&client, &other) {
                outcome = Some(Outcome::Decided(false));
                break;
            }
        }
        let outcome = outcome.unwrap_or_else(|| {
            if self.answer.timer_runs_from(timer, &other) == Some(from) {
                Outcome::Unended(Box::new(self.of_any_run(timer, from, &other)))
            } else {
                Outcome::Decided(self.value_of(other, &world) != self.value)
            }
        });
        for (block, other) in passed {
            outcomes.record(block, timer, other, &outcome);
        }
        match outcome {
            Outcome::Decided(is_another) => is_another,
            Outcome::Unended(mut other) => {
                self.answer.set_run(timer, &mut other, from);
                self.value_of(*other, &world) != self.value
            }
        }
    }

    /// A client that may be in this run of a timer, with a beginning of the run that is the same for all runs.
    fn of_any_run(&self, timer: Timer, from: DateTime<Utc>, client: &Client) -> Client {
        let mut client = client.clone();
        if self.answer.timer_runs_from(timer, &client) == Some(from) {
            self.answer.set_run(timer, &mut client, ANY_BEGINNING);
        }
        client
    }
}
