//! Halts: sweeps that do not run, and the reasons.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Result;
use super::columns::{Moment, RowId, row};
use crate::domain::Sweep;
use crate::domain::text_enum::text_enum;

/// The sweeps that an operator or the breaker has halted.
#[async_trait]
pub trait Halts: Send + Sync + 'static {
    /// All halts.
    async fn halts(&self) -> Result<Vec<Halt>>;

    /// Halts a sweep. If it already has a halt of this kind, the first reason stays.
    async fn halt(&self, halt: &Halt) -> Result<()>;

    /// Removes a halt. False: there was none of this kind.
    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool>;
}

text_enum! {
    /// Why a sweep is halted. The later ones are more urgent: a trip needs a decision that nobody has made yet.
    pub enum HaltKind {
        /// By an operator, until an operator resumes it.
        Paused = "paused",
        /// By the breaker, until an operator confirms what the sweep would do.
        Tripped = "tripped",
    }
}

/// A halted sweep, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    pub sweep: Sweep,
    pub kind: HaltKind,
    pub at: DateTime<Utc>,
    pub why: String,
}

row! {
    HaltRow<T> {
        sweep: String,
        kind: String,
        at: T,
        why: String,
    }
}

impl<T: Moment> HaltRow<T> {
    pub(super) fn read(self) -> Result<Halt> {
        let id = RowId {
            table: "sweep_halts",
            key: &self.sweep,
        };
        Ok(Halt {
            sweep: id.word("sweep", &self.sweep, Sweep::from_name)?,
            kind: id.word("kind", &self.kind, HaltKind::from_name)?,
            at: id.moment("at", self.at)?,
            why: self.why,
        })
    }
}
