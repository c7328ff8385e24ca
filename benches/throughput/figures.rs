//! What was measured: a series of values for each figure, of which the median counts.

use std::collections::BTreeMap;

/// The figures of a run by their key.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    series: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    /// Notes one measurement.
    pub fn note(&mut self, key: &'static str, value: f64) {
        self.series.entry(key).or_default().push(value);
    }

    /// In the order in which they were measured.
    pub fn values(&self, key: &str) -> &[f64] {
        self.series.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, key: &str) -> Option<Spread> {
        Spread::of(self.series.get(key)?)
    }

    pub fn median(&self, key: &str) -> Option<f64> {
        self.get(key).map(|spread| spread.median)
    }
}

/// The middle of a series, and how far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub values: usize,
}

impl Spread {
    /// None: there are no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: percentile(&sorted, 50.0)?,
            least: *sorted.first()?,
            most: *sorted.last()?,
            values: sorted.len(),
        })
    }
}

/// The value that so many percent of a sorted series are at or below; for the half the mean of the middle two.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * percent / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the series"
    )]
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    Some(f64::midpoint(sorted[below], sorted[above]))
}
