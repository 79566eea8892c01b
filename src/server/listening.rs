//! A bound endpoint that accepts while it can, and tries again when it could not.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Link, Listener};
use crate::wire::guarded;

/// The pause after accepting has failed for want of something: descriptors, mostly.
const RETRY_DELAY: Duration = Duration::from_millis(100);

pub(crate) struct Listening {
    pub(crate) listener: Box<dyn Listener>,
    pub(crate) endpoint: Arc<str>,
    /// Of the backend's [`Capabilities`](crate::backend::Capabilities).
    pub(crate) short_recv_is_last: bool,
    /// Peers may be waiting.
    pub(crate) ready: bool,
    /// Not before then.
    pub(crate) retry_at: Option<Instant>,
}

/// What one try to accept has brought.
pub(crate) enum Accepted {
    Link(Box<dyn Link>),
    /// One peer was turned away; the next may be waiting.
    Refused(io::Error),
    /// Nobody waits.
    Nobody,
    /// It can't be done now. `first` if the last try still went well.
    Failed {
        error: io::Error,
        first: bool,
    },
}

impl Listening {
    pub(crate) fn new(listener: Box<dyn Listener>, endpoint: Arc<str>) -> Self {
        Self {
            listener,
            endpoint,
            short_recv_is_last: false,
            ready: true,
            retry_at: None,
        }
    }

    /// Whether a try is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.ready && self.retry_at.is_none_or(|at| now >= at)
    }

    pub(crate) fn accept(&mut self, now: Instant) -> Accepted {
        match guarded(|| self.listener.accept()) {
            Ok(link) => {
                self.retry_at = None;
                Accepted::Link(link)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.ready = false;
                    self.retry_at = None;
                    Accepted::Nobody
                }
                ErrorKind::PermissionDenied
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::Interrupted => Accepted::Refused(error),
                _ => {
                    let first = self.retry_at.is_none();
                    self.retry_at = Some(now + RETRY_DELAY);
                    Accepted::Failed { error, first }
                }
            },
        }
    }
}
