//! The agent: adds up, remembers, detects and reports what the workers of this host say.
//!
//! ```text
//!   bounds     what is kept at most
//!   record     the steps that the state follows from: what the journal holds
//!   state      all that is known, pure: accounts, one for each application
//!     account  workers, periods, and reports that wait for sinks
//!     workers  one worker, and the book that is kept of it
//!     period   what has come together for the next heartbeat
//!     waiting  attacks and findings that wait for the sinks
//! ```

mod account;
mod bounds;
mod period;
mod record;
mod state;
mod waiting;
mod workers;

pub use bounds::AgentBounds;
