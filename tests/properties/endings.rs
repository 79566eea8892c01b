//! The goodbye, in all interleavings: whoever is first, or both at once, each side ends with
//! `Finished`, and everything said before has arrived.

use std::collections::VecDeque;
use std::time::Instant;

use wayside::internals::{
    Head, Incoming, Lane, Outbox, Refusal, Role, Session, decode_head, encode,
};
use wayside::{CloseReason, Limits};

use crate::session;

/// One side, and the bytes on their way to it.
struct Side {
    session: Session,
    outbox: Outbox,
    incoming: VecDeque<u8>,
    got: Vec<u8>,
    ended: Option<CloseReason>,
}

impl Side {
    fn new(role: Role, now: Instant) -> Self {
        let (session, outbox) = session(role, &Limits::default(), now);
        Self {
            session,
            outbox,
            incoming: VecDeque::new(),
            got: Vec::new(),
            ended: None,
        }
    }

    fn say(&mut self, head: Head, body: u8) {
        let said: Result<(), Refusal<_>> = self
            .outbox
            .append(Lane::Bulk, |bytes| encode(bytes, &head, &body, 1024));
        said.unwrap();
    }

    /// Writes one frame, if there is one to write.
    fn write(&mut self, to: &mut Self) -> bool {
        self.session.answer(&mut self.outbox);
        let bytes = self.outbox.next_bytes();
        let Some(header) = bytes.first_chunk::<4>() else {
            return false;
        };
        let len = usize::try_from(u32::from_le_bytes(*header)).unwrap() + 4;
        to.incoming.extend(&bytes[..len]);
        self.outbox.written(len);
        true
    }

    /// Reads one frame, if there is one.
    fn read(&mut self, role: Role, now: Instant) -> bool {
        if self.incoming.is_empty() {
            return false;
        }
        let header: Vec<u8> = self.incoming.drain(..4).collect();
        let len = u32::from_le_bytes(header.try_into().unwrap());
        let payload: Vec<u8> = self
            .incoming
            .drain(..usize::try_from(len).unwrap())
            .collect();
        match self.session.receive(&payload).unwrap() {
            Incoming::Opened => {
                self.outbox.open();
                if role == Role::Server {
                    self.session.welcome(&mut self.outbox);
                }
            }
            Incoming::Event(body) | Incoming::Push(body) => self.got.extend_from_slice(body),
            Incoming::Goodbye => self.session.say_goodbye(&mut self.outbox, now),
            _ => {}
        }
        true
    }

    /// Sees whether it is over; `gone` says that the other side has let go of the link.
    fn look(&mut self, gone: bool) {
        self.session.answer(&mut self.outbox);
        let at_end = gone && self.incoming.is_empty();
        if self.ended.is_none() && (at_end || self.session.is_over(&mut self.outbox)) {
            self.ended = Some(self.session.at_end(CloseReason::PeerGone));
        }
    }
}

/// Runs one schedule: each bit of `choices` says which of the things that could be next is.
fn run(client_says: bool, server_says: bool, mut choices: u32) {
    let now = Instant::now();
    let (mut client, mut server) = (Side::new(Role::Client, now), Side::new(Role::Server, now));
    for _ in 0..3 {
        client.write(&mut server);
        server.read(Role::Server, now);
        server.write(&mut client);
        client.read(Role::Client, now);
    }
    for number in 0..2 {
        client.say(Head::Event, number);
        server.say(Head::Push, number);
    }
    let (mut client_says, mut server_says) = (client_says, server_says);
    for _ in 0..200 {
        if client.ended.is_some() && server.ended.is_some() {
            break;
        }
        let choice = choices & 7;
        choices = choices.rotate_right(3);
        match choice {
            0 if client_says => {
                client.session.say_goodbye(&mut client.outbox, now);
                client_says = false;
            }
            1 if server_says => {
                server.session.say_goodbye(&mut server.outbox, now);
                server_says = false;
            }
            2 | 3 if client.ended.is_none() => drop(client.write(&mut server)),
            4 | 5 if server.ended.is_none() => drop(server.write(&mut client)),
            6 if client.ended.is_none() => drop(client.read(Role::Client, now)),
            7 if server.ended.is_none() => drop(server.read(Role::Server, now)),
            _ => {}
        }
        let (client_over, server_over) = (client.ended.is_some(), server.ended.is_some());
        client.look(server_over);
        server.look(client_over);
        if choices == 0 {
            choices = 0x0FAC_688D;
        }
    }
    for (name, side) in [("client", &client), ("server", &server)] {
        let ended = side.ended.as_ref();
        assert!(
            matches!(ended, Some(CloseReason::Finished)),
            "{name}: {ended:?}"
        );
        assert_eq!(side.got, [0, 1], "{name}");
    }
}

#[test]
fn whoever_says_goodbye_first_both_have_finished() {
    for (client, server) in [(true, false), (false, true), (true, true)] {
        // All orders of the first steps, the rest as it comes.
        for first in 0..1 << 12 {
            run(client, server, first | 0x0FAC_8000);
        }
    }
}

#[test]
fn a_farewell_out_of_turn_ends_nothing() {
    let now = Instant::now();
    for role in [Role::Server, Role::Client] {
        let (mut client, mut server) = (Side::new(Role::Client, now), Side::new(Role::Server, now));
        for _ in 0..3 {
            client.write(&mut server);
            server.read(Role::Server, now);
            server.write(&mut client);
            client.read(Role::Client, now);
        }
        let side = if role == Role::Client {
            &mut client
        } else {
            &mut server
        };
        let mut farewell = Vec::new();
        encode(&mut farewell, &Head::Farewell, &(), 1024).unwrap();
        assert_eq!(decode_head(&farewell).unwrap().0, Head::Farewell);
        let result = side.session.receive(&farewell);
        assert!(
            matches!(result, Err(CloseReason::Malformed(_))),
            "{result:?}"
        );
        assert!(!side.session.is_over(&mut side.outbox));
    }
}

/// What would leave behind it is lost to a peer that reads no further, and still has a chance on the
/// next connection.
#[test]
fn an_abort_is_the_last_word() {
    let now = Instant::now();
    for begun in [false, true] {
        let (mut client, mut server) = (Side::new(Role::Client, now), Side::new(Role::Server, now));
        for _ in 0..3 {
            client.write(&mut server);
            server.read(Role::Server, now);
            server.write(&mut client);
            client.read(Role::Client, now);
        }
        client.say(Head::Event, 1);
        client.say(Head::Event, 2);
        if begun {
            client.outbox.written(3);
        }
        let reason = CloseReason::Malformed("as the test says");
        assert!(!client.session.close(&reason, &mut client.outbox));
        let mut left = vec![0; if begun { 3 } else { 0 }];
        left.extend(crate::drain(&mut client.outbox));
        // The event that was begun, if one was, and the abort.
        assert_eq!(left.len(), if begun { 6 + 6 } else { 6 });
        assert_eq!(
            decode_head(&left[left.len() - 2..]).unwrap().0,
            Head::Abort { code: 13 }
        );
        let mut kept = 0;
        client.outbox.reset(|_| {
            kept += 1;
            true
        });
        assert_eq!(kept, if begun { 1 } else { 2 });
    }
}
