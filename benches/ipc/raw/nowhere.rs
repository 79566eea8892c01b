//! What this system does not have.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::{Accept, Server, Stream};

pub(super) fn listen(_: &Path) -> io::Result<Accept> {
    Err(ErrorKind::Unsupported.into())
}

pub(super) fn connect(_: &Path) -> io::Result<Box<dyn Stream>> {
    Err(ErrorKind::Unsupported.into())
}

pub(super) fn polled(_: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    Err(ErrorKind::Unsupported.into())
}

pub(super) fn take_in(_: &Server, _: &mut [Box<dyn Stream>]) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
