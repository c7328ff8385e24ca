//! The numbers of journal lines in the store that they move to.

use super::{LinePlace, MovedRelay};

/// The numbering of an import, as far as its records have come.
///
/// A line keeps its number, because subscribers know it. Where numbers alone order the lines, a line that is not published
/// yet gets a greater one if its own is not above all before it: transactions of PostgreSQL that run at the same time may
/// be published in another order than that of their numbers.
#[derive(Debug, Default)]
pub(in crate::store) struct Numbering {
    relay: Option<MovedRelay>,
    last_published: i64,
    last_line: i64,
    has_transactions: bool,
    /// The place of each endpoint of a webhook, and the least new number of a line after it.
    endpoints: Vec<(String, LinePlace, Option<i64>)>,
}

impl Numbering {
    /// Follows the place of an endpoint. Comes before all lines.
    pub fn follow_endpoint(&mut self, name: &str, place: LinePlace) {
        self.endpoints.push((name.to_owned(), place, None));
    }

    /// The endpoints, each with the least new number of a line that it has not received. None: it has received all.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        self.endpoints
            .iter()
            .map(|(name, _, first_after)| (name.as_str(), *first_after))
    }

    /// Comes before all lines.
    pub fn begin(&mut self, relay: MovedRelay) {
        self.last_published = relay.published.sequence;
        self.last_line = relay.published.sequence;
        self.has_transactions = relay.published.transaction > 0;
        self.relay = Some(relay);
    }

    /// The next line, in a store that orders lines by number and transaction.
    pub fn ordered_by_transaction(&mut self, place: LinePlace) -> i64 {
        self.last_line = self.last_line.max(place.sequence);
        place.sequence
    }

    /// The number of the next line, in a store that orders lines by number alone.
    pub fn ordered_by_number(&mut self, place: LinePlace) -> i64 {
        self.has_transactions |= place.transaction > 0;
        let is_published = self.relay.is_some_and(|relay| place <= relay.published);
        let number = if is_published {
            self.last_published = self.last_published.max(place.sequence);
            place.sequence
        } else {
            place.sequence.max(self.last_line + 1)
        };
        self.last_line = self.last_line.max(number);
        for (_, received, first_after) in &mut self.endpoints {
            if place > *received {
                *first_after = Some(first_after.map_or(number, |first| first.min(number)));
            }
        }
        number
    }

    pub fn relay(&self) -> Option<MovedRelay> {
        self.relay
    }

    /// The greatest number of a published line.
    pub fn last_published(&self) -> i64 {
        self.last_published
    }

    /// The greatest number that either store has assigned.
    pub fn last_line(&self) -> i64 {
        let assigned = self.relay.map_or(0, |relay| relay.last_line);
        self.last_line.max(assigned)
    }

    /// Whether a line has the number of its transaction, which only PostgreSQL has.
    pub fn has_transactions(&self) -> bool {
        self.has_transactions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(transaction: i64, sequence: i64) -> LinePlace {
        LinePlace {
            transaction,
            sequence,
        }
    }

    fn numbering(published: LinePlace, last_line: i64) -> Numbering {
        let mut numbering = Numbering::default();
        numbering.begin(MovedRelay {
            epoch: 7,
            published,
            pruned_before: None,
            pruned_line: None,
            last_line,
            last_dead_letter: 0,
            last_sweep_run: 0,
        });
        numbering
    }

    #[test]
    fn lines_of_sqlite_keep_their_numbers() {
        let mut numbering = numbering(place(0, 3), 9);
        let numbers = [1, 3, 4, 8].map(|n| numbering.ordered_by_number(place(0, n)));
        assert_eq!(numbers, [1, 3, 4, 8]);
        assert_eq!((numbering.last_published(), numbering.last_line()), (3, 9));
        assert!(!numbering.has_transactions());
    }

    /// The lines of transaction 6 were published before those of transaction 7, whose numbers are smaller.
    #[test]
    fn only_unpublished_lines_get_other_numbers() {
        let mut numbering = numbering(place(6, 21), 30);
        let lines = [(5, 10), (6, 20), (6, 21), (7, 18), (7, 19), (8, 22), (9, 30)];
        let numbers = lines.map(|(transaction, n)| numbering.ordered_by_number(place(transaction, n)));
        assert_eq!(numbers, [10, 20, 21, 22, 23, 24, 30]);
        assert_eq!((numbering.last_published(), numbering.last_line()), (21, 30));
        assert!(numbering.has_transactions());
    }

    /// An endpoint that has received line 20 of transaction 6 receives line 18, which comes later, and so line 20 again.
    #[test]
    fn an_endpoint_continues_before_the_first_line_that_it_has_not_received() {
        let mut numbering = numbering(place(7, 18), 30);
        for (name, received) in [
            ("none", place(0, 0)),
            ("some", place(6, 20)),
            ("all", place(8, 22)),
        ] {
            numbering.follow_endpoint(name, received);
        }
        for (transaction, n) in [(5, 10), (6, 20), (7, 18), (8, 22)] {
            numbering.ordered_by_number(place(transaction, n));
        }
        let endpoints: Vec<_> = numbering.endpoints().collect();
        assert_eq!(endpoints, [("none", Some(10)), ("some", Some(18)), ("all", None)]);
    }

    #[test]
    fn a_published_line_may_have_a_greater_number_than_the_cursor() {
        let mut numbering = numbering(place(6, 5), 9);
        let lines = [(5, 9), (6, 5), (7, 6)];
        let numbers = lines.map(|(transaction, n)| numbering.ordered_by_number(place(transaction, n)));
        assert_eq!(numbers, [9, 5, 10]);
        assert_eq!((numbering.last_published(), numbering.last_line()), (9, 10));
    }
}
