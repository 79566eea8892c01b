//! Brings the configuration of a source to the clerk, for as long as the agent lives.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use serde_json::Value;

use super::tray::{Order, Task, Tray};
use crate::aggregator::source::ConfigSource;

/// How long the clerk may take to answer. It is at the disk at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A source that wants no pause gets this one.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The thread of a source. It ends when this is dropped, once the source lets it.
pub(crate) struct Watcher {
    thread: Thread,
    ended: Arc<AtomicBool>,
}

impl Watcher {
    pub(crate) fn start(
        application: String,
        source: Box<dyn ConfigSource>,
        tray: Arc<Tray>,
    ) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let round = Round {
            application,
            source,
            tray,
            ended: Arc::clone(&ended),
            refused: None,
            trouble: None,
        };
        let builder = thread::Builder::new().name("wayside-config".to_owned());
        let thread = builder.spawn(move || round.run())?.thread().clone();
        Ok(Self { thread, ended })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

struct Round {
    application: String,
    source: Box<dyn ConfigSource>,
    tray: Arc<Tray>,
    ended: Arc<AtomicBool>,
    /// Why the agent won't have the source's last document.
    refused: Option<String>,
    /// What was told last.
    trouble: Option<String>,
}

impl Round {
    fn run(mut self) {
        let this = thread::current();
        // Not the thread's own token alone: waiting for the clerk's answer may take that.
        let woken = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&woken);
        self.source.wake_by(Arc::new(move || {
            wake.store(true, Ordering::SeqCst);
            this.unpark();
        }));
        while !self.ended.load(Ordering::SeqCst) {
            let trouble = self.look();
            self.tell(trouble);
            let called = woken.swap(false, Ordering::SeqCst) || self.ended.load(Ordering::SeqCst);
            if !called {
                thread::park_timeout(self.source.interval().max(INTERVAL_MIN));
            }
        }
    }

    /// What is wrong, if something is.
    fn look(&mut self) -> Option<String> {
        // A panic is an error like any other.
        let polled = catch_unwind(AssertUnwindSafe(|| self.source.poll()));
        match polled {
            Ok(Ok(Some(document))) => self.refused = self.set(&document),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return Some(error.to_string()),
            Err(_) => return Some(format!("{}: it panicked", self.source.name())),
        }
        // For as long as the source has no other document.
        self.refused.clone()
    }

    /// Why the agent won't have a document, if so.
    fn set(&self, document: &Value) -> Option<String> {
        let (answer, answered) = mpsc::channel();
        self.order(Order::Config {
            application: self.application.clone(),
            json: document.to_string(),
            answer,
        });
        // An agent that has ended does not answer, and needs no configuration.
        let set = answered.recv_timeout(ANSWER_TIMEOUT).ok()?;
        let refused = |why| format!("{}: {why}", self.source.name());
        set.err().map(refused)
    }

    /// Each trouble once, and that it is over.
    fn tell(&mut self, trouble: Option<String>) {
        if self.trouble == trouble {
            return;
        }
        if let Some(why) = &trouble {
            log::warn!("the configuration stays as it is: {why}");
        }
        self.trouble.clone_from(&trouble);
        self.order(Order::ConfigTrouble {
            application: self.application.clone(),
            trouble,
        });
    }

    fn order(&self, order: Order) {
        self.tray.push_always(Task::Here(order));
    }
}
