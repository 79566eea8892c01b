//! Message queues are scarce: which limit was hit is said, and what is there is enough.
#![cfg(all(target_os = "linux", feature = "mqueue"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says by panic what is wrong, and what it skips"
)]

mod queues;
mod roles;

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;

use roles::{Process, accept, greet, hear, receive, say, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wayside::backend::{Backend, Mqueue, MqueueOptions};

#[test]
fn in_a_role() {
    let Some((role, arguments)) = roles::role() else {
        return;
    };
    match role.as_str() {
        "poor" => poor(&arguments[0]),
        "half" => half(&arguments[0]),
        "both ends" => both_ends(&arguments[0]),
        "crowd" => crowd(&arguments[0]),
        "full house" => full_house(&arguments[0]),
        "few descriptors" => few_descriptors(&arguments[0]),
        "squatter" => squatter(&arguments[0], arguments[1].parse().unwrap()),
        "squatted" => squatted(&arguments[0]),
        other => panic!("no such role: {other}"),
    }
}

/// Connects where a user may have next to nothing.
fn poor(address: &str) {
    let maximum = getrlimit(Resource::Msgqueue).maximum;
    let current = Some(1000);
    setrlimit(Resource::Msgqueue, Rlimit { current, maximum }).unwrap();
    let error = Mqueue::new().connect(address).map(drop).unwrap_err();
    say(&format!("{:?}: {error}", error.kind()));
    hear();
}

/// Sends half of what is awaited, and waits to be killed.
fn half(address: &str) {
    let mut link = Mqueue::new().connect(address).unwrap();
    receive(&mut *link, 1).unwrap();
    let mut left = 5000;
    while left > 0 {
        left -= wait(&mut *link, |link| link.send(&vec![7; left])).unwrap();
    }
    say("sent");
    hear();
}

/// Talks to itself, and says where queues are to be seen.
fn both_ends(address: &str) {
    let mut listener = Mqueue::new().bind(address).unwrap();
    let mut client = Mqueue::new().connect(address).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    for result in greet([&mut *client, &mut *server]) {
        result.unwrap();
    }
    let pid = Some(std::process::id());
    assert_eq!((client.peer().pid, server.peer().pid), (pid, pid));
    assert_eq!(queues::names(address), [address]);
    drop((client, server, listener));
    assert_eq!(queues::names(address), [""; 0]);
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let shown = mounts.lines().filter(|line| line.contains(" mqueue "));
    say(&format!("mounted {} times", shown.count()));
}

/// As many clients as there is room for, and one more.
fn crowd(address: &str) {
    let _listener = Mqueue::new().bind(address).unwrap();
    let _client = Mqueue::new().connect(address).unwrap();
    let error = Mqueue::new().connect(address).map(drop).unwrap_err();
    say(&format!("{:?}: {error}", error.kind()));
}

/// As many clients as fit into the stock limit, where nobody else has queues; and then one where the dead
/// have left so much that nothing fits any more.
fn full_house(address: &str) {
    limit(Resource::Msgqueue, 819_200);
    let mut listener = Mqueue::new().bind(address).unwrap();
    let mut links = Vec::new();
    let error = loop {
        match Mqueue::new().connect(address) {
            Ok(client) => links.push([client, accept(&mut *listener).unwrap()]),
            Err(error) => break error,
        }
        let [client, server] = links.last_mut().unwrap();
        for result in greet([&mut **client, &mut **server]) {
            result.unwrap();
        }
    };
    say(&format!("{} fit; {:?}: {error}", links.len(), error.kind()));
    drop(links);

    // 128 queues of 512 bytes, beside the mailbox; and what is left is half of a pair.
    limit(Resource::Msgqueue, 1280 + 128 * 512 + 7936);
    for number in 0..128 {
        drop(queues::create(&format!("{address}.{number}.down")));
    }
    let mut client = Mqueue::new().connect(address).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    for result in greet([&mut *client, &mut *server]) {
        result.unwrap();
    }
    assert_eq!(queues::names(address), [address]);
    say("swept");
    hear();
}

/// Connects with no descriptor left, with one, with two and so on, until it works.
fn few_descriptors(address: &str) {
    let _listener = Mqueue::new().bind(address).unwrap();
    let all = getrlimit(Resource::Nofile).current.unwrap();
    let failed = (0..20).take_while(|&spare| {
        limit(Resource::Nofile, 64);
        let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - spare);
        let result = Mqueue::new().connect(address).map(drop);
        drop(taken);
        limit(Resource::Nofile, all);
        assert_eq!(queues::names(address), [address], "with {spare} left");
        let problem = result.map_err(|error| error.to_string()).err();
        problem
            .inspect(|text| assert!(text.contains("RLIMIT_NOFILE"), "{text}"))
            .is_some()
    });
    say(&format!("failed {} times", failed.count()));
    hear();
}

