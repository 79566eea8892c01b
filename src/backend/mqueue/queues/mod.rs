//! Systems with message queues: the parts joined.
//!
//! `address` reads the name, `sys` makes the system calls, `queue` opens queues and checks them,
//! `limit` refuses sizes and owners, `examine` says what stands in the way, `slot` takes and gives back the
//! numbered names of a pair, `record` is what lies in the mailbox, `listener` and `link` do what the
//! contract asks.

mod address;
#[cfg(any(target_os = "freebsd", test))]
mod beside;
mod examine;
mod limit;
mod link;
mod listener;
mod queue;
mod record;
mod slot;
mod sys;

// What the systems do differently: the `Descriptor` of a queue; `Opened`, a queue with the lock that goes
// with it, and `unlink`; who holds a lock and what shows its end (`holder`); how room is watched for
// (`register_for_room`); limits (`limits`); `check`, what there must be before the first call; and numbers.
cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod linux;
        use linux as system;
    } else {
        mod freebsd;
        use freebsd as system;
    }
}

use std::io;

use self::link::MqueueLink;
use self::listener::MqueueListener;
use super::{Capabilities, Finding, Link, Listener, MqueueOptions};
use crate::backend::table::{self, System};
use crate::backend::{About, EndOfPeer, PeerIdentity};

pub(super) fn capabilities(options: &MqueueOptions) -> Capabilities {
    let mut capabilities = Capabilities {
        chunk_len_max: Some(options.message_len),
        peers_stock_max: Some(system::limits::peers_stock_max(options)),
        ..table::of("mqueue", System::HERE)
    };
    // What a container's policy, say, has taken away.
    if !system::holder::is_vouched_for() {
        capabilities.peer_identity = PeerIdentity::User;
    }
    if !system::holder::shows_ends() {
        capabilities.end_of_peer = EndOfPeer::ByPing;
    }
    capabilities
}

pub(super) fn bind(_options: &MqueueOptions, address: &str) -> io::Result<Box<dyn Listener>> {
    let name = address::parse(address)?;
    system::check()?;
    Ok(Box::new(MqueueListener::bind(name)?))
}

pub(super) fn connect(options: &MqueueOptions, address: &str) -> io::Result<Box<dyn Link>> {
    let name = address::parse(address)?;
    limit::check(options)?;
    system::check()?;
    Ok(Box::new(MqueueLink::connect(&name, options)?))
}

pub(super) fn examine(options: &MqueueOptions, address: &str) -> Vec<Finding> {
    match address::parse(address) {
        Ok(name) => examine::examine(options, &name),
        Err(error) => vec![Finding::obstacle(About::Address, error.to_string())],
    }
}
