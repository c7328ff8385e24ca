//! Batches: a JSON array of events, decoded with a bound on their number.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Default maximum number of events in a batch. A member of a byte or two of JSON can become a dead letter and a line
/// of the response, so a bound on bytes alone does not bound the work.
pub const DEFAULT_MAX_EVENTS: usize = 20_000;

/// A batch with more events than allowed. None of its events was ingested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch has more than {most} events; send them in smaller batches")]
pub struct TooManyEvents {
    pub most: usize,
}

pub(super) enum BatchError {
    TooMany,
    Json(serde_json::Error),
}

/// The members of a JSON array. Reading stops at the first member over the limit.
pub(super) fn members(json: &str, most: usize) -> Result<Vec<&RawValue>, BatchError> {
    let mut too_many = false;
    let mut reader = serde_json::Deserializer::from_str(json);
    let bounded = Bounded {
        most,
        too_many: &mut too_many,
    };
    let members = bounded
        .deserialize(&mut reader)
        .and_then(|members| reader.end().map(|()| members));
    match members {
        _ if too_many => Err(BatchError::TooMany),
        members => members.map_err(BatchError::Json),
    }
}

struct Bounded<'t> {
    most: usize,
    too_many: &'t mut bool,
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = list.next_element()? {
            if members.len() == self.most {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            members.push(member);
        }
        Ok(members)
    }
}
