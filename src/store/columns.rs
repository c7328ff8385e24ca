//! Conversions between Rust values and the columns of a table, the same for both adapters.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Result, StoreError};
use crate::domain::ClientKey;

/// Defines a struct for the rows of a query. Each field is read from the column of its name.
macro_rules! row {
    ($(#[$attribute:meta])* $name:ident$(<$moment:ident>)? {
        $($(#[$field_attribute:meta])* $field:ident: $type:ty,)+
    }) => {
        $(#[$attribute])*
        pub(in crate::store) struct $name$(<$moment>)? {
            $($(#[$field_attribute])* pub $field: $type,)+
        }

        impl<'r, R $(, $moment)?> sqlx::FromRow<'r, R> for $name$(<$moment>)?
        where
            R: sqlx::Row,
            &'static str: sqlx::ColumnIndex<R>,
            $($type: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)+
        {
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                Ok(Self {
                    $($field: sqlx::Row::try_get(row, stringify!($field))?,)+
                })
            }
        }
    };
}
pub(in crate::store) use row;

/// A row that is read as two: parts that different queries share.
pub(in crate::store) struct Both<A, B>(pub A, pub B);

impl<'r, R: sqlx::Row, A, B> sqlx::FromRow<'r, R> for Both<A, B>
where
    A: sqlx::FromRow<'r, R>,
    B: sqlx::FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self(A::from_row(row)?, B::from_row(row)?))
    }
}

row! {
    /// The key of a client, by its number. None: no key has this number.
    KeyRow {
        partner: Option<String>,
        client: Option<String>,
    }
}

impl KeyRow {
    pub(super) fn read(self, row: RowId<'_>) -> Result<ClientKey> {
        let partner = row.known("client", self.partner)?;
        let client = row.known("client", self.client)?;
        Ok(key(&partner, &client))
    }
}

/// A time as a column holds it: a `timestamptz` of PostgreSQL, or the microseconds since 1970 of SQLite.
pub(super) trait Moment {
    fn moment(self) -> Option<DateTime<Utc>>;
}

impl Moment for DateTime<Utc> {
    fn moment(self) -> Option<DateTime<Utc>> {
        Some(self)
    }
}

impl Moment for i64 {
    fn moment(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self)
    }
}

/// Identifies a row in errors: somebody has to find it.
#[derive(Clone, Copy)]
pub(super) struct RowId<'a> {
    pub table: &'static str,
    pub key: &'a dyn Display,
}

impl RowId<'_> {
    pub(super) fn unreadable(self, column: &'static str, reason: impl Display) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            key: self.key.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn moment(self, column: &'static str, time: impl Moment) -> Result<DateTime<Utc>> {
        time.moment()
            .ok_or_else(|| self.unreadable(column, "the time is out of range"))
    }

    pub(super) fn optional_moment(
        self,
        column: &'static str,
        time: Option<impl Moment>,
    ) -> Result<Option<DateTime<Utc>>> {
        time.map(|time| self.moment(column, time)).transpose()
    }

    pub(super) fn json<T: DeserializeOwned>(self, column: &'static str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.unreadable(column, error))
    }

    /// What a number in a column stands for. None: no dictionary has the number.
    pub(super) fn known<T>(self, column: &'static str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.unreadable(column, "nothing has its number"))
    }

    pub(super) fn word<T>(
        self,
        column: &'static str,
        word: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        read(word).ok_or_else(|| self.unreadable(column, format!("`{word}` is unknown")))
    }
}

/// The year 0: the earliest time in RFC 3339.
pub(super) fn earliest() -> DateTime<Utc> {
    DateTime::from_timestamp(-62_167_219_200, 0).unwrap_or_default()
}

/// The year 10000: later than every time in RFC 3339.
pub(super) fn latest() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// JSON of our own types. They are plain data with text for keys, so this cannot fail.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text for keys")
}

/// Removes the characters that a text column cannot hold.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "")
}

/// Text that may be absent or empty, for a column without nulls: a row without nulls is smaller. Empty means absent, and a
/// colon precedes anything else.
pub(super) fn optional_text(text: Option<&str>) -> String {
    text.map(|text| format!(":{text}")).unwrap_or_default()
}

/// Reads [`optional_text`].
pub(super) fn read_optional_text(column: &str) -> Option<&str> {
    column.strip_prefix(':')
}

pub(super) fn key(partner: &str, client: &str) -> ClientKey {
    ClientKey {
        partner: partner.into(),
        client: client.into(),
    }
}
