//! The agent: adds up, remembers, detects and reports what the workers of this host say.
//!
//! ```text
//!   builder     describes it           application  what it does for one application
//!   running     the agent, for its program; ended, farewell: how it ends
//!   desk        the server's handler: who may speak, rules and questions
//!     tray      ▼ what waits
//!   clerk       decides, records, acknowledges: the one thread that changes the state
//!     beats     when heartbeats are due      config  versions of configurations
//!     memory    the journal, or none         meter   how many a second
//!     status    what it says of itself
//!     board     ▼ what the sinks are to take
//!   courier     brings it to one sink         watcher brings configurations from one source
//!
//!   pure, without clock and I/O:
//!   record      the steps that the state follows from: what the journal holds
//!   state       all that is known: accounts, one for each application
//!     account   workers, periods, and reports that wait for sinks
//!     workers   one worker, and the book that is kept of it
//!     period    what has come together for the next heartbeat
//!     waiting   attacks and findings that wait for the sinks
//!     bounds    what is kept at most
//!   detector    attack waves, rate limits, and those of the program
//! ```

mod account;
mod answer;
mod application;
mod beats;
mod board;
mod bounds;
mod build;
mod builder;
mod clerk;
mod clock;
mod config;
mod courier;
mod desk;
mod detector;
mod ended;
mod farewell;
mod memory;
mod meter;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod model;
mod period;
mod record;
mod running;
mod state;
mod status;
#[cfg(all(test, feature = "tcp"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod tray;
mod waiting;
mod watcher;
mod workers;

pub use application::Application;
pub use bounds::AgentBounds;
pub use builder::{AgentBuilder, AgentError};
pub use detector::{AttackWave, Detector, RateLimit, Sight};
pub use ended::Ended;
pub use farewell::Farewell;
pub use memory::Keeping;
pub(crate) use running::UNREPORTED_MAX;
pub use running::{Agent, SetConfigError};
pub use status::{
    ApplicationStatus, MemoryStatus, QueueStatus, SinkStatus, Status, StatusError, status,
};
