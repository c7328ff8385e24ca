//! The engine on real stores.

mod breaker;
mod differential;
mod halts;
mod horizon;
mod laws;
mod names;
mod policies;
mod rebuild;
mod redrive;
pub mod wild;
