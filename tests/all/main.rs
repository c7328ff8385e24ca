//! The integration tests: one binary, so that they share servers and link once.

#![allow(
    clippy::too_many_lines,
    reason = "a table of cases is one function, and so is a scenario with its steps"
)]

mod broker;
mod chaos;
mod cli;
mod clocks;
mod cluster;
mod compose;
mod config;
mod console;
mod contracts;
mod delivery_limit;
mod documents;
mod dry_run;
mod end_to_end;
mod engine;
mod failover;
mod fault_injecting;
mod feed;
mod generate;
mod hostile;
mod http;
mod installing;
mod laws;
mod lifecycles;
mod moving;
mod observability;
mod operations;
mod oracle;
mod outages;
mod pooler;
mod presence;
mod procedures;
mod readiness;
mod readme;
mod readme_steps;
mod relay_lead;
mod restored;
mod samples;
mod scheduler;
mod schema_document;
mod secrets;
mod several_workers;
mod shutdown;
mod simulation;
mod sqlite_files;
mod store;
mod suitability;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod upgrade;
mod webhooks;
mod why;
mod wire;
mod worker;
