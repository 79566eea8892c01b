//! Not counted here: counting costs whoever allocates much, and this is about time.

/// Whether a count of nought means that there were none.
pub const ARE_COUNTED: bool = false;

/// None that anybody knows of.
pub fn count() -> u64 {
    0
}
