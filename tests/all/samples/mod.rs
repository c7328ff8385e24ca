//! The samples for publishers and subscribers (`docs/samples`), run as a user runs them, on real servers that fail.

mod brokered;
mod curl;
pub mod program;
