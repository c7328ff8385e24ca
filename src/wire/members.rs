//! The members of a message, decoded one at a time to save memory.

use std::fmt::Display;
use std::ops::Range;

use serde_json::value::RawValue;

use super::batch::{self, BatchError, TooManyEvents};
use super::decode::{Message, check_encoding, dead_event};
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
    Broken(String),
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
        Ok(Members {
            decoder: *self,
            message,
            content: self.content(message)?,
        })
    }

    /// As [`Decoder::members`]. A batch that has too many members has a single one, a dead letter.
    pub(super) fn bounded_members<'a, H: Headers + ?Sized>(&self, message: Message<'a, H>) -> Members<'a, H> {
        Members {
            decoder: *self,
            message,
            content: self
                .content(message)
                .unwrap_or_else(|error| Content::Broken(error.to_string())),
        }
    }

    fn content<'a, H: Headers + ?Sized>(
        &self,
        message: Message<'a, H>,
    ) -> Result<Content<'a>, TooManyEvents> {
        if !message.is(BATCH) {
            return Ok(Content::One);
        }
        let broken = |error: EventError| Content::Broken(error.to_string());
        let json = check_encoding(message.headers).and_then(|()| utf8("the batch", message.body));
        match json.map(|json| batch::members(json, self.max_events)) {
            Ok(Ok(members)) => Ok(Content::Batch(members)),
            Ok(Err(BatchError::TooMany)) => Err(TooManyEvents {
                most: self.max_events,
            }),
            Ok(Err(BatchError::Json(error))) => Ok(broken(EventError::NotABatch(error.into()))),
            Err(error) => Ok(broken(error)),
        }
    }
}

impl<'a, H: Headers + ?Sized> Members<'a, H> {
    /// What decodes the members.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

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

    pub(super) fn decode_all(&self) -> Vec<Result<Decoded, DeadLetter>> {
        (0..self.count()).map(|member| self.decode(member)).collect()
    }

    /// A member as a dead letter: the whole message, or an event of a batch as a message of its own.
    ///
    /// # Panics
    /// When there are fewer members.
    #[must_use]
    pub fn dead(&self, member: usize, reason: impl Display) -> DeadLetter {
        match &self.content {
            Content::One | Content::Broken(_) => self.message.dead(reason),
            Content::Batch(_) => dead_event(self.message.origin, self.text(member), reason),
        }
    }

    /// Where an event of a batch stands in the body. None: the member is the whole message.
    ///
    /// # Panics
    /// When there are fewer members.
    #[must_use]
    pub fn range(&self, member: usize) -> Option<Range<usize>> {
        let Content::Batch(_) = &self.content else {
            return None;
        };
        let text = self.text(member);
        let start = text.as_ptr().addr() - self.message.body.as_ptr().addr();
        Some(start..start + text.len())
    }
}
