//! Windows: only the file's type. Who may read it is a matter of the access list that it inherits
//! from its directory, by default below `%LOCALAPPDATA%`, which is closed to other users.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

/// Opens the file, unless the name is a link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path)?.is_symlink() {
        let text = "is a symbolic link: name the file that it leads to";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    File::open(path)
}

/// Refuses what is no regular file.
pub(super) fn check(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let text = format!("key file {}: is not a regular file", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

/// A directory can't be synced here; NTFS journals the names.
pub(super) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
