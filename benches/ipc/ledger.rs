//! What has arrived, from whom, and how late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::message::{CONFIRM, Message};
use crate::percentiles::Percentiles;
use crate::platform;

/// The server's books: every message goes through [`verify`](Ledger::verify), whatever brought it.
pub struct Ledger {
    sources: Box<[Source]>,
    delays: Mutex<Vec<u32>>,
}

/// How many came from one client. Only whoever serves that client writes to it, and to its cache
/// line.
#[repr(align(128))]
#[derive(Default)]
struct Source(AtomicU64);

impl Ledger {
    pub fn of(clients: usize) -> Arc<Self> {
        Arc::new(Self {
            sources: (0..clients).map(|_| Source::default()).collect(),
            delays: Mutex::default(),
        })
    }

    /// Looks whether a message is what was sent, and the next of its client. Answers with its
    /// number, in which [`CONFIRM`] may be set. What is wrong is a panic.
    pub fn verify(&self, message: &impl Message) -> u64 {
        let number = message.verified();
        let number = number.expect("a message is not what was sent");
        self.enter(message.source(), number, message.sent_ns());
        number
    }

    /// The same, of a message that is known to be whole.
    pub fn enter(&self, source: usize, number: u64, sent_ns: Option<u64>) {
        let count = &self.sources[source].0;
        let expected = count.load(Ordering::Relaxed);
        assert_eq!(number & !CONFIRM, expected, "a message is missing");
        count.store(expected + 1, Ordering::Release);
        if let Some(sent_ns) = sent_ns {
            let delay = platform::now_ns().saturating_sub(sent_ns);
            let delay = u32::try_from(delay).unwrap_or(u32::MAX);
            self.delays().push(delay);
        }
    }

    /// The messages so far.
    pub fn handled(&self) -> u64 {
        let counts = self.sources.iter();
        counts.map(|count| count.0.load(Ordering::Acquire)).sum()
    }

    /// The delays since the last time.
    pub fn take_delays(&self) -> Percentiles {
        let mut delays = self.delays();
        let percentiles = Percentiles::of(&mut delays);
        delays.clear();
        percentiles
    }

    fn delays(&self) -> MutexGuard<'_, Vec<u32>> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
