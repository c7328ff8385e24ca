//! Wrong clocks: what they must not do, how they are noticed, and how their effects are corrected.

mod ahead;
mod corrected;
mod deferred;
mod processes;
