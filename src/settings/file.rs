//! Finding and reading the file.
//!
//! A file is read once, whole, up to [`FILE_LEN_MAX`]. One that was named (`WAYSIDE_CONFIG`, or
//! by the program) is trusted as it is; one that only lies in the current directory is refused
//! when anyone could have put it there.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::document::Source;
use super::error::{ErrorPlace, SettingsError, SettingsErrorKind};
use super::trust;

/// Far more than any settings need: whoever names a log by mistake learns it at once.
pub(super) const FILE_LEN_MAX: u64 = 1 << 20;

/// What is looked for when no file was named.
pub(super) const FILE_NAME: &str = "wayside.toml";

/// Who said that this file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    Program,
    Variable(&'static str),
}

/// Reads a file that was named: it must be there.
pub(super) fn read(path: &Path, named_by: NamedBy) -> Result<Source, SettingsError> {
    let named = match named_by {
        NamedBy::Program => String::new(),
        NamedBy::Variable(name) => format!(" ({name} names it)"),
    };
    let cannot =
        |error: io::Error| unreadable(path, error.kind(), format!("can't be read{named}: {error}"));
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    check_kind(path, &metadata)?;
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that grew meanwhile.
    file.take(FILE_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    check_len(
        path,
        metadata
            .len()
            .max(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
    )?;
    text(path, bytes)
}

/// Reads `wayside.toml` in `directory` if it is there.
pub(super) fn read_if_present(directory: &Path) -> Result<Option<Source>, SettingsError> {
    let path = Path::new(FILE_NAME);
    let found = directory.join(path);
    let metadata = match std::fs::metadata(&found) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(unreadable(
                path,
                error.kind(),
                format!("can't be read: {error}"),
            ));
        }
    };
    let open_directory =
        std::fs::metadata(directory).is_ok_and(|metadata| trust::anyone_may_write(&metadata));
    for (open, what) in [
        (trust::anyone_may_write(&metadata), "it"),
        (open_directory, "its directory"),
    ] {
        if open {
            let problem = format!(
                "is refused, because any user of this system may write to {what}: change the \
                 permissions, or name the file by WAYSIDE_CONFIG"
            );
            return Err(unreadable(path, io::ErrorKind::PermissionDenied, problem));
        }
    }
    let mut source = read(&found, NamedBy::Program)?;
    source.name = path.to_path_buf();
    Ok(Some(source))
}

fn check_kind(path: &Path, metadata: &Metadata) -> Result<(), SettingsError> {
    if metadata.is_dir() {
        let problem = "is a directory: name the file in it";
        return Err(unreadable(path, io::ErrorKind::IsADirectory, problem));
    }
    // Opening a FIFO would wait for its writer, perhaps for ever.
    if !metadata.is_file() {
        let problem = "is not a regular file";
        return Err(unreadable(path, io::ErrorKind::InvalidInput, problem));
    }
    check_len(path, metadata.len())
}

fn check_len(path: &Path, len: u64) -> Result<(), SettingsError> {
    if len > FILE_LEN_MAX {
        let problem = format!("has {len} bytes, must be at most {FILE_LEN_MAX}");
        return Err(unreadable(path, io::ErrorKind::FileTooLarge, problem));
    }
    Ok(())
}

/// Bytes as text, or where they stop being text.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<Source, SettingsError> {
    let name: PathBuf = path.to_path_buf();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let valid_len = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            let wrong = bytes.get(valid_len).copied().unwrap_or_default();
            bytes.truncate(valid_len);
            let text = String::from_utf8(bytes).unwrap_or_default();
            let source = Source::new(name, text);
            Err(SettingsError::new(
                SettingsErrorKind::Syntax,
                source.error_place(source.text.len()),
                format!("is not UTF-8: the byte 0x{wrong:02x} can't stand here"),
            ))
        }
    }
}

fn unreadable(path: &Path, kind: io::ErrorKind, problem: impl Into<String>) -> SettingsError {
    let place = ErrorPlace::File(path.to_path_buf(), None);
    SettingsError::new(SettingsErrorKind::Io(kind), place, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_that_lies_there_is_read_under_its_short_name() {
        let directory = directory();
        assert!(read_if_present(directory.path()).unwrap().is_none());
        std::fs::write(directory.path().join(FILE_NAME), "name = \"shop\"").unwrap();
        let source = read_if_present(directory.path()).unwrap().unwrap();
        assert_eq!(source.name, Path::new("wayside.toml"));
        assert_eq!(source.text, "name = \"shop\"");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_anyone_could_have_put_there_is_refused_unless_it_was_named() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let directory = directory();
        let path = directory.path().join(FILE_NAME);
        std::fs::write(&path, "").unwrap();
        let set = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (directory_mode, file_mode, what) in [
            (0o755, 0o646, "write to it:"),
            (0o757, 0o644, "write to its directory:"),
            // As /tmp is.
            (0o1777, 0o644, "write to its directory:"),
        ] {
            set(directory.path(), directory_mode);
            set(&path, file_mode);
            let error = read_if_present(directory.path()).unwrap_err();
            assert!(error.problem().contains(what), "{error}");
            assert!(error.problem().contains("WAYSIDE_CONFIG"), "{error}");
            read(&path, NamedBy::Variable("WAYSIDE_CONFIG")).unwrap();
        }
        set(directory.path(), 0o775);
        set(&path, 0o664);
        assert!(read_if_present(directory.path()).unwrap().is_some());
    }
}
