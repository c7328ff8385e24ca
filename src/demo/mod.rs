//! A seeded world of three upstream apps, for the demonstration, the tests and the benchmarks.

mod life;
pub mod world;

pub use world::{Arriving, Delivery, Shape, World};
