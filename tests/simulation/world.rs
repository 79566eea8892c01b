//! One run: everything that happens follows from the seed.
//!
//! ```text
//!   trouble   clients come, speak and go; connections break, the server restarts
//!   repair    nothing breaks any more; everything has to come to rest
//!   farewell  the clients close, the server shuts down: every message has one fate
//! ```

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;
use wayside::internals::simulated;
use wayside::{EmbeddedServer, Limits, Server, ServerCounters, ServerHandle, Transport};

use crate::book::{Clerk, Numbered, Shared, Talk};
use crate::network::{CLIENT, Character, Network, SERVER};
use crate::person::{Person, Woken};
use crate::random::Random;

pub struct World {
    random: Random,
    network: Network,
    book: Shared,
    poll: mio::Poll,
    start: Instant,
    now: Duration,
    server: Option<Running>,
    server_limits: Limits,
    /// When a server that is away comes back.
    server_back_at: Duration,
    people: Vec<Person>,
    next_id: u32,
    client_limits: Limits,
    trace: Trace,
    /// Turns since time has last moved on.
    turns: u32,
    troubled: bool,
    temper: Temper,
    /// How often somebody looks without being told, in percent of the turns.
    looks: u64,
    /// For so many steps the server looks for what follows on its last turn.
    awake: u32,
    /// How often looks of clients, and of servers, have found something.
    found: [u64; 2],
    /// Its clients are sent more than they can read at once, in the end.
    floods: bool,
}

/// What the applications of one run mostly do, in parts of a whole.
struct Temper {
    sends: usize,
    bursts: usize,
    calls: usize,
    flushes: usize,
    pushes: usize,
    /// Its sides spin: in percent of the turns somebody looks for what nobody has told of.
    looks: u64,
}

impl Temper {
    fn new(random: &mut Random) -> Self {
        Self {
            sends: random.pick(&[0, 10, 40]),
            bursts: random.pick(&[0, 1, 8]),
            calls: random.pick(&[0, 10, 40]),
            flushes: random.pick(&[1, 8, 30]),
            pushes: random.pick(&[1, 10, 40]),
            looks: random.pick(&[0, 20, 60]),
        }
    }
}

struct Running {
    embedded: EmbeddedServer<Talk, Clerk>,
    handle: ServerHandle<Talk>,
    woken: Arc<Woken>,
    sleeps_until: Option<Duration>,
    stopping: bool,
}

/// What happened: the last of it in words, all of it as a hash.
#[derive(Default)]
struct Trace {
    hash: u64,
    last: VecDeque<(Duration, &'static str, u64)>,
    count: u64,
}

/// The words that a failed run prints.
const TRACE_LEN: usize = 60;

impl Trace {
    fn add(&mut self, now: Duration, what: &'static str, about: u64) {
        let nanos = u64::try_from(now.as_nanos()).unwrap();
        for number in [
            nanos,
            about,
            u64::from(what.as_bytes()[0]),
            u64::try_from(what.len()).unwrap(),
        ] {
            // FNV-1a, by words.
            self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01B3);
        }
        self.count += 1;
        if self.last.len() == TRACE_LEN {
            self.last.pop_front();
        }
        self.last.push_back((now, what, about));
    }
}

/// What a run leaves to compare and to count.
#[derive(Debug, PartialEq, Eq, Default, Clone, Copy)]
pub struct Outcome {
    pub hash: u64,
    pub steps: u64,
    pub delivered: u64,
    pub broken: u64,
    pub calls: u64,
    pub in_doubt: u64,
    /// What those have found who look by themselves: clients, servers.
    pub found: [u64; 2],
}

impl Outcome {
    /// The sums of both; hashes have none.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.delivered += other.delivered;
        self.broken += other.broken;
        self.calls += other.calls;
        self.in_doubt += other.in_doubt;
        for (sum, found) in self.found.iter_mut().zip(other.found) {
            *sum += found;
        }
    }
}

/// In good health nothing takes longer; a ping may.
const PROMPT: Duration = Duration::from_secs(20);

/// How long a server looks before it sleeps, if it does.
const AWAKE_STEPS: u32 = 10;

