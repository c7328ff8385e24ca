//! What the integration tests share.

#![allow(
    dead_code,
    reason = "every test binary uses a part of this, and none the whole"
)]

pub mod faketime;
pub mod gate;
pub mod proxy;
pub mod python;
pub mod raw_amqp;
pub mod servers;
pub mod site;
pub mod tenure;
