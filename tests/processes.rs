//! Real processes that are killed, stopped, and run out of descriptors.
//!
//! The roles are at the foot of this file; `support/role.rs` says how they are started.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

#[cfg(all(target_os = "linux", feature = "mqueue"))]
mod queues;
mod support;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::role::{Casting, Role, passed, role, tell, told, transport};
use support::*;
use wayside::{CallError, Client, Handler, Limits, Peer, Responder, Server, Transport};

/// Bounds under which only the end of a link tells that the other side is gone.
fn patient() -> Limits {
    Limits {
        handshake_timeout: PATIENCE * 10,
        ping_interval: PATIENCE * 10,
        silence_timeout: PATIENCE * 20,
        frame_timeout: PATIENCE * 10,
        stall_timeout: PATIENCE * 10,
        reconnect_delay_min: Duration::from_millis(2),
        reconnect_delay_max: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// A server in a process of its own.
struct Remote {
    role: Role,
    transport: Transport,
}

impl Remote {
    fn start(place: &Place, transport: &Transport) -> Self {
        Self::start_with(transport, Casting::new("server", place, transport))
    }

    fn start_with(transport: &Transport, casting: Casting) -> Self {
        let role = casting.start();
        let transport = transport.at(role.expect("bound"));
        Self { role, transport }
    }

    fn client(&self, limits: Limits) -> Client<Chat> {
        let client = Client::builder()
            .transport(self.transport.clone())
            .limits(limits)
            .start()
            .unwrap();
        client.wait_connected(PATIENCE).unwrap();
        client
    }
}

/// What a transport has at its place: the names in the folder, but for the key, which stays; or queues.
fn names(place: &Place) -> Vec<String> {
    #[cfg(all(target_os = "linux", feature = "mqueue"))]
    if place.transport.backend().capabilities().scheme == "mqueue" {
        return queues::names(place.transport.address());
    }
    let entries = std::fs::read_dir(place.folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "key")
        .collect();
    names.sort();
    names
}

#[test]
fn a_killed_server_is_noticed_at_once_and_found_again() {
    on_every_transport(|place| {
        let mut remote = Remote::start(place, &place.transport);
        let client = remote.client(patient());
        assert_eq!(echo(&client, "one"), "one");
        let pending = client.start(&Ask::Hold, PATIENCE * 10).unwrap();
        client.flush(PATIENCE).unwrap();
        remote.role.kill();

        let error = pending.wait().unwrap_err();
        assert!(
            matches!(
                &error,
                CallError::Lost {
                    may_have_run: true,
                    ..
                }
            ),
            "{error}"
        );
        let error = client.call(&Ask::LetGo, PATIENCE).unwrap_err();
        assert!(matches!(error, CallError::NotConnected(_)), "{error}");
        assert!(!error.may_have_run());
        client.send(&note(1)).unwrap();

        let mut again = Remote::start(place, &remote.transport);
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(echo(&client, "two"), "two");
        client.flush(PATIENCE).unwrap();
        assert_eq!(again.role.ask("counters")["events"], 1);
        let counters = client.counters();
        assert_eq!(counters.opened, 2);
        assert_eq!(counters.events_in_doubt, 0);
        assert_eq!(counters.events_acknowledged, 1);
        client.close(PATIENCE).unwrap();
        again.role.finish();
        assert_eq!(names(place), Vec::<String>::new());
    });
}

#[test]
fn a_clean_end_leaves_no_name_and_after_a_kill_the_next_start_is_clean() {
    on_every_transport(|place| {
        let first = Remote::start(place, &place.transport);
        let transport = first.transport.clone();
        let during = names(place);
        first.role.finish();
        assert_eq!(names(place), Vec::<String>::new());

        let mut second = Remote::start(place, &transport);
        second.role.kill();
        // What a killed process leaves is what it had.
        assert_eq!(names(place), during);
        let third = Remote::start(place, &transport);
        assert_eq!(third.transport.address(), transport.address());
        assert_eq!(names(place), during);
        third.role.finish();
        assert_eq!(names(place), Vec::<String>::new());
    });
}

#[test]
fn a_killed_client_is_forgotten_completely() {
    if under_wine("keeps the socket of a killed process open while a poll of it is pending") {
        return;
    }
    on_every_transport(|place| {
        if !place.shows_ends() {
            return;
        }
        let limits = "patient";
        let casting = Casting::new("server", place, &place.transport).pass("LIMITS", limits);
        let mut remote = Remote::start_with(&place.transport, casting);
        let names_before = names(place);
        let before = remote.role.ask("descriptors");
        let mut clients: Vec<Role> = (0..5)
            .map(|_| {
                let client = Casting::new("client", place, &remote.transport).start();
                client.expect("connected");
                client
            })
            .collect();
        assert_eq!(remote.role.ask("counters")["peers"], 5);
        for client in &mut clients {
            client.kill();
        }
        eventually("all are forgotten", || {
            remote.role.ask("counters")["peers"] == 0
        });
        let counters = remote.role.ask("counters");
        assert_eq!(counters["closed"], 5);
        assert_eq!(counters["peer_gone"] + counters["link_failed"], 5);
        assert_eq!(remote.role.ask("descriptors"), before);
        assert_eq!(names(place), names_before);
        remote.role.finish();
    });
}

/// No end of a link tells of it: only the silence does.
#[cfg(unix)]
#[test]
fn a_stopped_server_is_noticed_by_its_silence_and_found_again() {
    use rustix::process::Signal;
    use wayside::CloseReason;
    on_every_transport(|place| {
        let remote = Remote::start(place, &place.transport);
        let client = remote.client(hasty());
        let pending = client.start(&Ask::Hold, PATIENCE * 10).unwrap();
        client.flush(PATIENCE).unwrap();
        remote.role.signal(Signal::STOP);
        let error = pending.wait().unwrap_err();
        assert!(
            matches!(
                &error,
                CallError::Lost {
                    reason: CloseReason::Silent(_),
                    may_have_run: true
                }
            ),
            "{error}"
        );
        let error = client.call(&Ask::LetGo, PATIENCE).unwrap_err();
        assert!(!error.may_have_run(), "{error}");
        remote.role.signal(Signal::CONT);
        eventually("it is back", || {
            client.call(&Ask::Echo(String::new()), PATIENCE).is_ok()
        });
        client.close(PATIENCE).unwrap();
        remote.role.finish();
    });
}

/// Twenty times the server dies under load and comes back. Every call ends exactly once, every
/// event is handled once or not at all, and what may be lost is counted.
#[test]
fn twenty_deaths_under_load_double_nothing_and_lose_only_what_is_in_doubt() {
    if under_wine("keeps the socket of a killed process open while a poll of it is pending") {
        return;
    }
    const ROUNDS: u32 = 20;
    on_every_transport(|place| {
        let record = place.folder.path().join("record");
        File::create(&record).unwrap();
        let cast = |transport: &Transport| {
            let casting = Casting::new("server", place, transport).pass("RECORD", &record);
            Remote::start_with(transport, casting)
        };
        let mut remote = cast(&place.transport);
        let client = remote.client(patient());
        let over = AtomicBool::new(false);
        let (sent, called, answered) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed) + 1;
                    if client.send(&note(number)).is_ok() {
                        sent.store(number, Ordering::Relaxed);
                    } else {
                        std::thread::yield_now();
                    }
                    if number % 64 == 0 {
                        // Not faster than the server, or all of this is about full queues.
                        client.flush(PATIENCE).ok();
                    }
                }
            });
            for caller in 0..2 {
                let (client, over, called, answered) = (&client, &over, &called, &answered);
                scope.spawn(move || {
                    let mut number = 0_u64;
                    while !over.load(Ordering::Relaxed) {
                        number += 1;
                        let text = format!("{caller} {number}");
                        match client.call(&Ask::Echo(text.clone()), PATIENCE) {
                            Ok(reply) => {
                                assert_eq!(reply, text);
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(CallError::NotConnected(_)) => std::thread::yield_now(),
                            Err(CallError::Lost { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                        called.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for round in 1..=ROUNDS {
                let (events, replies) = (
                    sent.load(Ordering::Relaxed),
                    answered.load(Ordering::Relaxed),
                );
                eventually("work is done", || {
                    sent.load(Ordering::Relaxed) >= events + 50
                        && answered.load(Ordering::Relaxed) >= replies + 20
                });
                remote.role.kill();
                remote = cast(&remote.transport);
                // Not only still connected to the one that was killed.
                eventually("it is connected to the next", || {
                    client.counters().opened == u64::from(round) + 1
                });
            }
            over.store(true, Ordering::Relaxed);
        });
        client.flush(PATIENCE).unwrap();
        let counters = client.counters();
        client.close(PATIENCE).unwrap();
        remote.role.finish();

        let handled = read_record(&record);
        let distinct: HashSet<_> = handled.iter().copied().collect();
        assert_eq!(distinct.len(), handled.len(), "an event was handled twice");
        let sent = sent.into_inner();
        assert!(handled.iter().all(|number| (1..=sent).contains(number)));
        let handled = u64::try_from(handled.len()).unwrap();
        assert_eq!(counters.events, sent);
        assert!(
            sent - handled <= counters.events_in_doubt,
            "{} lost, {} in doubt",
            sent - handled,
            counters.events_in_doubt
        );
        assert!(counters.events_acknowledged <= handled);
        assert_eq!(
            counters.events_acknowledged + counters.events_in_doubt,
            sent
        );
        assert_eq!(counters.opened, u64::from(ROUNDS) + 1);
        assert_eq!(counters.calls, counters.replies + counters.calls_failed);
        assert!(counters.replies >= answered.into_inner());
    });
}

fn read_record(path: &std::path::Path) -> Vec<u64> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
        .chunks_exact(8)
        .map(|number| u64::from_le_bytes(number.try_into().unwrap()))
        .collect()
}

/// The server keeps those it has, waits without spinning, and lets others in when it can.
#[cfg(target_os = "linux")]
#[test]
fn out_of_descriptors_the_server_serves_on_and_accepts_again_when_it_can() {
    use std::time::Instant;
    use support::raw::bare;
    use wayside::backend::Link;
    on_every_transport(|place| {
        let casting = Casting::new("server", place, &place.transport)
            .pass("LIMITS", "patient")
            .pass("DESCRIPTORS", "64");
        let mut remote = Remote::start_with(&place.transport, casting);
        let good = remote.client(patient());
        let mut idle: Vec<Box<dyn Link>> = Vec::new();
        while remote.role.ask("counters")["accept_failures"] == 0 {
            assert!(idle.len() < 100, "the limit does not bite");
            idle.push(bare(&remote.transport));
            echo(&good, "meanwhile");
        }
        // It tries again and again, but not all the time.
        let (before, started) = (remote.role.ask("counters"), Instant::now());
        eventually("it tries again", || {
            echo(&good, "meanwhile");
            remote.role.ask("counters")["accept_failures"] >= before["accept_failures"] + 10
        });
        let waited = started.elapsed();
        assert!(
            waited >= Duration::from_millis(500),
            "ten tries in {waited:?}"
        );
        assert_eq!(remote.role.ask("counters")["closed"], 0);

        // It has nothing to do meanwhile: see its time on the processor, while we wait for a push
        // that does not come.
        let (before, started) = (remote.role.ask("processor"), Instant::now());
        assert_eq!(good.next_push(Duration::from_millis(600)), None);
        let used = Duration::from_millis(remote.role.ask("processor")["ms"] - before["ms"]);
        assert!(
            used * 2 < started.elapsed(),
            "{used:?} of {:?} on the processor",
            started.elapsed()
        );

        drop(idle);
        let late = remote.client(patient());
        assert_eq!(echo(&late, "I got in"), "I got in");
        assert_eq!(good.counters().opened, 1);
        drop((late, good));
        remote.role.finish();
    });
}

/// What another user of the host gets: nothing, and the reason.
#[cfg(unix)]
#[test]
fn another_user_gets_in_over_no_transport_and_is_told_why() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let stranger = |place: &Place| {
            let casting = Casting::new("stranger", place, &serving.transport).by_user(65534);
            casting.start().expect("error")
        };
        // The folder keeps them out.
        let text = stranger(place);
        assert!(text.contains("ermission denied"), "{text}");
        // As if somebody had opened the folder and all that is in it.
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(place.folder.path(), 0o755);
        let text = stranger(place);
        assert!(text.contains("ermission denied"), "{text}");
        let scheme = place.transport.backend().capabilities().scheme;
        match scheme {
            "uds" => {
                open(serving.transport.address().as_ref(), 0o666);
                let _told = stranger(place);
                eventually("it is turned away", || {
                    serving.server.counters().refused > 0
                });
            }
            // It can write into the mailbox, and make no FIFOs that would be looked for.
            "fifo" => {
                open(serving.transport.address().as_ref(), 0o666);
                let text = stranger(place);
                assert!(text.contains("ermission denied"), "{text}");
            }
            // Only the mode of a queue keeps others out, and nobody can open that by mistake.
            "mqueue" => {}
            _ => {
                open(&place.folder.path().join("key"), 0o644);
                let text = stranger(place);
                assert!(
                    text.contains("belongs to uid 0") || text.contains("0644"),
                    "{text}"
                );
            }
        }
        assert_eq!(serving.server.counters().opened, 0);
        assert_eq!(serving.server.peers().len(), 0);
    });
}

