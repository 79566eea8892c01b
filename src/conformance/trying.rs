//! L8: trying without an event, as those do who look for an answer before they sleep.

use super::Fixture;
use super::link::{FLOOD_LEN, each_way_to_read};
use super::rig::Rig;

/// **L8** `recv` and `send` may be tried without an event, and what comes then still brings one. Also to
/// one that reads as far as a short read, as in L3.
///
/// # Panics
/// If not.
pub fn l8_tries_without_an_event_cost_no_edge(fixture: &Fixture) {
    each_way_to_read("L8", fixture, |rig| tries_cost_no_edge(rig, fixture));
}

fn tries_cost_no_edge(rig: &mut Rig, fixture: &Fixture) {
    let (_, address) = rig.bind(fixture);

    // While the connection is on its way, with something to send and without.
    let client = rig.connect(fixture, &address);
    rig.try_often(client);
    rig.send(client, b"hello");
    rig.try_often(client);
    rig.until("the connection is accepted", |rig| !rig.accepted.is_empty());
    let server = rig.accepted[0];
    rig.try_often(server);
    rig.until("the first bytes show", |rig| {
        rig.ends[server].received == b"hello"
    });
    rig.ends[server].received.clear();
    rig.greet(client, server);

    // One byte at a time. Its reader has looked in vain before, or looks before it is told, or does
    // both or neither. In half of the rounds no event of an earlier byte is left, which could be taken
    // for the one that is due.
    for round in 0..400_usize {
        let in_vain = round % 2 == 0;
        let before_it_is_told = round / 2 % 2 == 0;
        let has_seen_all = round / 4 % 2 == 0;
        for (from, to) in [(client, server), (server, client)] {
            if has_seen_all {
                rig.settle();
            }
            if in_vain {
                rig.try_often(to);
                rig.try_often(from);
            }
            rig.send(from, b"x");
            if before_it_is_told {
                rig.try_often(to);
            }
            rig.until(
                "a byte makes a reader readable that looks by itself",
                |rig| rig.ends[to].received.len() > round,
            );
        }
    }

    // A sender that tries again and again while there is no room.
    for (from, to) in [(client, server), (server, client)] {
        rig.ends[to].received.clear();
        rig.ends[to].listening = false;
        let flood = rig.random.bytes(FLOOD_LEN);
        rig.send(from, &flood);
        rig.watch_for_room(from, true);
        rig.try_often(from);
        rig.settle();
        rig.try_often(from);
        rig.check(
            rig.ends[from].waiting() > 0,
            "32 MiB went into a link that nobody reads",
        );
        rig.listen(to);
        while rig.ends[to].received.len() < FLOOD_LEN {
            rig.turn("room makes a sender writable that tries by itself");
            // Not always, or it would not have to be told.
            if rig.random.size(4) == 1 {
                rig.try_often(from);
            }
        }
        rig.check(
            rig.ends[to].received == flood,
            "other bytes came than were sent",
        );
        rig.ends[to].received.clear();
    }
}
