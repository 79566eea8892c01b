//! The protocol of one connection: hello, liveness, acknowledgements, goodbye.
//!
//! Pure: bytes that came go in as payloads, what is to be said goes into an [`Outbox`], time is an
//! argument. The bodies of messages pass through untouched.
//!
//! ```text
//!   Greeting ──hellos agree──▶ Open ──Goodbye both ways──▶ over
//!      │ server, hellos differ
//!      └──────▶ Refused: the refusal is on its way, nothing else is looked at
//! ```
//!
//! The end of a session that nobody is cut off from, either side first (or both at once):
//!
//! ```text
//!   first                         second
//!   Goodbye   ─────────────────▶            "my last message"
//!             ◀─────────────────  Goodbye   once it has answered all calls
//!   Farewell  ─────────────────▶            each now knows that the other has read everything
//! ```
//!
//! `receive` says what a frame means, `patience` how long each side waits for the other.
//!
//! How it is driven, per turn of the loop: [`receive`](Session::receive) for each payload,
//! [`answer`](Session::answer) once, then the outbox is written;
//! [`handle_timeout`](Session::handle_timeout) once [`deadline`](Session::deadline) has passed.

mod patience;
mod receive;

use std::time::{Duration, Instant};

use crate::close::CloseReason;
use crate::envelope::{self, EncodeError, Failure, Head};
use crate::hello::Hello;
use crate::limits::{FRAME_LEN_MIN, Limits};
use crate::outbox::{Lane, Outbox, Refusal};

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Speaks first; sends events and requests.
    Client,
    /// Answers; sends replies and pushes.
    Server,
}

/// What a payload means to the floor above.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Both hellos agree: messages may flow.
    Opened,
    /// To the server.
    Event(&'a [u8]),
    /// To the server.
    Request {
        /// The client's number.
        id: u64,
        /// How long the client waits.
        timeout: Duration,
        /// The message.
        body: &'a [u8],
    },
    /// To the server: nobody waits for the answer any more.
    Cancel {
        /// The client's number.
        id: u64,
    },
    /// To the server: to be answered by [`Session::acknowledgement`].
    Sync {
        /// The client's number.
        id: u64,
    },
    /// To the client.
    Reply {
        /// The client's number.
        id: u64,
        /// The message.
        body: &'a [u8],
    },
    /// To the client.
    Failed {
        /// The client's number.
        id: u64,
        /// Why there is no answer.
        failure: Failure,
    },
    /// To the client.
    Push(&'a [u8]),
    /// To the client: the server has handled so many events of this session.
    Acknowledged {
        /// The number of the sync; 0 if it was not asked for.
        id: u64,
        /// All since the hello.
        events: u64,
    },
    /// To the client: it should say goodbye.
    Draining,
    /// The peer's last message is behind us.
    Goodbye,
    /// Taken care of here.
    Nothing,
}

/// When something was last written, and since when nothing could be.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// The last time the link took a byte.
    pub last: Instant,
    /// Set while the link takes nothing although something waits.
    pub blocked_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Refused,
    Open,
}

/// How far the end of the session has come.
#[derive(Debug, Default)]
struct Ending {
    said: Option<Instant>,
    heard: bool,
    /// This side said it before it heard it.
    first: bool,
    farewell_said: bool,
    farewell_heard: bool,
}

/// A server tells how many events it has handled after so many, without being asked.
const ACK_EVENTS: u64 = 1024;

/// The session of one connection. See the module's text.
#[derive(Debug)]
pub struct Session {
    role: Role,
    phase: Phase,
    limits: Limits,
    ours: Hello,
    theirs: Option<Hello>,
    started: Instant,
    last_heard: Instant,
    partial_since: Option<Instant>,
    events: u64,
    events_acknowledged: u64,
    pong_due: Option<u64>,
    ping_id: u64,
    ping_sent: Option<Instant>,
    ending: Ending,
}

impl Session {
    /// A session on a link that was just made. A client's hello goes into the outbox.
    pub fn new(role: Role, ours: Hello, limits: Limits, outbox: &mut Outbox, now: Instant) -> Self {
        if role == Role::Client {
            control(outbox, Head::Hello, &ours);
        }
        Self {
            role,
            phase: Phase::Greeting,
            limits,
            ours,
            theirs: None,
            started: now,
            last_heard: now,
            partial_since: None,
            events: 0,
            events_acknowledged: 0,
            pong_due: None,
            ping_id: 0,
            ping_sent: None,
            ending: Ending::default(),
        }
    }

