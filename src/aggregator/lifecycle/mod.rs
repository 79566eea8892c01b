//! How there comes to be an agent, exactly one, and how it ends.
//!
//! ```text
//!  worker A ─┐                                        the program again        the program again
//!  worker B ─┼─ who gets the lock? ─ A ── starts ──▶  launcher: a session ──▶  agent: holds its
//!  worker C ─┘      B and C wait          and reaps   of its own, ends         lock, serves, leaves
//!            ◀──────────────────────── all connect ─────────────────────────▶
//! ```
//!
//! Three files in the [settings' directory](crate::Settings::dir), for an application `shop`:
//!
//! - `shop.agent`: locked by the agent for as long as it lives, its last reports included. Another one
//!   that is started waits for it, and ends if it stays.
//! - `shop.agent-start`: locked by the one process that starts an agent.
//! - `shop.agent-ticket-…`: made by that process and taken by its agent. So what is started by the
//!   agent, and has inherited its environment, is not taken for one.
//!
//! A lock is let go when its process dies, however it dies: nothing has to be cleaned up.
//!
//! # Platform
//! On Unix the agent has a session of its own, and is a child of the system's first process: it outlives
//! its starter and leaves no zombie. SIGTERM and SIGINT end it with a last heartbeat; a second one ends
//! it at once. On Windows it is detached from the console, and there is no signal that asks it to
//! end: it leaves when it is idle, hands over, or is terminated, which the journal survives.

mod call;
mod ensure;
mod hand_over;
mod hook;
mod keeper;
mod post;
mod resident;
mod spawn;

cfg_if::cfg_if! {
    if #[cfg(windows)] {
        mod windows;
        use windows as platform;
    } else {
        mod unix;
        use unix as platform;
    }
}

pub use ensure::{EnsureError, Presence, ensure_agent, wait_gone};
pub use hand_over::{HandOverError, hand_over};
pub use hook::hook;
pub(crate) use keeper::Keeper;
pub(crate) use post::Post;
pub use resident::{Resident, ResidentError};
pub use spawn::Spawn;
