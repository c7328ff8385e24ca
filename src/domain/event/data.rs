//! The types of the fields in the data of events.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::id::Id;
use crate::domain::name::Name;
use crate::domain::text_enum::text_enum;

/// A field in the data of an event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub is_required: bool,
    pub is_nullable: bool,
    pub value: FieldType,
}

/// The values that a field accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// The name of a client.
    Name,
    /// The id of a holding.
    Id,
    Text,
    /// RFC 3339.
    Time,
    Flag,
    /// A whole number, 0 or more.
    Number,
    OneOf(&'static [&'static str]),
    /// A list with at least one of these.
    SomeOf(&'static [&'static str]),
}

/// A type that can stand in the data of an event.
pub trait FieldValue {
    const TYPE: FieldType;
    const IS_NULLABLE: bool = false;
}

text_enum! {
    /// The channel that an invitation is sent through (000).
    #[derive(Default)]
    pub enum Channel {
        #[default]
        Standard = "standard",
        /// Invites only businesses that have no space yet (000, "Invitation rejected").
        Referral = "referral",
    }
}

text_enum! {
    /// A step that an invited client completes to become active (000, "Active").
    pub enum Step {
        Accepted = "accepted",
        Onboarded = "onboarded",
        Consented = "consented",
    }
}

/// The steps of an invitation: never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Step>", into = "BTreeSet<Step>")]
pub struct Steps(BTreeSet<Step>);

impl Steps {
    #[must_use]
    pub fn contains(&self, step: Step) -> bool {
        self.0.contains(&step)
    }

    /// The steps, in the order in which people read them.
    pub fn iter(&self) -> impl Iterator<Item = Step> {
        self.0.iter().copied()
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self([Step::Accepted, Step::Onboarded, Step::Consented].into())
    }
}

impl JsonSchema for Steps {
    fn schema_name() -> Cow<'static, str> {
        "Steps".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": Step::NAMES}})
    }
}

/// An invitation without steps could never be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`steps` is empty; omit it for all three")]
pub struct NoSteps;

impl TryFrom<BTreeSet<Step>> for Steps {
    type Error = NoSteps;

    fn try_from(steps: BTreeSet<Step>) -> Result<Self, NoSteps> {
        if steps.is_empty() {
            return Err(NoSteps);
        }
        Ok(Self(steps))
    }
}

impl From<Steps> for BTreeSet<Step> {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

text_enum! {
    /// How a business completed its onboarding (000, FAQ).
    #[derive(Default)]
    pub enum Via {
        #[default]
        Invitation = "invitation",
        Independent = "independent",
    }
}

text_enum! {
    /// The side that ended a connection.
    pub enum Side {
        Partner = "partner",
        Client = "client",
    }
}

text_enum! {
    /// The side that manages and pays for a subscription (000: only the partner's own end with the link).
    #[derive(Default)]
    pub enum ManagedBy {
        #[default]
        Partner = "partner",
        Client = "client",
    }
}

text_enum! {
    /// Who entered an account (002: staff access never expires).
    #[derive(Default)]
    pub enum AccessedBy {
        #[default]
        Partner = "partner",
        Staff = "staff",
    }
}

text_enum! {
    /// Who created an account (002: a partner hands it over to its owner).
    #[derive(Default)]
    pub enum Creator {
        #[default]
        Partner = "partner",
        Customer = "customer",
    }
}

macro_rules! field_values {
    ($($ty:ty => $value:expr),+ $(,)?) => {
        $(impl FieldValue for $ty {
            const TYPE: FieldType = $value;
        })+
    };
}

field_values! {
    Name => FieldType::Name,
    Id => FieldType::Id,
    String => FieldType::Text,
    DateTime<Utc> => FieldType::Time,
    bool => FieldType::Flag,
    u64 => FieldType::Number,
    Channel => FieldType::OneOf(&Channel::NAMES),
    Steps => FieldType::SomeOf(&Step::NAMES),
    Via => FieldType::OneOf(&Via::NAMES),
    Side => FieldType::OneOf(&Side::NAMES),
    ManagedBy => FieldType::OneOf(&ManagedBy::NAMES),
    AccessedBy => FieldType::OneOf(&AccessedBy::NAMES),
    Creator => FieldType::OneOf(&Creator::NAMES),
}

impl<T: FieldValue> FieldValue for Option<T> {
    const TYPE: FieldType = T::TYPE;
    const IS_NULLABLE: bool = true;
}
