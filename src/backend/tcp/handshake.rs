//! The proof of the key: bytes in, bytes out. No I/O, no clock, no randomness of its own.
//!
//! ```text
//! client                                                           server
//!   magic (8), client nonce (32)                          ------->
//!                 <-------  server nonce (32), HMAC(key, server | address | both nonces) (32)
//!   HMAC(key, client | address | both nonces) (32)        ------->
//! ```
//!
//! The client may send what follows right behind its proof; the server sends only once the proof
//! was right. The server gives nothing back at the end: a client whose key is wrong has seen so
//! from the server's proof.
//!
//! Why it holds:
//! - Nothing derived from the key is said before the other side's nonce is known, and each proof
//!   covers both nonces, fresh for each connection: an old recording proves nothing.
//! - The two proofs begin with different words: neither can be sent back as the other.
//! - The server speaks its proof to anybody, the client only to a server that has proven itself. A
//!   stranger gets one HMAC of values that it can't choose alone, over a key too long to guess.
//! - The address that is part of the proof is the server's, as each side's own system reports it.
//!   Whoever sits on another port and passes the messages on to the real server is found out.
//!
//! Invariants: `wanted` never reaches beyond the current message, so that a caller who reads no more
//! than that leaves what follows the handshake in the socket. After a refusal nothing more is sent.

use std::net::SocketAddr;
use std::sync::Arc;

use super::key::Key;

/// Names the protocol and its version, and tells a stray HTTP client or port scan at once.
const MAGIC: [u8; 8] = *b"WAYTCP\x01\n";

/// The length of a nonce: too long to meet the same one twice.
pub(super) const NONCE_LEN: usize = 32;
const PROOF_LEN: usize = 32;

const HELLO_LEN: usize = MAGIC.len() + NONCE_LEN;
const ANSWER_LEN: usize = NONCE_LEN + PROOF_LEN;

const SERVER: &[u8] = b"wayside tcp server\0";
const CLIENT: &[u8] = b"wayside tcp client\0";

/// Why the other side was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not speak this protocol.
    Stranger,
    /// It speaks another version of it.
    Version(u8),
    /// Its proof is wrong.
    Proof,
}

/// What is awaited from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The server waits for magic and nonce.
    Hello,
    /// The client waits for nonce and proof.
    Answer,
    /// The server waits for the proof.
    Proof,
    /// Nothing: all is proven.
    Done,
    /// Nothing: the other side was refused.
    Refused(Refusal),
}

/// One side of the handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    key: Arc<Key>,
    address: [u8; 18],
    /// Ours until the other's is known.
    nonce: [u8; NONCE_LEN],
    /// Once both are known: the client's, then the server's.
    nonces: [u8; 2 * NONCE_LEN],
    step: Step,
    /// The current message as far as it has come; never longer than its length.
    inbox: Vec<u8>,
    /// What waits to be sent.
    outbox: Vec<u8>,
}

impl Handshake {
    /// The side that connected. `server` is the address that it reached.
    pub(super) fn client(key: Arc<Key>, server: SocketAddr, nonce: [u8; NONCE_LEN]) -> Self {
        let mut handshake = Self::new(key, server, nonce, Step::Answer);
        handshake.outbox.extend_from_slice(&MAGIC);
        handshake.outbox.extend_from_slice(&nonce);
        handshake
    }

    /// The side that accepted. `server` is the address at which it did.
    pub(super) fn server(key: Arc<Key>, server: SocketAddr, nonce: [u8; NONCE_LEN]) -> Self {
        Self::new(key, server, nonce, Step::Hello)
    }

    fn new(key: Arc<Key>, server: SocketAddr, nonce: [u8; NONCE_LEN], step: Step) -> Self {
        Self {
            key,
            address: encode(server),
            nonce,
            nonces: [0; 2 * NONCE_LEN],
            step,
            inbox: Vec::with_capacity(ANSWER_LEN),
            outbox: Vec::with_capacity(ANSWER_LEN),
        }
    }

