//! Names of Unix sockets, fought over by real processes: one owner at a time, a dead one's name is
//! taken over, a live one's never, and only users who may get in do.
#![cfg(all(unix, feature = "uds"))]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod roles;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{self, Command};

use roles::{
    NOBODY, Process, accept, address, as_nobody, directory, hear, names, receive, say, send,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::{Pid, Signal, geteuid, kill_process, umask};
use wayside::backend::{Backend, Link, PeerIdentity, Uds, runtime_directory};

#[test]
fn in_a_role() {
    let Some((role, arguments)) = roles::role() else {
        return;
    };
    match role.as_str() {
        "owner" => owner(&arguments),
        "racer" => racer(),
        "churner" => churner(&arguments),
        "client" => client(&arguments),
        "wanderer" => wanderer(&arguments),
        other => panic!("no such role: {other}"),
    }
}

/// Binds, says so, and then answers each peer with what the kernel says of it.
fn owner(arguments: &[String]) {
    let mut listener = Uds::new().bind(&arguments[0]).unwrap();
    say("bound");
    loop {
        let mut link = accept(&mut *listener).unwrap();
        let peer = link.peer();
        // It may have looked at us and gone.
        if send(&mut *link, b"y").is_ok() {
            say(&format!("{:?} {:?}", peer.uid, peer.pid));
        }
    }
}

/// Binds on command and lets go on command.
fn racer() {
    say("ready");
    loop {
        match Uds::new().bind(&hear()) {
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

/// Binds and lets go as fast as it can. While it holds the name, the name must lead to it.
fn churner(arguments: &[String]) {
    let uds = Uds::new();
    let mut bound = 0;
    while bound < 100 {
        match uds.bind(&arguments[0]) {
            Ok(mut listener) => {
                let link = uds
                    .connect(&arguments[0])
                    .expect("the name leads somewhere");
                assert_uid_and_pid(&*link, process::id());
                drop(accept(&mut *listener).expect("the connection is ours"));
                bound += 1;
            }
            // Too many took turns: allowed, and rare.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
        }
    }
    say("done");
}

/// Connects and says how that went.
fn client(arguments: &[String]) {
    let result = Uds::new().connect(&arguments[0]).and_then(|mut link| {
        receive(&mut *link, 1)?;
        Ok(link.peer())
    });
    match result {
        Ok(peer) => say(&format!("{:?} {:?}", peer.uid, peer.pid)),
        Err(error) => say(&format!("{:?}", error.kind())),
    }
    hear();
}

/// Binds a relative path, goes elsewhere, and lets go.
fn wanderer(arguments: &[String]) {
    // As open as can be: modes must not depend on it.
    umask(rustix::fs::Mode::empty());
    std::env::set_current_dir(&arguments[0]).unwrap();
    let listener = Uds::new().bind("below/a.sock").unwrap();
    say(&listener.address());
    hear();
    std::env::set_current_dir("/").unwrap();
    drop(listener);
    say("gone");
    hear();
}

fn assert_uid_and_pid(link: &dyn Link, pid: u32) {
    let peer = link.peer();
    assert_eq!(peer.uid, Some(geteuid().as_raw()));
    if Uds::new().capabilities().peer_identity == PeerIdentity::UserAndProcess {
        assert_eq!(peer.pid, Some(pid), "the name leads to another process");
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Leaves what a killed owner leaves.
fn leave_stale(path: &Path) {
    // It never listened: a process that another test forks this moment has a copy for a while, and
    // a copy that listens would be a live owner.
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    fs::write(lock, "1\n").unwrap();
}

#[test]
fn of_two_that_bind_at_once_exactly_one_wins() {
    let directory = directory();
    let mut racers = [(); 2].map(|()| Process::start("racer", &[]));
    for racer in &mut racers {
        assert_eq!(racer.says(), "ready");
    }
    for round in 0..200 {
        let path = directory.path().join(format!("{}.sock", round % 3));
        if round % 2 == 0 {
            leave_stale(&path);
        }
        for racer in &mut racers {
            racer.tell(address(&path));
        }
        let answers = [racers[0].says(), racers[1].says()];
        let winner = match [answers[0].as_str(), answers[1].as_str()] {
            ["bound", "AddrInUse"] => 0,
            ["AddrInUse", "bound"] => 1,
            other => panic!("round {round}: {other:?}"),
        };
        let link = Uds::new().connect(address(&path)).unwrap();
        assert_uid_and_pid(&*link, racers[winner].pid());
        racers[winner].tell("go");
        assert_eq!(racers[winner].says(), "gone");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn many_that_take_turns_never_displace_each_other() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    let mut churners = [(); 4].map(|()| Process::start("churner", &[address(&path)]));
    for churner in &mut churners {
        assert_eq!(churner.says(), "done");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn the_name_of_a_killed_owner_is_taken_over() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    for _ in 0..5 {
        let mut owner = Process::start("owner", &[address(&path)]);
        assert_eq!(owner.says(), "bound");
        owner.kill();
        assert_eq!(
            names(directory.path()).len(),
            2,
            "a killed process can't tidy up"
        );
        let refused = Uds::new().connect(address(&path)).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        let mut listener = Uds::new().bind(address(&path)).unwrap();
        let link = Uds::new().connect(address(&path)).unwrap();
        assert_uid_and_pid(&*link, process::id());
        accept(&mut *listener).unwrap();
        drop(listener);
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn a_live_owner_is_never_displaced_even_when_it_is_stopped() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    let mut owner = Process::start("owner", &[address(&path)]);
    assert_eq!(owner.says(), "bound");
    let pid = Pid::from_raw(owner.pid().try_into().unwrap()).unwrap();
    for signal in [None, Some(Signal::STOP)] {
        if let Some(signal) = signal {
            kill_process(pid, signal).unwrap();
        }
        for _ in 0..20 {
            let error = Uds::new().bind(address(&path)).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            let named = error.to_string().contains(&owner.pid().to_string());
            assert!(named, "{error}");
        }
    }
    kill_process(pid, Signal::CONT).unwrap();
    let mut link = Uds::new().connect(address(&path)).unwrap();
    assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
    assert_uid_and_pid(&*link, owner.pid());
}

#[test]
fn a_live_owner_without_a_lock_is_not_displaced_with_a_full_backlog_either() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut links = Vec::new();
    let full = loop {
        match Uds::new().connect(address(&path)) {
            Ok(link) => links.push(link),
            Err(error) => break error,
        }
        assert!(links.len() < 100, "the backlog has no end");
    };
    if cfg!(target_os = "linux") {
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let error = Uds::new().bind(address(&path)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(path.exists());
    }
}

#[test]
fn files_and_directories_are_closed_to_others_whatever_the_umask() {
    let directory = directory();
    let mut wanderer = Process::start("wanderer", &[address(directory.path())]);
    let path = wanderer.says();
    let path = Path::new(&path);
    assert!(path.is_absolute());
    assert_eq!(mode(path), 0o600);
    assert_eq!(mode(&path.with_extension("sock.lock")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // And they are gone although the process has left its directory.
    wanderer.tell("go");
    assert_eq!(wanderer.says(), "gone");
    assert!(names(path.parent().unwrap()).is_empty());
}

#[test]
fn who_allows_others_opens_the_socket_to_them() {
    let directory = directory();
    let path = directory.path().join("below/a.sock");
    let uds = Uds::new().allow_uid(NOBODY);
    let mut listener = uds.bind(address(&path)).unwrap();
    assert_eq!(mode(&path), 0o666);
    assert_eq!(mode(path.parent().unwrap()), 0o711);
    let _client = uds.connect(address(&path)).unwrap();
    accept(&mut *listener).unwrap();
}

#[test]
fn a_name_that_is_too_long_is_refused_with_both_numbers() {
    let longest = if cfg!(target_os = "linux") { 107 } else { 103 };
    let path = format!("/{}", "x".repeat(longest));
    for result in [
        Uds::new().bind(&path).map(drop),
        Uds::new().connect(&path).map(drop),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&format!("{} bytes", longest + 1)), "{text}");
        assert!(text.contains(&format!("at most {longest}")), "{text}");
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    for open in [0o770, 0o707, 0o1777] {
        fs::set_permissions(directory.path(), Permissions::from_mode(open)).unwrap();
        let error = Uds::new().bind(address(&path)).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(
            error.to_string().contains(&format!("{open:04o}")),
            "{error}"
        );
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    Uds::new().bind(address(&path)).unwrap();
}

#[test]
fn a_runtime_directory_that_is_a_link_is_refused() {
    let directory = directory();
    let real = directory.path().join("real");
    runtime_directory(Some(&real)).unwrap();
    let link = directory.path().join("link");
    symlink(&real, &link).unwrap();
    let error = runtime_directory(Some(&link)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("link"), "{error}");
}

#[test]
fn another_users_client_is_kept_out_by_the_mode_and_by_the_kernels_word() {
    let directory = directory();
    let Some(command) = as_nobody(directory.path()) else {
        return;
    };
    let path = directory.path().join("a.sock");
    let mut listener = Uds::new().bind(address(&path)).unwrap();
    let mut stranger = Process::start_by(command(), "client", &[address(&path)]);
    assert_eq!(stranger.says(), "PermissionDenied");

    // As if the system did not look at the mode, or someone had changed it.
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let mut stranger = Process::start_by(command(), "client", &[address(&path)]);
    let error = accept(&mut *listener).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let text = error.to_string();
    assert!(text.contains("uid 65534"), "{text}");
    assert!(text.contains(&stranger.pid().to_string()), "{text}");
    assert_eq!(stranger.says(), "UnexpectedEof");

    // The next one is let in all the same.
    let _client = Uds::new().connect(address(&path)).unwrap();
    accept(&mut *listener).unwrap();
}

#[test]
fn another_user_who_is_allowed_gets_in() {
    let directory = directory();
    let Some(command) = as_nobody(directory.path()) else {
        return;
    };
    let path = directory.path().join("a.sock");
    for uds in [Uds::new().allow_uid(NOBODY), Uds::new().allow_gid(NOBODY)] {
        let mut listener = uds.bind(address(&path)).unwrap();
        let mut guest = Process::start_by(command(), "client", &[address(&path)]);
        let mut link = accept(&mut *listener).unwrap();
        assert_eq!(link.peer().uid, Some(NOBODY));
        send(&mut *link, b"y").unwrap();
        assert_eq!(guest.says(), format!("Some(0) Some({})", process::id()));
    }
}

#[cfg(feature = "settings")]
#[test]
fn another_user_whom_the_settings_allow_gets_in() {
    let directory = directory();
    let Some(command) = as_nobody(directory.path()) else {
        return;
    };
    let path = directory.path().join("a.sock");
    let address = address(&path);
    for key in ["allow_uids", "allow_gids"] {
        let text = format!("transport = 'uds'\n[uds]\npath = '{address}'\n{key} = [{NOBODY}]");
        let settings = wayside::Settings::from_text(&text, "wayside.toml").unwrap();
        let transport = settings.transports().unwrap().remove(0);
        let mut listener = transport.backend().bind(transport.address()).unwrap();
        let mut guest = Process::start_by(command(), "client", &[address]);
        let mut link = accept(&mut *listener).unwrap();
        assert_eq!(link.peer().uid, Some(NOBODY));
        send(&mut *link, b"y").unwrap();
        assert_eq!(guest.says(), format!("Some(0) Some({})", process::id()));
    }
}

#[test]
fn a_client_refuses_a_server_of_another_user() {
    let directory = directory();
    let Some(command) = as_nobody(directory.path()) else {
        return;
    };
    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    let path = theirs.join("a.sock");
    let mut squatter = Process::start_by(command(), "owner", &[address(&path)]);
    assert_eq!(squatter.says(), "bound");
    let error = Uds::new().connect(address(&path)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("uid 65534"), "{error}");
    let uds = Uds::new().allow_uid(NOBODY);
    let mut link = uds.connect(address(&path)).unwrap();
    assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
}

/// Two containers that share a directory: neither sees the other's process ids.
#[test]
fn a_peer_in_another_process_namespace_is_known_by_its_user() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]);
        command
    };
    let possible = unshare().arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: a process namespace can't be made here");
        return;
    }
    let directory = directory();
    let path = directory.path().join("a.sock");
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap());
    let mut owner = Process::start_by(command, "owner", &[address(&path)]);
    assert_eq!(owner.says(), "bound");
    let mut link = Uds::new().connect(address(&path)).unwrap();
    assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
    let uid = geteuid().as_raw();
    assert_eq!(link.peer().uid, Some(uid));
    // We are outside, and see in; it sees a user without a process.
    assert_eq!(owner.says(), format!("{:?} None", Some(uid)));
}
