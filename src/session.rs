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
//! How it is driven, per turn of the loop: [`receive`](Session::receive) for each payload,
//! [`answer`](Session::answer) once, then the outbox is written;
//! [`handle_timeout`](Session::handle_timeout) once [`deadline`](Session::deadline) has passed.

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

/// How long the second to say goodbye waits for the farewell of a peer whose end doesn't show.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

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

    /// Takes note that bytes have come, and how many of them are a frame only begun.
    pub fn heard(&mut self, partial_len: usize, now: Instant) {
        self.last_heard = now;
        self.partial_since = (partial_len > 0).then(|| self.partial_since.unwrap_or(now));
    }

    /// When the frame was begun of which a part is there.
    pub fn partial_since(&self) -> Option<Instant> {
        self.partial_since
    }

    /// Takes note that nobody has listened: what the peer has not said until now is no fault of its
    /// own.
    pub fn excuse(&mut self, now: Instant) {
        self.last_heard = now;
        self.partial_since = self.partial_since.map(|_| now);
    }

    /// Takes note that a frame was finished.
    fn frame_finished(&mut self) {
        self.partial_since = None;
    }

    /// Reads one payload.
    ///
    /// # Errors
    /// Why the connection has to be closed, with [`close`](Session::close) as the last word.
    #[inline]
    pub fn receive<'a>(&mut self, payload: &'a [u8]) -> Result<Incoming<'a>, CloseReason> {
        self.frame_finished();
        // What comes by the million.
        if self.phase == Phase::Open && self.role == Role::Server && !self.ending.heard {
            if let Some(body) = envelope::event(payload) {
                self.events += 1;
                return Ok(Incoming::Event(body));
            }
        }
        self.receive_any(payload)
    }

    fn receive_any<'a>(&mut self, payload: &'a [u8]) -> Result<Incoming<'a>, CloseReason> {
        match (self.phase, self.role) {
            (Phase::Refused, _) => Ok(Incoming::Nothing),
            (Phase::Greeting, Role::Server) => self.receive_hello(payload),
            (Phase::Greeting, Role::Client) => self.receive_welcome(payload),
            (Phase::Open, role) => {
                let (head, body) = envelope::decode_head(payload)?;
                match role {
                    Role::Server => self.receive_as_server(head, body),
                    Role::Client => self.receive_as_client(head, body),
                }
            }
        }
    }

    fn receive_hello(&mut self, payload: &[u8]) -> Result<Incoming<'static>, CloseReason> {
        let (Head::Hello, body) = greeting(payload)? else {
            return Err(CloseReason::NotWayside);
        };
        let theirs = Hello::parse(body)?;
        self.ours.agree(&theirs)?;
        self.open(theirs);
        Ok(Incoming::Opened)
    }

    fn receive_welcome(&mut self, payload: &[u8]) -> Result<Incoming<'static>, CloseReason> {
        let (head, body) = greeting(payload)?;
        match head {
            Head::Welcome => {
                let theirs = Hello::parse(body)?;
                self.ours.agree(&theirs)?;
                self.open(theirs);
                Ok(Incoming::Opened)
            }
            Head::Refuse { code } => {
                // The hello of the server says most: both names, both versions.
                self.ours.agree(&Hello::parse(body)?)?;
                Err(CloseReason::by_peer(code))
            }
            Head::Abort { code } => Err(CloseReason::by_peer(code)),
            _ => Err(CloseReason::NotWayside),
        }
    }

    fn open(&mut self, theirs: Hello) {
        self.theirs = Some(theirs);
        self.phase = Phase::Open;
    }

    fn receive_as_server<'a>(
        &mut self,
        head: Head,
        body: &'a [u8],
    ) -> Result<Incoming<'a>, CloseReason> {
        if self.ending.heard
            && !matches!(
                head,
                Head::Farewell | Head::Ping { .. } | Head::Pong { .. } | Head::Abort { .. }
            )
        {
            return Err(CloseReason::Malformed("a message after the goodbye"));
        }
        match head {
            Head::Event => {
                self.events += 1;
                Ok(Incoming::Event(body))
            }
            Head::Request { id, timeout_ms } => Ok(Incoming::Request {
                id,
                timeout: Duration::from_millis(timeout_ms),
                body,
            }),
            Head::Cancel { id } => Ok(Incoming::Cancel { id }),
            Head::Sync { id } => Ok(Incoming::Sync { id }),
            other => self.receive_as_either(other),
        }
    }

    fn receive_as_client<'a>(
        &mut self,
        head: Head,
        body: &'a [u8],
    ) -> Result<Incoming<'a>, CloseReason> {
        match head {
            Head::Reply { id } => Ok(Incoming::Reply { id, body }),
            Head::Failed { id, failure } => Ok(Incoming::Failed { id, failure }),
            Head::Push => Ok(Incoming::Push(body)),
            Head::Ack { id, events } => Ok(Incoming::Acknowledged { id, events }),
            Head::Drain => Ok(Incoming::Draining),
            other => self.receive_as_either(other),
        }
    }

    fn receive_as_either(&mut self, head: Head) -> Result<Incoming<'static>, CloseReason> {
        match head {
            Head::Ping { id } => self.pong_due = Some(id),
            Head::Pong { id } if id == self.ping_id => self.ping_sent = None,
            Head::Pong { .. } => {}
            Head::Goodbye => {
                self.ending.heard = true;
                return Ok(Incoming::Goodbye);
            }
            // It says that the peer has heard our goodbye, so both must have been said.
            Head::Farewell if self.ending.heard && self.ending.said.is_some() => {
                self.ending.farewell_heard = true;
            }
            Head::Farewell => return Err(CloseReason::Malformed("a farewell before the goodbyes")),
            Head::Abort { code } => return Err(CloseReason::by_peer(code)),
            _ => return Err(CloseReason::Malformed("a head that this side never gets")),
        }
        Ok(Incoming::Nothing)
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

    /// When [`handle_timeout`](Session::handle_timeout) has to be called.
    pub fn deadline(&self, writing: &Writing) -> Instant {
        if self.phase != Phase::Open {
            return self.started + self.limits.handshake_timeout;
        }
        let stalled = self.stall_deadline(writing);
        let unfinished = self
            .partial_since
            .map(|since| since + self.limits.frame_timeout);
        let farewell = self.farewell_deadline(writing);
        let ping =
            (self.role == Role::Client && self.ping_sent.is_none()).then(|| self.ping_due(writing));
        [stalled, unfinished, farewell, ping]
            .into_iter()
            .flatten()
            .fold(self.silence_deadline(), Instant::min)
    }

    /// Does what is due by now: pings, or gives up.
    ///
    /// # Errors
    /// Why the connection has to be closed.
    pub fn handle_timeout(
        &mut self,
        outbox: &mut Outbox,
        writing: &Writing,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let limits = &self.limits;
        if self.phase != Phase::Open {
            if now >= self.started + limits.handshake_timeout {
                return Err(CloseReason::HandshakeTimeout(limits.handshake_timeout));
            }
            return Ok(());
        }
        if self.farewell_deadline(writing).is_some_and(|at| now >= at) {
            return Err(self.at_end(CloseReason::PeerGone));
        }
        if self.stall_deadline(writing).is_some_and(|at| now >= at) {
            return Err(CloseReason::NotReading(limits.stall_timeout));
        }
        if let Some(since) = self.partial_since {
            if now >= since + limits.frame_timeout {
                return Err(CloseReason::FrameStalled(limits.frame_timeout));
            }
        }
        if now >= self.silence_deadline() {
            return Err(CloseReason::Silent(limits.silence_timeout));
        }
        if self.role == Role::Client && self.ping_sent.is_none() && now >= self.ping_due(writing) {
            self.ping_id += 1;
            self.ping_sent = Some(now);
            control(outbox, Head::Ping { id: self.ping_id }, &());
        }
        Ok(())
    }

    /// A server does not listen to a client that has much to read. So a client that is sent something
    /// is itself the slow one, and goes on reading. A server grants nobody that much: whoever only
    /// speaks would hold the memory of what waits for it as long as it likes.
    fn stall_deadline(&self, writing: &Writing) -> Option<Instant> {
        let since = writing.blocked_since?;
        let since = match self.role {
            Role::Client => since.max(self.last_heard),
            Role::Server => since,
        };
        Some(since + self.limits.stall_timeout)
    }

    fn silence_deadline(&self) -> Instant {
        self.last_heard + self.limits.silence_timeout
    }

    /// A client pings when either direction has been quiet: its own so that the server hears of
    /// it, the other so that it hears of the server.
    fn ping_due(&self, writing: &Writing) -> Instant {
        let patience = self
            .theirs
            .as_ref()
            .map_or(Duration::MAX, Hello::silence_timeout);
        let interval = self.limits.ping_interval.min(patience / 3);
        self.last_heard.min(writing.last) + interval
    }

    /// The peer has that long once it could have read the goodbye; while it still takes what was
    /// written before, the stall timeout is for it.
    fn farewell_deadline(&self, writing: &Writing) -> Option<Instant> {
        let said = self.ending.said.filter(|_| self.ending.heard)?;
        let all_written = writing.blocked_since.is_none();
        all_written.then(|| said.max(self.last_heard).max(writing.last) + FAREWELL_TIMEOUT)
    }
}

/// The head of a first frame. What can't be read there was never a wayside peer.
fn greeting(payload: &[u8]) -> Result<(Head, &[u8]), CloseReason> {
    envelope::decode_head(payload).map_err(|_| CloseReason::NotWayside)
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
