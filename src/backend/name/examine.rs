//! What stands in the way of a name, seen without touching it: the lock is not taken, and nobody is
//! connected to.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid, test_kill_process};

use super::lock::in_use;
use super::{Kind, Probe};
use crate::backend::directory;
use crate::backend::lock_holder::{self, LockedFile};
use crate::backend::{About, Finding};

/// Looks at the directory, the lock and the file. `leftovers` finds what else the dead have left; it is
/// told whether the owner of the name lives.
pub(crate) fn examine(
    path: &Path,
    kind: Kind,
    leftovers: impl FnOnce(bool) -> Vec<PathBuf>,
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
    let mut owner_lives = false;
    if let Some(lock) = metadata(&lock_path, &mut findings) {
        if lock.is_file() {
            let owner = owner(&lock_path, &lock).or_look(path, kind);
            owner_lives = owner != Owner::Nobody;
            findings.push(match owner {
                Owner::Nobody => leftover(&lock_path, &lock),
                owner => taken(path, &lock_path, owner),
            });
        } else {
            findings.push(in_the_way(&lock_path, "lock file"));
        }
    }
    if !owner_lives {
        if let Some(file) = metadata(path, &mut findings) {
            if (kind.is)(&file.file_type()) {
                findings.push(leftover(path, &file));
            } else {
                findings.push(in_the_way(path, kind.what));
            }
        }
    }
    for path in leftovers(owner_lives) {
        if let Some(file) = metadata(&path, &mut findings) {
            findings.push(leftover(&path, &file));
        }
    }
    findings
}

/// Who holds a lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This process.
    Process(u32),
    /// A process that we can't see.
    Unseen,
    /// A process that we can't see, or nobody.
    Perhaps,
    Nobody,
}

impl Owner {
    /// Looks at the file itself where the lock does not tell, if nobody notices.
    fn or_look(self, path: &Path, kind: Kind) -> Self {
        if self != Self::Perhaps || !kind.probes_unseen {
            return self;
        }
        match (kind.probe)(path) {
            Ok(Probe::Live(_)) => Self::Unseen,
            Ok(Probe::Dead | Probe::Gone) => Self::Nobody,
            Err(_) => self,
        }
    }
}

/// A name that somebody has, or may have.
fn taken(path: &Path, lock_path: &Path, owner: Owner) -> Finding {
    let shown = path.display();
    let text = match owner {
        Owner::Process(pid) => format!(
            "{}; clients can connect, a second server can't listen",
            in_use(path, Some(pid))
        ),
        Owner::Unseen => format!(
            "{shown} is in use by a process that can't be seen from here, as in another container; \
             clients can connect, a second server can't listen"
        ),
        Owner::Perhaps | Owner::Nobody => format!(
            "there is {}, and from inside this container nobody can tell whose it is: perhaps a \
             server's in another one, then a second can't listen; perhaps left behind, then the next \
             server removes it",
            lock_path.display()
        ),
    };
    let pid = match owner {
        Owner::Process(pid) => Some(pid),
        _ => None,
    };
    Finding::warning(About::Taken { pid }, text)
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
            "{name} was left by a process of uid {uid}, and we (uid {own}) may not take it: have it \
             removed, or use another name"
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

/// The process that holds the lock file, as far as the system tells.
fn owner(path: &Path, metadata: &Metadata) -> Owner {
    let signed = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    if lock_holder::is_told() {
        let holder = lock_holder::of(LockedFile {
            device: metadata.dev(),
            inode: metadata.ino(),
            signed,
        });
        return match holder {
            Some(pid) => Owner::Process(pid),
            None if lock_holder::sees_all() => Owner::Nobody,
            None => Owner::Perhaps,
        };
    }
    // Elsewhere it is the one that signed, if there is such a process.
    signed
        .filter(|&pid| lives(pid))
        .map_or(Owner::Nobody, Owner::Process)
}

fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}
