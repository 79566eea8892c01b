//! The pure inner parts, for this project's own fuzzing, simulation and benches. Not covered by
//! any promise.

#[cfg(feature = "settings")]
pub use crate::settings::fuzz::fuzz_settings;
