//! How long a page of the console takes.

use crate::figures::Spread;

/// The measured times of a page, in milliseconds until its last byte.
#[derive(Clone, Debug)]
pub struct Page {
    pub what: &'static str,
    /// The first request, which reads from the disk what the others find in memory.
    pub first: f64,
    /// The requests after it.
    pub spread: Spread,
}
