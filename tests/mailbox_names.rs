//! Mailboxes, fought over by real processes: one owner at a time, whatever is killed leaves nothing
//! that the next start does not remove, and what does not belong in a mailbox costs nobody
//! anything. For the transports whose peers meet at one.
#![cfg(any(
    all(unix, feature = "fifo"),
    all(target_os = "linux", feature = "mqueue")
))]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod places;
#[cfg(all(target_os = "linux", feature = "mqueue"))]
mod queues;
mod roles;

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use places::{Place, backend, each_place};
use roles::{NOBODY, Process, accept, as_nobody, greet, hear, receive, say, send, wait};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use wayside::backend::{Backend, EndOfPeer, Link, Listener};

#[test]
fn in_a_role() {
    let Some((role, arguments)) = roles::role() else {
        return;
    };
    let backend = &*backend(&arguments[0]);
    match role.as_str() {
        "owner" => owner(backend, &arguments[1]),
        "racer" => racer(backend),
        "masked owner" => masked(|| owner(backend, &arguments[1])),
        "masked client" => masked(|| client(backend, &arguments[1])),
        "client" => client(backend, &arguments[1]),
        "silent client" => silent_client(backend, &arguments[1]),
        "crowd" => crowd(backend, &arguments[1], arguments[2].parse().unwrap()),
        "full house" => full_house(backend, &arguments[1]),
        "foreign host" => foreign_host(backend, &arguments[1]),
        other => panic!("no such role: {other}"),
    }
}

/// Stock limit of open files on Linux.
const STOCK_DESCRIPTORS: u64 = 1024;

/// Stock limit of what the queues of a user take, in bytes.
#[cfg(target_os = "linux")]
const STOCK_QUEUES_LEN: u64 = 819_200;

fn limit_descriptors(count: u64) {
    limit(Resource::Nofile, count);
}

fn limit(resource: Resource, count: u64) {
    let maximum = getrlimit(resource).maximum;
    let current = Some(maximum.map_or(count, |maximum| maximum.min(count)));
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

/// Plays where nothing that is created has any mode of its own.
fn masked(role: impl FnOnce()) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
    role();
}

/// Binds, says so, and then answers each peer with a byte. Keeps all links.
fn owner(backend: &dyn Backend, address: &str) {
    limit_descriptors(STOCK_DESCRIPTORS);
    let mut listener = backend.bind(address).unwrap();
    say("bound");
    let mut links = Vec::new();
    loop {
        match accept(&mut *listener) {
            Ok(mut link) => {
                // It may have gone.
                drop(send(&mut *link, b"y"));
                links.push(link);
            }
            Err(error) => assert!(concerns_one_peer(&error), "{error}"),
        }
    }
}

/// Binds on command and lets go on command.
fn racer(backend: &dyn Backend) {
    say("ready");
    loop {
        match backend.bind(&hear()) {
            Ok(listener) => {
                say("bound");
                hear();
                drop(listener);
                say("gone");
            }
            Err(error) => say(&format!("{:?}", error.kind())),
        }
    }
}

/// Connects, says how that went, and then what it has received.
fn client(backend: &dyn Backend, address: &str) {
    match backend.connect(address) {
        Ok(mut link) => {
            say("connected");
            match receive(&mut *link, 1) {
                Ok(byte) => say(&format!("{:?} from {}", byte, link.peer())),
                Err(error) => say(&format!("{:?}: {error}", error.kind())),
            }
            hear();
        }
        Err(error) => say(&format!("{:?}: {error}", error.kind())),
    }
    hear();
}

/// Connects, and never looks what comes of it.
fn silent_client(backend: &dyn Backend, address: &str) {
    let _link = backend.connect(address).unwrap();
    say("connected");
    hear();
}

