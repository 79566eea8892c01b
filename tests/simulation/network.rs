//! A transport in memory that keeps the contract of a backend and no more than that: bytes are
//! late, come in pieces, get no room; connections break, fall silent, are refused.
//!
//! Readiness is an edge, given only when the contract promises one. So a server or client that
//! relies on an edge that it will not get stands still, and the test sees it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use wayside::PeerId;
use wayside::backend::{Backend, Capabilities, Link, Listener};

use crate::random::Random;

/// The two ends of a connection, as indices.
pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

#[derive(Clone)]
pub struct Network(Arc<Mutex<Net>>);

/// How the network of one run behaves while it is in working order.
#[derive(Debug, Clone)]
pub struct Character {
    /// Microseconds.
    pub delay: RangeInclusive<u64>,
    /// What a direction holds, in bytes.
    pub capacity: RangeInclusive<u64>,
    /// How often a read or write is cut short, in percent.
    pub chunky: u64,
    /// How often a write finds no room although there is some, in percent.
    pub moody: u64,
    /// What a read that gives less than there was room for promises: see
    /// [`Capabilities::short_recv_is_last`]. No read is cut short then.
    pub short_recv_is_last: bool,
}

pub struct Net {
    random: Random,
    character: Character,
    now: Duration,
    listener: Option<Bound>,
    connections: BTreeMap<u32, Connection>,
    next: u32,
    /// Nobody can connect.
    pub refusing: bool,
    /// The server has no descriptors left.
    pub starving: bool,
    /// How often somebody who connects is turned away by the backend, in percent.
    pub picky: u64,
    /// Connections that broke, fell silent or lost their process: for the record of a run.
    pub broken: u64,
}

struct Bound {
    id: u32,
    token: Option<Token>,
    waiting: VecDeque<u32>,
    edge: bool,
    blocked: bool,
}

struct Connection {
    owner: u32,
    ends: [End; 2],
    /// What each end has sent.
    flows: [Flow; 2],
    /// Nothing arrives any more, and nobody is told.
    silent: bool,
    /// As the network's character says.
    short_recv_is_last: bool,
}

#[derive(Default)]
struct End {
    token: Option<Token>,
    edge: bool,
    /// The edge for bytes that have come. Nobody is told any more once somebody has read them.
    bytes_edge: bool,
    recv_blocked: bool,
    send_blocked: bool,
    /// Registered for reading alone: room makes no edge.
    deaf_to_room: bool,
    dropped: bool,
    /// Reads what has arrived, then fails; sends nothing more.
    reset: bool,
    /// Fails at once, in both directions: its process is dead.
    killed: bool,
    ready_at: Duration,
    edge_at: Option<Duration>,
}

struct Flow {
    in_flight: VecDeque<(Duration, Vec<u8>)>,
    arrived: VecDeque<u8>,
    len: usize,
    capacity: usize,
    last_at: Duration,
    end_at: Option<Duration>,
    end_told: bool,
}

