//! The bodies of the fuzz targets `frame`, `envelope` and `session`, which also run as tests over the
//! kept corpus: whatever the bytes, no panic, and what is claimed of them holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ambient;
use crate::close::CloseReason;
use crate::envelope::{self, Head};
use crate::frame::HEADER_LEN;
use crate::hello::Hello;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::outbox::{Lane, Outbox};
use crate::session::{Incoming, Role, Session, Writing};

/// The limit that the targets run with.
const FRAME_LEN_MAX: u32 = 4096;

/// Splits `data[1..]` into frames, in chunks that follow from `data[0]`, and compares with what
/// the description of the format says.
///
/// # Panics
/// Something else came out.
pub fn fuzz_frame(data: &[u8]) {
    let Some((&chunks, stream)) = data.split_first() else {
        return;
    };
    let mut expected = Vec::new();
    let mut rest = stream;
    let sound = loop {
        let Some((header, behind)) = rest.split_first_chunk::<HEADER_LEN>() else {
            break true;
        };
        let announced = u32::from_le_bytes(*header);
        if announced == 0 || announced > FRAME_LEN_MAX {
            break false;
        }
        let Some((payload, behind)) = usize::try_from(announced)
            .ok()
            .and_then(|len| behind.split_at_checked(len))
        else {
            break true;
        };
        expected.push(payload);
        rest = behind;
    };
    let mut got = Vec::new();
    let result = feed(stream, chunks, |inbox| {
        while let Some(payload) = inbox.next_payload(FRAME_LEN_MAX)? {
            got.push(payload.to_vec());
        }
        Ok(())
    });
    assert_eq!(got, expected);
    match result {
        Ok(left) => assert!(sound && left == rest.len()),
        Err(reason) => assert!(!sound, "{reason}"),
    }
}

/// Passes a stream through an inbox as a loop does, and gives the bytes that are left at the end.
fn feed(
    mut stream: &[u8],
    chunks: u8,
    mut look: impl FnMut(&mut Inbox) -> Result<(), CloseReason>,
) -> Result<usize, CloseReason> {
    let (mut inbox, mut lent) = (Inbox::default(), Vec::new());
    let chunk = usize::from(chunks % 64) * 7 + 1;
    while !stream.is_empty() {
        inbox.lend(&mut lent);
        let room = inbox.room();
        let len = chunk.min(room.len()).min(stream.len());
        room[..len].copy_from_slice(&stream[..len]);
        inbox.filled(len);
        stream = &stream[len..];
        let looked = look(&mut inbox);
        if chunks < 128 || looked.is_err() {
            inbox.give_back(&mut lent);
        } else {
            // The buffer stays lent for another read.
            let mut none = Vec::new();
            inbox.give_back(&mut none);
        }
        looked?;
    }
    Ok(inbox.partial_len())
}

/// A body with something of everything.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    small: i16,
    text: String,
    list: Vec<Vec<u32>>,
    empty: Vec<()>,
    map: BTreeMap<String, Option<bool>>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u128),
    Tuple(char, f32),
    Nested { inner: Option<Box<Kind>> },
}

/// A type that contains itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

/// Reads `data` as a payload, and as the body of several types. What decodes is encoded again, and
/// decodes to the same; it may be shorter, as a number can be written longer than it need be.
///
/// # Panics
/// One of these does not hold.
pub fn fuzz_envelope(data: &[u8]) {
    if let Ok((head, body)) = envelope::decode_head(data) {
        let mut bytes = Vec::new();
        envelope::encode(&mut bytes, &head, &(), u32::MAX).expect("a head can be encoded");
        assert!(bytes.len() <= data.len() - body.len());
        let again = envelope::decode_head(&bytes).expect("what was encoded decodes");
        assert_eq!(again, (head, &[][..]));
    }
    check_body::<Sample>(data);
    check_body::<Tree>(data);
    check_body::<Vec<()>>(data);
    check_body::<Vec<Option<Box<Kind>>>>(data);
    if let Ok(hello) = Hello::parse(data) {
        assert!(hello.agree(&hello).is_ok());
    }
}

fn check_body<T>(data: &[u8])
where
    T: Serialize + for<'de> Deserialize<'de> + std::fmt::Debug,
{
    let Ok(value) = envelope::decode_body::<T>(data) else {
        return;
    };
    let mut bytes = Vec::new();
    envelope::encode(&mut bytes, &Head::Event, &value, u32::MAX).expect("what decoded encodes");
    let (_, body) = envelope::decode_head(&bytes).expect("the head is ours");
    assert!(body.len() <= data.len());
    let again: T = envelope::decode_body(body).expect("what was encoded decodes");
    // By text, in which NaN is NaN.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
}

