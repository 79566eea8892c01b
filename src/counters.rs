//! What was moved, refused and dropped: counted while it happens, read as a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::close::{CloseReason, REASON_NAMES};

/// A number that only grows, changed and read from any thread. Counts order nothing, so relaxed.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds one where nobody adds at the same time: always the same thread does, or whoever holds
    /// a certain lock. That needs no atomic addition, which costs as much as a short message.
    pub(crate) fn one_alone(&self) {
        self.0.store(self.read() + 1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many connections ended for which reason.
#[derive(Debug)]
pub(crate) struct Closings(Vec<Count>);

impl Default for Closings {
    fn default() -> Self {
        Self(REASON_NAMES.iter().map(|_| Count::default()).collect())
    }
}

impl Closings {
    pub(crate) fn count(&self, reason: &CloseReason) {
        let count = usize::try_from(reason.code())
            .ok()
            .and_then(|index| self.0.get(index));
        count.expect("there is a count for every code").one();
    }

    pub(crate) fn read(&self) -> Closed {
        Closed(self.0.iter().map(Count::read).collect())
    }
}

/// How many connections ended for which reason: a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed(Vec<u64>);

impl Closed {
    /// The count for a reason by its [name](CloseReason::name); 0 for a name that there is not.
    #[must_use]
    pub fn for_reason(&self, name: &str) -> u64 {
        self.iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, count)| count)
    }

    /// All reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let pairs = REASON_NAMES.iter().copied().zip(self.0.iter().copied());
        pairs.filter(|(_, count)| *count > 0)
    }

    /// All connections that ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Declares live counters and the snapshot of them that users see, so that none is forgotten.
macro_rules! counters {
    (
        $(#[$live_doc:meta])* $live:ident,
        $(#[$snapshot_doc:meta])* $snapshot:ident,
        { $($(#[$doc:meta])* $name:ident,)* }
    ) => {
        $(#[$live_doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $live {
            $(pub(crate) $name: Count,)*
            pub(crate) closed: Closings,
        }

        $(#[$snapshot_doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $snapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections that ended, by reason.
            pub closed: Closed,
        }

        impl $live {
            pub(crate) fn read(&self) -> $snapshot {
                $snapshot {
                    $($name: self.$name.read(),)*
                    closed: self.closed.read(),
                }
            }
        }
    };
}

counters! {
    /// The live counters of a server.
    LiveServerCounters,
    /// What a server has done since it was bound.
    ServerCounters,
    {
        /// Connections that were accepted.
        accepted,
        /// Connections that the transport did not let in: another user, a wrong key. Those that had been
        /// accepted before that showed, as over TCP, are also among `closed`, as `link_failed`.
        refused,
        /// Times that accepting failed and was put off: out of descriptors, say.
        accept_failures,
        /// Sessions that opened.
        opened,
        /// Events that were handed to the handler.
        events,
        /// Requests that were handed to the handler.
        requests,
        /// Replies that were queued for their peer.
        replies,
        /// Requests that the client withdrew before the answer.
        cancelled,
        /// Requests that were answered with a failure instead of a reply.
        failed,
        /// Replies that nobody waited for any more.
        replies_unwanted,
        /// Pushes that were queued for their peer.
        pushes,
        /// Pushes that were handed back because a peer's outbox was full.
        pushes_full,
        /// Pushes that were handed back for another reason: the client had gone, or the message was too
        /// long or could not be encoded.
        pushes_refused,
        /// Pushes that were queued and had not left when their peer was gone.
        pushes_unsent,
        /// Times that the handler panicked, or the code of a message while it was decoded.
        handler_panics,
    }
}

counters! {
    /// The live counters of a client.
    LiveClientCounters,
    /// What a client has done since it was made.
    ClientCounters,
    {
        /// Attempts to connect.
        attempts,
        /// Sessions that opened.
        opened,
        /// Events that were taken.
        events,
        /// Events that were handed back because the outbox was full.
        events_full,
        /// Events that were handed back for another reason: too long, not to be encoded, or the client
        /// was closed.
        events_refused,
        /// Events that the server is known to have handled.
        events_acknowledged,
        /// Events that were on their way when a connection was lost: handled or not.
        events_in_doubt,
        /// Events that were dropped because the server that was reached takes no frames so long.
        events_too_long,
        /// Events that were never sent because the client was closed before they could be.
        events_unsent,
        /// Calls that were begun, and flushes.
        calls,
        /// Calls and flushes that were not begun: no connection, too many open ones, no room for the
        /// request, or a request that is too long or can't be encoded.
        calls_refused,
        /// Calls that ended with a reply.
        replies,
        /// Calls that ended with an error.
        calls_failed,
        /// Replies that nobody waited for any more.
        replies_unwanted,
        /// Pushes that came.
        pushes,
        /// Pushes that were dropped because nobody took them in time.
        pushes_dropped,
        /// Times that a callback panicked.
        callback_panics,
    }
}