impl Network {
    pub fn new(seed: u64, character: Character) -> Self {
        Self(Arc::new(Mutex::new(Net {
            random: Random::new(seed),
            character,
            now: Duration::ZERO,
            listener: None,
            connections: BTreeMap::new(),
            next: 1,
            refusing: false,
            starving: false,
            picky: 0,
            broken: 0,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }

    /// The backend as this client's process has it; the server is client 0.
    pub fn backend(&self, owner: u32) -> impl Backend {
        Seen {
            net: self.clone(),
            owner,
        }
    }
}

impl Net {
    /// Lets time pass: what is due arrives.
    pub fn advance(&mut self, now: Duration) {
        self.now = now;
        for connection in self.connections.values_mut() {
            connection.tick(now);
        }
    }

    /// When something arrives next.
    pub fn next_at(&self) -> Option<Duration> {
        self.connections
            .values()
            .filter_map(Connection::next_at)
            .min()
    }

    /// Who is ready at the server, each said once, and whether its end has come.
    pub fn server_edges(&mut self) -> Vec<(Token, bool)> {
        let mut tokens = Vec::new();
        if let Some(bound) = &mut self.listener {
            if std::mem::take(&mut bound.edge) {
                tokens.extend(bound.token.map(|token| (token, false)));
            }
        }
        for connection in self.connections.values_mut() {
            let has_ended = connection.has_ended_for(SERVER);
            let end = &mut connection.ends[SERVER];
            if end.token.is_some() && end.take_edge() {
                tokens.extend(end.token.map(|token| (token, has_ended)));
            }
        }
        tokens
    }

    pub fn server_has_edge(&self) -> bool {
        self.listener.as_ref().is_some_and(|bound| bound.edge)
            || self.connections.values().any(|connection| {
                connection.ends[SERVER].has_edge() && connection.ends[SERVER].token.is_some()
            })
    }

    pub fn client_has_edge(&self, owner: u32) -> bool {
        self.connections.values().any(|connection| {
            let end = &connection.ends[CLIENT];
            connection.owner == owner && end.has_edge() && end.token.is_some()
        })
    }

    /// Whether its end has come with it.
    pub fn take_client_edge(&mut self, owner: u32) -> bool {
        let mut has_ended = false;
        for connection in self.connections.values_mut() {
            if connection.owner == owner {
                let ended = connection.has_ended_for(CLIENT);
                let end = &mut connection.ends[CLIENT];
                has_ended |= end.take_edge() && end.token.is_some() && ended;
            }
        }
        has_ended
    }

    /// Breaks one connection: what was on its way is lost, and both sides are told.
    pub fn cut(&mut self) -> bool {
        let Some(id) = self.any_connection() else {
            return false;
        };
        let forgets = self.random.chance(50);
        let connection = self.connections.get_mut(&id).unwrap();
        for flow in &mut connection.flows {
            flow.lose(forgets);
        }
        for end in &mut connection.ends {
            end.reset = true;
            end.edge = true;
        }
        self.broken += 1;
        true
    }

    /// Breaks one connection without telling anybody.
    pub fn silence(&mut self) -> bool {
        let Some(id) = self.any_connection() else {
            return false;
        };
        let connection = self.connections.get_mut(&id).unwrap();
        connection.silent = true;
        for flow in &mut connection.flows {
            // It still counts as being on its way: nobody makes room for more.
            flow.in_flight.clear();
        }
        self.broken += 1;
        true
    }

    /// A process dies: what it had sent still arrives, then its end shows.
    pub fn kill(&mut self, side: usize, owner: Option<u32>) {
        let now = self.now;
        for connection in self.connections.values_mut() {
            if owner.is_none_or(|owner| owner == connection.owner) {
                connection.ends[side].killed = true;
                connection.end_flow(side, now);
                self.broken += 1;
            }
        }
        if side == SERVER {
            self.unbind();
        }
    }

    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Whether the server's process still holds any end.
    pub fn is_held_by_server(&self) -> bool {
        let mut ends = self.connections.values().map(|c| &c.ends[SERVER]);
        ends.any(|end| !end.dropped)
    }

    fn any_connection(&mut self) -> Option<u32> {
        let ids: Vec<u32> = self.connections.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.random.index(ids.len())])
    }

    fn unbind(&mut self) {
        let now = self.now;
        if let Some(bound) = self.listener.take() {
            for id in bound.waiting {
                let connection = self.connections.get_mut(&id).unwrap();
                connection.ends[SERVER].dropped = true;
                connection.end_flow(SERVER, now);
                if connection.ends[CLIENT].dropped {
                    self.connections.remove(&id);
                }
            }
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.random.within(self.character.delay.clone()))
    }

    fn connect(&mut self, owner: u32) -> io::Result<u32> {
        let refused = Err(io::Error::from(ErrorKind::ConnectionRefused));
        if self.refusing && self.random.chance(50) {
            return refused;
        }
        let ready_at = self.now + self.delay();
        let capacity = self.character.capacity.clone();
        let mut flow = || Flow {
            in_flight: VecDeque::new(),
            arrived: VecDeque::new(),
            len: 0,
            capacity: usize::try_from(self.random.within(capacity.clone())).unwrap(),
            last_at: Duration::ZERO,
            end_at: None,
            end_told: false,
        };
        let flows = [flow(), flow()];
        let end = || End {
            ready_at,
            ..End::default()
        };
        let mut connection = Connection {
            owner,
            ends: [end(), end()],
            flows,
            silent: false,
            short_recv_is_last: self.character.short_recv_is_last,
        };
        let id = self.next;
        self.next += 1;
        match &mut self.listener {
            Some(bound) if !self.refusing => {
                bound.waiting.push_back(id);
                if std::mem::take(&mut bound.blocked) {
                    bound.edge = true;
                }
            }
            Some(_) => {
                // It fails later, by what is read or written.
                connection.ends[CLIENT].reset = true;
                connection.ends[SERVER].dropped = true;
            }
            None => return refused,
        }
        self.connections.insert(id, connection);
        Ok(id)
    }

    fn accept(&mut self) -> io::Result<u32> {
        if self.starving {
            return Err(io::Error::other("out of descriptors"));
        }
        let Some(bound) = &mut self.listener else {
            return Err(io::Error::other("this listener's process is dead"));
        };
        let Some(id) = bound.waiting.pop_front() else {
            bound.blocked = true;
            return Err(ErrorKind::WouldBlock.into());
        };
        if self.random.chance(self.picky) {
            self.drop_end(id, SERVER);
            let kinds = [
                ErrorKind::PermissionDenied,
                ErrorKind::ConnectionAborted,
                ErrorKind::ConnectionReset,
                ErrorKind::Interrupted,
            ];
            return Err(self.random.pick(&kinds).into());
        }
        Ok(id)
    }

    fn recv(&mut self, id: u32, side: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let short_is_last = self.character.short_recv_is_last;
        let chunky = self.random.chance(self.character.chunky) && !short_is_last;
        let tells_late = self.random.chance(20);
        let connection = self.connections.get_mut(&id).unwrap();
        connection.tick(self.now);
        let Connection { ends, flows, .. } = connection;
        let flow = &mut flows[1 - side];
        if ends[side].killed {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.now >= ends[side].ready_at {
            if !flow.arrived.is_empty() {
                let mut len = buffer.len().min(flow.arrived.len());
                if chunky {
                    len = 1 + self.random.index(len);
                }
                flow.arrived
                    .read_exact(&mut buffer[..len])
                    .expect("so much has arrived");
                flow.len -= len;
                ends[side].bytes_edge &= !flow.arrived.is_empty() || tells_late;
                ends[side].recv_blocked |= short_is_last && len < buffer.len();
                ends[1 - side].find_room();
                return Ok(len);
            }
            if ends[side].reset {
                return Err(ErrorKind::ConnectionReset.into());
            }
            if flow.in_flight.is_empty() && flow.end_at.is_some_and(|at| self.now >= at) {
                return Ok(0);
            }
        }
        ends[side].recv_blocked = true;
        Err(ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, id: u32, side: usize, bytes: &[u8]) -> io::Result<usize> {
        let delay = self.delay();
        let chunky = self.random.chance(self.character.chunky);
        let moody = self.random.chance(self.character.moody);
        let now = self.now;
        let connection = self.connections.get_mut(&id).unwrap();
        let silent = connection.silent;
        let gone = connection.ends[1 - side].dropped || connection.ends[1 - side].killed;
        let Connection { ends, flows, .. } = connection;
        let end = &mut ends[side];
        let flow = &mut flows[side];
        if end.killed || end.reset || (gone && !silent) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = flow.capacity.saturating_sub(flow.len);
        if now < end.ready_at || room == 0 || moody {
            end.send_blocked = true;
            if moody && room > 0 {
                end.edge_at = Some(now + delay);
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut len = bytes.len().min(room);
        if chunky {
            len = 1 + self.random.index(len);
        }
        flow.len += len;
        end.send_blocked = false;
        if !silent {
            let at = flow.last_at.max(now + delay);
            flow.last_at = at;
            flow.in_flight.push_back((at, bytes[..len].to_vec()));
        }
        Ok(len)
    }

    fn drop_end(&mut self, id: u32, side: usize) {
        let now = self.now;
        let abrupt = self.random.chance(50);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.ends[side].dropped = true;
        connection.ends[side].token = None;
        if connection.ends[1 - side].dropped {
            self.connections.remove(&id);
            return;
        }
        if connection.silent || connection.ends[side].killed {
            return;
        }
        if connection.flows[1 - side].len > 0 && abrupt {
            // Bytes were left unread: the last of what this end has said may be lost.
            connection.flows[side].lose(false);
            connection.ends[1 - side].reset = true;
            connection.ends[1 - side].edge = true;
        }
        connection.end_flow(side, now);
    }
}

impl End {
    fn has_edge(&self) -> bool {
        self.edge || self.bytes_edge
    }

    fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.edge) | std::mem::take(&mut self.bytes_edge)
    }

    fn find_room(&mut self) {
        if self.send_blocked && !self.deaf_to_room {
            self.send_blocked = false;
            self.edge = true;
        }
    }
}

impl Flow {
    fn lose(&mut self, arrived_too: bool) {
        self.in_flight.clear();
        if arrived_too {
            self.arrived.clear();
        }
    }
}

impl Connection {
    fn end_flow(&mut self, side: usize, now: Duration) {
        let flow = &mut self.flows[side];
        flow.end_at.get_or_insert(flow.last_at.max(now));
        // The other end's writes fail from now on.
        self.ends[1 - side].edge |= self.ends[1 - side].send_blocked;
        self.tick(now);
    }

    /// Whether nothing more will come to this side than what has.
    fn has_ended_for(&self, side: usize) -> bool {
        self.ends[side].reset || self.flows[1 - side].end_told
    }

    fn tick(&mut self, now: Duration) {
        for side in [CLIENT, SERVER] {
            let Self {
                ends,
                flows,
                silent,
                short_recv_is_last,
                ..
            } = self;
            let end = &mut ends[side];
            let flow = &mut flows[1 - side];
            if end.edge_at.is_some_and(|at| now >= at) {
                end.edge_at = None;
                end.find_room();
            }
            if now < end.ready_at {
                continue;
            }
            if std::mem::take(&mut end.ready_at) > Duration::ZERO {
                end.send_blocked = false;
                end.edge = true;
            }
            let mut bytes = false;
            while flow.in_flight.front().is_some_and(|(at, _)| now >= *at) {
                let (_, piece) = flow.in_flight.pop_front().unwrap();
                flow.arrived.extend(piece);
                bytes = true;
            }
            let mut ended = false;
            if !*silent && !flow.end_told && flow.end_at.is_some_and(|at| now >= at) {
                flow.end_told = true;
                ended = true;
                // Nobody has to read as far as a `WouldBlock` to be told of the end.
                end.edge |= *short_recv_is_last;
            }
            // Without a `WouldBlock` before it there is no edge.
            if (bytes || ended) && std::mem::take(&mut end.recv_blocked) {
                end.edge |= ended;
                end.bytes_edge |= bytes;
            }
        }
    }

    fn next_at(&self) -> Option<Duration> {
        let ends = self.ends.iter().flat_map(|end| {
            let ready = (end.ready_at > Duration::ZERO).then_some(end.ready_at);
            ready.into_iter().chain(end.edge_at)
        });
        let flows = [CLIENT, SERVER].into_iter().filter_map(|side| {
            let flow = &self.flows[side];
            let end = flow.end_at.filter(|_| !flow.end_told && !self.silent);
            let first = flow.in_flight.front().map(|(at, _)| *at);
            let at = first.into_iter().chain(end).min()?;
            Some(at.max(self.ends[1 - side].ready_at))
        });
        ends.chain(flows).min()
    }
}

struct Seen {
    net: Network,
    owner: u32,
}

impl Backend for Seen {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::stream("simulated");
        capabilities.short_recv_is_last = self.net.lock().character.short_recv_is_last;
        capabilities
    }

    fn bind(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        let mut net = self.net.lock();
        if net.listener.is_some() {
            return Err(ErrorKind::AddrInUse.into());
        }
        let id = net.next;
        net.next += 1;
        net.listener = Some(Bound {
            id,
            token: None,
            waiting: VecDeque::new(),
            edge: false,
            blocked: false,
        });
        Ok(Box::new(SimulatedListener {
            net: self.net.clone(),
            id,
        }))
    }

    fn connect(&self, _: &str) -> io::Result<Box<dyn Link>> {
        let id = self.net.lock().connect(self.owner)?;
        Ok(Box::new(SimulatedLink {
            net: self.net.clone(),
            id,
            side: CLIENT,
        }))
    }
}

struct SimulatedListener {
    net: Network,
    id: u32,
}

impl Listener for SimulatedListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let id = self.net.lock().accept()?;
        Ok(Box::new(SimulatedLink {
            net: self.net.clone(),
            id,
            side: SERVER,
        }))
    }

    fn address(&self) -> String {
        "somewhere".to_owned()
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let mut net = self.net.lock();
        if net
            .listener
            .as_ref()
            .is_some_and(|bound| bound.id == self.id)
        {
            net.unbind();
        }
    }
}

impl Source for SimulatedListener {
    fn register(&mut self, _: &Registry, token: Token, _: Interest) -> io::Result<()> {
        let mut net = self.net.lock();
        let bound = net.listener.as_mut().expect("it is bound");
        bound.token = Some(token);
        bound.edge = !bound.waiting.is_empty();
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        unreachable!("nobody registers twice")
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        if let Some(bound) = &mut self.net.lock().listener {
            bound.token = None;
        }
        Ok(())
    }
}

struct SimulatedLink {
    net: Network,
    id: u32,
    side: usize,
}

impl Link for SimulatedLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.net.lock().recv(self.id, self.side, buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.net.lock().send(self.id, self.side, bytes)
    }

