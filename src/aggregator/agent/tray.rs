//! What waits for the clerk: a bounded queue, emptied all at once.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::ended::Ended;
use super::farewell::Farewell;
use super::status::Status;
use crate::aggregator::{AttackReport, Batch, Hello, Reports};
use crate::ambient;
use crate::server::{Peer, PeerKey, Responder};
use crate::sync::lock;

/// Something for the clerk to do.
pub(crate) enum Task {
    Hello {
        peer: Peer<Reports>,
        hello: Box<Hello>,
        responder: Responder<Reports>,
    },
    Batch {
        peer: PeerKey,
        batch: Box<Batch>,
        responder: Responder<Reports>,
    },
    Attack {
        peer: PeerKey,
        report: Box<AttackReport>,
    },
    ConfigRuns {
        peer: PeerKey,
        version: u64,
    },
    ConfigRefused {
        peer: PeerKey,
        version: u64,
        why: String,
    },
    Leave {
        peer: PeerKey,
        responder: Responder<Reports>,
    },
    Gone {
        peer: PeerKey,
    },
    /// For a tool that is connected.
    Status {
        responder: Responder<Reports>,
    },
    HandOver {
        build: String,
        responder: Responder<Reports>,
    },
    /// Of this program.
    Here(Order),
}

/// What the program itself asks of the clerk.
pub(crate) enum Order {
    Status(mpsc::Sender<Status>),
    /// Another configuration, as JSON. Answered with its version.
    Config {
        application: String,
        json: String,
        answer: mpsc::Sender<Result<u64, String>>,
    },
    /// What is wrong with the source of a configuration; `None` if all is well again.
    ConfigTrouble {
        application: String,
        trouble: Option<String>,
    },
    Interval {
        application: String,
        interval: Duration,
    },
    /// A heartbeat now.
    Beat,
    /// Report what there is to report, by the deadline, and end.
    Finish {
        deadline: Instant,
        why: Ended,
        answer: mpsc::Sender<Farewell>,
    },
}

pub(crate) struct Tray {
    inner: Mutex<Inner>,
    changed: Condvar,
    count_max: usize,
    len_max: usize,
}

#[derive(Default)]
struct Inner {
    tasks: Vec<Task>,
    /// About how many bytes those take that came over a connection.
    len: usize,
    nudged: bool,
    /// Nobody takes anything any more.
    closed: bool,
    count_high: usize,
    refused: u64,
}

/// How full the tray is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TrayLevel {
    pub(crate) waiting: usize,
    pub(crate) waiting_max: usize,
    pub(crate) refused: u64,
}

impl Tray {
    pub(crate) fn new(count_max: usize, len_max: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            changed: Condvar::new(),
            count_max,
            len_max,
        })
    }

    /// Adds what came over a connection and is about so many bytes long.
    ///
    /// # Errors
    /// It is full: the task comes back.
    pub(crate) fn push(&self, task: Task, len: usize) -> Result<(), Task> {
        let mut inner = lock(&self.inner);
        let is_full = inner.tasks.len() >= self.count_max || inner.len >= self.len_max;
        if is_full || inner.closed {
            inner.refused += 1;
            return Err(task);
        }
        inner.len += len;
        self.add(&mut inner, task);
        Ok(())
    }

    /// Adds what has to be heard: as much as there are peers and handles, at most.
    pub(crate) fn push_always(&self, task: Task) {
        let mut inner = lock(&self.inner);
        if !inner.closed {
            self.add(&mut inner, task);
        }
    }

    fn add(&self, inner: &mut Inner, task: Task) {
        inner.tasks.push(task);
        inner.count_high = inner.count_high.max(inner.tasks.len());
        // Whoever finds it empty waits; whoever is at work looks again by itself.
        if inner.tasks.len() == 1 && !inner.nudged {
            self.changed.notify_one();
        }
    }

    /// Has the clerk look around.
    pub(crate) fn nudge(&self) {
        let mut inner = lock(&self.inner);
        inner.nudged = true;
        self.changed.notify_one();
    }

    /// Takes all that waits; waits for something, a nudge or the deadline.
    pub(crate) fn take(&self, deadline: Option<Instant>, tasks: &mut Vec<Task>) {
        tasks.clear();
        let mut inner = lock(&self.inner);
        while inner.tasks.is_empty() && !inner.nudged {
            let left = deadline.map(|at| at.saturating_duration_since(ambient::now()));
            inner = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(inner);
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner)
                }
            };
        }
        inner.nudged = false;
        inner.len = 0;
        std::mem::swap(&mut inner.tasks, tasks);
    }

    /// Takes nothing from now on, and lets go of what waits.
    pub(crate) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let tasks = std::mem::take(&mut inner.tasks);
        drop(inner);
        drop(tasks);
    }

    pub(crate) fn level(&self) -> TrayLevel {
        let inner = lock(&self.inner);
        TrayLevel {
            waiting: inner.tasks.len(),
            waiting_max: inner.count_high,
            refused: inner.refused,
        }
    }
}
