//! The id of an event in the tables. Most ids are UUIDs: their 16 bytes take less than half of their text.

/// An id as it is read from a row. Each adapter decodes its own column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventId(pub String);

impl EventId {
    /// The text of a UUID.
    pub(super) fn of_uuid(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes).hyphenated().to_string())
    }
}

/// The bytes of an id that is a UUID in its canonical form, in lower case: the only form that its bytes give back.
pub(super) fn uuid_bytes(id: &str) -> Option<[u8; 16]> {
    let uuid = uuid::Uuid::try_parse(id).ok()?;
    let mut text = uuid::Uuid::encode_buffer();
    (uuid.hyphenated().encode_lower(&mut text) == id).then(|| uuid.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_canonical_uuid_is_stored_as_bytes() {
        let id = "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11";
        assert_eq!(EventId::of_uuid(uuid_bytes(id).unwrap()).0, id);
        for other in [
            "0B9F6C9E-5D0F-4D3A-9C57-0D2A8F6F3C11",
            "0b9f6c9e5d0f4d3a9c570d2a8f6f3c11",
            "{0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11}",
            "urn:uuid:0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11",
            "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c1",
            "e-1",
            "",
        ] {
            assert_eq!(uuid_bytes(other), None, "{other}");
        }
    }
}