    fn peer(&self) -> PeerId {
        PeerId::default()
    }
}

impl Drop for SimulatedLink {
    fn drop(&mut self) {
        self.net.lock().drop_end(self.id, self.side);
    }
}

impl Source for SimulatedLink {
    fn register(&mut self, _: &Registry, token: Token, _: Interest) -> io::Result<()> {
        let mut net = self.net.lock();
        let now = net.now;
        let connection = net.connections.get_mut(&self.id).unwrap();
        connection.tick(now);
        let end = &mut connection.ends[self.side];
        end.token = Some(token);
        // What was there before the registration counts as news.
        end.edge = true;
        Ok(())
    }

    fn reregister(&mut self, _: &Registry, _: Token, interest: Interest) -> io::Result<()> {
        let mut net = self.net.lock();
        let connection = net.connections.get_mut(&self.id).unwrap();
        let flow = &connection.flows[self.side];
        let room = flow.len < flow.capacity;
        let end = &mut connection.ends[self.side];
        end.deaf_to_room = !interest.is_writable();
        // Room that is there by now counts as news, unless it is said to come later.
        if room && end.edge_at.is_none() {
            end.find_room();
        }
        Ok(())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        let mut net = self.net.lock();
        if let Some(connection) = net.connections.get_mut(&self.id) {
            connection.ends[self.side].token = None;
        }
        Ok(())
    }
}