/// So many clients, all connected at the same time.
fn crowd(backend: &dyn Backend, address: &str, count: usize) {
    limit_descriptors(STOCK_DESCRIPTORS);
    #[cfg(target_os = "linux")]
    limit(Resource::Msgqueue, STOCK_QUEUES_LEN);
    let mut links = Vec::new();
    while links.len() < count {
        match backend.connect(address) {
            Ok(mut link) => {
                receive(&mut *link, 1).unwrap();
                links.push(link);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    say("all in");
    hear();
    // And each is still there.
    for link in &mut links {
        let nothing = link.recv(&mut [0]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(ErrorKind::WouldBlock));
        send(&mut **link, b"z").unwrap();
    }
    say("all alive");
    hear();
}

/// Accepts with no descriptor to spare, says what it is told, and accepts once it has some.
fn full_house(backend: &dyn Backend, address: &str) {
    let mut listener = backend.bind(address).unwrap();
    say("bound");
    hear();
    limit_descriptors(64);
    let mut all: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    // What is left is one too few.
    drop(all.pop());
    let error = loop {
        match listener.accept() {
            Ok(_) => panic!("accepted with no descriptor left"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break error,
        }
    };
    assert!(!concerns_one_peer(&error), "{error}");
    say(&error.to_string());
    let own = backend.connect(address).map(drop).unwrap_err();
    say(&own.to_string());
    limit_descriptors(STOCK_DESCRIPTORS);
    // Without an event: the one that waited still does.
    let mut link = listener.accept().unwrap();
    send(&mut *link, b"y").unwrap();
    say("accepted");
    hear();
}

/// A host program that is not Rust's and knows nothing of SIGPIPE.
#[expect(unsafe_code, reason = "dispositions have no safe form")]
fn foreign_host(backend: &dyn Backend, address: &str) {
    // SAFETY: sets what a process starts with; no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut link = backend.connect(address).unwrap();
    receive(&mut *link, 1).unwrap();
    say("connected");
    hear();
    for _ in 0..3 {
        let error = loop {
            match link.send(&[7; 1000]) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    say("alive");
    hear();
}

fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.pid().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// An owner at an address of the place.
fn start_owner(place: &Place, address: &str) -> Process {
    let mut owner = Process::start("owner", &[place.scheme, address]);
    assert_eq!(owner.says(), "bound");
    owner
}

/// Whoever listens there answers.
fn assert_answered(place: &Place, address: &str) {
    let mut link = place.backend().connect(address).unwrap();
    assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
}

/// A client of this process, and its link at the listener.
fn pair(
    place: &Place,
    listener: &mut dyn Listener,
    address: &str,
) -> (Box<dyn Link>, Box<dyn Link>) {
    let mut client = place.backend().connect(address).unwrap();
    let mut server = accept(listener).unwrap();
    for result in greet([&mut *client, &mut *server]) {
        result.unwrap();
    }
    (client, server)
}

#[test]
fn of_two_that_bind_at_once_exactly_one_wins() {
    each_place(|place| {
        let mut racers = [(); 2].map(|()| Process::start("racer", &[place.scheme]));
        for racer in &mut racers {
            assert_eq!(racer.says(), "ready");
        }
        for round in 0..200 {
            let address = place.address(round % 3);
            if round % 2 == 0 {
                place.leave_stale(&address);
            }
            for racer in &mut racers {
                racer.tell(&address);
            }
            let answers = [racers[0].says(), racers[1].says()];
            let winner = match [answers[0].as_str(), answers[1].as_str()] {
                ["bound", "AddrInUse"] => 0,
                ["AddrInUse", "bound"] => 1,
                other => panic!("round {round}: {other:?}"),
            };
            drop(place.backend().connect(&address).unwrap());
            racers[winner].tell("go");
            assert_eq!(racers[winner].says(), "gone");
        }
        assert_eq!(place.names(), [""; 0]);
    });
}

#[test]
fn the_name_of_a_killed_owner_is_taken_over() {
    each_place(|place| {
        let address = place.address(0);
        for _ in 0..5 {
            let mut owner = start_owner(place, &address);
            assert_answered(place, &address);
            owner.kill();
            let refused = place
                .backend()
                .connect(&address)
                .and_then(|mut link| wait(&mut *link, |link| link.recv(&mut [0])).map(drop));
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::ConnectionRefused));
            assert!(!place.names().is_empty(), "a killed process can't tidy up");
            let mut listener = place.backend().bind(&address).unwrap();
            pair(place, &mut *listener, &address);
            drop(listener);
            assert_eq!(place.names(), [""; 0]);
        }
    });
}

#[test]
fn a_live_owner_is_never_displaced_even_when_it_is_stopped() {
    each_place(|place| {
        let address = place.address(0);
        let owner = start_owner(place, &address);
        for stopped in [false, true] {
            if stopped {
                signal(&owner, Signal::STOP);
            }
            for _ in 0..20 {
                let error = place.backend().bind(&address).map(drop).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AddrInUse);
            }
        }
        signal(&owner, Signal::CONT);
        assert_answered(place, &address);
    });
}

#[test]
fn names_are_closed_to_others_and_gone_once_both_ends_are_open() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let listening = place.names();
        let mut client = place.backend().connect(&address).unwrap();
        assert!(place.names().len() > listening.len());
        for mode in place.modes() {
            assert_eq!(mode & 0o077, 0, "open to others: {mode:o}");
        }
        let mut server = accept(&mut *listener).unwrap();
        for result in greet([&mut *client, &mut *server]) {
            result.unwrap();
        }
        assert_eq!(place.names(), listening);
        drop((client, server));
    });
}

