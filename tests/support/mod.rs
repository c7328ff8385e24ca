//! Servers, processes and proxies that the integration tests and benchmarks share.

#![allow(dead_code, reason = "the tests and the benchmarks each use a part of this")]

pub mod faketime;
pub mod gate;
pub mod packages;
pub mod proxy;
pub mod raw_amqp;
pub mod repository;
pub mod servers;
pub mod site;
pub mod tenure;
pub mod terminal;
pub mod yaml;

/// A client. Tenure's own requests choose the provider of cryptography, and reqwest makes no client without one.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
