//! Asking an agent to make room for a newer one.

use std::thread;
use std::time::Duration;

use super::post::Post;
use crate::aggregator::{AgentReply, Reports, StatusError, UnixMicros, WorkerRequest, status};
use crate::ambient;
use crate::client::{CallError, Client, ConnectError};
use crate::settings::{Settings, SettingsError};

/// How long the next agent may take to say that it is there, at each look.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
/// How often to look whether it has gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Asks the agent to end, and waits until it has: its reports are brought away, its journal and its address
/// are free, or the next agent has them already. Its workers keep what they have for the next agent. False if there was none.
///
/// The agent ends only if it was built with
/// [`AgentBuilder::hand_over`](crate::aggregator::AgentBuilder::hand_over).
///
/// # Errors
/// See [`HandOverError`].
pub fn hand_over(
    settings: &Settings,
    build: &str,
    patience: Duration,
) -> Result<bool, HandOverError> {
    let deadline = ambient::now() + patience.min(crate::limits::DURATION_MAX);
    let left = || deadline.saturating_duration_since(ambient::now());
    let post = Post::of(settings)?;
    if !post.is_taken().map_err(HandOverError::Lock)? {
        return Ok(false);
    }
    let present = Run::of_agent(settings, left())?;
    let client = Client::<Reports>::builder()
        .settings(settings)?
        .connect(left())?;
    let request = WorkerRequest::HandOver {
        build: build.to_owned(),
    };
    match client.call(&request, left()) {
        Ok(AgentReply::Bye) => {}
        Ok(AgentReply::Refused { why }) => return Err(HandOverError::Refused(why)),
        Ok(_) => return Err(HandOverError::Refused("it does not understand".to_owned())),
        // It may have been quick.
        Err(CallError::Lost { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    drop(client);
    while post.is_taken().map_err(HandOverError::Lock)? {
        // Its workers may have been quicker than we are, and have started the next one.
        let next = Run::of_agent(settings, left().min(ANSWER_TIMEOUT));
        if next.is_ok_and(|next| next != present) {
            return Ok(true);
        }
        if left().is_zero() {
            return Err(HandOverError::TimedOut);
        }
        thread::park_timeout(LOOK_INTERVAL);
    }
    Ok(true)
}

/// What tells an agent from the one before it, also in one process.
#[derive(PartialEq, Eq)]
struct Run {
    process: u32,
    since: UnixMicros,
}

impl Run {
    fn of_agent(settings: &Settings, patience: Duration) -> Result<Self, StatusError> {
        let status = status(settings, patience)?;
        let (process, since) = (status.process, status.since);
        Ok(Self { process, since })
    }
}

/// Why an agent did not make room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nobody can say whether there is an agent.
    #[error("the agent's lock: {0}")]
    Lock(std::io::Error),
    /// It is there and can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not say which one it is.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// It has not answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It stays.
    #[error("the agent stays: {0}")]
    Refused(String),
    /// It is still ending.
    #[error("the agent has not ended in time")]
    TimedOut,
}
