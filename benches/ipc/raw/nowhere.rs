//! What this system does not have.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::Stream;

type Accept = Box<dyn FnOnce() -> io::Result<Box<dyn Stream>> + Send>;

pub(super) fn listen(_: &Path) -> io::Result<Accept> {
    Err(ErrorKind::Unsupported.into())
}

pub(super) fn connect(_: &Path) -> io::Result<Box<dyn Stream>> {
    Err(ErrorKind::Unsupported.into())
}
