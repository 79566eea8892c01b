//! The two FIFOs of a peer: their names, as long as they have some.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process;

use super::file::{self, End};
use super::record::PairId;

/// How much longer the names are than the mailbox's: a dot, the id in hexadecimal, and `.down`.
pub(super) const SUFFIX_LEN: usize = 1 + ID_TEXT_LEN + DOWN.len();

const ID_TEXT_LEN: usize = size_of::<PairId>() * 2;
const UP: &str = ".up";
const DOWN: &str = ".down";

/// Where the pair of a client lies.
#[derive(Debug)]
pub(super) struct Paths {
    /// Client to server.
    pub(super) up: PathBuf,
    /// Server to client.
    pub(super) down: PathBuf,
}

impl Paths {
    /// Beside the mailbox. Only the id is the client's to choose: it can lead nowhere else.
    pub(super) fn of(mailbox: &Path, id: PairId) -> Self {
        let mut base = mailbox.as_os_str().to_owned();
        base.push(".");
        for byte in id.0 {
            base.push(format!("{byte:02x}"));
        }
        let path = |end: &str| {
            let mut path: OsString = base.clone();
            path.push(end);
            PathBuf::from(path)
        };
        Self {
            up: path(UP),
            down: path(DOWN),
        }
    }

    /// Removes both names. The other side may have done so already.
    pub(super) fn remove(&self) {
        for path in [&self.up, &self.down] {
            remove(path);
        }
    }
}

/// The names of a pair that we have created: removed with this value, unless another has done so.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) paths: Paths,
    /// The process that created them: a forked child that drops its copy removes nothing.
    process: u32,
}

impl Created {
    /// Creates both.
    pub(super) fn new(paths: Paths) -> io::Result<Self> {
        let created = Self {
            paths,
            process: process::id(),
        };
        file::create(&created.paths.up)?;
        file::create(&created.paths.down)?;
        Ok(created)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if process::id() == self.process {
            self.paths.remove();
        }
    }
}

/// Removes the pairs that clients of an earlier owner of the mailbox left when they, and it, were
/// killed. Called while the mailbox does not exist: those that are alive have failed with it.
pub(super) fn sweep(mailbox: &Path) -> io::Result<()> {
    each(mailbox, remove)
}

/// What a sweep would remove. While the owner of the mailbox lives, that is what no client waits with.
pub(super) fn leftovers(mailbox: &Path, owner_lives: bool) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let looked = each(mailbox, |path| {
        if !owner_lives || is_left_behind(path) {
            paths.push(path.to_path_buf());
        }
    });
    if let Err(error) = looked {
        log::debug!("{}: can't look around: {error}", mailbox.display());
    }
    paths
}

/// Whether the client whose pair this belongs to has died. It reads its own `up` itself for as long as
/// the pair has names; nobody notices who opens that for writing.
fn is_left_behind(path: &Path) -> bool {
    let up = path.with_extension(&UP[1..]);
    let opened = file::open(&up, End::Write);
    opened.is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO))
}

/// Calls `visit` for each FIFO whose name is that of a pair.
fn each(mailbox: &Path, mut visit: impl FnMut(&Path)) -> io::Result<()> {
    let (Some(directory), Some(name)) = (mailbox.parent(), mailbox.file_name()) else {
        return Ok(());
    };
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_of_a_pair(entry.file_name().as_bytes(), name.as_bytes()) && is_fifo(&entry)? {
            visit(&entry.path());
        }
    }
    Ok(())
}

/// One that has gone meanwhile is none.
fn is_fifo(entry: &fs::DirEntry) -> io::Result<bool> {
    match entry.file_type() {
        Ok(kind) => Ok(kind.is_fifo()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a name is one that [`Paths`] makes.
fn is_of_a_pair(name: &[u8], mailbox: &[u8]) -> bool {
    let rest = name
        .strip_prefix(mailbox)
        .and_then(|rest| rest.strip_prefix(b"."));
    let id = rest.and_then(|rest| {
        rest.strip_suffix(UP.as_bytes())
            .or_else(|| rest.strip_suffix(DOWN.as_bytes()))
    });
    let hexadecimal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    id.is_some_and(|id| id.len() == ID_TEXT_LEN && id.iter().all(hexadecimal))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("{} can't be removed: {error}", path.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_pairs_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("a.fifo");
        let pair = Paths::of(&mailbox, PairId([0xfe; 16]));
        file::create(&pair.up).unwrap();
        file::create(&pair.down).unwrap();
        let others = [
            mailbox.clone(),
            Paths::of(&directory.path().join("b.fifo"), PairId([1; 16])).up,
            directory.path().join("a.fifo.0123.up"),
            directory.path().join("a.fifo.sock.up"),
        ];
        for other in &others {
            file::create(other).unwrap();
        }
        // Of the right name, but not what we leave.
        let regular = Paths::of(&mailbox, PairId([2; 16])).down;
        fs::write(&regular, "precious").unwrap();
        sweep(&mailbox).unwrap();
        assert!(!pair.up.exists() && !pair.down.exists());
        for other in others.iter().chain([&regular]) {
            assert!(other.exists(), "{}", other.display());
        }
    }

    #[test]
    fn names_have_the_length_that_addresses_leave_room_for() {
        let pair = Paths::of(Path::new("/a"), PairId([0; 16]));
        assert_eq!(pair.down.as_os_str().len(), 2 + SUFFIX_LEN);
        assert!(pair.up.as_os_str().len() < 2 + SUFFIX_LEN);
    }

    #[test]
    fn a_pair_that_can_t_be_created_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mailbox = directory.path().join("a.fifo");
        let paths = Paths::of(&mailbox, PairId([3; 16]));
        fs::create_dir(&paths.down).unwrap();
        let up = paths.up.clone();
        Created::new(paths).unwrap_err();
        assert!(!up.exists());
    }
}