    /// What the peer said of itself, once the session is open.
    pub fn peer(&self) -> Option<&Hello> {
        self.theirs.as_ref()
    }

    /// Whether both hellos agreed.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// The longest payload to take from the peer now. A stranger gets room for a hello only.
    pub fn frame_len_max(&self) -> u32 {
        match self.phase {
            Phase::Open => self.limits.frame_len_max,
            Phase::Greeting | Phase::Refused => FRAME_LEN_MIN,
        }
    }

    /// Says what is due after a turn: the welcome, a pong, an acknowledgement, the farewell.
    ///
    /// At most one of each waits at any time, so a peer that asks without reading gains nothing.
    pub fn answer(&mut self, outbox: &mut Outbox) {
        if !outbox.is_control_empty() {
            return;
        }
        if let Some(id) = self.pong_due.take() {
            control(outbox, Head::Pong { id }, &());
        }
        // All of them at the goodbye: whatever comes of the rest of the ending, these are known.
        let wanted = if self.ending.heard { 1 } else { ACK_EVENTS };
        if self.events - self.events_acknowledged >= wanted {
            let ack = self.acknowledgement(0);
            control(outbox, ack, &());
        }
        let ending = &mut self.ending;
        if ending.first && ending.heard && !ending.farewell_said && outbox.is_drained() {
            ending.farewell_said = true;
            control(outbox, Head::Farewell, &());
        }
    }

    /// Answers the client's hello: messages may flow. To be called by the server on `Opened`.
    pub fn welcome(&self, outbox: &mut Outbox) {
        control(outbox, Head::Welcome, &self.ours);
    }

    /// Says that all events so far are handled; `id` is that of a sync, or 0.
    pub fn acknowledgement(&mut self, id: u64) -> Head {
        self.events_acknowledged = self.events;
        Head::Ack {
            id,
            events: self.events,
        }
    }

    /// Asks the client to end the session.
    pub fn drain(&self, outbox: &mut Outbox) {
        control(outbox, Head::Drain, &());
    }

    /// Ends the session behind everything that waits in the outbox.
    pub fn say_goodbye(&mut self, outbox: &mut Outbox, now: Instant) {
        if self.ending.said.is_none() {
            self.ending.said = Some(now);
            self.ending.first = !self.ending.heard;
            if self.ending.heard && self.events > self.events_acknowledged {
                // Ahead of the goodbye, whatever else waits: it is said once.
                let ack = self.acknowledgement(0);
                control(outbox, ack, &());
            }
            outbox.append_last(|bytes| {
                envelope::encode(bytes, &Head::Goodbye, &(), FRAME_LEN_MIN)
                    .expect("a goodbye is shorter than FRAME_LEN_MIN");
            });
        }
    }

    /// Whether the session has ended as it should, and the link can go.
    pub fn is_over(&self, outbox: &mut Outbox) -> bool {
        let ending = &self.ending;
        ending.farewell_heard || (ending.farewell_said && outbox.is_drained())
    }

    /// What it means that the link ends at this point, for this reason.
    ///
    /// Who hears the farewell, or has nothing more to say, lets go of the link at once: what the
    /// other still tries to write then fails, although all is well.
    pub fn at_end(&self, reason: CloseReason) -> CloseReason {
        let by_the_link = matches!(reason, CloseReason::PeerGone | CloseReason::LinkFailed(_));
        let ending = &self.ending;
        let both = ending.said.is_some() && ending.heard;
        // A client that was the second to say goodbye can't know without the farewell whether its
        // last events were read. A server has nothing at stake that it could count.
        let sure = ending.first || ending.farewell_heard || self.role == Role::Server;
        if by_the_link && both && sure {
            CloseReason::Finished
        } else {
            reason
        }
    }

    /// The last word about `reason`. True if the link should stay until the peer has read it.
    pub fn close(&mut self, reason: &CloseReason, outbox: &mut Outbox) -> bool {
        if self.phase == Phase::Refused || !reason.is_worth_telling() {
            return false;
        }
        let code = reason.code();
        if self.role == Role::Server
            && self.phase == Phase::Greeting
            && matches!(
                reason,
                CloseReason::ProtocolMismatch { .. } | CloseReason::WireMismatch { .. }
            )
        {
            self.phase = Phase::Refused;
            control(outbox, Head::Refuse { code }, &self.ours);
            return true;
        }
        // What left behind it would be lost: the peer reads no further.
        outbox.shut();
        control(outbox, Head::Abort { code }, &());
        false
    }
}

