//! The integration tests: one binary, so that they share their servers.

mod broker;
mod chaos;
mod cli;
mod clocks;
mod cluster;
mod config;
mod delivery_limit;
mod documents;
mod end_to_end;
mod engine;
mod failover;
mod fault_injecting;
mod generate;
mod hostile;
mod http;
mod laws;
mod lifecycles;
mod oracle;
mod outages;
mod pooler;
mod readiness;
mod readme;
mod relay_lead;
mod restored;
mod scheduler;
mod secrets;
mod several_workers;
mod shutdown;
mod simulation;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod upgrade;
mod wire;
mod worker;
