//! The contracts of events and changes: they are current, compatible with the last release, and true of real stores.

mod api;
mod comparison;
mod compatibility;
mod current;
mod documents;
mod emitted;
mod examples;
mod tools;
