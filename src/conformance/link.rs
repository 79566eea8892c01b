//! L1 to L7: what a connection does.

use std::io;

use super::Fixture;
use super::rig::Rig;
use crate::backend::{EndOfPeer, PeerIdentity};

/// More than any transport holds without a reader.
pub(super) const FLOOD_LEN: usize = 32 << 20;

/// **L1** Megabytes arrive in order, both ways at once, however the calls cut them.
///
/// # Panics
/// If not.
pub fn l1_bytes_arrive_in_order_both_ways(fixture: &Fixture) {
    const LEN: usize = 4 << 20;
    let mut rig = Rig::new("L1");
    let (_, address) = rig.bind(fixture);
    // From the first byte on, while the connecting may still be under way.
    let client = rig.connect(fixture, &address);
    let up = rig.random.bytes(LEN);
    let down = rig.random.bytes(LEN);
    rig.send(client, &up);
    rig.until("the connection is accepted", |rig| !rig.accepted.is_empty());
    let server = rig.accepted[0];
    rig.send(server, &down);
    rig.until("all has come both ways", |rig| {
        rig.ends[client].received.len() >= LEN && rig.ends[server].received.len() >= LEN
    });
    rig.check(
        rig.ends[server].received == up,
        "the client's bytes are not those sent",
    );
    rig.check(
        rig.ends[client].received == down,
        "the server's bytes are not those sent",
    );
    for place in [client, server] {
        let end = &rig.ends[place];
        rig.check(
            end.ended.is_none() && end.broken.is_none(),
            "the connection ended",
        );
    }
}

