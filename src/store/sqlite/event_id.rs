//! The id of an event as a column: the 16 bytes of a UUID as a blob, or else text.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Sqlite, Type, TypeInfo, ValueRef};

use crate::store::event_id::EventId;

impl Type<Sqlite> for EventId {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }

    /// The column has both types.
    fn compatible(_: &SqliteTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Sqlite> for EventId {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let is_blob = value.type_info().name() == "BLOB";
        let bytes = <&[u8] as Decode<Sqlite>>::decode(value)?;
        if is_blob {
            return Ok(Self::of_uuid(bytes.try_into()?));
        }
        Ok(Self(std::str::from_utf8(bytes)?.to_owned()))
    }
}
