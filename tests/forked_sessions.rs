//! Clients and servers in processes that fork and go on without exec, over every transport.
//!
//! The forks happen in a role of its own (see `support/role.rs`), whose threads are only those that
//! the test is about. The server is in the test's process.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

mod support;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use support::forked::Forked;
use support::role::{Casting, Role, role, tell, told, transport};
use support::*;
use wayside::{CallError, Client, CloseReason, Limits, Server};

fn start(name: &str, place: &Place, serving: &Serving) -> Role {
    Casting::new(name, place, &serving.transport).start()
}

/// The numbers of all events that have come, with the epoch of the client each time.
fn events(recorder: &Recorder) -> Vec<(u64, u128)> {
    let happened = recorder.take_all().into_iter();
    happened
        .filter_map(|happened| match happened {
            Happened::Event(peer, note) => Some((note.number, peer.epoch())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_child_is_a_client_of_its_own_and_the_parent_goes_on_undisturbed() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let mut forker = start("forker", place, &serving);
        forker.expect("connected");
        let parent = serving.recorder.connected();
        // The parent has a call open across the fork.
        let held = serving.recorder.held();
        forker.say("fork");
        let child = serving.recorder.connected();
        assert_ne!(child.epoch(), parent.epoch());
        assert_ne!(child.key(), parent.key());
        forker.expect("child done");
        assert!(matches!(
            serving.recorder.disconnected(),
            CloseReason::Finished
        ));
        assert_eq!(serving.server.peers().len(), 1);
        held.reply(&"for the parent".to_owned()).unwrap();
        forker.expect("parent done");
        forker.finish();
        eventually("both have gone", || {
            serving.server.counters().closed.for_reason("finished") == 2
        });
        assert_eq!(serving.server.counters().opened, 2);
    });
}

#[test]
fn what_waits_at_a_fork_is_sent_once_by_the_parent() {
    on_every_transport(|place| {
        // Only the address, for the roles: nobody is there before the forks.
        let first = place.serve(Limits::default());
        let transport = first.transport.clone();
        drop(first);
        let mut forker = Casting::new("waiter", place, &transport).start();
        forker.expect("forked");
        let serving = serve_again(&transport, &Limits::default(), &Recorder::default());
        forker.say("go");
        forker.expect("done");
        forker.expect("done");
        let mut by_client: HashMap<u128, Vec<u64>> = HashMap::new();
        for (number, epoch) in events(&serving.recorder) {
            by_client.entry(epoch).or_default().push(number);
        }
        let mut lists: Vec<_> = by_client.into_values().collect();
        lists.sort();
        let expected = [(1..=100).collect::<Vec<_>>(), (1001..=1100).collect()];
        assert_eq!(lists, expected);
        forker.finish();
    });
}

/// Whatever locks other threads of the parent hold at that instant.
#[test]
fn forks_under_load_leave_both_sides_working() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let forker = start("loader", place, &serving);
        let answer = forker.expect("done");
        let sent: u64 = answer.parse().unwrap();
        let mut numbers: Vec<_> = events(&serving.recorder)
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        numbers.sort_unstable();
        // Those of the children are 0.
        let of_parent: Vec<_> = numbers
            .iter()
            .copied()
            .filter(|number| *number > 0)
            .collect();
        assert_eq!(of_parent, (1..=sent).collect::<Vec<_>>());
        let of_children = numbers.iter().filter(|number| **number == 0).count();
        assert_eq!(of_children, usize::try_from(FORKS).unwrap() / 2);
        let opened = serving.server.counters().opened;
        assert_eq!(opened, 1 + u64::from(FORKS) / 2);
        forker.finish();
    });
}

#[test]
fn the_end_of_a_parent_shows_although_its_child_lives() {
    on_every_transport(|place| {
        let serving = place.serve(Limits {
            // Only the end of the link may tell.
            silence_timeout: PATIENCE * 10,
            ..Limits::default()
        });
        let mut forker = start("parent", place, &serving);
        forker.expect("child lives");
        forker.kill();
        let reason = serving.recorder.disconnected();
        assert!(
            matches!(reason, CloseReason::PeerGone | CloseReason::LinkFailed(_)),
            "{reason}"
        );
        // The child still lives: it answers with a call of its own.
        forker.say("call");
        forker.expect("child called");
    });
}

