//! What an agent leaves behind.

/// What an agent could not report before it ended. With a journal the next one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Farewell {
    /// A client was cut off before it had said all.
    pub clients_cut: bool,
    /// Attacks and findings that not every sink took.
    pub reports: usize,
    /// Heartbeats that not every sink took, and periods that were not yet one.
    pub heartbeats: usize,
    /// What is left is in the journal.
    pub journaled: bool,
    /// The agent had failed, or did not answer in time: nobody knows what is left.
    pub unanswered: bool,
}

impl Farewell {
    /// Whether everything was reported.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.clients_cut && !self.unanswered && self.reports == 0 && self.heartbeats == 0
    }
}
