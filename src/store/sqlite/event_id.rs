//! Ids of events, as columns of type `any` hold them: a blob of 16 bytes for a UUID, text for any other id.

use std::borrow::Cow;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{Sqlite, SqliteArgumentValue, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Type, TypeInfo, ValueRef};

use crate::store::event_id::{EventId, uuid_bytes};

/// An id as an argument of a statement.
pub(super) struct BoundId<'a>(pub &'a str);

impl Type<Sqlite> for BoundId<'_> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<'q> Encode<'q, Sqlite> for BoundId<'q> {
    fn encode_by_ref(&self, arguments: &mut Vec<SqliteArgumentValue<'q>>) -> Result<IsNull, BoxDynError> {
        arguments.push(match uuid_bytes(self.0) {
            Some(bytes) => SqliteArgumentValue::Blob(Cow::Owned(bytes.to_vec())),
            None => SqliteArgumentValue::Text(Cow::Borrowed(self.0)),
        });
        Ok(IsNull::No)
    }
}

impl Type<Sqlite> for EventId {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(_: &SqliteTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Sqlite> for EventId {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.type_info().name() == "BLOB" {
            let bytes = <&[u8] as Decode<Sqlite>>::decode(value)?;
            return Ok(Self::of_uuid(bytes.try_into()?));
        }
        <String as Decode<Sqlite>>::decode(value).map(Self)
    }
}
