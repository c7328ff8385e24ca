//! Clocks that are wrong: what they must not do, how they are noticed, and what puts right what they did.

mod ahead;
mod corrected;
mod deferred;
mod processes;
