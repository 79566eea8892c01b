//! The address: a path that fits into a socket address.

use std::io;
use std::mem::{offset_of, size_of};
use std::path::PathBuf;

use crate::backend::name;

/// How many bytes a path may have: `sun_path` without the NUL at its end. 107 on Linux, 103 on
/// macOS and the BSDs.
const PATH_LEN_MAX: usize =
    size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// Reads the path, which must fit.
pub(super) fn parse(address: &str) -> io::Result<PathBuf> {
    let path = name::parse(address, "socket")?;
    let path_len = path.as_os_str().len();
    if path_len > PATH_LEN_MAX {
        let text = format!(
            "the socket's path has {path_len} bytes, at most {PATH_LEN_MAX} are possible here: \
             use a shorter directory ({})",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
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
}