/// What stands in the way of a server, and whether the error says what to do about it.
#[test]
fn what_stands_in_the_way_of_a_server_is_said_with_what_to_do() {
    let refusal = |transport: Transport| {
        Server::<Chat>::builder()
            .listen(transport)
            .bind(Recorder::default())
            .unwrap_err()
            .to_string()
    };
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let text = refusal(serving.transport.clone());
        assert!(text.contains(serving.transport.address()), "{text}");
        assert!(text.contains("use another"), "{text}");
        let scheme = place.transport.backend().capabilities().scheme;
        assert!(
            text.contains(&format!("can't listen on {scheme}:")),
            "{text}"
        );
        if scheme != "tcp" && cfg!(unix) {
            assert!(text.contains(&std::process::id().to_string()), "{text}");
        }
    });
    #[cfg(all(unix, feature = "uds"))]
    {
        use std::os::unix::fs::PermissionsExt;
        use wayside::backend::Uds;
        let long = format!("/tmp/{}", "x".repeat(200));
        let text = refusal(Transport::new(Uds::new(), long));
        assert!(text.contains("use a shorter directory"), "{text}");

        let folder = private_folder();
        let path = folder.path().join("s.sock");
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let text = refusal(Transport::new(Uds::new(), path.to_str().unwrap()));
        assert!(
            text.contains("use a directory of your own with mode 0700"),
            "{text}"
        );

        let file = folder.path().join("file");
        File::create(&file).unwrap();
        let below = file.join("s.sock");
        let text = refusal(Transport::new(Uds::new(), below.to_str().unwrap()));
        assert!(
            text.contains("is not a directory: choose another"),
            "{text}"
        );
    }
}

