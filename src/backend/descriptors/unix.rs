//! Unix: RLIMIT_NOFILE.

use rustix::process::{Resource, getrlimit};

/// The soft limit; `None` if there is none.
pub(crate) fn max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
