//! Asks a source for configurations, and brings them to the clerk. One thread for each source.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::tray::{Order, Task, Tray};
use crate::aggregator::source::ConfigSource;
use crate::sync::lock;

/// What wakes the thread between two polls.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    /// To poll at once.
    woken: bool,
    ended: bool,
}

/// A source before the agent runs.
pub(crate) struct Watcher {
    application: String,
    source: Box<dyn ConfigSource>,
    bell: Arc<Bell>,
}

/// A source that is watched, until this is dropped.
pub(crate) struct Watching(Arc<Bell>);

impl Watcher {
    pub(crate) fn new(application: &str, mut source: Box<dyn ConfigSource>) -> Self {
        let bell = Arc::new(Bell::default());
        let rings = Arc::clone(&bell);
        source.wake_by(Arc::new(move || rings.ring(|rung| rung.woken = true)));
        let application = application.to_owned();
        Self {
            application,
            source,
            bell,
        }
    }

    /// What there is now, as JSON, if it is another than before. What is wrong with it is logged.
    pub(crate) fn poll(&mut self) -> Option<String> {
        match self.source.poll() {
            Ok(document) => document.map(|document| document.to_string()),
            Err(error) => {
                log::error!("the configuration of {:?} stays: {error}", self.application);
                None
            }
        }
    }

    /// From now on brings what is new to the clerk.
    pub(crate) fn start(mut self, tray: Arc<Tray>) -> io::Result<Watching> {
        let watching = Watching(Arc::clone(&self.bell));
        let builder = thread::Builder::new().name("wayside-config".to_owned());
        builder.spawn(move || {
            while self.bell.wait(self.source.interval()) {
                if let Some(json) = self.poll() {
                    self.bring(&tray, json);
                }
            }
        })?;
        Ok(watching)
    }

    fn bring(&self, tray: &Tray, json: String) {
        let (answer, answered) = mpsc::channel();
        tray.push_always(Task::Here(Order::Config {
            application: self.application.clone(),
            json,
            answer,
        }));
        // Without an answer the agent ends.
        if let Ok(Err(why)) = answered.recv() {
            log::error!("the configuration of {:?} stays: {why}", self.application);
        }
    }
}

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut lock(&self.rung));
        self.changed.notify_all();
    }

    /// Waits for so long, or until it is rung. False if it is the end.
    fn wait(&self, interval: Duration) -> bool {
        let idle = |rung: &mut Rung| !rung.woken && !rung.ended;
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.rung), interval, idle);
        let mut rung = waited.unwrap_or_else(PoisonError::into_inner).0;
        rung.woken = false;
        !rung.ended
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.ring(|rung| rung.ended = true);
    }
}
