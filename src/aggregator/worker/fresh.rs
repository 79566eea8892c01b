//! How much has come into the cells that was not there at the last flush: series that were made, and
//! keys that were seen first. What is only counted on takes no more room than before, so it is not
//! looked at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::courier::Mailbox;

/// What a series or a key takes in a batch besides its texts, about.
const EACH_LEN: usize = 32;

pub(crate) struct Fresh {
    /// Bytes, about.
    len: AtomicUsize,
    /// So much is sent at once.
    much: usize,
    mailbox: Arc<Mailbox>,
}

impl Fresh {
    pub(crate) fn new(much: usize, mailbox: Arc<Mailbox>) -> Self {
        Self {
            len: AtomicUsize::new(0),
            much: much.max(1),
            mailbox,
        }
    }

    /// Something of so many bytes of text is there that was not. Wakes the courier when it is much.
    pub(crate) fn add(&self, texts_len: usize) {
        let len = texts_len + EACH_LEN;
        let before = self.len.fetch_add(len, Ordering::Relaxed);
        if before < self.much && before + len >= self.much {
            self.mailbox.ring();
        }
    }

    pub(crate) fn is_much(&self) -> bool {
        self.len.load(Ordering::Relaxed) >= self.much
    }

    /// All of it is about to be taken. What comes from now on may be taken too, and is counted for the
    /// next time all the same.
    pub(crate) fn begin_again(&self) {
        self.len.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh")
            .field("len", &self.len)
            .field("much", &self.much)
            .finish_non_exhaustive()
    }
}
