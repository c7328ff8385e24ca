//! Changes as they are published, and the snapshot.

use std::collections::BTreeSet;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::ClientView;
use crate::domain::ChangeKind;

/// `latest`, or a place in the feed of changes: `next` of a page, the `id` of an event in a stream, or the cursor of a snapshot.
#[derive(ToSchema)]
#[schema(pattern = r"^(latest|[0-7]?[0-9a-f]{1,15}(-[0-7]?[0-9a-f]{1,15}){3})$")]
pub struct ChangesCursor(String);

/// A time in seconds.
#[derive(ToSchema)]
#[schema(pattern = r"^([0-5]?[0-9]|60)s$", example = "30s")]
pub struct Wait(String);

/// Types of changes, separated by commas. `access.*` stands for all types that begin with `access.`.
pub struct ChangePatterns;

impl PartialSchema for ChangePatterns {
    fn schema() -> RefOr<Schema> {
        let mut types = BTreeSet::new();
        for kind in ChangeKind::ALL {
            let (first, rest) = kind.as_str().split_once('.').unwrap_or_default();
            types.insert(format!(r"{first}\.\*"));
            types.insert(format!(r"{first}\.{rest}"));
        }
        let one = types.into_iter().collect::<Vec<_>>().join("|");
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^({one})(,({one}))*$")))
            .examples(["access.*,link.lost"])
            .into()
    }
}

impl ToSchema for ChangePatterns {}

/// A change as it is published. `openapi_schemas` makes its schema.
#[derive(ToSchema)]
pub struct PublishedChange {}

/// A line of a snapshot. The last line is `{"end":{"clients":…,"cursor":"…"}}`.
#[derive(ToSchema)]
pub struct SnapshotLine {
    client: ClientView,
    /// The `id` of the last change that this state includes.
    last_change: String,
}