#[test]
fn a_server_in_a_forked_child_ends_at_once_and_serves_on_in_the_parent() {
    on_every_transport(|place| {
        let mut forker = Casting::new("server", place, &place.transport).start();
        let transport = place.transport.at(forker.expect("bound"));
        let client = Client::<Chat>::builder()
            .transport(transport.clone())
            .connect(PATIENCE)
            .unwrap();
        forker.say("fork");
        forker.expect("child done");
        client.flush(PATIENCE).unwrap();
        let late = Client::<Chat>::builder()
            .transport(transport)
            .connect(PATIENCE)
            .unwrap();
        late.flush(PATIENCE).unwrap();
        assert_eq!(client.counters().opened, 1);
        drop((client, late));
        forker.finish();
    });
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("forker") => fork_once(),
        Some("waiter") => fork_with_a_queue(),
        Some("loader") => fork_under_load(),
        Some("parent") => leave_a_child(),
        Some("server") => fork_a_server(),
        Some(other) => panic!("no role `{other}`"),
    }
}

fn connect() -> Client<Chat> {
    Client::<Chat>::builder()
        .transport(transport())
        .connect(PATIENCE)
        .unwrap()
}

fn fork_once() {
    let client = connect();
    let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
    let other = client.start(&Ask::LetGo, PATIENCE).unwrap();
    let dropped = client.start(&Ask::LetGo, PATIENCE).unwrap();
    client.flush(PATIENCE).unwrap();
    tell("connected");
    told().next().unwrap();
    let mut ends = Some((pending, other, dropped));
    let child = Forked::new(|| {
        let (pending, other, dropped) = ends.take().unwrap();
        assert!(matches!(pending.wait(), Err(CallError::Forked)));
        let polled = pin!(other).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(CallError::Forked))));
        drop(dropped);
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(echo(&client, "child"), "child");
        assert_eq!(client.counters().opened, 1);
        assert_eq!(client.counters().calls, 1);
        client.close(PATIENCE).unwrap();
        tell("child done");
    });
    child.wait();
    let (pending, ..) = ends.take().unwrap();
    assert_eq!(pending.wait().unwrap(), "for the parent");
    assert_eq!(echo(&client, "parent"), "parent");
    assert_eq!(client.counters().opened, 1);

    // One that only drops its copy, and one that does not even do that.
    let mut client = Some(client);
    Forked::new(|| drop(client.take())).wait();
    Forked::new(|| {}).wait();
    let client = client.unwrap();
    assert_eq!(echo(&client, "still"), "still");
    assert_eq!(client.counters().opened, 1);
    tell("parent done");
    client.close(PATIENCE).unwrap();
}

/// A client of a server that is not there yet, with events that wait for it.
fn fork_with_a_queue() {
    let client = Client::<Chat>::builder()
        .transport(transport())
        .limits(hasty())
        .start()
        .unwrap();
    for number in 1..=100 {
        client.send(&note(number)).unwrap();
    }
    let send = |numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            client.send(&note(number)).unwrap();
        }
        client.wait_connected(PATIENCE).unwrap();
        client.flush(PATIENCE).unwrap();
        tell("done");
    };
    let child = Forked::new(|| send(1001..=1100));
    tell("forked");
    told().next().unwrap();
    client.wait_connected(PATIENCE).unwrap();
    client.flush(PATIENCE).unwrap();
    tell("done");
    child.wait();
    drop(client);
}

const FORKS: u32 = 60;

fn fork_under_load() {
    let client = connect();
    let over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(echo(&client, "load"), "load");
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let number = sent.load(Ordering::Relaxed) + 1;
                client.send(&note(number)).unwrap();
                sent.store(number, Ordering::Relaxed);
                if number % 256 == 0 {
                    client.flush(PATIENCE).unwrap();
                }
            }
        });
        for number in 0..FORKS {
            let child = Forked::new(|| {
                if number % 2 == 0 {
                    client.wait_connected(PATIENCE).unwrap();
                    client.send(&note(0)).unwrap();
                    assert_eq!(echo(&client, "child"), "child");
                    client.close(PATIENCE).unwrap();
                }
            });
            child.wait();
        }
        over.store(true, Ordering::Relaxed);
    });
    client.flush(PATIENCE).unwrap();
    assert_eq!(client.counters().opened, 1);
    tell(format!("done {}", sent.into_inner()));
    client.close(PATIENCE).unwrap();
}

/// Ends (killed by the test) while a child goes on.
fn leave_a_child() {
    let client = connect();
    let _child = Forked::new(|| {
        tell("child lives");
        told().next().unwrap();
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(echo(&client, "child"), "child");
        tell("child called");
    });
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

fn fork_a_server() {
    let server = Server::<Chat>::builder()
        .listen(transport())
        .bind(Recorder::default())
        .unwrap()
        .spawn()
        .unwrap();
    tell(format!("bound {}", server.endpoints()[0].address()));
    told().next().unwrap();
    let handle = server.handle();
    let mut server = Some(server);
    let child = Forked::new(|| {
        assert!(!handle.shutdown(PATIENCE * 10));
        drop(server.take());
        tell("child done");
    });
    child.wait();
    // Until the parent has nothing more to say.
    told().for_each(drop);
    drop(server);
}
