//! The engine on real stores.

mod convergence;
mod names;
mod wild;
