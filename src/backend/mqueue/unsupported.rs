//! Systems without message queues, or with such as we have not tried: says so.

use std::io;

use super::{Capabilities, Finding, Link, Listener, MqueueOptions};

use crate::backend::table::{self, NO_MQUEUE as REASON, System};

pub(super) fn capabilities(_options: &MqueueOptions) -> Capabilities {
    Capabilities {
        unsupported: Some(REASON),
        ..table::of("mqueue", System::HERE)
    }
}

pub(super) fn bind(_options: &MqueueOptions, _address: &str) -> io::Result<Box<dyn Listener>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

pub(super) fn connect(_options: &MqueueOptions, _address: &str) -> io::Result<Box<dyn Link>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

/// The capabilities say it all.
pub(super) fn examine(_options: &MqueueOptions, _address: &str) -> Vec<Finding> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::super::{Backend, Mqueue};
    use super::*;

    #[test]
    fn both_calls_say_what_to_use_instead() {
        let mqueue = Mqueue::new();
        for result in [mqueue.bind("/a").map(drop), mqueue.connect("/a").map(drop)] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("use the"), "{error}");
        }
        assert!(mqueue.capabilities().unsupported.is_some());
    }
}
