//! A deployment moves its clients from transport to transport, one process at a time and under
//! load: the server listens on all, and the settings of each client name one.
#![cfg(feature = "settings")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says how far it came"
)]

mod support;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use support::role::{Casting, Role, passed, role, tell, told};
use support::*;
use wayside::{Client, Handler, Peer, Responder, Server, Settings};

const CLIENTS: usize = 3;

/// How many events are sent before it is asked whether they were handled.
const BATCH: u64 = 64;

/// A client process: one after the other takes the place of the first.
struct Run {
    role: Role,
    /// The upper half of the number of each of its events.
    id: u64,
}

impl Run {
    fn start(place: &Place, settings: &str, id: u64) -> Self {
        let role = Casting::new("client", place, &place.transport)
            .pass("SETTINGS", settings)
            .pass("ID", id.to_string())
            .start();
        role.expect("connected");
        Self { role, id }
    }

    /// Waits until so many of its batches were handled.
    fn work(&self, batches: u32) {
        for _ in 0..batches {
            self.role.expect("handled");
        }
    }

    /// Ends it in an orderly way; how many events it had sent, which all were handled.
    fn finish(mut self) -> u64 {
        self.role.say("stop");
        loop {
            let line = self.role.hear();
            if let Some(count) = line.strip_prefix("closed ") {
                let count = count.parse().unwrap();
                self.role.finish();
                return count;
            }
        }
    }

    /// Kills it; how many events it knew to be handled.
    fn kill(mut self) -> u64 {
        self.role.kill();
        let lines = self.role.last_words();
        let mut counts = lines
            .iter()
            .filter_map(|line| line.strip_prefix("handled "));
        counts.next_back().map_or(0, |count| count.parse().unwrap())
    }
}

/// What must have been handled of one run.
enum Expected {
    Exactly(u64),
    AtLeast(u64),
}

#[test]
fn clients_move_through_all_transports_under_load_and_nothing_acknowledged_is_lost_or_doubled() {
    let _watchdog = Watchdog::new();
    let all = places();
    let schemes: Vec<&str> = all
        .iter()
        .map(|place| place.transport.backend().capabilities().scheme)
        .collect();
    if schemes.len() < 2 {
        eprintln!("skipped: this build has one transport only");
        return;
    }
    let place = &all[0];
    let record = place.folder.path().join("record");
    File::create(&record).unwrap();
    let settings = |transport: &str| {
        format!(
            "transport = [{transport}]\nname = 'roll-{}'\ndir = '{}'\n",
            std::process::id(),
            place.folder.path().display()
        )
    };
    let listen: Vec<String> = schemes
        .iter()
        .map(|scheme| match *scheme {
            "tcp" => "'tcp:127.0.0.1:0'".to_owned(),
            scheme => format!("'{scheme}'"),
        })
        .collect();
    let server = Casting::new("server", place, &place.transport)
        .pass("SETTINGS", settings(&listen.join(", ")))
        .pass("RECORD", &record)
        .start();
    let bound = server.expect("bound");
    let endpoints: Vec<&str> = bound.split('\n').flat_map(|line| line.split(' ')).collect();
    assert_eq!(endpoints.len(), schemes.len(), "{bound}");
    eprintln!("{bound}");

    let mut id = 0;
    let mut start = |endpoint: &str| {
        id += 1;
        Run::start(place, &settings(&format!("'{endpoint}'")), id)
    };
    let mut expected: HashMap<u64, Expected> = HashMap::new();
    let mut runs: Vec<Run> = (0..CLIENTS).map(|_| start(endpoints[0])).collect();
    for (step, endpoint) in endpoints[1..].iter().chain([&endpoints[0]]).enumerate() {
        for slot in 0..CLIENTS {
            for run in &runs {
                run.work(2);
            }
            let old = runs.remove(0);
            let old_id = old.id;
            // Every other one is killed in the middle of its work.
            let known = if (step + slot) % 2 == 0 {
                Expected::Exactly(old.finish())
            } else {
                Expected::AtLeast(old.kill())
            };
            expected.insert(old_id, known);
            runs.push(start(endpoint));
        }
    }
    for run in runs {
        run.work(2);
        expected.insert(run.id, Expected::Exactly(run.finish()));
    }
    server.finish();

    let mut bytes = Vec::new();
    File::open(&record)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let mut handled: HashMap<u64, Vec<u64>> = HashMap::new();
    for number in bytes.chunks_exact(8) {
        let number = u64::from_le_bytes(number.try_into().unwrap());
        let of_run = handled.entry(number >> 32).or_default();
        of_run.push(number & 0xffff_ffff);
    }
    assert_eq!(handled.len(), expected.len());
    let mut total = 0;
    for (id, expected) in expected {
        let numbers = &handled[&id];
        let count = u64::try_from(numbers.len()).unwrap();
        total += count;
        // Each once, in order, without a gap.
        assert!(numbers.iter().copied().eq(0..count), "run {id}");
        match expected {
            Expected::Exactly(sent) => assert_eq!(count, sent, "run {id}"),
            Expected::AtLeast(known) => {
                assert!(count >= known, "run {id}: {count} of {known}");
                assert!(known > 0, "run {id} was killed before its work");
            }
        }
    }
    eprintln!("{total} events over {schemes:?}");
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("server") => serve(),
        Some("client") => be_client(),
        Some(other) => panic!("no role `{other}`"),
    }
}

fn settings() -> Settings {
    Settings::from_text(&passed("SETTINGS"), "wayside.toml").unwrap()
}

/// Writes down the numbers of events as they come.
struct Keeper(File);

impl Handler<Chat> for Keeper {
    fn event(&mut self, _: &Peer<Chat>, event: Note) {
        self.0.write_all(&event.number.to_le_bytes()).unwrap();
    }

    fn request(&mut self, _: &Peer<Chat>, _: Ask, responder: Responder<Chat>) {
        drop(responder);
    }
}

fn serve() {
    let record = File::options().append(true).open(passed("RECORD")).unwrap();
    let server = Server::<Chat>::builder()
        .settings(&settings())
        .unwrap()
        .bind(Keeper(record))
        .unwrap()
        .spawn()
        .unwrap();
    let endpoints: Vec<String> = server.endpoints().iter().map(ToString::to_string).collect();
    tell(format!("bound {}", endpoints.join(" ")));
    told().for_each(drop);
    let orderly = server.shutdown(PATIENCE);
    // Those that were killed are forgotten by now, where their end shows.
    let ends_show = places().iter().all(Place::shows_ends);
    assert!(
        orderly
            || !ends_show
            || under_wine(
                "keeps the socket of a killed process open while a poll of it is pending"
            )
    );
}

fn be_client() {
    let id: u64 = passed("ID").parse().unwrap();
    let client = Client::<Chat>::builder()
        .settings(&settings())
        .unwrap()
        .connect(PATIENCE)
        .unwrap();
    tell("connected");
    let over = AtomicBool::new(false);
    let mut count = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            told().next();
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            for _ in 0..BATCH {
                send_surely(&client, &note(id << 32 | count));
                count += 1;
            }
            client.flush(PATIENCE).unwrap();
            tell(format!("handled {count}"));
        }
        // What is on its way when it closes is waited for.
        send_surely(&client, &note(id << 32 | count));
        count += 1;
    });
    client.close(PATIENCE).unwrap();
    tell(format!("closed {count}"));
}