#[test]
fn clients_killed_on_their_way_leave_nothing_behind_the_next_start() {
    each_place(|place| {
        let address = place.address(0);
        let mut owner = start_owner(place, &address);
        let listening = place.names();
        signal(&owner, Signal::STOP);
        let mut clients = [(); 3].map(|()| Process::start("client", &[place.scheme, &address]));
        for client in &mut clients {
            assert_eq!(client.says(), "connected");
            client.kill();
        }
        assert!(place.names().len() > listening.len(), "they left nothing");
        owner.kill();
        let mut listener = place.backend().bind(&address).unwrap();
        assert_eq!(place.names(), listening);
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn the_owner_clears_away_what_killed_clients_have_left() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let listening = place.names();
        let mut client = Process::start("client", &[place.scheme, &address]);
        assert_eq!(client.says(), "connected");
        client.kill();
        let error = accept(&mut *listener).map(drop).unwrap_err();
        assert!(concerns_one_peer(&error), "{error}");
        assert_eq!(place.names(), listening);
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn of_a_client_killed_before_it_has_read_its_welcome_no_name_stays() {
    each_place(|place| {
        let tells = place.backend().capabilities().end_of_peer == EndOfPeer::AtOnce;
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let listening = place.names();
        for sees_the_end in [true, false] {
            let mut client = Process::start("silent client", &[place.scheme, &address]);
            assert_eq!(client.says(), "connected");
            let mut server = accept(&mut *listener).unwrap();
            client.kill();
            // As a session that notices, or one that gives up.
            if sees_the_end && tells {
                let end = wait(&mut *server, |link| link.recv(&mut [0]));
                assert!(matches!(end, Ok(0)), "{end:?}");
            } else {
                drop(server);
            }
            assert_eq!(place.names(), listening);
        }
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn names_are_closed_to_others_and_open_to_us_whatever_the_umask() {
    each_place(|place| {
        let address = place.address(0);
        let mut owner = Process::start("masked owner", &[place.scheme, &address]);
        assert_eq!(owner.says(), "bound");
        signal(&owner, Signal::STOP);
        let mut client = Process::start("masked client", &[place.scheme, &address]);
        assert_eq!(client.says(), "connected");
        for mode in place.modes() {
            assert_eq!(mode, 0o600, "{mode:o}");
        }
        signal(&owner, Signal::CONT);
        let said = client.says();
        assert!(said.starts_with("[121]"), "{said}");
    });
}

/// What a client finds at the address may be anything, too.
#[test]
fn a_client_follows_no_link_and_talks_to_no_file_of_another_kind() {
    each_place(|place| {
        if place.scheme != "fifo" {
            return;
        }
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let elsewhere = place.address(1);
        std::os::unix::fs::symlink(&address, &elsewhere).unwrap();
        place.backend().connect(&elsewhere).map(drop).unwrap_err();
        let kind = listener.accept().map(drop).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::WouldBlock, "it came by the link");
        fs::remove_file(&elsewhere).unwrap();

        fs::write(&elsewhere, "precious").unwrap();
        let error = place.backend().connect(&elsewhere).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    });
}

#[test]
fn a_client_that_waits_is_told_when_the_owner_dies() {
    each_place(|place| {
        if place.backend().capabilities().end_of_peer == EndOfPeer::ByPing {
            println!("skipped: {} does not tell here", place.scheme);
            return;
        }
        let address = place.address(0);
        let mut owner = start_owner(place, &address);
        signal(&owner, Signal::STOP);
        let mut client = Process::start("client", &[place.scheme, &address]);
        assert_eq!(client.says(), "connected");
        owner.kill();
        let said = client.says();
        assert!(said.starts_with("ConnectionReset"), "{said}");
        client.kill();
        drop(place.backend().bind(&address).unwrap());
        assert_eq!(place.names(), [""; 0]);
    });
}

#[test]
fn of_a_killed_peer_its_bytes_come_first_and_then_the_end() {
    each_place(|place| {
        if place.backend().capabilities().end_of_peer == EndOfPeer::ByPing {
            println!("skipped: {} does not tell here", place.scheme);
            return;
        }
        let address = place.address(0);
        let mut owner = start_owner(place, &address);
        let mut link = place.backend().connect(&address).unwrap();
        assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
        owner.kill();
        let end = wait(&mut *link, |link| link.recv(&mut [0]));
        assert!(matches!(end, Ok(0)), "{end:?}");

        // The server's side: the peer is killed with its byte unread.
        let mut listener = place.backend().bind(&address).unwrap();
        let mut crowd = Process::start("crowd", &[place.scheme, &address, "1"]);
        let mut server = accept(&mut *listener).unwrap();
        send(&mut *server, b"y").unwrap();
        assert_eq!(crowd.says(), "all in");
        crowd.tell("go");
        assert_eq!(crowd.says(), "all alive");
        crowd.kill();
        assert_eq!(receive(&mut *server, 1).unwrap(), b"z");
        let end = wait(&mut *server, |link| link.recv(&mut [0]));
        assert!(matches!(end, Ok(0)), "{end:?}");
    });
}

#[test]
fn garbage_in_the_mailbox_costs_nobody_anything() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let listening = place.names();
        let record = place.last_record(&address);
        let mut garbage = vec![vec![0; 1], vec![0xff; 64], b"hello\n".to_vec()];
        // A record of a client that is long gone, and parts of one.
        garbage.extend([record.clone(), record[..10].to_vec(), record[10..].to_vec()]);
        garbage.push([&record[..20], &record[..]].concat());
        for garbage in garbage {
            place.put_into_mailbox(&address, &garbage);
            let mut client = place.backend().connect(&address).unwrap();
            place.put_into_mailbox(&address, &garbage);
            let mut server = loop {
                match accept(&mut *listener) {
                    Ok(server) => break server,
                    Err(error) => assert!(concerns_one_peer(&error), "{error}"),
                }
            };
            for result in greet([&mut *client, &mut *server]) {
                result.unwrap();
            }
        }
        // Full of it.
        while place.try_put_into_mailbox(&address, &[0xee; 64]).is_ok() {}
        let full = place.backend().connect(&address).map(drop).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock, "{full}");
        let mut refusals = 0;
        while let Err(error) = listener.accept() {
            if error.kind() == ErrorKind::WouldBlock {
                break;
            }
            assert!(concerns_one_peer(&error), "{error}");
            refusals += 1;
            assert!(refusals < 10_000, "it never ends");
        }
        pair(place, &mut *listener, &address);
        assert_eq!(place.names(), listening);
    });
}

/// Whoever has the same user can write any record: it leads to files of the mailbox's own, of the
/// right kind, or to nothing.
#[test]
fn a_forged_record_leads_to_no_other_file_and_through_no_link() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let record = place.last_record(&address);
        let mut put = |record: &[u8]| {
            place.put_into_mailbox(&address, record);
            let error = accept(&mut *listener).map(drop).unwrap_err();
            assert!(concerns_one_peer(&error), "{error}");
        };
        if place.scheme == "fifo" {
            let id: String = record[8..24].iter().map(|b| format!("{b:02x}")).collect();
            let paths = ["up", "down"].map(|end| format!("{address}.{id}.{end}"));
            let victim = place.directory().join("victim");
            fs::write(&victim, "precious").unwrap();
            let other = place.directory().join("other.fifo");
            places::make_fifo(other.to_str().unwrap());
            let mut options = fs::File::options();
            let _reader = options.read(true).write(true).open(&other).unwrap();
            for target in [&victim, &other, &address.clone().into()] {
                for path in &paths {
                    std::os::unix::fs::symlink(target, path).unwrap();
                }
                put(&record);
                for path in &paths {
                    drop(fs::remove_file(path));
                }
                assert!(target.exists());
            }
            for path in &paths {
                fs::write(path, "precious").unwrap();
            }
            put(&record);
            for path in paths.iter().map(Path::new).chain([victim.as_path()]) {
                assert_eq!(fs::read(path).unwrap(), b"precious");
                fs::remove_file(path).unwrap();
            }
            fs::remove_file(&other).unwrap();
        } else {
            // Numbers of pairs: one that nobody has, the last, too large ones.
            for number in [5_u32, 127, 128, u32::MAX] {
                let mut forged = record.clone();
                forged[24..28].copy_from_slice(&number.to_le_bytes());
                put(&forged);
            }
            // That of a client which waits, with what are not its queues.
            let (announced, mut client) = place.intercepted(&address);
            let mut forged = announced.clone();
            forged[16] ^= 1;
            put(&forged);
            place.put_into_mailbox(&address, &announced);
            let mut server = accept(&mut *listener).unwrap();
            for result in greet([&mut *client, &mut *server]) {
                result.unwrap();
            }
        }
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn a_record_that_is_said_twice_gives_one_link() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let (record, mut client) = place.intercepted(&address);
        for _ in 0..3 {
            place.put_into_mailbox(&address, &record);
        }
        let mut server = accept(&mut *listener).unwrap();
        for _ in 1..3 {
            let error = accept(&mut *listener).map(drop).unwrap_err();
            assert!(concerns_one_peer(&error), "{error}");
        }
        for result in greet([&mut *client, &mut *server]) {
            result.unwrap();
        }
    });
}

