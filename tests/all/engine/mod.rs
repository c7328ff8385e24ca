//! The engine on SQLite and PostgreSQL.

pub mod breaker;
mod differential;
mod halts;
mod laws;
mod low_watermark;
mod names;
pub mod policies;
mod rebuild;
mod redrive;
mod reused_ids;
pub mod setup;
mod touches;
pub mod wild;
