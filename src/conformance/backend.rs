//! B1 to B5: opening.

use std::io;

use super::Fixture;
use super::rig::Rig;

/// **B1** A connect to an address that nobody is bound to fails, at once or on its way.
///
/// # Panics
/// If not.
pub fn b1_connect_to_nobody_fails(fixture: &Fixture) {
    let mut rig = Rig::new("B1");
    // An address that works, but whose listener is gone.
    let (_, address) = rig.bind(fixture);
    rig.drop_listener();
    let link = match fixture.backend.connect(&address) {
        Ok(link) => link,
        Err(error) => {
            let kind = error.kind();
            rig.check(kind != io::ErrorKind::WouldBlock, "it is `WouldBlock`");
            return;
        }
    };
    let place = rig.add(link);
    rig.until("the connect fails", |rig| rig.ends[place].ended.is_some());
    let failed = matches!(rig.ends[place].ended, Some(Some(_)));
    rig.check(failed, "recv says `Ok(0)`, as if there had been a peer");
    let again = rig.ends[place].link().send(b"x");
    rig.check(again.is_err(), "send works on a link that never was");
}

/// **B2** A live listener's address can't be taken, and trying disturbs nobody.
///
/// # Panics
/// If not.
pub fn b2_bind_to_a_live_address_fails_and_disturbs_nobody(fixture: &Fixture) {
    let mut rig = Rig::new("B2");
    let (_, address) = rig.bind(fixture);
    let (client, server) = rig.pair(fixture, &address);
    for _ in 0..10 {
        match fixture.backend.bind(&address) {
            Ok(_) => rig.fail("a live listener's address was taken"),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => rig.fail(&format!("not `AddrInUse` but {error:?}")),
        }
        rig.greet(client, server);
        rig.pair(fixture, &address);
    }
}

/// **B3** A dropped listener's address can be bound again at once, and nothing stays behind.
///
/// # Panics
/// If not.
pub fn b3_a_dropped_listener_frees_its_address_and_leaves_nothing(fixture: &Fixture) {
    let mut rig = Rig::new("B3");
    let (_, address) = rig.bind(fixture);
    for _ in 0..10 {
        // With connections that outlive it, one not even accepted.
        rig.pair(fixture, &address);
        let _unaccepted = fixture.backend.connect(&address);
        rig.drop_listener();
        match fixture.backend.bind(&address) {
            Ok(listener) => rig.add_listener(listener),
            Err(error) => rig.fail(&format!("the address is not free: {error}")),
        };
    }
    rig.drop_listener();
    for place in 0..rig.ends.len() {
        rig.drop_link(place);
    }
    let left = (fixture.leftovers)();
    rig.check(left.is_empty(), &format!("left behind: {left:?}"));
}

/// **B4** An address that can't work is `InvalidInput` for both calls, with an explanation.
///
/// # Panics
/// If not.
pub fn b4_an_impossible_address_is_invalid_input(fixture: &Fixture) {
    let rig = Rig::new("B4");
    for address in &fixture.impossible {
        let bound = fixture.backend.bind(address).map(drop);
        let connected = fixture.backend.connect(address).map(drop);
        for (call, result) in [("bind", bound), ("connect", connected)] {
            let Err(error) = result else {
                rig.fail(&format!("{call} takes {address:?}"));
            };
            let kind = error.kind();
            let invalid = kind == io::ErrorKind::InvalidInput;
            rig.check(invalid, &format!("{call} with {address:?} is {error:?}"));
            let text = error.to_string();
            let explained = text != io::Error::from(kind).to_string();
            rig.check(
                explained,
                &format!("{call} with {address:?} says only {text:?}"),
            );
        }
    }
}

/// **B5** Connects that nobody accepts don't block, however many, and hurt nobody.
///
/// # Panics
/// If not; ends the process if one blocks.
pub fn b5_connect_never_blocks(fixture: &Fixture) {
    const CONNECTS: usize = 300;
    let mut rig = Rig::new("B5");
    let (listener, address) = rig.bind(fixture);
    let mut links = Vec::new();
    for _ in 0..CONNECTS {
        match fixture.backend.connect(&address) {
            Ok(link) => links.push(link),
            // Refused: where a full backlog looks like nobody.
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused => break,
                _ => rig.fail(&format!("connect number {}: {error}", links.len())),
            },
        }
    }
    drop(links);
    rig.accept(listener);
    rig.pair(fixture, &address);
}
