//! Places in the feed on the command line: where a replay or the deliveries of a webhook begin.

use super::context::UsageError;
use super::moment::parse_moment;
use crate::clock::{Clock as _, SystemClock};
use crate::engine::{DeliveryStart, FeedStart};

/// For clap: `beginning`, a cursor of the feed, or a time.
pub fn parse_place(text: &str) -> Result<DeliveryStart, UsageError> {
    read(text, "expected a cursor of the feed, beginning, or a time")
}

/// As [`parse_place`], or `latest`: behind the last change.
pub fn parse_place_or_latest(text: &str) -> Result<DeliveryStart, UsageError> {
    match text {
        "latest" => Ok(DeliveryStart::Place(FeedStart::Latest)),
        text => read(
            text,
            "expected a cursor of the feed, beginning, latest, or a time",
        ),
    }
}

fn read(text: &str, expected: &str) -> Result<DeliveryStart, UsageError> {
    if text == "beginning" {
        return Ok(DeliveryStart::Place(FeedStart::Beginning));
    }
    if let Ok(cursor) = text.parse() {
        return Ok(DeliveryStart::Place(FeedStart::After(cursor)));
    }
    match parse_moment(text) {
        Ok(moment) => Ok(DeliveryStart::At(moment.resolve(SystemClock.now()))),
        Err(error) => Err(UsageError(format!("{expected}: {error}"))),
    }
}
