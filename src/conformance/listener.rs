//! A1 to A5: accepting.

use std::io;

use super::Fixture;
use super::rig::Rig;

/// **A1** `accept` with nobody waiting is `WouldBlock`, before the registration and after.
///
/// # Panics
/// If not; ends the process if it blocks.
pub fn a1_accept_with_nobody_waiting_would_block(fixture: &Fixture) {
    let mut rig = Rig::new("A1");
    let address = (fixture.fresh)();
    let mut listener = match fixture.backend.bind(&address) {
        Ok(listener) => listener,
        Err(error) => rig.fail(&format!("bind to {address}: {error}")),
    };
    let would_block = |result: io::Result<()>| {
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    let unregistered = would_block(listener.accept().map(drop));
    rig.check(unregistered, "accept before the registration");
    let place = rig.add_listener(listener);
    for _ in 0..3 {
        let registered = would_block(rig.listener(place).accept().map(drop));
        rig.check(registered, "accept after the registration");
    }
}

/// **A2** Each of many connects at once yields one link, and it leads to that peer.
///
/// # Panics
/// If not.
pub fn a2_each_connect_yields_one_link_to_that_peer(fixture: &Fixture) {
    const PEERS: usize = 64;
    let mut rig = Rig::new("A2");
    let (listener, address) = rig.bind(fixture);
    let clients: Vec<usize> = (0..PEERS).map(|_| rig.connect(fixture, &address)).collect();
    for &client in &clients {
        // Each says who it is: its own place.
        rig.send(client, format!("{client:08}").as_bytes());
    }
    rig.until("each client is accepted and heard", |rig| {
        rig.accepted.len() >= PEERS
            && rig
                .accepted
                .iter()
                .all(|&place| rig.ends[place].received.len() >= 8)
    });
    for server in rig.accepted.clone() {
        let name = rig.ends[server].received.clone();
        rig.send(server, &name);
    }
    rig.until("each client has its answer", |rig| {
        clients
            .iter()
            .all(|&client| rig.ends[client].received.len() >= 8)
    });
    for &client in &clients {
        let own = format!("{client:08}");
        let right = rig.ends[client].received == own.as_bytes();
        rig.check(right, "a client got what was meant for another");
    }
    rig.accept(listener);
    rig.check(rig.accepted.len() == PEERS, "more links than connects");
}

/// **A3** A listener becomes readable for those who wait, also from before it was registered.
///
/// # Panics
/// If not.
pub fn a3_a_listener_becomes_readable_for_those_who_wait(fixture: &Fixture) {
    let mut rig = Rig::new("A3");
    let address = (fixture.fresh)();
    let listener = match fixture.backend.bind(&address) {
        Ok(listener) => listener,
        Err(error) => rig.fail(&format!("bind to {address}: {error}")),
    };
    let address = listener.address();
    // Some wait before the registration.
    for _ in 0..3 {
        rig.connect(fixture, &address);
    }
    rig.add_listener(listener);
    rig.until("those from before are accepted", |rig| {
        rig.accepted.len() == 3
    });
    // Then one at a time: each needs an edge of its own.
    for count in 4..20 {
        rig.connect(fixture, &address);
        rig.until("the next is accepted", |rig| rig.accepted.len() == count);
    }
    // Then several between two polls.
    for count in [22, 25] {
        for _ in 0..3 {
            rig.connect(fixture, &address);
        }
        rig.until("all that came are accepted", |rig| {
            rig.accepted.len() == count
        });
    }
}

/// **A4** What `address` says can be connected to, and does not change.
///
/// # Panics
/// If not.
pub fn a4_the_address_is_one_that_connect_takes(fixture: &Fixture) {
    let mut rig = Rig::new("A4");
    let (listener, address) = rig.bind(fixture);
    rig.pair(fixture, &address);
    let later = rig.listener(listener).address();
    rig.check(later == address, "the address has changed");
    let (_, other) = rig.bind(fixture);
    rig.check(other != address, "two listeners have one address");
    rig.pair(fixture, &other);
    rig.pair(fixture, &address);
}

/// **A5** A peer that left before it was accepted keeps nobody else out.
///
/// # Panics
/// If not.
pub fn a5_a_peer_that_left_before_accept_keeps_nobody_out(fixture: &Fixture) {
    let mut rig = Rig::new("A5");
    let (_, address) = rig.bind(fixture);
    for _ in 0..10 {
        for _ in 0..3 {
            drop(fixture.backend.connect(&address));
        }
        let client = rig.connect(fixture, &address);
        rig.send(client, b"here");
        rig.until("the one that stayed is heard", |rig| {
            rig.accepted
                .iter()
                .any(|&place| rig.ends[place].received == b"here")
        });
        for place in rig.accepted.clone() {
            rig.ends[place].received.clear();
        }
    }
}