/// Takes names of pairs before those who need them.
fn squatter(address: &str, count: u32) {
    for number in 0..count {
        drop(queues::create(&format!("{address}.{number}.up")));
    }
}

/// A server and a client where another user has taken such names.
fn squatted(address: &str) {
    let mut listener = Mqueue::new().bind(address).unwrap();
    match Mqueue::new().connect(address) {
        Ok(mut client) => {
            let mut server = accept(&mut *listener).unwrap();
            for result in greet([&mut *client, &mut *server]) {
                result.unwrap();
            }
            say("connected");
        }
        Err(error) => say(&format!("{:?}: {error}", error.kind())),
    }
    hear();
}

fn limit(resource: Resource, value: u64) {
    let maximum = getrlimit(resource).maximum;
    let current = Some(maximum.map_or(value, |maximum| maximum.min(value)));
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

/// Starts a role behind a line of the shell, in a world that only it sees. `None` if this user may not
/// make one.
fn start_in_a_world(kind: &str, shell: &str, role: &str) -> Option<Process> {
    let made = Command::new("unshare").args([kind, "true"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user, or this system, has no unshare {kind}");
        return None;
    }
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args([kind, "sh", "-euc", shell]).arg(exe);
    let address = if role == "squatted" {
        SQUATTED.to_owned()
    } else {
        queues::fresh()
    };
    Some(Process::start_by(command, role, &[&address]))
}

/// An address for worlds of their own, where nobody else has it.
const SQUATTED: &str = "/wayside-squatted";

#[test]
fn it_works_where_queues_are_mounted_and_where_they_are_not() {
    let umount = "umount --lazy --all --types mqueue";
    let mount = "mount -t mqueue none /mnt";
    for (shell, expected) in [
        (umount.to_owned(), "mounted 0 times"),
        (format!("{umount}; {mount}"), "mounted 1 times"),
    ] {
        let shell = shell + "; exec \"$0\" \"$@\"";
        let Some(mut both) = start_in_a_world("--mount", &shell, "both ends") else {
            return;
        };
        assert_eq!(both.says(), expected);
    }
}

/// Root may have more than it says: so not as root.
#[test]
fn the_limit_of_the_systems_queues_is_named_with_its_value() {
    let shell = "echo 4 > /proc/sys/fs/mqueue/queues_max
                 exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";
    let Some(mut crowd) = start_in_a_world("--ipc", shell, "crowd") else {
        return;
    };
    let text = crowd.says();
    for part in [
        "QuotaExceeded",
        "4 message queues",
        "fs.mqueue.queues_max",
        "raise it",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// By a user of whom nobody else has queues, as all that a user has is counted together.
#[test]
fn as_many_peers_fit_into_the_stock_limit_as_the_capabilities_say_and_the_dead_make_room() {
    let shell = "exec setpriv --reuid 61234 --regid 61234 --clear-groups \"$0\" \"$@\"";
    let Some(mut house) = start_in_a_world("--ipc", shell, "full house") else {
        return;
    };
    let promised = Mqueue::new().capabilities().peers_stock_max.unwrap();
    let text = house.says();
    let expected = format!("{promised} fit; QuotaExceeded: ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("819200 bytes (RLIMIT_MSGQUEUE)"), "{text}");
    assert_eq!(house.says(), "swept");
}

#[test]
fn however_few_descriptors_are_left_a_client_that_fails_leaves_no_names() {
    let mut poor = Process::start("few descriptors", &[&queues::fresh()]);
    // The mailbox, the listener's process, and two queues.
    assert_eq!(poor.says(), "failed 4 times");
}

/// One with the names of some pairs costs nobody anything; one with all keeps clients out, who are told.
#[test]
fn another_user_who_takes_the_names_of_pairs_is_stepped_around_or_named() {
    for (count, expected) in [
        (127, "connected"),
        (128, "PermissionDenied: other users have"),
    ] {
        // Root takes them, so that who comes then may not remove them.
        let shell = format!(
            "WAYSIDE_TEST_ROLE=\"squatter\n{SQUATTED}\n{count}\" \"$0\" \"$@\" < /dev/null > /dev/null
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\""
        );
        let Some(mut squatted) = start_in_a_world("--ipc", &shell, "squatted") else {
            return;
        };
        let text = squatted.says();
        assert!(text.starts_with(expected), "{count}: {text}");
    }
}

#[test]
fn the_limit_of_a_users_queues_is_named_with_its_value_and_how_to_raise_it() {
    let address = queues::fresh();
    let _listener = Mqueue::new().bind(&address).unwrap();
    let mut poor = Process::start("poor", &[&address]);
    let text = poor.says();
    for part in [
        "QuotaExceeded",
        "RLIMIT_MSGQUEUE",
        "1000",
        "7936",
        "ulimit -q",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(queues::names(&address), [address]);
}

#[test]
fn sizes_that_the_system_refuses_are_named_with_its_limits() {
    let address = queues::fresh();
    let _listener = Mqueue::new().bind(&address).unwrap();
    let problem = |messages, message_len| {
        let options = MqueueOptions {
            messages,
            message_len,
        };
        let result = Mqueue::with(options).connect(&address);
        let error = result.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    // More than even the privileged may have.
    let text = problem(70_000, 10);
    for part in [
        "70000 messages",
        "fs.mqueue.msg_max",
        "fs.mqueue.msgsize_max",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(problem(0, 10).contains("messages is 0"));
    assert!(problem(8, 0).contains("message_len is 0"));
    assert!(problem(8, (1 << 20) + 1).contains("1048577"));
    assert_eq!(queues::names(&address), [address]);
}

#[test]
fn a_mebibyte_passes_through_eight_messages_of_a_kibibyte() {
    let options = MqueueOptions {
        messages: 8,
        message_len: 1024,
    };
    let mqueue = Mqueue::with(options);
    let address = queues::fresh();
    let mut listener = mqueue.bind(&address).unwrap();
    let mut client = mqueue.connect(&address).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    for result in greet([&mut *client, &mut *server]) {
        result.unwrap();
    }
    let sent: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let expected = sent.clone();
    let sender = std::thread::spawn(move || {
        let mut left = &sent[..];
        while !left.is_empty() {
            let len = wait(&mut *client, |link| link.send(left)).unwrap();
            assert!(len <= 1024);
            left = &left[len..];
        }
        client
    });
    // Into buffers that no message fits into, and such that many would.
    let mut received = Vec::new();
    while received.len() < expected.len() {
        let room = [1, 100, 1023, 5000][received.len() % 4];
        let mut buffer = vec![0; room];
        match server.recv(&mut buffer) {
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                let len = wait(&mut *server, |link| link.recv(&mut buffer)).unwrap();
                received.extend_from_slice(&buffer[..len]);
            }
        }
    }
    assert!(received == expected, "other bytes came than were sent");
    drop(sender.join().unwrap());
}

#[test]
fn what_a_killed_peer_has_sent_is_delivered_before_the_end() {
    let address = queues::fresh();
    let mut listener = Mqueue::new().bind(&address).unwrap();
    let mut half = Process::start("half", &[&address]);
    let mut server = accept(&mut *listener).unwrap();
    assert_eq!(server.peer().pid, Some(half.pid()));
    roles::send(&mut *server, b"y").unwrap();
    assert_eq!(half.says(), "sent");
    half.kill();
    assert_eq!(receive(&mut *server, 5000).unwrap(), [7; 5000]);
    for _ in 0..3 {
        let end = wait(&mut *server, |link| link.recv(&mut [0; 10]));
        assert!(matches!(end, Ok(0)), "{end:?}");
    }
    let error = server.send(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn the_capabilities_say_how_many_peers_fit() {
    let capabilities = Mqueue::new().capabilities();
    assert!(capabilities.peers_stock_max >= Some(48));
    assert_eq!(capabilities.chunk_len_max, Some(896));
}
