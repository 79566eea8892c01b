//! The runtime directory: where sockets, locks and keys lie unless a path says otherwise.
//!
//! It belongs to one user and is closed to all others, so that nobody else can put a file there
//! for us to trust, or take one away. It is checked at each use, and never repaired: a directory
//! that is open to others may already hold what they left in it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(any(all(unix, any(feature = "uds", feature = "fifo")), feature = "tcp"))]
use super::{About, Finding};

cfg_if::cfg_if! {
    if #[cfg(windows)] {
        mod windows;
        use windows as platform;
    } else {
        mod unix;
        use unix as platform;
    }
}

#[cfg(all(unix, any(feature = "uds", feature = "fifo")))]
pub(crate) use platform::check_not_writable;
pub(crate) use platform::create;
#[cfg(any(all(unix, any(feature = "uds", feature = "fifo")), feature = "tcp"))]
pub(crate) use platform::is_writable;

/// Looks up a variable of the environment. An argument, so that tests need not change the
/// process's own.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The directory for sockets, locks and keys, created if it is missing.
///
/// It is `explicit` if given, else `WAYSIDE_DIR`, else `$XDG_RUNTIME_DIR/wayside`, else
/// `/tmp/wayside-<uid>`. On Windows the last two are `%LOCALAPPDATA%\wayside`, which the system
/// already keeps to one user.
///
/// # Errors
/// `PermissionDenied` if it is a link, someone else's, or open to group or others (Unix);
/// `NotADirectory` if it is something else; whatever creating it fails with. The text says what to
/// do.
pub fn runtime_directory(explicit: Option<&Path>) -> io::Result<PathBuf> {
    runtime_directory_with(explicit, &|name| env::var_os(name))
}

/// [`runtime_directory`] with an environment of the caller's choice.
pub(crate) fn runtime_directory_with(
    explicit: Option<&Path>,
    lookup: Lookup<'_>,
) -> io::Result<PathBuf> {
    let path = chosen(explicit, lookup)?;
    create(&path, platform::PRIVATE)?;
    platform::check_private(&path)?;
    Ok(path)
}

/// The directory that [`runtime_directory`] would give: neither created nor, if it is missing,
/// checked.
#[cfg(feature = "settings")]
pub(crate) fn runtime_directory_as_it_is(explicit: Option<&Path>) -> io::Result<PathBuf> {
    let path = chosen(explicit, &|name| env::var_os(name))?;
    if std::fs::symlink_metadata(&path).is_ok() {
        platform::check_private(&path)?;
    }
    Ok(path)
}

fn chosen(explicit: Option<&Path>, lookup: Lookup<'_>) -> io::Result<PathBuf> {
    // An empty variable means unset, as in the XDG specification.
    let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let chosen = match explicit {
        Some(path) => path.to_path_buf(),
        None => match lookup("WAYSIDE_DIR") {
            Some(path) => PathBuf::from(path),
            None => platform::default_path(&lookup)?,
        },
    };
    normal(&chosen)
}

/// Whether files can be made there; if it is missing, whether it can be made itself.
#[cfg(any(all(unix, any(feature = "uds", feature = "fifo")), feature = "tcp"))]
pub(crate) fn examine(path: &Path) -> Vec<Finding> {
    let is_there = path.exists();
    let mut nearest = path;
    while let (false, Some(above)) = (nearest.exists(), nearest.parent()) {
        nearest = above;
    }
    let about = About::Directory {
        path: path.to_path_buf(),
    };
    let (shown, writable) = (path.display(), is_writable(nearest));
    if !nearest.is_dir() {
        let text = format!("{} is not a directory: choose another", nearest.display());
        vec![Finding::obstacle(about, text)]
    } else if !writable && is_there {
        let text = format!(
            "directory {shown}: this user may not write to it: use one that it may write to"
        );
        vec![Finding::obstacle(about, text)]
    } else if !writable {
        let text = format!(
            "directory {shown} is missing, and this user may not create it in {}: create it for \
             this user with mode 0700, or choose another",
            nearest.display()
        );
        vec![Finding::obstacle(about, text)]
    } else if is_there {
        Vec::new()
    } else {
        let text = format!("directory {shown} is missing: the first to need it creates it");
        vec![Finding::note(about, text)]
    }
}

/// Creates the directory of a private file unless it is there.
#[cfg(feature = "tcp")]
pub(crate) fn create_parent(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(parent) if parent != Path::new("") => create(parent, platform::PRIVATE),
        _ => Ok(()),
    }
}

/// The path made absolute, as the process may change its directory later, and without a slash at
/// the end, behind which a link would be followed unseen.
fn normal(path: &Path) -> io::Result<PathBuf> {
    Ok(std::path::absolute(path)?.components().collect())
}

/// An error about a path: what is wrong, and what to do.
fn refuse(kind: io::ErrorKind, path: &Path, problem: &str, remedy: &str) -> io::Error {
    io::Error::new(
        kind,
        format!("directory {}: {problem}: {remedy}", path.display()),
    )
}

/// Joins what failed to the system's own words.
fn explain(error: &io::Error, path: &Path) -> io::Error {
    let remedy = "create it, or choose another with WAYSIDE_DIR";
    refuse(
        error.kind(),
        path,
        &format!("can't be created ({error})"),
        remedy,
    )
}
