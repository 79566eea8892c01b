//! Systems without message queues, or with such as we can't wait for: says so.

use std::io;

use super::{Capabilities, Link, Listener, MqueueOptions};

const REASON: &str = "message queues are supported on Linux only, as other systems have none or \
                      none that can be polled: use the uds transport, or fifo on Windows";

pub(super) fn capabilities(_options: &MqueueOptions) -> Capabilities {
    Capabilities {
        unsupported: Some(REASON),
        ..Capabilities::stream("mqueue")
    }
}

pub(super) fn bind(_options: &MqueueOptions, _address: &str) -> io::Result<Box<dyn Listener>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

pub(super) fn connect(_options: &MqueueOptions, _address: &str) -> io::Result<Box<dyn Link>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
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
