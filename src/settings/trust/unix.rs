//! Unix: the permission bits tell.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Whether every user of this system may write it. For a directory the sticky bit changes
/// nothing: it stops others from removing files, not from adding them.
pub(in crate::settings) fn anyone_may_write(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0
}
