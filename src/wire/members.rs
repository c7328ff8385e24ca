//! The members of a message, decoded one at a time to save memory.

use serde_json::value::RawValue;

use super::batch::{self, BatchError, TooManyEvents};
use super::decode::{Message, check_encoding};
use super::headers::Headers;
use super::structured::utf8;
use super::{BATCH, Decoded, Decoder, EventError};
use crate::store::DeadLetter;

/// A message split into its members, which are not decoded yet.
#[derive(Debug)]
pub struct Members<'a, H: ?Sized> {
    decoder: Decoder,
    message: Message<'a, H>,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    One,
    Batch(Vec<&'a RawValue>),
    /// Why the batch cannot be decoded.
    Broken(EventError),
}

impl Decoder {
    /// Splits an HTTP request into its members. A batch that is not a JSON array has a single member, a dead letter.
    ///
    /// # Errors
    /// When a batch has more members than [`Decoder::with_max_events`] allows. The rest is not read.
    pub fn members<'a, H: Headers + ?Sized>(
        &self,
        message: Message<'a, H>,
    ) -> Result<Members<'a, H>, TooManyEvents> {
        let content = if message.is(BATCH) {
            let json = check_encoding(message.headers).and_then(|()| utf8("the batch", message.body));
            match json.map(|json| batch::members(json, self.max_events)) {
                Ok(Ok(members)) => Content::Batch(members),
                Ok(Err(BatchError::TooMany)) => {
                    return Err(TooManyEvents {
                        most: self.max_events,
                    });
                }
                Ok(Err(BatchError::Json(error))) => Content::Broken(EventError::NotABatch(error.into())),
                Err(error) => Content::Broken(error),
            }
        } else {
            Content::One
        };
        Ok(Members {
            decoder: *self,
            message,
            content,
        })
    }
}

impl<'a, H: Headers + ?Sized> Members<'a, H> {
    /// The number of members.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.content {
            Content::One | Content::Broken(_) => 1,
            Content::Batch(members) => members.len(),
        }
    }

    /// The text of a member.
    ///
    /// # Panics
    /// When there are fewer members.
    #[must_use]
    pub fn text(&self, member: usize) -> &'a [u8] {
        match &self.content {
            Content::One | Content::Broken(_) => self.message.body,
            Content::Batch(members) => members[member].get().as_bytes(),
        }
    }

    /// Decodes a member.
    ///
    /// # Errors
    /// The dead letter for a member that is not a valid event.
    ///
    /// # Panics
    /// When there are fewer members.
    pub fn decode(&self, member: usize) -> Result<Decoded, DeadLetter> {
        match &self.content {
            Content::One => self.decoder.event(self.message),
            Content::Broken(error) => Err(self.message.dead(error)),
            Content::Batch(_) => self.decoder.alone(self.message.origin, self.text(member)),
        }
    }
}
