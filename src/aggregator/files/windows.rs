//! Windows: a file that nobody else may open is a lock, and the directory's access list, which is
//! inherited, keeps files to their owner.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use super::at;

/// Another has the file open, and does not share it.
const SHARING_VIOLATION: i32 = 32;

/// Held by one process, until it is dropped or the process dies.
#[derive(Debug)]
pub(in crate::aggregator) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says that another has it.
    ///
    /// # Errors
    /// The file can't be opened.
    pub(in crate::aggregator) fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        match options.share_mode(0).open(path) {
            Ok(_file) => Ok(Some(Self { _file })),
            Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }
}

/// Creates a file. It must not be there.
pub(in crate::aggregator) fn create(path: &Path) -> io::Result<File> {
    File::create_new(path).map_err(at(path))
}

/// Opens a file for writing at its end, and creates it unless it is there.
pub(in crate::aggregator) fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    options.open(path).map_err(at(path))
}

/// A directory can't be synced here; NTFS journals the names.
pub(in crate::aggregator) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// std can't tell; a file that replaces another has a time of its own.
pub(in crate::aggregator) fn file_number(_metadata: &Metadata) -> u64 {
    0
}
