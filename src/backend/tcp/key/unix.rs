//! Unix: the file's type, owner and mode.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens the file: not through a link, which someone else may have made, and not waiting, as the
/// open of a FIFO would.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Refuses a file that someone else could have written or can read.
pub(super) fn check(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let denied = |problem: String| {
        let text = format!("key file {}: {problem}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if !metadata.is_file() {
        return denied("is not a regular file: name another".to_owned());
    }
    let (uid, owner) = (rustix::process::geteuid().as_raw(), metadata.uid());
    if owner != uid && owner != 0 {
        return denied(format!(
            "belongs to uid {owner}, neither us (uid {uid}) nor root: name one of your own"
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return denied(format!(
            "is open to group or others (mode {mode:04o}) and may be known to them: remove it and \
             let it be created anew, and restart all who use it"
        ));
    }
    Ok(())
}

/// Makes a new name last through a crash.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::super::Key;
    use super::*;

    fn refusal(path: &Path) -> String {
        Key::open_or_create(path).unwrap_err().to_string()
    }

    #[test]
    fn a_new_file_is_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/shop.key");
        Key::open_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let parent = path.parent().unwrap();
        assert_eq!(fs::metadata(parent).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.key");
        Key::open_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let text = refusal(&path);
            assert!(text.contains(&format!("{mode:04o}")), "{text}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        Key::open_or_create(&path).unwrap();
    }

    #[test]
    fn a_link_a_directory_and_a_fifo_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.key");
        Key::open_or_create(&path).unwrap();
        let link = directory.path().join("link.key");
        symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("link.key"));
        assert!(refusal(directory.path()).contains("regular file"));
        let fifo = directory.path().join("fifo.key");
        let mut mkfifo = std::process::Command::new("mkfifo");
        let status = mkfifo.args(["-m", "600"]).arg(&fifo).status();
        assert!(status.unwrap().success());
        assert!(refusal(&fifo).contains("regular file"));
    }

    #[test]
    fn someone_elses_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give a file away");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.key");
        Key::open_or_create(&path).unwrap();
        chown(&path, Some(65534), None).unwrap();
        assert!(refusal(&path).contains("uid 65534"));
    }
}
