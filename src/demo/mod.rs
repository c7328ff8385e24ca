//! A seeded world of three upstream apps, for `tenure demo`, the tests and the benchmarks.

mod life;
pub mod names;
pub mod world;

pub use life::SOURCES;
pub use world::{Arriving, Delivery, Shape, World};