    /// The key that is to be proven.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// All is proven and said.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done && self.outbox.is_empty()
    }

    /// What to send next.
    pub(super) fn outgoing(&self) -> &[u8] {
        &self.outbox
    }

    /// So many bytes of [`outgoing`](Self::outgoing) have been sent.
    pub(super) fn sent(&mut self, len: usize) {
        self.outbox.drain(..len);
    }

    /// How many bytes of the current message are missing. What follows it is not ours to read.
    pub(super) fn wanted(&self) -> usize {
        let message_len = match self.step {
            Step::Hello => HELLO_LEN,
            Step::Answer => ANSWER_LEN,
            Step::Proof => PROOF_LEN,
            Step::Done | Step::Refused(_) => 0,
        };
        message_len - self.inbox.len()
    }

    /// Takes bytes from the other side, at most [`wanted`](Self::wanted), and says how many.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let taken = bytes.len().min(self.wanted());
        self.inbox.extend_from_slice(&bytes[..taken]);
        match self.advance() {
            Ok(()) => Ok(taken),
            Err(refusal) => {
                self.outbox.clear();
                self.step = Step::Refused(refusal);
                self.inbox.clear();
                Err(refusal)
            }
        }
    }

    fn advance(&mut self) -> Result<(), Refusal> {
        if self.step == Step::Hello {
            self.check_magic()?;
        }
        if let Step::Refused(refusal) = self.step {
            return Err(refusal);
        }
        if self.wanted() > 0 || self.step == Step::Done {
            return Ok(());
        }
        let inbox = std::mem::take(&mut self.inbox);
        match self.step {
            Step::Hello => {
                self.join(&inbox[MAGIC.len()..], &self.nonce.clone());
                self.outbox.extend_from_slice(&self.nonce);
                self.outbox
                    .extend_from_slice(&self.proof(SERVER).finalize());
                self.step = Step::Proof;
            }
            Step::Answer => {
                let (nonce, proof) = inbox.split_at(NONCE_LEN);
                self.join(&self.nonce.clone(), nonce);
                self.check(SERVER, proof)?;
                self.outbox
                    .extend_from_slice(&self.proof(CLIENT).finalize());
                self.step = Step::Done;
            }
            Step::Proof => {
                self.check(CLIENT, &inbox)?;
                self.step = Step::Done;
            }
            Step::Done | Step::Refused(_) => {}
        }
        Ok(())
    }

    /// Compares as much of the magic as has come: a stranger need not send a whole hello.
    fn check_magic(&self) -> Result<(), Refusal> {
        const VERSION: usize = 6;
        for (index, (&got, expected)) in self.inbox.iter().zip(MAGIC).enumerate() {
            if got != expected {
                return Err(match index {
                    VERSION => Refusal::Version(got),
                    _ => Refusal::Stranger,
                });
            }
        }
        Ok(())
    }

    fn join(&mut self, client: &[u8], server: &[u8]) {
        self.nonces[..NONCE_LEN].copy_from_slice(client);
        self.nonces[NONCE_LEN..].copy_from_slice(server);
    }

    /// The parts have fixed lengths, so that no two different messages are the same bytes.
    fn proof(&self, speaker: &[u8]) -> hmac_sha256::HMAC {
        let mut hmac = hmac_sha256::HMAC::new(self.key.bytes);
        hmac.update(speaker);
        hmac.update(self.address);
        hmac.update(self.nonces);
        hmac
    }

    /// Compares in constant time: how long it takes must not say how much was right.
    fn check(&self, speaker: &[u8], proof: &[u8]) -> Result<(), Refusal> {
        let proof = proof.try_into().map_err(|_| Refusal::Proof)?;
        match self.proof(speaker).finalize_verify(proof) {
            true => Ok(()),
            false => Err(Refusal::Proof),
        }
    }
}

