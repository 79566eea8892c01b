//! What the system tells of this process, and where it may run.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::{allow_many_files, cores, cpu_time_ns, now_ns, peak_kib, pin, sleeps, stolen_ns};
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub use other::{allow_many_files, cores, cpu_time_ns, now_ns, peak_kib, pin, sleeps, stolen_ns};
