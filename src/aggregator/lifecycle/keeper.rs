//! The thread of a worker that sees to it that there is an agent, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ensure::{Presence, bring_about};
use super::post::Post;
use super::spawn::Spawn;
use crate::aggregator::Reports;
use crate::ambient;
use crate::client::{Client, ClientState};

/// The pause after a failure, and the longest to which it grows.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a new agent may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// An agent that is gone sooner than this was no success.
const STABLE: Duration = Duration::from_secs(5);

/// How often to look whether it has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The thread, which ends when it is told to.
pub(crate) struct Keeper {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
    /// The agent may be on threads of this process.
    may_have_agent: bool,
}

impl Keeper {
    /// Begins to look after the agent that this client wants to reach.
    pub(crate) fn start(
        client: Client<Reports>,
        post: Post,
        spawn: Arc<Spawn>,
    ) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let may_have_agent = spawn.make_in_process().is_some();
        let duty = Duty {
            client,
            post,
            spawn,
            ended: Arc::clone(&ended),
            pause: PAUSE_MIN,
        };
        let builder = thread::Builder::new().name("wayside-keeper".to_owned());
        let thread = builder.spawn(move || duty.run())?;
        Ok(Self {
            thread,
            ended,
            may_have_agent,
        })
    }

    /// The connection has changed.
    pub(crate) fn stir(&self) {
        self.thread.thread().unpark();
    }

    /// Nobody needs the agent any more, on whose account this is.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.stir();
    }

    /// Once it was told to end: waits until an agent on threads of this process has reported what it was
    /// given. The process may end next, and take it along.
    pub(crate) fn wait_for_own_agent(&self, deadline: Instant) {
        while self.may_have_agent && !self.thread.is_finished() {
            if ambient::now() >= deadline {
                log::warn!("the agent of this process had no time to report what is left");
                return;
            }
            thread::park_timeout(LOOK_INTERVAL);
        }
    }
}

struct Duty {
    client: Client<Reports>,
    post: Post,
    spawn: Arc<Spawn>,
    ended: Arc<AtomicBool>,
    pause: Duration,
}

impl Duty {
    fn run(mut self) {
        // Held for as long as this process has the agent.
        let mut _present = None;
        while !self.has_ended() {
            if matches!(self.client.state(), ClientState::Connected { .. }) {
                let since = ambient::now();
                self.wait_while_connected();
                if since.elapsed() >= STABLE {
                    self.pause = PAUSE_MIN;
                }
                continue;
            }
            // The first attempt may be under way.
            if self
                .client
                .wait_connected(Duration::from_millis(20))
                .is_ok()
            {
                continue;
            }
            _present = None;
            let (client, ended) = (&self.client, &self.ended);
            let connected =
                |patience| ended.load(Ordering::SeqCst) || client.wait_connected(patience).is_ok();
            let deadline = ambient::now() + START_TIMEOUT;
            match bring_about(&self.post, &self.spawn, deadline, connected) {
                Ok(Presence::InProcess(agent)) => _present = Some(agent),
                Ok(Presence::Found) => continue,
                Ok(Presence::Spawned) => {}
                Err(error) => log::warn!("{error}"),
            }
            // Also after a success: an agent that dies at once is not started again at once.
            self.rest();
        }
    }

    fn wait_while_connected(&self) {
        while !self.has_ended() && matches!(self.client.state(), ClientState::Connected { .. }) {
            // Stirred by every change.
            thread::park();
        }
    }

    fn rest(&mut self) {
        let until = ambient::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        while !self.has_ended() {
            let left = until.saturating_duration_since(ambient::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}
