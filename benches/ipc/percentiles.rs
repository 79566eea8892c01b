//! What is left of many delays.

use crate::side::line;

/// Nanoseconds that 50, 90, 99 and 99.9 of 100 did not exceed; 0 if there were none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Percentiles {
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
}

line!(Percentiles {
    p50_ns,
    p90_ns,
    p99_ns,
    p999_ns
});

impl Percentiles {
    /// Sorts them.
    pub fn of(delays: &mut [u32]) -> Self {
        delays.sort_unstable();
        let [p50_ns, p90_ns, p99_ns, p999_ns] = [500, 900, 990, 999].map(|thousandths| {
            let at = delays.len().saturating_sub(1) * thousandths / 1000;
            delays.get(at).copied().map_or(0, u64::from)
        });
        Self {
            p50_ns,
            p90_ns,
            p99_ns,
            p999_ns,
        }
    }
}
