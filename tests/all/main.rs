//! The integration tests: one binary, so that they share their servers.

mod config;
mod engine;
#[path = "../support/mod.rs"]
mod support;
