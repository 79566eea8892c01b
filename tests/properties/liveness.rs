//! A session keeps time: what is given as the deadline is when something has to happen, and then
//! it does.

use std::time::{Duration, Instant};

use wayside::internals::{Head, Hello, Outbox, Role, Session, Writing, decode_head, encode};
use wayside::{CloseReason, Limits};

use crate::{drain, session};

const MS: Duration = Duration::from_millis(1);

fn limits() -> Limits {
    Limits {
        handshake_timeout: 500 * MS,
        ping_interval: 100 * MS,
        silence_timeout: 1500 * MS,
        frame_timeout: 300 * MS,
        stall_timeout: 400 * MS,
        ..Limits::default()
    }
}

fn payload<T: serde::Serialize>(head: Head, body: &T) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&mut payload, &head, body, 1024).unwrap();
    payload
}

/// An open session, at the time it opened.
fn open(role: Role, now: Instant) -> (Session, Outbox) {
    let (mut session, mut outbox) = session(role, &limits(), now);
    let head = match role {
        Role::Server => Head::Hello,
        Role::Client => Head::Welcome,
    };
    let theirs = Hello::new("properties", 3, &limits(), 9);
    session.receive(&payload(head, &theirs)).unwrap();
    session.heard(0, now);
    outbox.open();
    drain(&mut outbox);
    (session, outbox)
}

fn quiet(last: Instant) -> Writing {
    Writing {
        last,
        blocked_since: None,
    }
}

/// Nothing happens a moment before the deadline, and at it something does.
fn ends_at(
    mut session: Session,
    mut outbox: Outbox,
    writing: Writing,
    at: Instant,
    is_right: impl Fn(&CloseReason) -> bool,
) {
    assert_eq!(session.deadline(&writing), at);
    let mut at_time = |now| session.handle_timeout(&mut outbox, &writing, now);
    assert!(at_time(at - MS / 10).is_ok());
    let reason = at_time(at).unwrap_err();
    assert!(is_right(&reason), "{reason}");
}

#[test]
fn a_hello_has_to_come_in_time() {
    let now = Instant::now();
    for role in [Role::Server, Role::Client] {
        let (mut session, outbox) = session(role, &limits(), now);
        // Part of it puts nothing off.
        session.heard(3, now + 200 * MS);
        ends_at(session, outbox, quiet(now), now + 500 * MS, |reason| {
            matches!(reason, CloseReason::HandshakeTimeout(_))
        });
    }
}

#[test]
fn a_server_hears_silence() {
    let now = Instant::now();
    let (session, outbox) = open(Role::Server, now);
    ends_at(session, outbox, quiet(now), now + 1500 * MS, |reason| {
        matches!(reason, CloseReason::Silent(_))
    });
}

#[test]
fn a_begun_frame_has_to_end_in_time() {
    let now = Instant::now();
    let (mut session, outbox) = open(Role::Server, now);
    session.heard(3, now + 50 * MS);
    // More of the same frame is no end of it.
    session.heard(4, now + 200 * MS);
    let at = now + 350 * MS;
    ends_at(session, outbox, quiet(now), at, |reason| {
        matches!(reason, CloseReason::FrameStalled(_))
    });
}

#[test]
fn what_is_not_listened_to_is_not_blamed_for_silence() {
    let now = Instant::now();
    let (mut session, outbox) = open(Role::Server, now);
    session.heard(3, now);
    session.excuse(now + 250 * MS);
    let at = now + 550 * MS;
    ends_at(session, outbox, quiet(now), at, |reason| {
        matches!(reason, CloseReason::FrameStalled(_))
    });
}

#[test]
fn a_peer_has_to_read() {
    let now = Instant::now();
    let (session, outbox) = open(Role::Server, now);
    let writing = Writing {
        last: now,
        blocked_since: Some(now + 20 * MS),
    };
    ends_at(session, outbox, writing, now + 420 * MS, |reason| {
        matches!(reason, CloseReason::NotReading(_))
    });
}