/// With the rights of a user that has none here.
#[cfg(all(unix, feature = "uds"))]
#[test]
fn a_directory_that_is_not_ours_is_said_with_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    use std::os::unix::fs::{PermissionsExt, chown};
    for place in places() {
        // Queues lie in no directory.
        if place.transport.backend().capabilities().scheme == "mqueue" {
            continue;
        }
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(place.folder.path(), mode).unwrap();
        };
        let refusal = || {
            let casting = Casting::new("binder", &place, &place.transport);
            casting.by_user(65534).start().expect("error")
        };
        // Root's, to look into only.
        mode(0o755);
        let text = refusal();
        assert!(text.contains("ermission denied"), "{text}");
        assert!(text.contains("may write to"), "{text}");
        // Its own, but without the right to write.
        chown(place.folder.path(), Some(65534), Some(65534)).unwrap();
        mode(0o500);
        let text = refusal();
        assert!(text.contains("ermission denied"), "{text}");
        assert!(text.contains("may write to"), "{text}");
        // A third user's.
        chown(place.folder.path(), Some(1234), Some(1234)).unwrap();
        mode(0o755);
        let text = refusal();
        match place.transport.backend().capabilities().scheme {
            "uds" | "fifo" => {
                assert!(text.contains("belongs to uid 1234"), "{text}");
                assert!(text.contains("use a directory of your own"), "{text}");
            }
            _ => assert!(text.contains("may write to"), "{text}"),
        }
    }
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("server") => serve(),
        Some("client") => be_client(),
        Some("stranger") => be_stranger(),
        Some("binder") => be_binder(),
        Some(other) => panic!("no role `{other}`"),
    }
}

