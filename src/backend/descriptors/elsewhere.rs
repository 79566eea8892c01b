//! Windows: no limit that would matter.

/// There is none.
pub(crate) fn max() -> Option<u64> {
    None
}
