//! The worker, over every transport, with an agent that a test can look into.
#![cfg(feature = "aggregator")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod asking;
mod attacks;
mod config;
mod delivery;
mod hanging;
mod settings;
