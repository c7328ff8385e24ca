//! The engine on SQLite and PostgreSQL.

pub mod breaker;
mod checkpoints;
mod differential;
mod forecast;
mod halts;
mod history;
mod journal;
mod laws;
mod lists;
mod low_watermark;
mod names;
pub mod policies;
mod rebuild;
mod redrive;
mod reused_ids;
pub mod setup;
mod silence;
mod touches;
pub mod wild;
