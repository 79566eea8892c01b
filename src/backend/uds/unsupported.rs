//! Windows: says so. It has Unix sockets of its own since 2018, but without the peer's identity,
//! and mio can't wait for them.

use std::io;

use super::{Capabilities, Finding, Link, Listener, Uds};

use crate::backend::table::{self, NO_UDS as REASON, System};

pub(super) fn capabilities() -> Capabilities {
    table::of("uds", System::HERE)
}

pub(super) fn bind(_uds: &Uds, _address: &str) -> io::Result<Box<dyn Listener>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

pub(super) fn connect(_uds: &Uds, _address: &str) -> io::Result<Box<dyn Link>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

/// The capabilities say it all.
pub(super) fn examine(_address: &str) -> Vec<Finding> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::super::Backend;
    use super::*;

    #[test]
    fn both_calls_say_what_to_use_instead() {
        let uds = Uds::new();
        for result in [uds.bind("a").map(drop), uds.connect("a").map(drop)] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("fifo or tcp"), "{error}");
        }
        assert!(uds.capabilities().unsupported.is_some());
    }
}