#[test]
fn a_flood_of_the_mailbox_disturbs_no_link_and_ends_with_who_floods() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let record = place.last_record(&address);
        let (mut client, mut server) = pair(place, &mut *listener, &address);
        for round in 0..50_u8 {
            // Records of nobody and garbage, until no more fits; and as much again while it is read.
            let mut refusals = 0;
            for turn in 0..2 {
                while place.try_put_into_mailbox(&address, &record).is_ok()
                    && place.try_put_into_mailbox(&address, &[round; 64]).is_ok()
                {}
                while let Err(error) = listener.accept() {
                    if error.kind() == ErrorKind::WouldBlock {
                        break;
                    }
                    assert!(concerns_one_peer(&error), "{error}");
                    refusals += 1;
                    // Not the whole of it: the next turn fills it up.
                    if turn == 0 && refusals == 5 {
                        break;
                    }
                }
                send(&mut *client, &[round]).unwrap();
                assert_eq!(receive(&mut *server, 1).unwrap(), [round]);
                send(&mut *server, &[round]).unwrap();
                assert_eq!(receive(&mut *client, 1).unwrap(), [round]);
            }
            assert!(refusals >= 5, "{refusals}");
        }
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn a_full_mailbox_is_would_block_until_the_owner_looks() {
    each_place(|place| {
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let mut links = Vec::new();
        let full = loop {
            match place.backend().connect(&address) {
                Ok(link) => links.push(link),
                Err(error) => break error,
            }
            assert!(links.len() < 2000, "the mailbox has no end");
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock, "{full}");
        assert!(links.len() >= place.backlog_min(), "{}", links.len());
        let mut servers = Vec::new();
        while servers.len() < links.len() {
            servers.push(accept(&mut *listener).unwrap());
        }
        pair(place, &mut *listener, &address);
    });
}