/// Answers calls, keeps what it is told to, and writes down the numbers of events as they come.
struct Keeper {
    record: Option<File>,
    held: Vec<Responder<Chat>>,
}

impl Handler<Chat> for Keeper {
    fn event(&mut self, _: &Peer<Chat>, event: Note) {
        if let Some(record) = &mut self.record {
            record.write_all(&event.number.to_le_bytes()).unwrap();
        }
    }

    fn request(&mut self, _: &Peer<Chat>, request: Ask, responder: Responder<Chat>) {
        match request {
            Ask::Echo(text) => drop(responder.reply(&text)),
            Ask::Hold => self.held.push(responder),
            _ => drop(responder),
        }
    }
}

fn serve() {
    let record = Some(passed("RECORD"))
        .filter(|path| !path.is_empty())
        .map(|path| File::options().append(true).open(path).unwrap());
    let keeper = Keeper {
        record,
        held: Vec::new(),
    };
    let limits = match passed("LIMITS").as_str() {
        "patient" => patient(),
        _ => Limits::default(),
    };
    let server = Server::<Chat>::builder()
        .listen(transport())
        .limits(limits)
        .bind(keeper)
        .unwrap()
        .spawn()
        .unwrap();
    #[cfg(target_os = "linux")]
    if let Ok(count) = passed("DESCRIPTORS").parse() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit {
            current: Some(count),
            maximum: Some(count),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    }
    tell(format!("bound {}", server.endpoints()[0].address()));
    for line in told() {
        match line.as_str() {
            "counters" => {
                let counters = server.counters();
                tell(format!(
                    "counters peers={} events={} accept_failures={} refused={} closed={} peer_gone={} link_failed={}",
                    server.peers().len(),
                    counters.events,
                    counters.accept_failures,
                    counters.refused,
                    counters.closed.total(),
                    counters.closed.for_reason("peer_gone"),
                    counters.closed.for_reason("link_failed"),
                ));
            }
            "descriptors" => tell(format!("descriptors open={}", descriptors())),
            "processor" => tell(format!("processor ms={}", processor_ms())),
            other => panic!("no command `{other}`"),
        }
    }
    assert!(server.shutdown(PATIENCE));
}

/// The open descriptors of this process, where the system tells.
fn descriptors() -> usize {
    if cfg!(target_os = "linux") {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    } else {
        0
    }
}

/// The time that this process has used a processor for, where the system tells.
fn processor_ms() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else {
        return 0;
    };
    // Behind the name, which may contain anything: fields 14 and 15, in hundredths of a second.
    let rest = text.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10
}

fn be_client() {
    let client = Client::<Chat>::builder()
        .transport(transport())
        .connect(PATIENCE)
        .unwrap();
    tell("connected");
    told().for_each(drop);
    client.close(PATIENCE).unwrap();
}

fn be_stranger() {
    let connected = Client::<Chat>::builder()
        .transport(transport())
        .connect(Duration::from_millis(300));
    match connected {
        Ok(_) => tell("connected"),
        Err(error) => tell(format!("error {error}")),
    }
}

fn be_binder() {
    let bound = Server::<Chat>::builder()
        .listen(transport())
        .bind(Recorder::default());
    match bound {
        Ok(_) => tell("bound"),
        Err(error) => tell(format!("error {error}")),
    }
}
