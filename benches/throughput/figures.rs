//! The measured values: a series for each figure, represented by its median.

use std::collections::BTreeMap;

/// The figures of a run, by key.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    series: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    /// Records one measurement.
    pub fn record(&mut self, key: &'static str, value: f64) {
        self.series.entry(key).or_default().push(value);
    }

    /// The values in the order of measurement.
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

/// The median and the range of a series.
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

/// A percentile of a sorted series: the mean of the two values next to it.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * percent / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into the series"
    )]
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    Some(f64::midpoint(sorted[below], sorted[above]))
}
