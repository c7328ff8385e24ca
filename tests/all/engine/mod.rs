//! The engine on SQLite and PostgreSQL.

mod accesses;
mod activity;
pub mod breaker;
mod checkpoints;
mod closings;
mod differential;
mod dry_run;
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
mod statements;
mod touches;
mod what_if;
mod why;
pub mod wild;
mod workers;
