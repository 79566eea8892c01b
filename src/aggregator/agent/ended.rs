//! Why an agent ends, and waiting for it.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ambient;
use crate::sync::lock;

/// Why an agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The program shut it down.
    Shutdown,
    /// No worker was connected for as long as was asked for.
    Idle,
    /// Another agent takes over.
    HandedOver {
        /// What that one says of itself.
        build: String,
    },
    /// It can't go on.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("it was shut down"),
            Self::Idle => f.write_str("no worker was connected for a while"),
            Self::HandedOver { build } => write!(f, "{build} takes over"),
            Self::Failed(why) => write!(f, "it can't go on: {why}"),
        }
    }
}

/// What those who wait for an agent's end look at.
#[derive(Default)]
pub(crate) struct Vitals {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    connected: usize,
    /// Since when nobody is connected.
    idle_since: Option<Instant>,
    ended: Option<Ended>,
}

impl Vitals {
    /// So many workers are connected now.
    pub(crate) fn set_connected(&self, connected: usize) {
        let mut inner = lock(&self.inner);
        inner.connected = connected;
        if connected > 0 {
            inner.idle_since = None;
        } else if inner.idle_since.is_none() {
            inner.idle_since = Some(ambient::now());
            self.changed.notify_all();
        }
    }

    /// It ends; only the first reason counts.
    pub(crate) fn end(&self, why: Ended) {
        lock(&self.inner).ended.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Waits until it is to end; with an idle time also until it was idle for so long.
    pub(crate) fn wait(&self, idle: Option<Duration>) -> Ended {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(ended) = &inner.ended {
                return ended.clone();
            }
            let idle_at = idle.zip(inner.idle_since).map(|(idle, since)| {
                let left = (since + idle).saturating_duration_since(ambient::now());
                (left, since)
            });
            inner = match idle_at {
                Some((Duration::ZERO, _)) => {
                    inner.ended = Some(Ended::Idle);
                    continue;
                }
                Some((left, _)) => {
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(inner);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
