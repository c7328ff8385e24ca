//! The eras of several policies.

use chrono::{DateTime, Utc};
use tenure::domain::Policy;

/// A policy and the period in which it is in force: from `start`, up to and excluding `end`.
pub struct Era {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub policy: Policy,
}

/// The policies in order. The first is in force from the beginning of time.
pub struct Eras(Vec<Era>);

impl Eras {
    pub fn new(mut starts: Vec<(DateTime<Utc>, Policy)>) -> Self {
        assert!(!starts.is_empty(), "without a policy nothing can be due");
        starts.sort_by_key(|(start, _)| *start);
        starts[0].0 = DateTime::<Utc>::MIN_UTC;
        let ends: Vec<_> = starts.iter().skip(1).map(|(start, _)| *start).collect();
        let ends = ends.into_iter().chain([DateTime::<Utc>::MAX_UTC]);
        let eras = starts.into_iter().zip(ends);
        Self(
            eras.map(|((start, policy), end)| Era { start, end, policy })
                .collect(),
        )
    }

    pub fn all(&self) -> &[Era] {
        &self.0
    }

    pub fn at(&self, moment: DateTime<Utc>) -> &Policy {
        let era = self.0.iter().rev().find(|era| era.start <= moment);
        &era.expect("the first era begins at the beginning of time").policy
    }
}