#[test]
fn a_client_that_is_still_sent_something_is_the_slow_one() {
    let now = Instant::now();
    let (mut session, mut outbox) = open(Role::Client, now);
    let writing = Writing {
        last: now + 60 * MS,
        blocked_since: Some(now + 60 * MS),
    };
    session
        .handle_timeout(&mut outbox, &writing, now + 100 * MS)
        .unwrap();
    session.heard(0, now + 300 * MS);
    ends_at(session, outbox, writing, now + 700 * MS, |reason| {
        matches!(reason, CloseReason::NotReading(_))
    });
}

#[test]
fn a_client_pings_when_either_direction_is_quiet() {
    let now = Instant::now();
    for (heard, written) in [(70, 0), (0, 70), (0, 0)] {
        let (mut session, mut outbox) = open(Role::Client, now);
        session.heard(0, now + heard * MS);
        let writing = quiet(now + written * MS);
        let at = now + 100 * MS;
        assert_eq!(session.deadline(&writing), at);
        session
            .handle_timeout(&mut outbox, &writing, at - MS / 10)
            .unwrap();
        assert!(outbox.is_control_empty());
        session.handle_timeout(&mut outbox, &writing, at).unwrap();
        let bytes = drain(&mut outbox);
        let (head, _) = decode_head(&bytes[4..]).unwrap();
        assert_eq!(head, Head::Ping { id: 1 });
        // One ping waits for its pong; after that the next may follow.
        session
            .handle_timeout(&mut outbox, &writing, at + MS)
            .unwrap();
        assert!(outbox.is_control_empty());
        session
            .receive(&payload(Head::Pong { id: 1 }, &()))
            .unwrap();
        session.heard(0, at + 5 * MS);
        assert_eq!(session.deadline(&quiet(at)), at + 100 * MS);
    }
}

#[test]
fn a_client_without_pongs_gives_up() {
    let now = Instant::now();
    let (mut session, mut outbox) = open(Role::Client, now);
    let at = now + 100 * MS;
    session
        .handle_timeout(&mut outbox, &quiet(now), at)
        .unwrap();
    ends_at(session, outbox, quiet(at), now + 1500 * MS, |reason| {
        matches!(reason, CloseReason::Silent(_))
    });
}

#[test]
fn a_client_pings_often_enough_for_the_server() {
    let now = Instant::now();
    let (mut session, mut outbox) = session(Role::Client, &limits(), now);
    let impatient = Limits {
        silence_timeout: 60 * MS,
        ..limits()
    };
    let theirs = Hello::new("properties", 3, &impatient, 9);
    session.receive(&payload(Head::Welcome, &theirs)).unwrap();
    outbox.open();
    assert_eq!(session.deadline(&quiet(now)), now + 20 * MS);
}

#[test]
fn the_second_to_say_goodbye_waits_for_a_slow_reader_only_as_long_as_it_reads() {
    let now = Instant::now();
    let (mut session, mut outbox) = open(Role::Server, now);
    session.receive(&payload(Head::Goodbye, &())).unwrap();
    session.say_goodbye(&mut outbox, now);
    // It takes what was written before, slowly: a second after the last of it, no sooner.
    let blocked = Writing {
        last: now + 900 * MS,
        blocked_since: Some(now + 900 * MS),
    };
    session.heard(0, now + 900 * MS);
    assert_eq!(session.deadline(&blocked), now + 1300 * MS);
    session
        .handle_timeout(&mut outbox, &blocked, now + 1299 * MS)
        .unwrap();
    drain(&mut outbox);
    session.heard(0, now + 1200 * MS);
    let written = quiet(now + 1250 * MS);
    session.heard(0, now + 1260 * MS);
    let at = now + 2260 * MS;
    ends_at(session, outbox, written, at, |reason| {
        matches!(reason, CloseReason::Finished)
    });
}
