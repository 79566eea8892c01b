//! A file of lines that is put aside when it is long enough.
//!
//! `reports.jsonl` is written; before a line would make it too long it becomes `reports.jsonl.1`, what
//! had that name becomes `.2`, and so on. The last is removed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::aggregator::files::{append_to, at};

/// When a file is put aside, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The most bytes of a file, unless a single line is longer.
    pub len_max: u64,
    /// The most files, the one that is written included. At least 1: then it begins anew.
    pub count_max: u32,
}

impl Default for Rotation {
    /// Five files of 16 MiB.
    fn default() -> Self {
        Self {
            len_max: 16 << 20,
            count_max: 5,
        }
    }
}

/// The file that is written, and its elders.
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = append_to(path)?;
        if !file.metadata()?.is_file() {
            let text = format!("{} is not a regular file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let path = path.to_path_buf();
        Ok(Self {
            path,
            rotation,
            file,
        })
    }

    /// Writes a line, which ends in `\n`, behind all others.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        // Asked for each time: someone else may have cut the file.
        let mut len = self.file.metadata()?.len();
        let line_len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if len > 0 && len.saturating_add(line_len) > self.rotation.len_max {
            self.rotate()?;
            len = 0;
        }
        if !self.ends_whole(len)? {
            self.file.write_all(b"\n")?;
            len += 1;
        }
        let written = self.file.write_all(line);
        if written.is_err() {
            // If this fails too, the next line finds the torn one and ends it.
            self.file.set_len(len).ok();
        }
        written
    }

    /// Whether the last line has its end.
    fn ends_whole(&mut self, len: u64) -> io::Result<bool> {
        let Some(last) = len.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        self.file.seek(SeekFrom::Start(last))?;
        self.file.read_exact(&mut byte)?;
        Ok(byte == *b"\n")
    }

    fn rotate(&mut self) -> io::Result<()> {
        let kept = self.rotation.count_max.saturating_sub(1);
        if kept == 0 {
            return self.file.set_len(0);
        }
        self.put_aside(kept)?;
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// Makes the file the first of so many elders. One that was put aside before, and could not be begun
    /// anew, is not there: then the elders stay what they are.
    fn put_aside(&self, kept: u32) -> io::Result<()> {
        if !is_there(&self.path)? {
            return Ok(());
        }
        for number in (1..kept).rev() {
            move_over(&self.elder(number), &self.elder(number + 1))?;
        }
        move_over(&self.path, &self.elder(1))
    }

    fn elder(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path)(error)),
        Ok(_) => Ok(true),
    }
}

/// Renames a file if it is there.
fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(from)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Rotation = Rotation {
        len_max: 10,
        count_max: 3,
    };

    fn read(path: &Path, ending: &str) -> Option<String> {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        fs::read_to_string(PathBuf::from(name)).ok()
    }

    #[test]
    fn so_many_files_are_kept_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = RotatingFile::open(&path, THREE).unwrap();
        for line in 0..8 {
            file.write_line(format!("{line:04}\n").as_bytes()).unwrap();
        }
        assert_eq!(read(&path, "").unwrap(), "0006\n0007\n");
        assert_eq!(read(&path, ".1").unwrap(), "0004\n0005\n");
        assert_eq!(read(&path, ".2").unwrap(), "0002\n0003\n");
        assert_eq!(read(&path, ".3"), None);
    }

    #[test]
    fn a_file_that_can_not_be_begun_anew_costs_no_elder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = RotatingFile::open(&path, THREE).unwrap();
        for line in 0..6 {
            file.write_line(format!("{line:04}\n").as_bytes()).unwrap();
        }
        // As often as the line is tried again.
        for _ in 0..4 {
            file.put_aside(THREE.count_max - 1).unwrap();
        }
        assert_eq!(read(&path, ""), None);
        file.write_line(b"0006\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "0006\n");
        assert_eq!(read(&path, ".1").unwrap(), "0004\n0005\n");
        assert_eq!(read(&path, ".2").unwrap(), "0002\n0003\n");
    }

    #[test]
    fn one_file_alone_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let rotation = Rotation {
            count_max: 1,
            ..THREE
        };
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        for line in ["first\n", "second\n", "a line that is longer than a file\n"] {
            file.write_line(line.as_bytes()).unwrap();
            assert_eq!(read(&path, "").unwrap(), line);
        }
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, "whole\nto").unwrap();
        let rotation = Rotation::default();
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        file.write_line(b"next\n").unwrap();
        file.write_line(b"last\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "whole\nto\nnext\nlast\n");
    }

    #[test]
    fn a_file_that_someone_cuts_is_continued_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = RotatingFile::open(&path, THREE).unwrap();
        file.write_line(b"first\n").unwrap();
        fs::write(&path, "").unwrap();
        file.write_line(b"second\n").unwrap();
        assert_eq!(read(&path, "").unwrap(), "second\n");
        assert_eq!(read(&path, ".1"), None);
    }
}
