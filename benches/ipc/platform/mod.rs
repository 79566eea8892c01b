//! What the system tells of this process, and where it may run.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::{cores, cpu_time_ns, pin, sleeps};
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub use other::{cores, cpu_time_ns, pin, sleeps};
