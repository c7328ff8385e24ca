//! The engine on SQLite and PostgreSQL.

pub mod breaker;
mod differential;
mod halts;
mod journal;
mod laws;
mod low_watermark;
mod names;
pub mod policies;
mod rebuild;
mod redrive;
pub mod setup;
mod touches;
pub mod wild;
