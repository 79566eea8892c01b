//! What stands in the way of a transport, as [`Backend::examine`](super::Backend::examine) finds it.

use std::path::PathBuf;

/// One thing that was found, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What it is about.
    pub about: About,
    /// One line for people: what it is, with its numbers, and what to do.
    pub text: String,
}

/// How bad a finding is. The later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Good to know.
    Note,
    /// It works, but not for everybody, or not for long.
    Warning,
    /// It would not work.
    Obstacle,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// This system, or this build, lacks the transport.
    Unsupported,
    /// What the settings say of it can't be.
    Settings,
    /// The address is malformed or too long.
    Address,
    /// The directory where its files lie, or would lie.
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// Somebody listens there.
    Taken {
        /// The process, where the system tells.
        pid: Option<u32>,
    },
    /// A file of another kind has the name.
    InTheWay {
        /// Which.
        path: PathBuf,
    },
    /// What a killed process has left.
    Leftover {
        /// The file or queue.
        name: String,
        /// The user whose it is, where the system tells.
        uid: Option<u32>,
    },
    /// The file with the key.
    Key {
        /// Which.
        path: PathBuf,
    },
    /// A limit of the system.
    Limit {
        /// As the system calls it: `RLIMIT_NOFILE`.
        name: &'static str,
        /// `None` if there is none.
        value: Option<u64>,
    },
}

impl Finding {
    /// Good to know.
    pub fn note(about: About, text: impl Into<String>) -> Self {
        Self::new(Weight::Note, about, text)
    }

    /// It works, but not for everybody, or not for long.
    pub fn warning(about: About, text: impl Into<String>) -> Self {
        Self::new(Weight::Warning, about, text)
    }

    /// It would not work.
    pub fn obstacle(about: About, text: impl Into<String>) -> Self {
        Self::new(Weight::Obstacle, about, text)
    }

    fn new(weight: Weight, about: About, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            weight,
            about,
            text,
        }
    }
}
