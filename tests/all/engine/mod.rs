//! The engine on real stores.

mod convergence;
mod differential;
mod laws;
mod names;
mod policies;
mod wild;
