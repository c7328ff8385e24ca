//! Supporting events: together with the causes they lead to the answer. Any one of them could be missing, because another event
//! would replace it.

use super::course::{Course, Fates};
use crate::domain::Client;

impl Course<'_> {
    /// The places of events that lead to the answer together with the necessary ones, as few as a search from the beginning
    /// finds. Every event of this course has an effect.
    pub(super) fn supporting(&self, is_necessary: &[bool]) -> Vec<usize> {
        let mut search = Search {
            course: self,
            is_necessary,
            client: Client::default(),
            from: 0,
            fates: Fates::default(),
        };
        let mut supporting = Vec::new();
        let end = self.events.len();
        while !search.can_skip_to(end) {
            let next = search.furthest(end);
            search.skip_to(next);
            if !is_necessary[next] {
                supporting.push(next);
            }
            search.keep(next);
        }
        supporting
    }
}

/// A search that has decided about the events up to a place.
struct Search<'a> {
    course: &'a Course<'a>,
    is_necessary: &'a [bool],
    /// What those that were kept make of the client.
    client: Client,
    from: usize,
    fates: Fates,
}

impl Search<'_> {
    /// Whether the answer is the same without the events that are not necessary from here up to a place.
    fn can_skip_to(&mut self, place: usize) -> bool {
        let client = self.skipped_to(place);
        let course = self.course;
        if place == course.events.len() {
            return course.value_of(client, &course.world()) == course.value;
        }
        !course.diverges(
            place,
            course.before(place),
            client,
            &course.world(),
            &mut self.fates,
        )
    }

    /// The furthest place before `end` that can be skipped to, looked for in growing and then in shrinking steps.
    fn furthest(&mut self, end: usize) -> usize {
        let (mut good, mut width) = (self.from, 1);
        while good + width < end && self.can_skip_to(good + width) {
            good += width;
            width *= 2;
        }
        let mut bad = (good + width).min(end);
        while bad - good > 1 {
            let middle = good.midpoint(bad);
            if self.can_skip_to(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        good
    }

    fn skipped_to(&self, place: usize) -> Client {
        let mut client = self.client.clone();
        for number in self.from..place {
            if self.is_necessary[number] {
                self.course
                    .step(&mut client, self.course.events[number], &self.course.world());
            }
        }
        client
    }

    fn skip_to(&mut self, place: usize) {
        self.client = self.skipped_to(place);
        self.from = place;
    }

    fn keep(&mut self, place: usize) {
        self.course
            .step(&mut self.client, self.course.events[place], &self.course.world());
        self.from = place + 1;
    }
}