/// The address as both sides see it: 16 bytes of IPv6, in which an IPv4 address is mapped, and the
/// port. A socket that takes both kinds reports an IPv4 peer as mapped, one that takes IPv4 only
/// does not; the interface's number behind a link-local address means something on one host only.
fn encode(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    const SERVER_NONCE: [u8; NONCE_LEN] = [0x55; NONCE_LEN];
    const CLIENT_NONCE: [u8; NONCE_LEN] = [0xcc; NONCE_LEN];

    fn key(byte: u8) -> Arc<Key> {
        Arc::new(Key {
            bytes: [byte; 32],
            path: PathBuf::new(),
        })
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn client() -> Handshake {
        Handshake::client(key(7), address("127.0.0.1:7471"), CLIENT_NONCE)
    }

    fn server() -> Handshake {
        Handshake::server(key(7), address("127.0.0.1:7471"), SERVER_NONCE)
    }

    /// Takes all that waits to be sent.
    fn take(from: &mut Handshake) -> Vec<u8> {
        let bytes = from.outgoing().to_vec();
        from.sent(bytes.len());
        bytes
    }

    /// Carries everything from one side to the other.
    fn carry(from: &mut Handshake, to: &mut Handshake) -> Result<(), Refusal> {
        let bytes = take(from);
        assert_eq!(to.receive(&bytes)?, bytes.len());
        Ok(())
    }

    /// All three messages, without checking how it ends.
    fn run(client: &mut Handshake, server: &mut Handshake) -> Result<(), Refusal> {
        carry(client, server)?;
        carry(server, client)?;
        carry(client, server)
    }

    #[test]
    fn both_sides_with_one_key_are_done_after_three_messages() {
        let (mut client, mut server) = (client(), server());
        run(&mut client, &mut server).unwrap();
        assert!(client.is_done() && server.is_done());
        assert_eq!((client.wanted(), server.wanted()), (0, 0));
    }

    /// The bytes as `docs/wire.md` shows them to those who write the other side.
    #[test]
    fn the_messages_are_those_of_the_page() {
        const PAGE: &str = include_str!("../../../docs/wire.md");
        let golden = |name: &str| -> Vec<u8> {
            let (_, block) = PAGE.split_once(&format!("```golden {name}\n")).unwrap();
            let (hex, _) = block.split_once("```").unwrap();
            let byte = |text| u8::from_str_radix(text, 16).unwrap();
            hex.split_whitespace().map(byte).collect()
        };
        let (mut client, mut server) = (client(), server());
        let hello = take(&mut client);
        assert_eq!(hello, golden("tcp-1"));
        server.receive(&hello).unwrap();
        let answer = take(&mut server);
        assert_eq!(answer, golden("tcp-2"));
        client.receive(&answer).unwrap();
        assert_eq!(take(&mut client), golden("tcp-3"));
    }

    /// The bytes as the diagram at the top of the file has them.
    #[test]
    fn the_messages_are_those_of_the_diagram() {
        let (mut client, mut server) = (client(), server());
        let hello = take(&mut client);
        assert_eq!(hello, [&MAGIC[..], &CLIENT_NONCE].concat());
        server.receive(&hello).unwrap();
        let answer = take(&mut server);
        let signed = |label: &[u8]| {
            let ip = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
            let port = [0x1d, 0x2f];
            let text = [label, &ip, &port, &CLIENT_NONCE, &SERVER_NONCE].concat();
            hmac_sha256::HMAC::mac(text, [7; 32])
        };
        let proof = signed(b"wayside tcp server\0");
        assert_eq!(answer, [&SERVER_NONCE[..], &proof].concat());
        client.receive(&answer).unwrap();
        assert_eq!(take(&mut client), signed(b"wayside tcp client\0"));
    }

    #[test]
    fn a_wrong_key_is_seen_by_the_client_and_it_says_nothing_more() {
        let mut client = client();
        let mut server = Handshake::server(key(8), address("127.0.0.1:7471"), SERVER_NONCE);
        carry(&mut client, &mut server).unwrap();
        assert_eq!(carry(&mut server, &mut client), Err(Refusal::Proof));
        assert!(client.outgoing().is_empty());
        assert!(!client.is_done());
        assert_eq!(client.receive(&[0; 64]), Err(Refusal::Proof));
    }

    #[test]
    fn a_client_without_the_key_is_refused() {
        let (mut client, mut server) = (client(), server());
        carry(&mut client, &mut server).unwrap();
        assert_eq!(server.receive(&[0; PROOF_LEN]), Err(Refusal::Proof));
        assert!(!server.is_done());
    }

    #[test]
    fn the_first_message_says_nothing_about_the_key() {
        let mut one = client();
        let mut other = Handshake::client(key(8), address("127.0.0.1:1"), CLIENT_NONCE);
        assert_eq!(take(&mut one), take(&mut other));
        // And the server says nothing at all before it has heard the client's nonce.
        let mut server = server();
        assert!(server.outgoing().is_empty());
        server
            .receive(&take(&mut client())[..HELLO_LEN - 1])
            .unwrap();
        assert!(server.outgoing().is_empty());
    }

    #[test]
    fn messages_sent_back_are_refused() {
        // The client's hello, as a connection that met itself would see it.
        let mut one = client();
        let hello = take(&mut one);
        let reflected = [&hello[..], &hello[..24]].concat();
        assert_eq!(one.receive(&reflected), Err(Refusal::Proof));
        // The server's proof, sent back as the client's.
        let (mut client, mut server) = (client(), server());
        carry(&mut client, &mut server).unwrap();
        let answer = take(&mut server);
        assert_eq!(server.receive(&answer[NONCE_LEN..]), Err(Refusal::Proof));
    }

    #[test]
    fn a_proof_of_another_connection_is_refused() {
        let (mut client, mut server) = (client(), server());
        carry(&mut client, &mut server).unwrap();
        let recorded_answer = take(&mut server);
        let mut later = Handshake::client(key(7), address("127.0.0.1:7471"), [1; NONCE_LEN]);
        assert_eq!(later.receive(&recorded_answer), Err(Refusal::Proof));

        client.receive(&recorded_answer).unwrap();
        let recorded_proof = take(&mut client);
        let mut later = Handshake::server(key(7), address("127.0.0.1:7471"), [2; NONCE_LEN]);
        later
            .receive(&[&MAGIC[..], &CLIENT_NONCE].concat())
            .unwrap();
        assert_eq!(later.receive(&recorded_proof), Err(Refusal::Proof));
    }

    #[test]
    fn messages_passed_on_to_another_address_are_refused() {
        for other in ["127.0.0.1:7472", "127.0.0.2:7471", "[::1]:7471"] {
            let mut client = Handshake::client(key(7), address(other), CLIENT_NONCE);
            let mut server = server();
            carry(&mut client, &mut server).unwrap();
            assert_eq!(
                carry(&mut server, &mut client),
                Err(Refusal::Proof),
                "{other}"
            );
        }
    }

    #[test]
    fn a_mapped_address_is_the_same_address() {
        let mapped = address("[::ffff:127.0.0.1]:7471");
        let mut server = Handshake::server(key(7), mapped, SERVER_NONCE);
        run(&mut client(), &mut server).unwrap();
        assert!(server.is_done());
    }

    #[test]
    fn a_stranger_is_refused_at_its_first_wrong_byte() {
        assert_eq!(server().receive(b"G"), Err(Refusal::Stranger));
        assert_eq!(server().receive(b"WAYTCP\x02"), Err(Refusal::Version(2)));
        let mut server = server();
        server.receive(b"WAYTCP").unwrap();
        assert_eq!(server.receive(b"\x01\r"), Err(Refusal::Stranger));
    }

    proptest! {
        /// Cut anywhere, with other bytes behind each message: nothing is lost, nothing taken that
        /// belongs to what follows.
        #[test]
        fn any_chunking_works(cuts in prop::collection::vec(1_usize..50, 1..40)) {
            let (mut client, mut server) = (client(), server());
            let mut cuts = cuts.iter().cycle();
            for round in 0..3 {
                let (from, to) = match round {
                    1 => (&mut server, &mut client),
                    _ => (&mut client, &mut server),
                };
                let mut left = from.outgoing().len();
                prop_assert_eq!(left, to.wanted());
                while left > 0 {
                    let cut = (*cuts.next().unwrap()).min(left);
                    let mut bytes = from.outgoing()[..cut].to_vec();
                    if cut == left {
                        bytes.extend_from_slice(b"what follows");
                    }
                    from.sent(cut);
                    prop_assert_eq!(to.receive(&bytes), Ok(cut));
                    left -= cut;
                }
            }
            prop_assert!(client.is_done() && server.is_done());
            prop_assert_eq!(server.receive(b"what follows"), Ok(0));
        }

        /// One flipped bit anywhere in the exchange, and the two don't both get through.
        #[test]
        fn a_flipped_bit_is_refused(position in 0..(HELLO_LEN + ANSWER_LEN + PROOF_LEN), bit in 0_u32..8) {
            let (mut client, mut server) = (client(), server());
            let mut seen = 0;
            let mut result = Ok(());
            for round in 0..3 {
                let (from, to) = match round {
                    1 => (&mut server, &mut client),
                    _ => (&mut client, &mut server),
                };
                let mut bytes = take(from);
                if let Some(byte) = position.checked_sub(seen).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 1_u8 << bit;
                }
                seen += bytes.len();
                result = to.receive(&bytes).map(drop);
                if result.is_err() {
                    break;
                }
            }
            prop_assert!(result.is_err());
            prop_assert!(!server.is_done());
        }

        /// Hostile bytes neither panic nor get through.
        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            for mut side in [client(), server()] {
                let prefix: &[u8] = if magic { &MAGIC } else { &[] };
                let bytes = [prefix, &noise].concat();
                let mut rest = &bytes[..];
                while let Ok(taken @ 1..) = side.receive(rest) {
                    rest = &rest[taken..];
                }
                prop_assert!(!side.is_done());
            }
        }
    }
}
