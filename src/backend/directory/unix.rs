//! Unix: owners and modes.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{explain, refuse};

/// The mode of a directory that only its owner may enter.
pub(super) const PRIVATE: u32 = 0o700;

/// `$XDG_RUNTIME_DIR/wayside`, else `/tmp/wayside-<uid>`.
pub(super) fn default_path(lookup: &dyn Fn(&str) -> Option<OsString>) -> io::Result<PathBuf> {
    // The XDG specification wants relative paths ignored.
    let runtime = lookup("XDG_RUNTIME_DIR").map(PathBuf::from);
    Ok(match runtime.filter(|path| path.is_absolute()) {
        Some(path) => path.join("wayside"),
        None => {
            let uid = rustix::process::geteuid().as_raw();
            PathBuf::from(format!("/tmp/wayside-{uid}"))
        }
    })
}

/// Creates the directory, and those above it, unless it is there.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    // Recursive creation also takes a directory that another process made meanwhile.
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| explain(&error, path))
}

/// Refuses a directory that is not ours alone.
pub(super) fn check_private(path: &Path) -> io::Result<()> {
    let denied = io::ErrorKind::PermissionDenied;
    // Not following a link: whoever made it chooses where it leads, and when.
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        let remedy = "name the directory that it leads to";
        return Err(refuse(denied, path, "is a symbolic link", remedy));
    }
    check_is_directory(path, &metadata)?;
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != uid {
        let problem = format!("belongs to uid {}, not to us (uid {uid})", metadata.uid());
        return Err(refuse(denied, path, &problem, "choose another"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let problem = format!("is open to group or others (mode {mode:04o})");
        let remedy = "see that nothing in it is theirs, then chmod 700";
        return Err(refuse(denied, path, &problem, remedy));
    }
    Ok(())
}

/// Refuses a directory in which someone else could replace our files. Others may look into it: a
/// service's own directory under `/run` usually has mode 0755.
///
/// A sticky directory such as `/tmp` is refused too: nobody can remove our files there, but
/// anybody can take the name first.
#[cfg(any(feature = "uds", feature = "fifo"))]
pub(crate) fn check_not_writable(path: &Path) -> io::Result<()> {
    let denied = io::ErrorKind::PermissionDenied;
    // A link is followed: its target is what counts, and the address is the user's own words.
    let metadata = fs::metadata(path)?;
    check_is_directory(path, &metadata)?;
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != uid && metadata.uid() != 0 {
        let owner = metadata.uid();
        let problem = format!("belongs to uid {owner}, neither us (uid {uid}) nor root");
        let remedy = "use a directory of your own";
        return Err(refuse(denied, path, &problem, remedy));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        let problem = format!("group or others may write to it (mode {mode:04o})");
        let remedy = "use a directory of your own with mode 0700";
        return Err(refuse(denied, path, &problem, remedy));
    }
    Ok(())
}

fn check_is_directory(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Ok(());
    }
    let kind = io::ErrorKind::NotADirectory;
    Err(refuse(kind, path, "is not a directory", "choose another"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::runtime_directory_with;
    use super::*;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_missing_directory_is_created_for_the_owner_only() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        assert_eq!(runtime_directory_with(Some(&path), &nothing).unwrap(), path);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&base.path().join("a")), 0o700);
        runtime_directory_with(Some(&path), &nothing).unwrap();
    }

    #[test]
    fn the_explicit_path_comes_first_then_the_variable_then_xdg_then_tmp() {
        let base = tempfile::tempdir().unwrap();
        let environment = |name: &str| match name {
            "WAYSIDE_DIR" => Some(base.path().join("variable").into_os_string()),
            "XDG_RUNTIME_DIR" => Some(base.path().join("xdg").into_os_string()),
            _ => None,
        };
        let explicit = base.path().join("explicit");
        let chosen = |explicit, lookup| runtime_directory_with(explicit, lookup).unwrap();
        assert_eq!(chosen(Some(explicit.as_path()), &environment), explicit);
        assert_eq!(chosen(None, &environment), base.path().join("variable"));
        let only_xdg = |name: &str| match name {
            "WAYSIDE_DIR" => Some(OsString::new()),
            name => environment(name),
        };
        assert_eq!(chosen(None, &only_xdg), base.path().join("xdg/wayside"));
        let uid = rustix::process::geteuid().as_raw();
        let fallback = PathBuf::from(format!("/tmp/wayside-{uid}"));
        assert_eq!(default_path(&nothing).unwrap(), fallback);
        let relative = |_: &str| Some(OsString::from("run"));
        assert_eq!(default_path(&relative).unwrap(), fallback);
    }

    #[test]
    fn a_link_is_refused_even_with_a_slash_behind_it() {
        let base = tempfile::tempdir().unwrap();
        let real = base.path().join("real");
        create(&real, PRIVATE).unwrap();
        let link = base.path().join("link");
        symlink(&real, &link).unwrap();
        for path in [link.clone(), link.join("")] {
            let error = runtime_directory_with(Some(&path), &nothing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
    }

    #[test]
    fn one_open_to_others_is_refused_and_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        for open in [0o701, 0o710, 0o755, 0o777] {
            fs::set_permissions(base.path(), Permissions::from_mode(open)).unwrap();
            let error = runtime_directory_with(Some(base.path()), &nothing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(
                error.to_string().contains(&format!("{open:04o}")),
                "{error}"
            );
            assert_eq!(mode(base.path()), open);
        }
    }

    #[test]
    fn a_file_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let error = runtime_directory_with(Some(&file), &nothing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn someone_elses_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give a directory away");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("theirs");
        create(&path, PRIVATE).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
        let error = runtime_directory_with(Some(&path), &nothing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("uid 65534"), "{error}");
    }
}
