//! What the loop shares with the handles of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::counters::{Count, LiveServerCounters};
use crate::server::attention::{Attention, Wake};
use crate::server::peer::{PeerKey, PeerShared};
use crate::sync::lock;

/// What a handle asks of the loop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Take no new peers, let those that there are finish, be gone by the deadline.
    Stop { deadline: Instant },
}

pub(crate) struct Control {
    pub(crate) attention: Arc<Attention>,
    pub(crate) counters: Arc<LiveServerCounters>,
    /// The peers that were there when the server was to stop, and ended otherwise than by a
    /// goodbye.
    pub(crate) unfinished: Count,
    command: Mutex<Option<Command>>,
    peers: Mutex<HashMap<PeerKey, Arc<PeerShared>>>,
}

impl Control {
    pub(crate) fn new(wake: Wake) -> Self {
        Self {
            attention: Arc::new(Attention::new(wake)),
            counters: Arc::default(),
            unfinished: Count::default(),
            command: Mutex::default(),
            peers: Mutex::default(),
        }
    }

    pub(crate) fn order(&self, command: Command) {
        *lock(&self.command) = Some(command);
        self.attention.wake();
    }

    pub(crate) fn command(&self) -> Option<Command> {
        lock(&self.command).take()
    }

    pub(crate) fn add_peer(&self, peer: Arc<PeerShared>) {
        lock(&self.peers).insert(peer.key(), peer);
    }

    pub(crate) fn remove_peer(&self, key: PeerKey) {
        lock(&self.peers).remove(&key);
    }

    pub(crate) fn peer(&self, key: PeerKey) -> Option<Arc<PeerShared>> {
        lock(&self.peers).get(&key).cloned()
    }

    /// All open peers, in the order they came.
    pub(crate) fn peers(&self) -> Vec<Arc<PeerShared>> {
        let mut peers: Vec<_> = lock(&self.peers).values().cloned().collect();
        peers.sort_by_key(|peer| peer.key());
        peers
    }
}
