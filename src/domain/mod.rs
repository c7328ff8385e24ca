//! The lifecycles: the effect of events and timers on a client. Pure: no I/O, no async, no clock, no SQL.
//!
//! `docs/lifecycles.md` states every rule. The rules come from three published articles, cited by number:
//! 000, *Understanding client statuses in your Partner space*; 001, *Client Status Definitions* (a reporting dashboard);
//! 002, *Improved Connection Management* (a partner's access to a customer's account).

pub mod access;
pub mod account;
pub mod action;
pub mod actor;
pub mod cause;
pub mod change;
pub mod client;
pub mod event;
pub mod fold;
pub mod holding_map;
pub mod holdings;
pub mod id;
pub mod intervals;
pub mod link;
mod misspelling;
pub mod month;
pub mod name;
mod namesake;
pub mod policy;
pub mod possible;
pub mod refusal;
pub mod replica;
pub mod sequence;
pub mod service;
pub mod statement;
pub mod subscriptions;
pub(crate) mod text_enum;
pub mod time;
pub mod timer;
pub mod view;
mod whole;
pub mod why;

pub use action::{Action, Actions};
pub use actor::{Actor, ActorKind};
pub use cause::{Cause, Corrector, Repair};
pub use change::{Change, ChangeKind, Entry, LastChanges, changes, kinds_of, kinds_of_any};
pub use client::Client;
pub use event::{Event, EventKind, Position};
pub use fold::fold;
pub use id::{ClientKey, Id};
pub use misspelling::nearest_name;
pub use month::Month;
pub use name::Name;
pub use namesake::Namesake;
pub use policy::{Policies, Policy};
pub use refusal::Refusal;
pub use sequence::Sequence;
pub use statement::{Adjustment, AdjustmentCause, Measure, MonthDays};
pub use timer::{Due, Sweep, Timer};
pub(crate) use whole::{WHOLE, of_float, whole};