/// Plays the peer of a session. `data[0]` says of which side, whether the hellos are over, and how
/// the rest of `data`, its bytes, come in. Whatever they are: no panic, answers that are frames
/// and few, and an end that says why.
///
/// # Panics
/// One of these does not hold.
pub fn fuzz_session(data: &[u8]) {
    let Some((&flags, stream)) = data.split_first() else {
        return;
    };
    let role = if flags & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let mut side = Side::new(role);
    if flags & 2 != 0 {
        side.say_hello();
    }
    // The rest of the flags, with both halves of the chunk's meaning within reach.
    let chunks = flags >> 2 | (flags & 4) << 5;
    let result = feed(stream, chunks, |inbox| side.turn(inbox));
    if let Err(reason) = result {
        assert!(!reason.to_string().is_empty());
        side.session.close(&reason, &mut side.outbox);
        side.write();
    }
}

/// A session and what its loop would hold.
struct Side {
    role: Role,
    session: Session,
    outbox: Outbox,
    now: Instant,
}

impl Side {
    fn new(role: Role) -> Self {
        let limits = Limits {
            frame_len_max: FRAME_LEN_MAX,
            ..Limits::default()
        };
        let now = ambient::now();
        let mut outbox = Outbox::new(limits.outbox_len_max);
        let hello = Hello::new("fuzz", 1, &limits, 1);
        let session = Session::new(role, hello, limits, &mut outbox, now);
        Self {
            role,
            session,
            outbox,
            now,
        }
    }

    /// The other side's first frame.
    fn say_hello(&mut self) {
        let limits = Limits::default();
        let head = match self.role {
            Role::Server => Head::Hello,
            Role::Client => Head::Welcome,
        };
        let mut payload = Vec::new();
        let hello = Hello::new("fuzz", 1, &limits, 2);
        envelope::encode(&mut payload, &head, &hello, FRAME_LEN_MAX).expect("it is short");
        let opened = self.session.receive(&payload);
        assert_eq!(opened.expect("it is in order"), Incoming::Opened);
        self.opened();
    }

    fn opened(&mut self) {
        assert!(self.session.is_open());
        self.outbox.open();
        if self.role == Role::Server {
            self.session.welcome(&mut self.outbox);
        }
    }

    fn turn(&mut self, inbox: &mut Inbox) -> Result<(), CloseReason> {
        while let Some(payload) = inbox.next_payload(self.session.frame_len_max())? {
            match self.session.receive(payload)? {
                Incoming::Opened => self.opened(),
                Incoming::Sync { id } => {
                    let ack = self.session.acknowledgement(id);
                    // A full outbox would close the peer.
                    self.outbox
                        .append(Lane::Bulk, |bytes| {
                            envelope::encode(bytes, &ack, &(), FRAME_LEN_MAX)
                        })
                        .ok();
                }
                Incoming::Goodbye => self.session.say_goodbye(&mut self.outbox, self.now),
                _ => {}
            }
        }
        self.now += Duration::from_millis(1);
        self.session.heard(inbox.partial_len(), self.now);
        for _ in 0..2 {
            self.session.answer(&mut self.outbox);
            self.write();
        }
        let writing = Writing {
            last: self.now,
            blocked_since: None,
        };
        assert!(self.session.deadline(&writing) > self.now);
        self.session
            .handle_timeout(&mut self.outbox, &writing, self.now)?;
        if self.session.is_over(&mut self.outbox) {
            return Err(self.session.at_end(CloseReason::PeerGone));
        }
        Ok(())
    }

    /// What leaves is made of frames that the other side can read.
    fn write(&mut self) {
        let mut bytes = Vec::new();
        while !self.outbox.is_drained() {
            let next = self.outbox.next_bytes();
            bytes.extend_from_slice(next);
            let len = next.len();
            self.outbox.written(len);
        }
        let mut rest = &bytes[..];
        while let Some((header, behind)) = rest.split_first_chunk::<HEADER_LEN>() {
            let len = usize::try_from(u32::from_le_bytes(*header)).expect("32 bits fit");
            let (payload, behind) = behind.split_at(len);
            envelope::decode_head(payload).expect("the head is ours");
            rest = behind;
        }
        assert!(rest.is_empty(), "a frame was cut off");
    }
}
