//! Receives a request body that is JSON, within the limits of all bodies.

use std::fmt::{self, Formatter};
use std::marker::PhantomData;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::events::only;
use super::memory::Share;
use super::{Api, ApiError, body};
use crate::domain::id::clip;
use crate::wire::is_plain_encoding;

/// Bytes of the decoded items of a list, without their texts.
const ITEMS: usize = 256 << 10;
/// Longest reason for rejecting a body, in characters: it may quote the body.
const LONGEST_REASON: usize = 300;

/// Receives and decodes the body. The share is the memory that it uses.
///
/// # Errors
/// When the body is too large, is no JSON of this form, or has another content type.
pub(super) async fn read<T: DeserializeOwned>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<(T, Share), ApiError> {
    let bare = only(headers, &header::CONTENT_TYPE)?
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_ascii_lowercase());
    if bare.is_some_and(|bare| bare != "application/json") {
        return Err(ApiError::JsonExpected);
    }
    if let Some(encoding) = only(headers, &header::CONTENT_ENCODING)?
        && !is_plain_encoding(encoding)
    {
        return Err(ApiError::ContentEncoding(clip(encoding)));
    }
    let mut share = api.memory.share();
    let body = body::receive(body, api.body_limit, &mut share).await?;
    // The body, and its texts once more decoded.
    share.set(body.capacity().saturating_mul(2).saturating_add(ITEMS))?;
    let Object(decoded) = serde_json::from_slice(&body).map_err(|error| {
        let reason = error.to_string().chars().take(LONGEST_REASON).collect();
        ApiError::Body(reason)
    })?;
    Ok((decoded, share))
}

/// A value that is written as a JSON object. By default, serde also reads a structure from a list of its members.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(PhantomData)).map(Object)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(from))
    }
}

/// For `#[serde(deserialize_with)]`: an object, or null.
///
/// # Errors
/// Those of the deserializer.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(from)?;
    Ok(object.map(|Object(value)| value))
}

/// A list of at most `MAX` objects. Reading stops at the next one, so that a body of empty items does not become large.
pub(super) struct AtMost<T, const MAX: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Items(PhantomData))
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = AtMost<T, MAX>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Object(item)) = from.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::custom(format!(
                    "expected a list of at most {MAX} items"
                )));
            }
            items.push(item);
        }
        Ok(AtMost(items))
    }
}
