//! Why an agent ends, and waiting for it.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ambient;
use crate::limits::DURATION_MAX;
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

/// When an agent to which nobody is connected leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// After so long.
    pub(crate) after: Duration,
    /// Unless there is something that not every sink has: then so much later at the latest.
    pub(crate) unreported_max: Duration,
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
    /// There is something that not every sink has.
    unreported: bool,
    ended: Option<Ended>,
}

/// What to do about an agent that nobody is connected to.
enum Next {
    Wait(Option<Duration>),
    /// What there is should go to the sinks, as it won't become more.
    Report(Instant),
    Leave,
}

impl Vitals {
    /// So many workers are connected now, and there is something to report or not.
    pub(crate) fn set(&self, connected: usize, unreported: bool) {
        let mut inner = lock(&self.inner);
        let was_unreported = std::mem::replace(&mut inner.unreported, unreported);
        inner.connected = connected;
        if connected > 0 {
            inner.idle_since = None;
        } else if inner.idle_since.is_none() {
            inner.idle_since = Some(ambient::now());
            self.changed.notify_all();
        } else if was_unreported && !unreported {
            self.changed.notify_all();
        }
    }

    /// It ends; only the first reason counts.
    pub(crate) fn end(&self, why: Ended) {
        lock(&self.inner).ended.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Waits until it is to end; with an idle time also until it was idle for so long. Then `report` is
    /// called, once, if there is something to report before it can leave.
    pub(crate) fn wait(&self, idle: Option<Idle>, report: impl Fn()) -> Ended {
        let mut asked = None;
        let mut inner = lock(&self.inner);
        loop {
            if let Some(ended) = &inner.ended {
                return ended.clone();
            }
            inner = match inner.next(idle, asked, ambient::now()) {
                Next::Leave => {
                    inner.ended = Some(Ended::Idle);
                    continue;
                }
                Next::Report(since) => {
                    asked = Some(since);
                    drop(inner);
                    report();
                    lock(&self.inner)
                }
                Next::Wait(Some(left)) => {
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Wait(None) => {
                    let waited = self.changed.wait(inner);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Inner {
    /// `asked` is when the idle time began in which a report was asked for.
    fn next(&self, idle: Option<Idle>, asked: Option<Instant>, now: Instant) -> Next {
        let Some((idle, since)) = idle.zip(self.idle_since) else {
            return Next::Wait(None);
        };
        let idle_for = now.saturating_duration_since(since);
        let left = |until: Duration| until.min(DURATION_MAX).saturating_sub(idle_for);
        let latest = idle.after.saturating_add(idle.unreported_max);
        if !left(idle.after).is_zero() {
            Next::Wait(Some(left(idle.after)))
        } else if !self.unreported || left(latest).is_zero() {
            Next::Leave
        } else if asked != Some(since) {
            Next::Report(since)
        } else {
            Next::Wait(Some(left(latest)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn idle_since(ago: Duration, unreported: bool) -> (Inner, Instant) {
        // The clock may have begun a moment ago.
        let since = ambient::now();
        let now = since + ago;
        let inner = Inner {
            idle_since: Some(since),
            unreported,
            ..Inner::default()
        };
        (inner, now)
    }

    fn next(ago: Duration, unreported: bool, idle: Idle, was_asked: bool) -> Next {
        let (inner, now) = idle_since(ago, unreported);
        let asked = inner.idle_since.filter(|_| was_asked);
        inner.next(Some(idle), asked, now)
    }

    #[test]
    fn an_idle_agent_reports_before_it_leaves_and_stays_no_longer_than_it_may() {
        let idle = Idle {
            after: 5 * SECOND,
            unreported_max: 60 * SECOND,
        };
        let waits = |left| move |next| matches!(next, Next::Wait(Some(time)) if time == left);
        assert!(waits(SECOND)(next(4 * SECOND, true, idle, false)));
        assert!(matches!(next(5 * SECOND, false, idle, false), Next::Leave));
        assert!(matches!(
            next(5 * SECOND, true, idle, false),
            Next::Report(_)
        ));
        assert!(waits(59 * SECOND)(next(6 * SECOND, true, idle, true)));
        assert!(matches!(next(65 * SECOND, true, idle, true), Next::Leave));
    }

    #[test]
    fn any_time_can_be_asked_for() {
        let for_ever = Idle {
            after: Duration::MAX,
            unreported_max: Duration::MAX,
        };
        let next = next(SECOND, true, for_ever, false);
        assert!(matches!(next, Next::Wait(Some(_))));
    }
}