/// Appends a frame of the session's own. They are short and few: nothing can be in their way.
fn control<T: serde::Serialize>(outbox: &mut Outbox, head: Head, body: &T) {
    let appended: Result<(), Refusal<EncodeError>> = outbox.append(Lane::Control, |bytes| {
        envelope::encode(bytes, &head, body, FRAME_LEN_MIN)
    });
    appended.expect("a control frame is shorter than FRAME_LEN_MIN, and its lane has no bound");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's open session with a silent client, and the moment it began.
    fn open(limits: &Limits) -> (Session, Instant) {
        let now = Instant::now();
        let hello = |epoch| Hello::new("test", 1, limits, epoch);
        let mut outbox = Outbox::new(limits.outbox_len_max);
        let mut session = Session::new(Role::Server, hello(1), limits.clone(), &mut outbox, now);
        let mut payload = Vec::new();
        envelope::encode(&mut payload, &Head::Hello, &hello(2), FRAME_LEN_MIN).unwrap();
        assert_eq!(session.receive(&payload).unwrap(), Incoming::Opened);
        session.heard(1, now);
        (session, now)
    }

    fn writing(now: Instant) -> Writing {
        Writing {
            last: now,
            blocked_since: None,
        }
    }

    #[test]
    fn the_time_in_which_a_peer_is_excuse_to_does_not_count_against_it() {
        let limits = Limits::default();
        let (mut session, start) = open(&limits);
        let mut outbox = Outbox::new(limits.outbox_len_max);
        let mut now = start;
        for _ in 0..10 {
            now += limits.silence_timeout.min(limits.frame_timeout) / 2;
            session.excuse(now);
            let timeout = session.handle_timeout(&mut outbox, &writing(now), now);
            assert!(timeout.is_ok());
            assert!(session.deadline(&writing(now)) > now);
        }
        now += limits.silence_timeout;
        let timeout = session.handle_timeout(&mut outbox, &writing(now), now);
        assert!(matches!(timeout, Err(CloseReason::Silent(_))));
    }

    #[test]
    fn a_server_without_patience_gets_no_flood_of_pings() {
        let limits = Limits::default();
        let start = Instant::now();
        let hello = |limits: &Limits| Hello::new("test", 1, limits, 1);
        let mut outbox = Outbox::new(limits.outbox_len_max);
        let ours = hello(&limits);
        let mut session = Session::new(Role::Client, ours, limits.clone(), &mut outbox, start);
        let impatient = Limits {
            silence_timeout: Duration::ZERO,
            ..limits
        };
        let mut payload = Vec::new();
        envelope::encode(
            &mut payload,
            &Head::Welcome,
            &hello(&impatient),
            FRAME_LEN_MIN,
        )
        .unwrap();
        assert_eq!(session.receive(&payload).unwrap(), Incoming::Opened);
        let mut now = start;
        for id in 1..=10 {
            session.heard(0, now);
            let due = session.deadline(&writing(now));
            assert!(due > now, "a loop would turn without a pause");
            session
                .handle_timeout(&mut outbox, &writing(now), due)
                .unwrap();
            now = due;
            payload.clear();
            envelope::encode(&mut payload, &Head::Pong { id }, &(), FRAME_LEN_MIN).unwrap();
            session.receive(&payload).unwrap();
        }
        assert!(now >= start + Duration::from_millis(100));
        assert_eq!(session.ping_id, 10);
    }

    #[test]
    fn a_link_that_breaks_after_both_goodbyes_has_done_its_work() {
        let (mut session, now) = open(&Limits::default());
        let mut outbox = Outbox::new(1 << 16);
        let gone = |session: &Session| session.at_end(CloseReason::PeerGone);
        session.say_goodbye(&mut outbox, now);
        assert!(matches!(gone(&session), CloseReason::PeerGone));
        let mut payload = Vec::new();
        envelope::encode(&mut payload, &Head::Goodbye, &(), FRAME_LEN_MIN).unwrap();
        assert_eq!(session.receive(&payload).unwrap(), Incoming::Goodbye);
        assert!(matches!(gone(&session), CloseReason::Finished));
        let other = session.at_end(CloseReason::ClosedHere);
        assert!(matches!(other, CloseReason::ClosedHere));
    }
}
