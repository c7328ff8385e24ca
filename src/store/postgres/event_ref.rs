//! The name of an event in one byte string: the number of its source, then its id. The migration describes the form at the
//! function `event_ref`, which does the same in SQL.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, Postgres, Type};

use crate::store::event_id::{EventId, uuid_bytes};

/// In the first byte: the number of the source follows in four bytes.
const LONG: u8 = u8::MAX;

/// The name of an event, from the number of its source and its id.
pub(super) fn event_ref(source: i32, id: &str) -> Vec<u8> {
    let mut bytes = match u8::try_from(source) {
        Ok(short) if short < LONG => vec![short],
        _ => [&[LONG], &source.to_be_bytes()[..]].concat(),
    };
    bytes.extend(id_bytes(id));
    bytes
}

/// An id as it stands in the name of an event.
pub(super) fn id_bytes(id: &str) -> Vec<u8> {
    if let Some(uuid) = uuid_bytes(id) {
        return uuid.to_vec();
    }
    let mut bytes = id.as_bytes().to_vec();
    if bytes.len() == 16 {
        // It would read as a UUID. No id contains this byte.
        bytes.push(0);
    }
    bytes
}

impl Type<Postgres> for EventId {
    fn type_info() -> PgTypeInfo {
        <[u8] as Type<Postgres>>::type_info()
    }
}

/// The column has the whole name. Empty: no event.
impl<'r> Decode<'r, Postgres> for EventId {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(EventRef::decode(value)?.id)
    }
}

/// The name of an event, as a column has it.
pub(super) struct EventRef {
    /// The number of the source. None: no event.
    pub source: Option<i32>,
    pub id: EventId,
}

impl Type<Postgres> for EventRef {
    fn type_info() -> PgTypeInfo {
        <[u8] as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for EventRef {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        read(<&[u8] as Decode<Postgres>>::decode(value)?)
    }
}

fn read(name: &[u8]) -> Result<EventRef, BoxDynError> {
    let (source, id): (_, &[u8]) = match name {
        [] => (None, &[]),
        [LONG, a, b, c, d, id @ ..] => (Some(i32::from_be_bytes([*a, *b, *c, *d])), id),
        [LONG, ..] => return Err("the number of the source is truncated".into()),
        [source, id @ ..] => (Some(i32::from(*source)), id),
    };
    let id = id_of(id)?;
    Ok(EventRef { source, id })
}

fn id_of(id: &[u8]) -> Result<EventId, BoxDynError> {
    if let Ok(uuid) = id.try_into() {
        return Ok(EventId::of_uuid(uuid));
    }
    let text = match id {
        [text @ .., 0] if text.len() == 16 => text,
        text => text,
    };
    Ok(EventId(std::str::from_utf8(text)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_the_name() {
        for source in [1, 254, 255, 256, i32::MAX] {
            for id in [
                "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11",
                "0B9F6C9E-5D0F-4D3A-9C57-0D2A8F6F3C11",
                "e",
                "fifteen letters",
                "sixteen letters!",
                "seventeen letters",
                "sechzehn Zöllen",
            ] {
                let name = read(&event_ref(source, id)).unwrap();
                assert_eq!((name.source, &*name.id.0), (Some(source), id));
            }
        }
        let none = read(&[]).unwrap();
        assert_eq!((none.source, &*none.id.0), (None, ""));
        assert!(read(&[255, 0, 0]).is_err());
    }

    #[test]
    fn a_common_event_takes_seventeen_bytes() {
        assert_eq!(event_ref(7, "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11").len(), 17);
    }
}
