//! The runtime directory: where sockets, locks and keys lie unless a path says otherwise.
//!
//! It belongs to one user and is closed to all others, so that nobody else can put a file there
//! for us to trust, or take one away. It is checked at each use, and never repaired: a directory
//! that is open to others may already hold what they left in it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

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
    // An empty variable means unset, as in the XDG specification.
    let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let chosen = match explicit {
        Some(path) => path.to_path_buf(),
        None => match lookup("WAYSIDE_DIR") {
            Some(path) => PathBuf::from(path),
            None => platform::default_path(&lookup)?,
        },
    };
    let path = normal(&chosen)?;
    create(&path, platform::PRIVATE)?;
    platform::check_private(&path)?;
    Ok(path)
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
