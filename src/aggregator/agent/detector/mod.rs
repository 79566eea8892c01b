//! What sees across all workers what none of them could see alone.

mod attack_wave;
mod rate_limit;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod window;

pub use attack_wave::AttackWave;
pub use rate_limit::RateLimit;

pub(crate) use rate_limit::Limiter;

use super::super::{AttackReport, Batch, Moment, WorkerId};

/// Looks at what all workers of one application report, and says when it sees something.
///
/// What it says goes to all sinks at once, as a [`Finding`](crate::aggregator::Finding). It sees each
/// attack and each batch once, also when they were sent several times. Its memory is its own, and
/// does not outlast the agent. Time comes in as an argument: measure with
/// [`Moment::steady`], which only goes forward.
///
/// ```
/// use wayside::aggregator::{AttackReport, Detector, Moment, Sight, WorkerId};
///
/// /// Says when the same worker reports its tenth attack.
/// #[derive(Default)]
/// struct Tenth(std::collections::HashMap<WorkerId, u32>);
///
/// impl Detector for Tenth {
///     fn name(&self) -> &str {
///         "tenth"
///     }
///
///     fn attack(&mut self, worker: WorkerId, _: &AttackReport, _: Moment) -> Option<Sight> {
///         let count = self.0.entry(worker).or_default();
///         *count += 1;
///         (*count == 10).then(|| Sight {
///             key: worker.to_string(),
///             text: "this worker has seen ten attacks".to_owned(),
///         })
///     }
/// }
/// ```
pub trait Detector: Send + 'static {
    /// What its findings are of: `attack_wave`.
    fn name(&self) -> &str;

    /// A worker has reported an attack.
    fn attack(&mut self, worker: WorkerId, attack: &AttackReport, now: Moment) -> Option<Sight>;

    /// A worker has sent its stats.
    fn batch(&mut self, worker: WorkerId, batch: &Batch, now: Moment) -> Option<Sight> {
        let _ = (worker, batch, now);
        None
    }
}

/// What a detector has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Who or what: an address.
    pub key: String,
    /// One line for people.
    pub text: String,
}
