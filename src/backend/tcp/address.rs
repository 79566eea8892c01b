//! The address: digits only, and not beyond the reach that was asked for.

use std::io;
use std::net::SocketAddr;

use super::Reach;

/// Reads `ip:port` or `[ip6]:port`.
///
/// No names: what `localhost` means is decided by a file and a resolver, differs between hosts (it
/// may be `::1` for one side and `127.0.0.1` for the other), and asking can block.
pub(super) fn parse(text: &str, reach: Reach) -> io::Result<SocketAddr> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let Ok(address) = text.parse::<SocketAddr>() else {
        if let Some(port) = text.strip_prefix("localhost:") {
            return invalid(format!(
                "{text} has a name: write 127.0.0.1:{port} or [::1]:{port}"
            ));
        }
        return invalid(format!(
            "{text} is not an address: write an IP address, a colon and a port, \
             for example 127.0.0.1:7471"
        ));
    };
    if reach == Reach::Loopback && !address.ip().to_canonical().is_loopback() {
        return invalid(format!(
            "{text} is reachable from outside this host, and what is sent is not encrypted: use \
             127.0.0.1, or set tcp.beyond_loopback = true if the network can be trusted"
        ));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let error = parse(text, Reach::Loopback).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text}");
        error.to_string()
    }

    #[test]
    fn loopback_addresses_are_taken() {
        for text in ["127.0.0.1:7471", "127.9.9.9:1", "[::1]:7471", "127.0.0.1:0"] {
            parse(text, Reach::Loopback).unwrap();
        }
    }

    #[test]
    fn a_name_is_refused_with_what_to_write() {
        assert!(problem("localhost:7471").contains("127.0.0.1:7471"));
        for text in [
            "",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "::1:80",
            "x:1",
        ] {
            assert!(problem(text).contains("for example"), "{text}");
        }
    }

    #[test]
    fn other_addresses_need_the_setting() {
        for text in [
            "0.0.0.0:1",
            "192.168.1.2:1",
            "[::]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(
                problem(text).contains("tcp.beyond_loopback = true"),
                "{text}"
            );
            parse(text, Reach::Network).unwrap();
        }
    }
}
