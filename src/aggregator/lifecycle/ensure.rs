//! Making sure that there is an agent: who starts one, and when.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::call::Call;
use super::post::Post;
use super::resident::Running;
use super::spawn::{Launched, Spawn};
use crate::aggregator::Reports;
use crate::ambient;
use crate::client::{Client, ConnectError};
use crate::settings::{Settings, SettingsError};

/// How long to wait for an answer before looking again who starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// There is an agent.
#[non_exhaustive]
pub enum Presence {
    /// It was there, or another process has started it.
    Found,
    /// This process has started it.
    Spawned,
    /// It runs on threads of this process, until this is dropped.
    InProcess(InProcess),
}

/// An agent on threads of this process. Dropping it shuts the agent down.
pub struct InProcess(#[expect(dead_code, reason = "held, not read")] Running);

/// Waits until there is an agent where the settings say, and starts one if it takes that.
///
/// Of any number of processes that call this at the same instant, one starts an agent, and all wait for
/// it. Workers do it by themselves if they are told what to start:
/// [`WorkerBuilder::agent`](crate::aggregator::WorkerBuilder::agent).
///
/// # Errors
/// See [`EnsureError`].
pub fn ensure_agent(
    settings: &Settings,
    spawn: &Spawn,
    patience: Duration,
) -> Result<Presence, EnsureError> {
    let deadline = ambient::now() + patience.min(crate::limits::DURATION_MAX);
    let post = Post::of(settings)?;
    let client = Client::<Reports>::builder().settings(settings)?.start()?;
    let connected = |patience| client.wait_connected(patience).is_ok();
    // Whoever is there gets the time to answer.
    if connected(LOOK_INTERVAL) {
        return Ok(Presence::Found);
    }
    bring_about(&post, spawn, deadline, connected)
}

/// Waits until there is no agent where the settings say, nor one that is still ending: its reports are
/// brought away, its journal and its address are free. False if there still is one after that time.
///
/// It does not ask the agent to end: one leaves when it is idle, is told to by a signal, or
/// [hands over](super::hand_over). Workers with [`WorkerBuilder::agent`] start the next one at once, so they
/// must have ended first.
///
/// [`WorkerBuilder::agent`]: crate::aggregator::WorkerBuilder::agent
///
/// # Errors
/// The settings' directory, or the lock in it, can't be used.
pub fn wait_gone(settings: &Settings, patience: Duration) -> Result<bool, EnsureError> {
    let deadline = ambient::now() + patience.min(crate::limits::DURATION_MAX);
    let post = Post::of(settings)?;
    while post.is_taken().map_err(EnsureError::Lock)? {
        if ambient::now() >= deadline {
            return Ok(false);
        }
        thread::park_timeout(LOOK_INTERVAL);
    }
    Ok(true)
}

/// The same with a connection of the caller's own, which waits so long and says whether it stands.
pub(super) fn bring_about(
    post: &Post,
    spawn: &Spawn,
    deadline: Instant,
    mut connected: impl FnMut(Duration) -> bool,
) -> Result<Presence, EnsureError> {
    if Call::was_overlooked() {
        return Err(EnsureError::NoHook);
    }
    let mut launched = None;
    loop {
        let elected = post.elect().map_err(EnsureError::Lock)?;
        // A second look under the lock: its last holder may have been done a moment ago. An agent that
        // is on its way holds its own lock, so there is none only if nobody has that either.
        if elected.is_some() && !post.is_taken().map_err(EnsureError::Lock)? {
            if connected(Duration::ZERO) {
                return Ok(Presence::Found);
            }
            match start(post, spawn)? {
                Started::Process(process) => launched = Some(process),
                Started::Here(presence) => return Ok(presence),
                Started::Nothing => {}
            }
        }
        // Whoever has started it keeps the lock until it answers, or the patience is over.
        loop {
            if connected(LOOK_INTERVAL) {
                return Ok(match launched {
                    Some(_) => Presence::Spawned,
                    None => Presence::Found,
                });
            }
            if ambient::now() >= deadline {
                let launched = launched.is_some();
                return Err(EnsureError::TimedOut { launched });
            }
            if launched.is_none() {
                break;
            }
        }
        drop(elected);
        // A connection that can't be waited for would have this turn without a pause.
        thread::park_timeout(LOOK_INTERVAL);
    }
}

/// What came of the attempt.
enum Started {
    Process(Launched),
    Here(Presence),
    Nothing,
}

fn start(post: &Post, spawn: &Spawn) -> Result<Started, EnsureError> {
    let launched = spawn.launch(post);
    if let Ok(Some(process)) = launched {
        return Ok(Started::Process(process));
    }
    if let Some(make) = spawn.make_in_process() {
        if let Err(error) = launched {
            log::warn!("the agent can't be a process of its own, and runs in this one: {error}");
        }
        let failed = |why: String| EnsureError::InProcess(why);
        let resident = make().map_err(|error| failed(error.to_string()))?;
        let running = resident
            .start()
            .map_err(|error| failed(error.to_string()))?;
        return Ok(match running {
            Some(running) => Started::Here(Presence::InProcess(InProcess(running))),
            None => Started::Nothing,
        });
    }
    match launched {
        Err(error) => Err(EnsureError::Launch(error)),
        Ok(_) => Ok(Started::Nothing),
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Found => "Found",
            Self::Spawned => "Spawned",
            Self::InProcess(_) => "InProcess",
        })
    }
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There can't even be a connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// This process was started to be the agent, and does the program's own work instead.
    #[error("this process was started as the agent: call `lifecycle::hook` at the top of `main`")]
    NoHook,
    /// Nobody can be elected, or it can't be seen whether there is an agent.
    #[error("the agent's lock: {0}")]
    Lock(io::Error),
    /// The process can't be started.
    #[error("the agent can't be started: {0}")]
    Launch(io::Error),
    /// It can't run in this process either.
    #[error("the agent can't run in this process: {0}")]
    InProcess(String),
    /// Nobody answers.
    #[error("no agent answers in time{}", if *.launched { ", though this process has started one: \
            see `Spawn::log` for what it says" } else { "" })]
    TimedOut {
        /// Whether this process has started one.
        launched: bool,
    },
}