/// **L2** `recv` without bytes and `send` without room are `WouldBlock`, and `send` takes some.
///
/// # Panics
/// If not; ends the process if a call blocks.
pub fn l2_recv_and_send_would_block_and_send_takes_some(fixture: &Fixture) {
    let mut rig = Rig::new("L2");
    let (_, address) = rig.bind(fixture);
    let (client, server) = rig.pair(fixture, &address);
    for place in [client, server] {
        let result = rig.ends[place].link().recv(&mut [0; 16]);
        let kind = result.map_err(|error| error.kind());
        rig.check(kind == Err(io::ErrorKind::WouldBlock), "recv without bytes");
    }
    // Nobody listens. `serve` checks that a send takes some.
    rig.ends[server].listening = false;
    rig.send(client, &vec![7; FLOOD_LEN]);
    let full = rig.ends[client].waiting() > 0 && rig.ends[client].broken.is_none();
    rig.check(full, "32 MiB went into a link that nobody reads");
    let byte = rig.ends[client].link().send(b"x");
    // Room may have come meanwhile; what must not be is an error of another kind.
    let fine = match byte {
        Ok(len) => len == 1,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    rig.check(fine, "send without room");
}

/// **L3** An edge comes for each byte after a `WouldBlock`, and for room. After a short read too, if
/// [`Capabilities::short_recv_is_last`](crate::backend::Capabilities::short_recv_is_last) says so.
///
/// # Panics
/// If not.
pub fn l3_readiness_is_an_edge_that_is_never_lost(fixture: &Fixture) {
    each_way_to_read("L3", fixture, |rig| no_edge_is_lost(rig, fixture));
}

/// Once reading all there is, and once as far as a short read where that is claimed to be all.
pub(super) fn each_way_to_read(number: &'static str, fixture: &Fixture, test: impl Fn(&mut Rig)) {
    test(&mut Rig::new(number));
    if fixture.backend.capabilities().short_recv_is_last {
        let mut rig = Rig::new(number);
        rig.trust_short_reads();
        test(&mut rig);
    }
}

fn no_edge_is_lost(rig: &mut Rig, fixture: &Fixture) {
    let (_, address) = rig.bind(fixture);
    let (client, server) = rig.pair(fixture, &address);

    // Readable: one byte at a time, each after a `WouldBlock`, to and fro. From the middle on the
    // links are watched for reading alone.
    for round in 1..=500_usize {
        if round == 250 {
            rig.watch_for_room(client, false);
            rig.watch_for_room(server, false);
        }
        for (from, to) in [(client, server), (server, client)] {
            rig.send(from, b"x");
            rig.until("the byte makes its reader readable", |rig| {
                rig.ends[to].received.len() == round
            });
        }
    }

    // Writable: fill until nothing more goes, let the reader drain, and the rest must follow: when
    // the sender is watched for room before there is any, and when there is before it is watched.
    for (from, to, watched_first) in [
        (client, server, true),
        (client, server, false),
        (server, client, true),
        (server, client, false),
    ] {
        rig.ends[to].received.clear();
        rig.ends[to].listening = false;
        let flood = rig.random.bytes(FLOOD_LEN);
        rig.send(from, &flood);
        rig.check(
            rig.ends[from].waiting() > 0,
            "32 MiB went into a link that nobody reads",
        );
        if watched_first {
            rig.watch_for_room(from, true);
            rig.listen(to);
        } else {
            rig.listen(to);
            rig.watch_for_room(from, true);
        }
        rig.until("room makes the sender writable", |rig| {
            rig.ends[to].received.len() >= FLOOD_LEN
        });
        rig.watch_for_room(from, false);
        rig.check(
            rig.ends[to].received == flood,
            "other bytes came than were sent",
        );
        rig.ends[to].received.clear();
    }

    // What came before a registration is shown by it.
    rig.register_again(server, |rig| rig.send(client, b"early"));
    rig.until("a registration shows what came before", |rig| {
        rig.ends[server].received == b"early"
    });
}

/// **L4** When a peer goes, its bytes come first, then the end, again and again. Also to one that reads
/// as far as a short read, as in L3.
///
/// # Panics
/// If not.
pub fn l4_the_end_of_a_peer_follows_its_bytes(fixture: &Fixture) {
    each_way_to_read("L4", fixture, |rig| the_end_comes_last(rig, fixture));
}

fn the_end_comes_last(rig: &mut Rig, fixture: &Fixture) {
    const LEN: usize = 4096;
    let told = fixture.backend.capabilities().end_of_peer == EndOfPeer::AtOnce;
    let (_, address) = rig.bind(fixture);
    for round in 0..20 {
        let (client, server) = rig.pair(fixture, &address);
        let (goes, stays) = if round % 2 == 0 {
            (client, server)
        } else {
            (server, client)
        };
        let mut last = rig.random.bytes(LEN);
        rig.ends[stays].listening = false;
        rig.send(goes, &last);
        rig.until("something fits", |rig| rig.ends[goes].waiting() < LEN);
        // A queue of a few messages may take only some of it.
        last.truncate(LEN - rig.ends[goes].waiting());
        rig.drop_link(goes);
        rig.listen(stays);
        rig.until("the last bytes arrive", |rig| {
            rig.ends[stays].received.len() >= last.len() || rig.ends[stays].ended.is_some()
        });
        let complete = rig.ends[stays].received == last;
        rig.check(complete, "the end came before the bytes");
        if !told {
            continue;
        }
        rig.until("the end shows", |rig| rig.ends[stays].ended.is_some());
        for _ in 0..3 {
            let again = rig.ends[stays].link().recv(&mut [0; 16]);
            let still = match again {
                Ok(len) => len == 0,
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
            rig.check(still, "the end did not last");
        }
        if round > 1 {
            continue;
        }
        // A transport may take some bytes before it knows that they lead nowhere.
        rig.send(stays, &vec![7; FLOOD_LEN]);
        rig.until("sending fails", |rig| rig.ends[stays].broken.is_some());
    }

    // What was taken arrives when there was room for no more of it, but for what the transport may
    // have had in flight.
    let in_flight = usize::try_from(fixture.backend.capabilities().in_flight_len_max);
    let in_flight = in_flight.unwrap_or(usize::MAX);
    for goes_first in [true, false] {
        let (client, server) = rig.pair(fixture, &address);
        let (goes, stays) = if goes_first {
            (client, server)
        } else {
            (server, client)
        };
        rig.ends[stays].listening = false;
        let flood = rig.random.bytes(FLOOD_LEN);
        rig.send(goes, &flood);
        let taken = FLOOD_LEN - rig.ends[goes].waiting();
        rig.drop_link(goes);
        rig.listen(stays);
        let sure = taken.saturating_sub(in_flight);
        rig.until("what was taken arrives", |rig| {
            rig.ends[stays].received.len() >= sure || rig.ends[stays].ended.is_some()
        });
        let received = &rig.ends[stays].received;
        let right = received.len() >= sure && flood.starts_with(received);
        rig.check(right, "some of what send took did not arrive");
    }
}

/// **L5** A peer that does not read, or goes, delays no other.
///
/// # Panics
/// If not.
pub fn l5_one_peer_delays_no_other(fixture: &Fixture) {
    const LEN: usize = 1 << 20;
    let mut rig = Rig::new("L5");
    let (_, address) = rig.bind(fixture);
    let (deaf, to_deaf) = rig.pair(fixture, &address);
    let (client, server) = rig.pair(fixture, &address);
    rig.ends[deaf].listening = false;
    let flood = rig.random.bytes(FLOOD_LEN);
    rig.send(to_deaf, &flood);
    rig.check(
        rig.ends[to_deaf].waiting() > 0,
        "32 MiB went into a link that nobody reads",
    );

    let exchange = |rig: &mut Rig| {
        let bytes = rig.random.bytes(LEN);
        rig.send(client, &bytes);
        rig.send(server, &bytes);
        rig.until("the others' bytes pass", |rig| {
            rig.ends[client].received.len() >= LEN && rig.ends[server].received.len() >= LEN
        });
        for place in [client, server] {
            let right = rig.ends[place].received == bytes;
            rig.check(right, "other bytes came than were sent");
            rig.ends[place].received.clear();
        }
    };
    exchange(&mut rig);
    let (third, fourth) = rig.pair(fixture, &address);
    rig.drop_link(third);
    rig.drop_link(fourth);
    exchange(&mut rig);
    // And the deaf one has lost nothing by waiting.
    rig.listen(deaf);
    rig.until("the deaf one hears", |rig| {
        rig.ends[deaf].received.len() >= FLOOD_LEN
    });
    rig.check(
        rig.ends[deaf].received == flood,
        "other bytes came than were sent",
    );
    rig.drop_link(deaf);
    rig.drop_link(to_deaf);
    let (client, server) = rig.pair(fixture, &address);
    rig.greet(client, server);
}

/// **L6** After a byte the peer is known, as far as the capabilities promise.
///
/// # Panics
/// If not.
pub fn l6_the_peer_is_known_after_a_byte(fixture: &Fixture) {
    let mut rig = Rig::new("L6");
    let promised = fixture.backend.capabilities().peer_identity;
    let (_, address) = rig.bind(fixture);
    let (client, server) = rig.pair(fixture, &address);
    let seen = [client, server].map(|place| rig.ends[place].link().peer());
    for peer in &seen {
        let user = (peer.uid.is_some() && peer.gid.is_some()) || peer.sid.is_some();
        let known = match promised {
            PeerIdentity::UserAndProcess => user && peer.pid == Some(std::process::id()),
            PeerIdentity::User => user,
            PeerIdentity::Key => peer.key_proven,
            PeerIdentity::Nobody => true,
        };
        rig.check(
            known,
            &format!("{promised:?} is promised, but the peer is {peer}"),
        );
    }
    // Both ends are this process.
    rig.check(seen[0] == seen[1], "the two ends see different peers");
}

/// **L7** Links that are dropped leave nothing behind, finished or not.
///
/// # Panics
/// If not.
pub fn l7_dropping_releases_everything(fixture: &Fixture) {
    let mut rig = Rig::new("L7");
    let (_, address) = rig.bind(fixture);
    let listening = (fixture.leftovers)();
    for _ in 0..100 {
        let (client, server) = rig.pair(fixture, &address);
        rig.send(client, b"unread");
        let unfinished = rig.connect(fixture, &address);
        for place in [client, server, unfinished] {
            rig.drop_link(place);
        }
    }
    for place in 0..rig.ends.len() {
        rig.drop_link(place);
    }
    let left = (fixture.leftovers)();
    rig.check(left == listening, &format!("left behind: {left:?}"));
}
