//! The proof that a backend keeps the contract: one function per number.
//!
//! The prose is on [`Backend`], [`Listener`](crate::backend::Listener) and
//! [`Link`](crate::backend::Link); what is called `b2_…` here proves what is called B2 there. The
//! functions return nothing and panic with a text that begins with the number.
//!
//! A backend of your own gets the same tests as ours, one `#[test]` per number, by a dev-dependency
//! with the feature `conformance` and a few lines:
//!
//! ```
//! # #[cfg(feature = "tcp")]
//! mod tcp {
//!     use wayside::backend::Tcp;
//!     use wayside::conformance::Fixture;
//!
//!     fn fixture() -> Fixture {
//!         let directory = tempfile::tempdir().expect("a directory");
//!         let tcp = Tcp::new(directory.path().join("key"));
//!         let address = move || {
//!             // The directory lives as long as the fixture.
//!             let _keep = &directory;
//!             "127.0.0.1:0".to_owned()
//!         };
//!         Fixture::new(tcp, address).impossible(["127.0.0.1", "localhost:1"])
//!     }
//!
//!     wayside::conformance_tests!(fixture());
//! }
//! ```
//!
//! How it tests: links are driven by a real `mio::Poll` and nothing but its events, so that a lost
//! edge shows; for L8 they are tried without one, too, and then an event is waited for. Nothing sleeps. A wait without an event fails after 20 seconds; a call that blocks
//! ends the process after 120. Random sizes come from a seed, which the panic's text names and the
//! environment variable `WAYSIDE_SEED` repeats. B5 holds 300 links at once, and other tests hold theirs
//! beside it: where a process begins with few descriptors (256 on macOS) let the fixture raise the limit
//! to a few thousand.
//!
//! What it does not test, as no test of one process can for any backend: that those who wait go on
//! waiting while the system has too little of something (the second sentence of A5), and what a
//! forked child may do with links (the second of L7). `tests/processes.rs` and `tests/fork.rs` of this
//! crate do it for ours, and can be taken as patterns.

mod backend;
mod link;
mod listener;
mod random;
mod rig;
mod trying;
mod watchdog;

pub use backend::{
    b1_connect_to_nobody_fails, b2_bind_to_a_live_address_fails_and_disturbs_nobody,
    b3_a_dropped_listener_frees_its_address_and_leaves_nothing,
    b4_an_impossible_address_is_invalid_input, b5_connect_never_blocks,
};
pub use link::{
    l1_bytes_arrive_in_order_both_ways, l2_recv_and_send_would_block_and_send_takes_some,
    l3_readiness_is_an_edge_that_is_never_lost, l4_the_end_of_a_peer_follows_its_bytes,
    l5_one_peer_delays_no_other, l6_the_peer_is_known_after_a_byte,
    l7_dropping_releases_everything,
};
pub use listener::{
    a1_accept_with_nobody_waiting_would_block, a2_each_connect_yields_one_link_to_that_peer,
    a3_a_listener_becomes_readable_for_those_who_wait, a4_the_address_is_one_that_connect_takes,
    a5_a_peer_that_left_before_accept_keeps_nobody_out,
};
pub use trying::l8_tries_without_an_event_cost_no_edge;

use crate::backend::Backend;

/// A backend, and what the tests need to know about its addresses.
pub struct Fixture {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) fresh: Box<dyn Fn() -> String>,
    pub(crate) impossible: Vec<String>,
    pub(crate) leftovers: Box<dyn Fn() -> Vec<String>>,
}

impl Fixture {
    /// Tests `backend` at addresses from `fresh`: each call gives one that `bind` takes and nobody
    /// uses. The closure may own what the addresses need, a directory say.
    pub fn new(backend: impl Backend, fresh: impl Fn() -> String + 'static) -> Self {
        Self {
            backend: Box::new(backend),
            fresh: Box::new(fresh),
            impossible: Vec::new(),
            leftovers: Box::new(Vec::new),
        }
    }

    /// Addresses that can't work, for B4. Without any, B4 proves nothing.
    #[must_use]
    pub fn impossible<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.impossible = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Lists the names (files, queues) that listeners and links have made and not yet removed, for
    /// B3 and L7. Without it, these two can't see what is left.
    #[must_use]
    pub fn leftovers(mut self, list: impl Fn() -> Vec<String> + 'static) -> Self {
        self.leftovers = Box::new(list);
        self
    }
}

/// Runs all of them, one after another.
///
/// # Panics
/// When one of them does.
pub fn run_all(fixture: &Fixture) {
    crate::__conformance_each!(__conformance_calls fixture);
}

/// One `#[test]` per number of the contract. The expression makes a
/// [`Fixture`](crate::conformance::Fixture) and is evaluated in each test.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::__conformance_each!(__conformance_functions $fixture);
    };
}

/// The list, handed to the macro whose name comes first.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_each {
    ($receiver:ident $fixture:expr) => {
        $crate::$receiver! { $fixture;
            b1_connect_to_nobody_fails
            b2_bind_to_a_live_address_fails_and_disturbs_nobody
            b3_a_dropped_listener_frees_its_address_and_leaves_nothing
            b4_an_impossible_address_is_invalid_input
            b5_connect_never_blocks
            a1_accept_with_nobody_waiting_would_block
            a2_each_connect_yields_one_link_to_that_peer
            a3_a_listener_becomes_readable_for_those_who_wait
            a4_the_address_is_one_that_connect_takes
            a5_a_peer_that_left_before_accept_keeps_nobody_out
            l1_bytes_arrive_in_order_both_ways
            l2_recv_and_send_would_block_and_send_takes_some
            l3_readiness_is_an_edge_that_is_never_lost
            l4_the_end_of_a_peer_follows_its_bytes
            l5_one_peer_delays_no_other
            l6_the_peer_is_known_after_a_byte
            l7_dropping_releases_everything
            l8_tries_without_an_event_cost_no_edge
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_functions {
    ($fixture:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::$name(&$fixture);
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_calls {
    ($fixture:expr; $($name:ident)*) => {
        $($crate::conformance::$name($fixture);)*
    };
}
