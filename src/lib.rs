//! Tenure: who may enter whose account, and who is billed for what, now or at any other moment.

mod backoff;
pub mod broker;
pub mod cli;
pub mod clock;
mod colour;
pub mod config;
pub mod console;
pub mod contracts;
mod csv_row;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod escape;
pub mod http;
mod interval;
mod phrases;
pub mod scheduler;
mod signals;
pub mod store;
pub mod telemetry;
mod tls;
mod tone;
pub mod traces;
pub mod vitals;
pub mod webhooks;
pub mod wire;
pub mod worker;
