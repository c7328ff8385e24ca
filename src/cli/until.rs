//! The end of a period that begins now, or the beginning of one that ends now.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{format_duration, parse_duration};
use crate::domain::Event;
use crate::domain::policy::later;
use crate::domain::time::rfc3339;

/// A moment, or a time between it and now.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    At(DateTime<Utc>),
    In(TimeDelta),
}

impl Until {
    /// The moment, if it is `now`.
    pub fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => Event::truncate(moment),
            Self::In(span) => later(now, span),
        }
    }

    /// The moment at which a period begins that ends `now`.
    pub fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(moment) => Event::truncate(moment),
            Self::In(span) => now.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(moment) => f.write_str(&rfc3339(*moment)),
            Self::In(span) => f.write_str(&format_duration(*span)),
        }
    }
}

/// For clap.
pub fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(moment) = text.parse() {
        return Ok(Until::At(moment));
    }
    parse_duration(text).map(Until::In).map_err(|advice| {
        advice
            .unwrap_or("expected a duration such as 30d, or an RFC 3339 time")
            .to_owned()
    })
}
