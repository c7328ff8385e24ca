//! The engine on real stores.

pub mod breaker;
mod differential;
mod halts;
mod laws;
mod low_watermark;
mod names;
pub mod policies;
mod rebuild;
mod redrive;
mod touches;
pub mod wild;
