//! The integration tests: one binary, so that they share their servers.

mod broker;
mod cli;
mod config;
mod end_to_end;
mod engine;
mod generate;
mod http;
mod laws;
mod lifecycles;
mod outages;
mod scheduler;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod wire;
mod worker;