/// More turns than this without time moving on is a loop that never ends.
const TURNS_MAX: u32 = 300_000;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let start = Instant::now();
        simulated::set_now(Some(start));
        simulated::set_seed(Some(seed));
        let character = Character {
            delay: 0..=random.pick(&[0, 50, 1_000, 30_000]),
            capacity: {
                let most = random.pick(&[60, 200, 3_000, 200_000]);
                random.pick(&[most, 40])..=most
            },
            chunky: random.pick(&[0, 20, 80]),
            moody: random.pick(&[0, 0, 20]),
            short_recv_is_last: random.chance(50),
        };
        let temper = Temper::new(&mut random);
        let floods = random.chance(5);
        // The slowest network is still in good health for a client: it keeps its bounds. (A ping
        // waits for the frame that was begun before it.)
        let ping_interval = Duration::from_secs(random.pick(&[2, 5, 30]));
        let client_limits = Limits {
            ping_interval,
            silence_timeout: ping_interval * 3,
            frame_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(5),
            ..limits(&mut random)
        };
        let server_limits = limits(&mut random);
        Self {
            network: Network::new(random.next(), character),
            random,
            book: Shared::default(),
            poll: mio::Poll::new().unwrap(),
            start,
            now: Duration::ZERO,
            server: None,
            server_limits,
            server_back_at: Duration::ZERO,
            people: Vec::new(),
            next_id: 1,
            client_limits,
            trace: Trace::default(),
            turns: 0,
            troubled: true,
            looks: temper.looks,
            awake: 0,
            found: [0; 2],
            temper,
            floods,
        }
    }

    pub fn run(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for _ in 0..self.random.within(1..=4) {
            self.join();
        }
        let most = self.random.pick(&[100, 200, 500]);
        let steps = self.random.within(50..=most);
        for _ in 0..steps {
            self.step();
        }
        self.repair();
        self.farewell(&mut outcome);
        outcome.hash = self.trace.hash;
        outcome.steps = self.trace.count;
        outcome.found = self.found;
        outcome.broken = self.network.lock().broken;
        outcome
    }

    /// The last words of the trace.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for (at, what, about) in &self.trace.last {
            writeln!(story, "  {at:>12.3?}  {what} {about}").unwrap();
        }
        story
    }

    // ---- the schedule ----

    fn step(&mut self) {
        match self.random.index(100) {
            0..=54 => self.somebody_takes_a_turn(),
            55..=91 => self.somebody_speaks(),
            92..=95 if self.troubled => self.something_breaks(),
            _ => {
                let time = self.random.micros(300);
                self.pass(time);
            }
        }
        self.check();
    }

    /// Whoever has something to do may be the next; with nobody, time moves on to when somebody
    /// has. Before that, somebody may look who has nothing to do.
    fn somebody_takes_a_turn(&mut self) {
        let server_is_awake = self.awake > 0;
        self.awake = self.awake.saturating_sub(1);
        if server_is_awake && self.server_looks() {
            return;
        }
        if self.random.chance(self.looks) && self.somebody_looks() {
            return;
        }
        let server_due = self.server_due();
        let due: Vec<usize> = (0..self.people.len())
            .filter(|&index| self.people[index].is_due(&self.network))
            .collect();
        // It hears of nothing else as long as it is awake, which is not for long.
        let server_due = server_due && (!server_is_awake || due.is_empty());
        let count = due.len() + usize::from(server_due);
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "nothing comes to rest");
        if count == 0 {
            self.pass_until_due();
            return;
        }
        let chosen = self.random.index(count);
        if let Some(&index) = due.get(chosen) {
            self.trace
                .add(self.now, "turn of client", u64::from(self.people[index].id));
            self.people[index].turn(&self.network);
        } else {
            self.trace.add(self.now, "turn of the server", 0);
            self.server_turn();
        }
    }

    /// As those who spin: for what has come and was not told. True if that led to a turn.
    fn somebody_looks(&mut self) -> bool {
        if self.people.is_empty() || self.random.chance(20) {
            return self.server_looks();
        }
        let index = self.random.index(self.people.len());
        let person = &mut self.people[index];
        let found = person.look();
        if found {
            self.found[CLIENT] += 1;
            self.trace
                .add(self.now, "found by client", u64::from(person.id));
        }
        found
    }

    fn server_looks(&mut self) -> bool {
        let server = self.server.as_mut();
        let found = server.is_some_and(|server| server.embedded.look());
        if found {
            self.found[SERVER] += 1;
            self.trace.add(self.now, "found by the server", 0);
            self.server_turn_without_poll();
        }
        found
    }

    fn pass_until_due(&mut self) {
        let sleeps = self.people.iter().filter_map(|person| person.sleeps_until);
        let server = match &self.server {
            Some(server) => server.sleeps_until,
            None => Some(self.server_back_at),
        };
        let next = sleeps
            .chain(server)
            .chain(self.network.lock().next_at())
            .min();
        // Not all at once: the application has something to say in between.
        let most = self.now + Duration::from_micros(self.random.pick(&[500, 20_000, 2_000_000]));
        let next = next.map_or(most, |at| at.min(most));
        self.set_now(next.max(self.now));
        self.come_back();
    }

    fn pass(&mut self, time: Duration) {
        self.set_now(self.now + time);
        self.come_back();
    }

    fn set_now(&mut self, now: Duration) {
        if now > self.now {
            self.turns = 0;
        }
        self.now = now;
        simulated::set_now(Some(self.start + now));
        self.network.lock().advance(now);
        for person in &mut self.people {
            person.set_now(now);
        }
    }

    // ---- the server ----

    fn server_due(&self) -> bool {
        self.server.as_ref().is_some_and(|server| {
            server.woken.is_set()
                || server.sleeps_until.is_some_and(|at| self.now >= at)
                || self.network.lock().server_has_edge()
        })
    }

    fn server_turn(&mut self) {
        let Some(server) = &mut self.server else {
            return;
        };
        let tokens = self.network.lock().server_edges();
        for (token, ended) in tokens {
            server.embedded.handle_token(token, ended);
        }
        self.server_turn_without_poll();
    }

    fn server_turn_without_poll(&mut self) {
        let Some(server) = &mut self.server else {
            return;
        };
        if self.random.chance(self.looks) {
            self.awake = AWAKE_STEPS;
        }
        server.woken.take();
        server.embedded.turn();
        server.sleeps_until = server.embedded.timeout().map(|time| self.now + time);
        let holdings = server.embedded.holdings();
        let peers_max = usize::try_from(self.server_limits.peers_max).unwrap();
        assert!(holdings.slots <= peers_max, "{holdings:?}");
        assert!(holdings.greeting <= holdings.peers, "{holdings:?}");
        assert!(
            holdings.partials_len <= self.server_limits.partial_len_max,
            "{holdings:?}"
        );
        if server.embedded.is_stopped() {
            let left = (holdings.peers, holdings.greeting, holdings.partials_len);
            assert_eq!(left, (0, 0, 0), "{holdings:?}");
            self.trace.add(self.now, "the server has stopped", 0);
            self.remove_server();
        }
    }

    fn come_back(&mut self) {
        if self.server.is_some() || self.now < self.server_back_at {
            return;
        }
        if self.troubled {
            self.server_limits = limits(&mut self.random);
        }
        let incarnation = {
            let mut book = self.book.lock();
            book.incarnation += 1;
            book.peers.clear();
            book.incarnation
        };
        let woken = Arc::new(Woken::default());
        let wake = Arc::clone(&woken);
        let embedded = Server::<Talk>::builder()
            .listen(Transport::new(self.network.backend(0), "somewhere"))
            .limits(self.server_limits.clone())
            .embed(
                Clerk {
                    shared: self.book.clone(),
                    incarnation,
                },
                self.poll.registry(),
                Token(100),
                move || wake.set(),
            )
            .unwrap();
        self.trace.add(self.now, "a server comes", incarnation);
        self.server = Some(Running {
            handle: embedded.handle(),
            embedded,
            woken,
            sleeps_until: Some(self.now),
            stopping: false,
        });
    }

    fn remove_server(&mut self) {
        let held = std::mem::take(&mut self.book.lock().held);
        self.book.lock().incarnation += 1;
        self.server = None;
        // Those who would answer find out that nobody waits.
        drop(held);
        self.server_back_at = self.now + self.random.micros(2_000_000);
    }

    // ---- what the applications do ----

    fn join(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        self.trace.add(self.now, "enter client", u64::from(id));
        let person = Person::new(
            id,
            &self.network,
            self.poll.registry(),
            self.client_limits.clone(),
            self.book.clone(),
            self.now,
        );
        self.people.push(person);
    }

    fn somebody_speaks(&mut self) {
        let Temper {
            sends,
            bursts,
            calls,
            flushes,
            pushes,
            ..
        } = self.temper;
        let random = &mut self.random;
        let mut what = random.index(sends + bursts + calls + flushes + pushes + 12);
        let mut is = |share: usize| {
            let chosen = what < share;
            what = what.wrapping_sub(share);
            chosen
        };
        if is(pushes) {
            self.server_speaks();
            return;
        }
        if self.people.is_empty() {
            self.join();
            return;
        }
        let index = random.index(self.people.len());
        let person = &mut self.people[index];
        self.trace
            .add(self.now, "speaks, client", u64::from(person.id));
        if is(sends) {
            let len = usize::try_from(random.pick(&[0, 1, 20, 300, 900, 2500])).unwrap();
            for _ in 0..random.within(1..=6) {
                person.send(random.chance(30), len);
            }
        } else if is(bursts) {
            let most = random.pick(&[150, 400, 1500]);
            let count = random.within(100..=most);
            if random.chance(50) {
                person.send_all(count, random.index(100));
            } else {
                for _ in 0..count {
                    person.send(random.chance(5), 0);
                }
            }
        } else if is(calls) {
            person.call(random);
        } else if is(flushes) {
            person.flush(random.micros(3_000_000));
        } else if is(3) {
            person.cancel(random);
        } else if is(6) {
            for _ in 0..random.within(1..=10) {
                person.take_push();
            }
        } else if is(1) {
            person.close(random.micros(8_000_000));
        } else if self.people.len() < 5 {
            self.join();
        }
        self.part_with_closed();
    }

    fn server_speaks(&mut self) {
        let Some(server) = &self.server else {
            return;
        };
        self.trace.add(self.now, "speaks, the server", 0);
        let random = &mut self.random;
        match random.index(10) {
            0..=2 => {
                let (urgent, len) = (random.chance(30), random.index(200));
                let push = self.book.lock().next_push(0, urgent, len);
                if urgent {
                    server.handle.broadcast_urgent(&push);
                } else {
                    server.handle.broadcast(&push);
                }
            }
            3..=8 => {
                // A late answer, from any thread.
                let held = {
                    let mut book = self.book.lock();
                    let count = book.held.len();
                    (count > 0).then(|| book.held.swap_remove(random.index(count)))
                };
                if let Some((call, responder)) = held {
                    if random.chance(80) {
                        self.book.lock().replied(&call);
                        let len = random.index(100);
                        let reply = Numbered::new(call.speaker, false, call.number, len);
                        responder.reply(&reply).ok();
                    }
                }
            }
            _ => {
                let peers = server.handle.peers();
                if !peers.is_empty() && random.chance(30) {
                    peers[random.index(peers.len())].close();
                }
            }
        }
    }

    fn part_with_closed(&mut self) {
        let mut index = 0;
        while index < self.people.len() {
            if self.people[index].embedded.is_closed() {
                let mut person = self.people.swap_remove(index);
                self.trace
                    .add(self.now, "exit client", u64::from(person.id));
                person.check_closed();
            } else {
                index += 1;
            }
        }
    }

    // ---- trouble ----

    fn something_breaks(&mut self) {
        let what = self.random.index(100);
        let mut net = self.network.lock();
        let (name, about) = match what {
            0..=34 => ("broken connection", u64::from(net.cut())),
            35..=44 => ("silent connection", u64::from(net.silence())),
            45..=54 => {
                net.refusing = !net.refusing;
                ("refusing", u64::from(net.refusing))
            }
            55..=62 => {
                net.starving = !net.starving;
                ("descriptors gone", u64::from(net.starving))
            }
            63..=68 => {
                net.picky = 30 - net.picky;
                ("picky", net.picky)
            }
            69..=76 => {
                drop(net);
                return self.kill_server();
            }
            77..=80 => {
                drop(net);
                return self.drop_server();
            }
            81..=90 => {
                drop(net);
                let timeout = self.random.micros(3_000_000);
                return self.stop_server(timeout);
            }
            _ => {
                drop(net);
                return self.lose_client();
            }
        };
        drop(net);
        self.trace.add(self.now, name, about);
    }

    /// The server's process dies.
    fn kill_server(&mut self) {
        if self.server.is_some() {
            self.trace.add(self.now, "the server is killed", 0);
            self.network.lock().kill(SERVER, None);
            self.book.lock().incarnation += 1;
            self.remove_server();
        }
    }

    /// The server's process goes on, but nobody drives the server any more. Handles stay.
    fn drop_server(&mut self) {
        let Some(server) = &self.server else {
            return;
        };
        self.trace.add(self.now, "the server is dropped", 0);
        let (handle, peers) = (server.handle.clone(), server.handle.peers());
        self.book.lock().incarnation += 1;
        let held = std::mem::take(&mut self.book.lock().held);
        self.server = None;
        self.server_back_at = self.now + self.random.micros(2_000_000);
        assert!(!self.network.lock().is_held_by_server());
        assert!(handle.peers().is_empty());
        drop((held, peers));
    }

    fn stop_server(&mut self, timeout: Duration) {
        if let Some(server) = &mut self.server {
            self.trace.add(self.now, "the server is told to stop", 0);
            server.embedded.begin_shutdown(timeout);
            server.stopping = true;
        }
    }

    /// A client's process dies, or its loop just ends.
    fn lose_client(&mut self) {
        if self.people.is_empty() {
            return;
        }
        let index = self.random.index(self.people.len());
        let mut person = self.people.swap_remove(index);
        if self.random.chance(50) {
            self.trace
                .add(self.now, "killed client", u64::from(person.id));
            self.network.lock().kill(CLIENT, Some(person.id));
        } else {
            self.trace
                .add(self.now, "dropped client", u64::from(person.id));
            person.close(Duration::ZERO);
            person.turn(&self.network);
            person.check_closed();
        }
    }

    // ---- what has to hold ----

    fn check(&mut self) {
        for person in &self.people {
            person.check();
        }
        self.part_with_closed();
        if let Some(what) = &self.book.lock().violation {
            let server = self.server.as_ref().map(|server| server.handle.counters());
            panic!("{what}\n{server:?}");
        }
    }

    /// Whoever is next, after those have answered who hold a responder.
    fn go_on(&mut self) {
        let held = std::mem::take(&mut self.book.lock().held);
        for (call, responder) in held {
            self.book.lock().replied(&call);
            let reply = Numbered::new(call.speaker, false, call.number, 10);
            responder.reply(&reply).ok();
        }
        self.somebody_takes_a_turn();
        self.check();
    }

    /// Lets everything take its course until it is so. Often nobody looks meanwhile: an edge that an
    /// earlier look has cost must not be made up for by the next one.
    fn until(&mut self, what: &str, within: Duration, is_so: impl Fn(&Self) -> bool) {
        self.looks = self.random.pick(&[0, self.temper.looks]);
        let deadline = self.now + within;
        while !is_so(self) {
            assert!(self.now < deadline, "not within {within:?}: {what}");
            self.go_on();
        }
    }

    fn repair(&mut self) {
        self.trace.add(self.now, "nothing breaks any more", 0);
        self.troubled = false;
        {
            let mut net = self.network.lock();
            (net.refusing, net.starving, net.picky) = (false, false, 0);
        }
        let frame_len_max = self.client_limits.frame_len_max;
        self.server_limits = Limits {
            frame_len_max,
            outbox_len_max: usize::try_from(frame_len_max).unwrap() * 20,
            silence_timeout: Duration::from_secs(if self.floods { 15 } else { 90 }),
            ..generous()
        };
        self.stop_server(Duration::from_secs(1));
        self.until("the old server goes", Duration::from_secs(3), |world| {
            world.server.as_ref().is_none_or(|server| !server.stopping)
        });
        self.close_some_while_away();
        self.starve_the_new_server();
        // Who is on a connection that has fallen silent takes three ping intervals to notice.
        let within = Duration::from_secs(150);
        self.until("all are connected", within, |world| {
            let mut people = world.people.iter();
            people.all(|person| person.is_connected() || person.closing_until.is_some())
        });
        let within = Duration::from_secs(300);
        self.until("all calls end", within, |world| {
            world.people.iter().all(|person| person.open_calls() == 0)
        });
        // A connection that has fallen silent may have looked alive until now.
        self.until("nobody is half gone", within, |world| {
            let connected = world
                .server
                .as_ref()
                .map_or(0, |server| server.handle.peers().len());
            let mut people = world.people.iter();
            connected == world.people.len()
                && people.all(|p| p.is_connected() || p.closing_until.is_some())
                && world.network.lock().connection_count() == connected
        });
        let broken = self.network.lock().broken;
        let deadline = self.now + within;
        for person in &mut self.people {
            person.flushed = 0;
        }
        let busy = |person: &Person| person.flushed == 0 && person.closing_until.is_none();
        while self.people.iter().any(busy) {
            assert!(self.now < deadline, "not all events are handled");
            for person in self.people.iter_mut().filter(|person| busy(person)) {
                // With a full outbox there is no room to ask; later there is.
                if person.open_calls() == 0 {
                    person.flush(Duration::from_secs(200));
                }
            }
            self.go_on();
        }
        assert_eq!(self.network.lock().broken, broken);
    }

    /// Those who have something to say when they close, and nobody to say it to just then, still
    /// say it.
    fn close_some_while_away(&mut self) {
        for person in &mut self.people {
            let away = person.is_away() && person.closing_until.is_none();
            // The slowest network takes its time for more.
            let away = away && person.queued() <= 4;
            if self.server.is_none() && away && self.random.chance(30) {
                self.trace
                    .add(self.now, "closes while away, client", u64::from(person.id));
                person.send(false, 3);
                person.close(PROMPT);
                person.must_close_well = true;
            }
        }
    }

    /// A server that can't accept at first does so as soon as it can, without being told.
    fn starve_the_new_server(&mut self) {
        if self.people.is_empty() || self.random.chance(70) {
            return;
        }
        self.trace.add(self.now, "starved", 0);
        self.network.lock().starving = true;
        let within = Duration::from_secs(10);
        self.until("it tries to accept", within, |world| {
            let server = world.server.as_ref();
            let tried = |server: &Running| server.handle.counters().accept_failures > 0;
            server.is_some_and(tried) || world.people.is_empty()
        });
        self.network.lock().starving = false;
    }

    /// Slow readers are waited for while they read: nobody is taken for dead.
    fn flood(&mut self) {
        let Some(server) = &self.server else {
            return;
        };
        let handle = server.handle.clone();
        self.trace.add(self.now, "flood", 0);
        let lost = |counters: &ServerCounters| {
            counters.closed.total() - counters.closed.for_reason("finished")
        };
        let before = lost(&handle.counters());
        for _ in 0..self.random.pick(&[30, 150, 300]) {
            let push = self.book.lock().next_push(0, false, 900);
            handle.broadcast(&push);
        }
        for person in &mut self.people {
            person.flush(Duration::from_secs(60));
            for _ in 0..self.random.pick(&[0, 1200]) {
                person.send(false, 0);
            }
        }
        let speaks_until = self.now + Duration::from_secs(40);
        while self.now < speaks_until {
            for person in &mut self.people {
                person.take_push();
            }
            self.go_on();
        }
        let counters = handle.counters();
        let clients = self.people.iter().map(|p| p.client.counters().closed);
        let clients: Vec<_> = clients.collect();
        assert_eq!(lost(&counters), before, "{counters:?} {clients:?}");
    }

    fn farewell(&mut self, outcome: &mut Outcome) {
        for account in self.book.lock().accounts.values() {
            outcome.calls += u64::try_from(account.calls.len()).unwrap();
            outcome.delivered += account.delivered;
        }
        for person in &self.people {
            outcome.in_doubt += person.client.counters().events_in_doubt;
        }
        let within = Duration::from_secs(100);
        self.until("they have closed", within, |world| {
            let mut people = world.people.iter();
            let peers = world
                .server
                .as_ref()
                .map(|server| server.handle.peers().len());
            !people.any(|person| person.closing_until.is_some())
                && peers == Some(world.people.len())
        });
        if self.floods {
            self.flood();
        }
        // A last push reaches everybody who is there.
        let within = Duration::from_secs(100);
        let deadline = self.now + within;
        loop {
            assert!(self.now < deadline, "there is no room for a last push");
            let push = self.book.lock().next_push(0, false, 7);
            let server = self.server.as_ref();
            if server.is_none_or(|server| server.handle.broadcast(&push).failed.is_empty()) {
                break;
            }
            self.go_on();
        }
        let last = self.book.lock().pushes[0];
        let mut waiting: Vec<u32> = self.people.iter().map(|p| p.id).collect();
        let deadline = self.now + within;
        while !waiting.is_empty() {
            assert!(
                self.now < deadline,
                "the last push does not reach {waiting:?}"
            );
            for person in &mut self.people {
                person.take_push();
            }
            let book = self.book.lock();
            waiting.retain(|id| book.accounts[id].pushed[0] < last);
            drop(book);
            self.go_on();
        }
        // Some close by themselves, also while they still have much to say.
        for index in 0..self.people.len() {
            if self.random.chance(60) && self.people[index].closing_until.is_none() {
                for _ in 0..self.random.within(0..=20) {
                    let len = self.random.index(200);
                    self.people[index].send(self.random.chance(30), len);
                }
                self.people[index].must_not_lose = true;
                for _ in 0..self.random.within(0..=3) {
                    self.people[index].call(&mut self.random);
                }
                self.people[index].close(PROMPT);
                self.people[index].must_close_well = true;
            }
        }
        self.until("they have closed", within, |world| {
            !world
                .people
                .iter()
                .any(|person| person.closing_until.is_some())
        });
        // The others are asked to by the server.
        let handle = self.server.as_ref().map(|server| server.handle.clone());
        let cut = |handle: &ServerHandle<Talk>| handle.counters().closed.for_reason("closed_here");
        let cut_before = handle.as_ref().map(cut);
        self.stop_server(Duration::from_secs(20));
        self.until("the server has shut down", within, |world| {
            world.server.as_ref().is_none_or(|server| !server.stopping)
        });
        assert_eq!(
            handle.as_ref().map(cut),
            cut_before,
            "nobody has to be cut off"
        );
        assert!(handle.is_none_or(|handle| handle.peers().is_empty()));
        for mut person in std::mem::take(&mut self.people) {
            person.close(Duration::ZERO);
            person.turn(&self.network);
            person.check_closed();
            drop(person);
        }
        self.check();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server = None;
        self.people.clear();
        simulated::set_now(None);
        simulated::set_seed(None);
    }
}

/// Bounds of all sizes: those that are never reached, and those that always are.
fn limits(random: &mut Random) -> Limits {
    let frame_len_max = random.pick(&[1024, 2048, 8192]);
    let frame = usize::try_from(frame_len_max).unwrap() + 4;
    let ping_interval = Duration::from_millis(random.pick(&[300, 5_000, 30_000]));
    Limits {
        frame_len_max,
        outbox_len_max: frame * random.pick(&[1, 3, 20]),
        partial_len_max: frame * random.pick(&[1, 100]),
        calls_max: random.pick(&[1, 4, 100]),
        peers_max: random.pick(&[2, 8, 100]),
        handshakes_max: random.pick(&[1, 4, 100]),
        pushes_max: random.pick(&[1, 8, 1000]),
        handshake_timeout: Duration::from_millis(random.pick(&[200, 5_000])),
        ping_interval,
        silence_timeout: ping_interval * 3,
        frame_timeout: Duration::from_millis(random.pick(&[500, 30_000])),
        stall_timeout: Duration::from_millis(random.pick(&[500, 15_000])),
        ..Limits::default()
    }
}

/// Bounds that nobody reaches who is in good health.
fn generous() -> Limits {
    Limits {
        peers_max: 100,
        ..Limits::default()
    }
}
