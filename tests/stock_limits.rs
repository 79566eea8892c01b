//! Within the limits that a system comes with there is room for as many sessions as promised.
#![cfg(all(target_os = "linux", feature = "fifo"))]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::role::{Casting, Role, passed, role, tell, told, transport};
use support::{Chat, PATIENCE, Recorder, Watchdog, echo, places};
use wayside::{Client, Server};

/// What a process may have of open files.
const STOCK_DESCRIPTORS: u64 = 1024;

const CROWDS: usize = 5;
const CLIENTS_EACH: usize = 100;

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("server") => serve(),
        Some("crowd") => crowd(),
        Some(other) => panic!("no role `{other}`"),
    }
}

/// A server where descriptors are as few as systems give.
fn serve() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(STOCK_DESCRIPTORS);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let server = Server::<Chat>::builder()
        .listen(transport())
        .bind(Recorder::default())
        .unwrap()
        .spawn()
        .unwrap();
    tell("bound");
    for _ in told() {
        tell(server.counters().accepted);
    }
}

/// Clients that are all there at the same time, each with an answer; and again on command.
fn crowd() {
    let count = passed("COUNT").parse().unwrap();
    let connect = || {
        Client::<Chat>::builder()
            .transport(transport())
            .connect(PATIENCE)
    };
    let clients: Vec<Client<Chat>> = (0..count).map(|_| connect().unwrap()).collect();
    let answered = |client: &Client<Chat>| assert_eq!(echo(client, "here"), "here");
    clients.iter().for_each(answered);
    tell("all in");
    for _ in told() {
        clients.iter().for_each(answered);
        tell("all alive");
    }
}

#[test]
fn five_hundred_sessions_over_fifo_fit_into_the_stock_limit_of_descriptors() {
    let _watchdog = Watchdog::new();
    let fifo = |place: &support::Place| place.transport.backend().capabilities().scheme == "fifo";
    let place = places().into_iter().find(fifo).unwrap();
    let mut server = Casting::new("server", &place, &place.transport).start();
    server.expect("bound");
    let start = || {
        let casting = Casting::new("crowd", &place, &place.transport);
        casting.pass("COUNT", CLIENTS_EACH.to_string()).start()
    };
    let mut crowds: Vec<Role> = (0..CROWDS).map(|_| start()).collect();
    for crowd in &crowds {
        crowd.expect("all in");
    }
    server.say("how many");
    // Nobody had to come twice.
    assert_eq!(server.hear(), (CROWDS * CLIENTS_EACH).to_string());
    for crowd in &mut crowds {
        crowd.say("still there");
    }
    for crowd in &crowds {
        crowd.expect("all alive");
    }
}