#[test]
fn as_many_peers_as_promised_fit_into_the_stock_limits() {
    each_place(|place| {
        let address = place.address(0);
        let count = place.peers_min();
        let started = Instant::now();
        let _owner = start_owner(place, &address);
        let listening = place.names();
        let count_text = count.to_string();
        let mut crowd = Process::start("crowd", &[place.scheme, &address, &count_text]);
        assert_eq!(crowd.says(), "all in");
        assert_eq!(place.names(), listening, "open links have no names");
        crowd.tell("go");
        assert_eq!(crowd.says(), "all alive");
        println!("{}: {count} peers in {:?}", place.scheme, started.elapsed());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn with_too_few_descriptors_the_limit_is_named_and_the_client_waits() {
    each_place(|place| {
        let address = place.address(0);
        let mut owner = Process::start("full house", &[place.scheme, &address]);
        assert_eq!(owner.says(), "bound");
        let mut link = place.backend().connect(&address).unwrap();
        owner.tell("go");
        for side in ["the listener", "a client"] {
            let text = owner.says();
            assert!(text.contains("RLIMIT_NOFILE"), "{side}: {text}");
            assert!(text.contains("ulimit -n"), "{side}: {text}");
            assert!(text.chars().any(|c| c.is_ascii_digit()), "{side}: {text}");
        }
        assert_eq!(owner.says(), "accepted");
        assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
    });
}

#[test]
fn a_host_program_that_does_not_ignore_sigpipe_survives_the_end_of_a_peer() {
    each_place(|place| {
        if place.scheme != "fifo" {
            return;
        }
        let address = place.address(0);
        let mut owner = start_owner(place, &address);
        let mut host = Process::start("foreign host", &[place.scheme, &address]);
        assert_eq!(host.says(), "connected");
        owner.kill();
        host.tell("go");
        assert_eq!(host.says(), "alive");
    });
}

#[test]
fn another_user_is_kept_out_on_both_sides() {
    each_place(|place| {
        let Some(command) = as_nobody(place.directory()) else {
            return;
        };
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        let mut stranger = Process::start_by(command(), "client", &[place.scheme, &address]);
        let said = stranger.says();
        assert!(said.starts_with("PermissionDenied"), "{said}");
        pair(place, &mut *listener, &address);
        drop(listener);

        let theirs = place.address_of_nobody();
        let mut squatter = Process::start_by(command(), "owner", &[place.scheme, &theirs]);
        assert_eq!(squatter.says(), "bound");
        let error = place.backend().connect(&theirs).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("uid 65534"), "{error}");
    });
}

#[test]
fn a_mailbox_whose_mode_was_opened_still_admits_no_other_user() {
    each_place(|place| {
        let Some(command) = as_nobody(place.directory()) else {
            return;
        };
        if place.scheme != "fifo" {
            return;
        }
        let address = place.address(0);
        let mut listener = place.backend().bind(&address).unwrap();
        fs::set_permissions(&address, Permissions::from_mode(0o666)).unwrap();
        let mut stranger = Process::start_by(command(), "client", &[place.scheme, &address]);
        let said = stranger.says();
        assert!(said.starts_with("PermissionDenied"), "{said}");

        // Files of theirs under the names of a pair, as if they could write to the directory.
        let record = place.last_record(&address);
        let id: String = record[8..24].iter().map(|b| format!("{b:02x}")).collect();
        let paths = ["up", "down"].map(|end| format!("{address}.{id}.{end}"));
        for path in &paths {
            places::make_fifo(path);
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // With a reader, as a client has one.
        let mut options = fs::File::options();
        let _reader = options.read(true).write(true).open(&paths[1]).unwrap();
        place.put_into_mailbox(&address, &record);
        let error = accept(&mut *listener).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("uid 65534"), "{error}");
    });
}
