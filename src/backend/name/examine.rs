//! What stands in the way of a name, seen without touching it: the lock is not taken, and nobody is
//! connected to.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid, test_kill_process};

use super::Kind;
use super::lock::in_use;
use crate::backend::directory;
use crate::backend::lock_holder::{self, LockedFile};
use crate::backend::{About, Finding};

/// Looks at the directory, the lock and the file. `leftovers` finds what else a dead owner has left;
/// it is not asked while there is a live one.
pub(crate) fn examine(
    path: &Path,
    kind: Kind,
    leftovers: impl FnOnce() -> Vec<PathBuf>,
) -> Vec<Finding> {
    // An absolute path with a file name has a parent.
    let parent = path.parent().unwrap_or(path);
    let mut findings = directory::examine(parent);
    if !parent.is_dir() {
        return findings;
    }
    if let Err(error) = directory::check_not_writable(parent) {
        let path = parent.to_path_buf();
        findings.push(Finding::obstacle(
            About::Directory { path },
            error.to_string(),
        ));
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    if let Some(lock) = metadata(&lock_path, &mut findings) {
        if !lock.is_file() {
            findings.push(in_the_way(&lock_path, "lock file"));
        } else if let Some(pid) = owner(&lock_path, &lock) {
            let about = About::Taken { pid: Some(pid) };
            let text = format!(
                "{}; clients can connect, a second server can't listen",
                in_use(path, Some(pid))
            );
            findings.push(Finding::warning(about, text));
            return findings;
        } else {
            findings.push(leftover(&lock_path, &lock));
        }
    }
    if let Some(file) = metadata(path, &mut findings) {
        if (kind.is)(&file.file_type()) {
            findings.push(leftover(path, &file));
        } else {
            findings.push(in_the_way(path, kind.what));
        }
    }
    for path in leftovers() {
        if let Some(file) = metadata(&path, &mut findings) {
            findings.push(leftover(&path, &file));
        }
    }
    findings
}

/// A file that a killed process has left.
fn leftover(path: &Path, metadata: &Metadata) -> Finding {
    let (uid, own) = (metadata.uid(), geteuid().as_raw());
    let name = path.display().to_string();
    let about = About::Leftover {
        name: name.clone(),
        uid: Some(uid),
    };
    if own == uid || own == 0 {
        let text = format!("{name} was left by a process of uid {uid}: the next server removes it");
        Finding::note(about, text)
    } else {
        let text = format!(
            "{name} was left by a process of uid {uid}, which we (uid {own}) may not remove: have \
             it removed, or use another name"
        );
        Finding::obstacle(about, text)
    }
}

fn in_the_way(path: &Path, what: &str) -> Finding {
    let shown = path.display();
    let text = format!("{shown} exists and is not a {what}: remove it or use another name");
    let path = path.to_path_buf();
    Finding::obstacle(About::InTheWay { path }, text)
}

/// Of what the name leads to, links not followed. What can't be looked at is a finding.
fn metadata(path: &Path, findings: &mut Vec<Finding>) -> Option<Metadata> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let text = format!("{} can't be looked at: {error}", path.display());
            let path = path.to_path_buf();
            findings.push(Finding::obstacle(About::InTheWay { path }, text));
            None
        }
    }
}

/// The live process that holds the lock file.
fn owner(path: &Path, metadata: &Metadata) -> Option<u32> {
    let signed = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    if lock_holder::is_told() {
        return lock_holder::of(LockedFile {
            device: metadata.dev(),
            inode: metadata.ino(),
            signed,
        });
    }
    // Elsewhere it is the one that signed, if there is such a process.
    let pid = Pid::from_raw(i32::try_from(signed?).ok()?)?;
    let lives = !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
    signed.filter(|_| lives)
}
