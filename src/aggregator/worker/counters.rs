//! What a worker counts of itself.

/// What a worker has done so far in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerCounters {
    /// Times that it has introduced itself to an agent: one for each connection, or more.
    pub hellos: u64,
    /// Times that an agent would not have it.
    pub hellos_refused: u64,
    /// Batches that were sent, those that were sent again included.
    pub batches_sent: u64,
    /// Batches that an agent has applied.
    pub batches_taken: u64,
    /// Attacks that were sent, those that were sent again included.
    pub attacks_sent: u64,
    /// Attacks that an agent has taken.
    pub attacks_taken: u64,
    /// Attacks of which only the kind was sent, because the agent takes no messages so long.
    pub attacks_shortened: u64,
    /// Times that a series was asked for beyond the bounds, and another one was given.
    pub series_overflowed: u64,
    /// Hits of keys beyond the bound, which count for the key `overflow`.
    pub keys_overflowed: u64,
    /// Questions of [`Worker::allow`](super::Worker::allow), [`Worker::ask`](super::Worker::ask) and
    /// [`Worker::question`](super::Worker::question) that the agent has not answered, so that a policy
    /// did, or there was an error.
    pub fallbacks: u64,
    /// Configurations that could not be decoded.
    pub configs_refused: u64,
}
