//! The address: a path that leaves room for the names that derive from it.

use std::io;
use std::path::PathBuf;

use super::pair;
use crate::backend::name;

/// How many bytes a path may have: what the system takes, without the NUL at its end and without
/// what the names of a pair have more. On some systems `PATH_MAX` is 1024, on Linux 4096.
fn path_len_max() -> usize {
    usize::try_from(libc::PATH_MAX).map_or(1024, |len| len) - 1 - pair::SUFFIX_LEN
}

/// How many bytes the last part may have: 255 on every file system in use, without that.
const NAME_LEN_MAX: usize = 255 - pair::SUFFIX_LEN;

/// Reads the path, which must fit.
pub(super) fn parse(address: &str) -> io::Result<PathBuf> {
    let path = name::parse(address, "FIFO")?;
    let name_len = path.file_name().map_or(0, std::ffi::OsStr::len);
    let path_len = path.as_os_str().len();
    let path_len_max = path_len_max();
    let (what, len, max) = if name_len > NAME_LEN_MAX {
        ("name", name_len, NAME_LEN_MAX)
    } else if path_len > path_len_max {
        ("path", path_len, path_len_max)
    } else {
        return Ok(path);
    };
    let text = format!(
        "the FIFO's {what} has {len} bytes, at most {max} are possible here: use a shorter one ({})",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_works_with_all_that_derives_from_it_and_one_more_byte_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let longest = directory.path().join("x".repeat(NAME_LEN_MAX));
        let path = parse(longest.to_str().unwrap()).unwrap();
        let mut listener = super::super::FifoListener::bind(path).unwrap();
        super::super::FifoLink::connect(&longest).unwrap();
        drop(crate::backend::Listener::accept(&mut listener));

        let longer = directory.path().join("x".repeat(NAME_LEN_MAX + 1));
        let error = parse(longer.to_str().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&NAME_LEN_MAX.to_string()), "{text}");
        assert!(text.contains(&(NAME_LEN_MAX + 1).to_string()), "{text}");
    }

    #[test]
    fn a_path_of_many_parts_is_bounded_too() {
        let address = "/x".repeat(path_len_max() / 2 + 1);
        let error = parse(&address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&path_len_max().to_string()), "{text}");
    }
}
