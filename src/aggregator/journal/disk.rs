//! The few operations on files that the journal is made of, so that a test's disk can fill up, tear
//! and crash between any two.
//!
//! What the journal relies on, and nothing more: after [`DiskFile::sync`] the file's bytes last, after
//! [`Disk::sync_names`] the names do, and a rename shows the old or the new and nothing between.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::aggregator::files::{self, at};

/// One flat directory.
pub(crate) trait Disk: Send {
    /// All names, in any order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new, empty file in place of whatever had the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A file to be continued behind its first `len` bytes. These last, and the others are gone.
    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names last.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file, written at its end.
pub(crate) trait DiskFile: Send {
    /// Writes all of it, or fails with some of it written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written last. After a failure nobody knows what does.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the system's.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory has been checked by the caller.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.path.join(name);
        fs::read(&path).map_err(at(&path))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(Box::new(files::create(&path)?)),
        }
    }

    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = files::append_to(&self.path.join(name))?;
        if file.metadata()?.len() != len {
            file.set_len(len)?;
        }
        // Also when it has its length: whoever wrote it may have died before it had synced.
        file.sync_all()?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path.join(from), self.path.join(to));
        fs::rename(from, &to).map_err(at(&to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(at(&path))
    }

    fn sync_names(&self) -> io::Result<()> {
        files::sync_directory(&self.path).map_err(at(&self.path))
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length too, as it is needed to read what was written; not the times.
        self.sync_data()
    }
}
