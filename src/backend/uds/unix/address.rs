//! The address: a path that fits into a socket address.

use std::io;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf, absolute};

/// How many bytes a path may have: `sun_path` without the NUL at its end. 107 on Linux, 103 on
/// macOS and the BSDs.
const PATH_LEN_MAX: usize =
    size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// Reads the path and makes it absolute: the process may change its directory before it unlinks.
pub(super) fn parse(address: &str) -> io::Result<PathBuf> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    if address.is_empty() {
        return invalid("the socket's path is empty".to_owned());
    }
    if address.contains('\0') {
        return invalid("the socket's path contains a NUL byte".to_owned());
    }
    if address.ends_with('/') || Path::new(address).file_name().is_none() {
        return invalid(format!("{address} is a directory: add the socket's name"));
    }
    let path = absolute(address)?;
    let path_len = path.as_os_str().len();
    if path_len > PATH_LEN_MAX {
        return invalid(format!(
            "the socket's path has {path_len} bytes, at most {PATH_LEN_MAX} are possible here: \
             use a shorter directory ({})",
            path.display()
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_is_accepted_by_the_system_and_one_more_byte_is_not() {
        use std::os::unix::net::SocketAddr;
        let longest = format!("/{}", "x".repeat(PATH_LEN_MAX - 1));
        assert!(SocketAddr::from_pathname(parse(&longest).unwrap()).is_ok());
        let longer = format!("{longest}x");
        assert!(SocketAddr::from_pathname(&longer).is_err());
        let error = parse(&longer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&PATH_LEN_MAX.to_string()), "{text}");
        assert!(text.contains(&(PATH_LEN_MAX + 1).to_string()), "{text}");
    }

    #[test]
    fn what_is_no_file_name_is_invalid() {
        for address in ["", "/", "..", "/tmp/", "/tmp/..", "/tmp/a\0b"] {
            let error = parse(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address:?}");
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        // The test may run in a directory that is too deep for a socket.
        match parse("a.sock") {
            Ok(path) => assert_eq!(path, here.join("a.sock")),
            Err(error) => assert!(error.to_string().contains("a.sock"), "{error}"),
        }
    }
}
