//! Systems without FIFOs: says so.

use std::io;

use super::{Capabilities, Link, Listener};

const REASON: &str = "FIFOs need a Unix system: use the tcp transport here";

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        unsupported: Some(REASON),
        ..Capabilities::stream("fifo")
    }
}

pub(super) fn bind(_address: &str) -> io::Result<Box<dyn Listener>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

pub(super) fn connect(_address: &str) -> io::Result<Box<dyn Link>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Fifo};
    use super::*;

    #[test]
    fn both_calls_say_what_to_use_instead() {
        let fifo = Fifo::new();
        for result in [fifo.bind("a").map(drop), fifo.connect("a").map(drop)] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("tcp"), "{error}");
        }
        assert!(fifo.capabilities().unsupported.is_some());
    }
}
