//! Servers, processes and proxies that the integration tests and benchmarks share.

#![allow(dead_code, reason = "the tests and the benchmarks each use a part of this")]

pub mod faketime;
pub mod gate;
pub mod packages;
pub mod proxy;
pub mod raw_amqp;
pub mod servers;
pub mod site;
pub mod tenure;
