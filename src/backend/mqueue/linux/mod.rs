//! Linux: the parts joined.
//!
//! `address` reads the name, `sys` makes the system calls, `queue` opens queues and checks them,
//! `limit` says which limit was hit, `holder` asks the kernel who holds a lock, `slot` takes and
//! gives back the numbered names of a pair, `record` is what lies in the mailbox, `listener` and
//! `link` do what the contract asks.

mod address;
mod holder;
mod limit;
mod link;
mod listener;
mod queue;
mod record;
mod slot;
mod sys;

use std::io;

use self::link::MqueueLink;
use self::listener::MqueueListener;
use super::{Capabilities, Link, Listener, MqueueOptions};
use crate::backend::{EndOfPeer, PeerIdentity};

pub(super) fn capabilities(options: &MqueueOptions) -> Capabilities {
    let (peer_identity, end_of_peer) = if holder::is_told() {
        (PeerIdentity::UserAndProcess, EndOfPeer::AtOnce)
    } else {
        (PeerIdentity::User, EndOfPeer::ByPing)
    };
    Capabilities {
        peer_identity,
        end_of_peer,
        chunk_len_max: Some(options.message_len),
        descriptors_per_peer: 3,
        peers_stock_max: Some(limit::peers_stock_max(options)),
        ..Capabilities::stream("mqueue")
    }
}

pub(super) fn bind(_options: &MqueueOptions, address: &str) -> io::Result<Box<dyn Listener>> {
    let name = address::parse(address)?;
    Ok(Box::new(MqueueListener::bind(name)?))
}

pub(super) fn connect(options: &MqueueOptions, address: &str) -> io::Result<Box<dyn Link>> {
    let name = address::parse(address)?;
    limit::check(options)?;
    Ok(Box::new(MqueueLink::connect(&name, options)?))
}
