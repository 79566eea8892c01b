//! FreeBSD.

pub(super) use super::bsd::{SHORT_RECV_IS_LAST, bound_mailbox, lengthen, prepare, write};
use crate::backend::EndOfPeer;

/// Its kqueue reports the end of a FIFO.
pub(super) const END_OF_PEER: EndOfPeer = EndOfPeer::AtOnce;
