//! Named pipes of Windows between real processes: bursts, names, identities and sudden ends.
//!
//! What Wine can't show: that a pipe which exists already can't be joined (it ignores
//! `FILE_FLAG_FIRST_PIPE_INSTANCE`), and that the access list keeps anybody out.
#![cfg(all(windows, feature = "fifo"))]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod roles;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{process, thread};

use mio::windows::NamedPipe;
use mio::{Events, Interest, Poll, Token};
use roles::{PATIENCE, Process, hear, say};
use wayside::backend::{About, Backend, Fifo, Link, Listener};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};

#[test]
fn in_a_role() {
    let Some((role, arguments)) = roles::role() else {
        return;
    };
    match role.as_str() {
        "owner" => owner(&arguments[0]),
        "crowd" => crowd(&arguments[0]),
        "last words" => last_words(&arguments[0]),
        "come and go" => come_and_go(),
        other => panic!("no such role: {other}"),
    }
}

/// Binds, and tells of each peer who it is, after a byte each way. A peer that says `!` sees it
/// die in the middle of an answer.
fn owner(name: &str) {
    let mut turns = Loop::new();
    let mut listener = Fifo::new().bind(name).unwrap();
    turns.add(&mut listener);
    say("bound");
    loop {
        let mut link = turns.accept(&mut *listener);
        turns.add(&mut link);
        let word = turns.receive(&mut *link, 1).unwrap();
        let peer = link.peer();
        if word == b"!" {
            turns.send(&mut *link, &LAST_WORDS).unwrap();
            process::exit(0);
        }
        turns.send(&mut *link, b"y").unwrap();
        say(&format!("{} {}", peer.pid.unwrap(), peer.sid.unwrap()));
    }
}

/// On command connects eight times at once; then each says a byte, and is held until the end.
fn crowd(name: &str) {
    say("ready");
    hear();
    let mut links: Vec<_> = (0..8).map(|_| Fifo::new().connect(name)).collect();
    let failed = links.iter().filter(|link| link.is_err()).count();
    say(&format!("{failed} failed"));
    hear();
    let mut turns = Loop::new();
    for link in links.iter_mut().flatten() {
        turns.add(link);
        turns.send(&mut **link, b"x").unwrap();
    }
    hear();
}

/// Connects, is heard, says its last words and is gone.
fn last_words(name: &str) {
    let mut turns = Loop::new();
    let mut link = Fifo::new().connect(name).unwrap();
    turns.add(&mut link);
    turns.send(&mut *link, b"x").unwrap();
    hear();
    turns.send(&mut *link, &LAST_WORDS).unwrap();
    process::exit(0);
}

/// Listeners and links that come and go, alone in their process: says how many handles it has more then.
fn come_and_go() {
    let round = || {
        let name = fresh();
        let mut turns = Loop::new();
        let mut listener = Fifo::new().bind(&name).unwrap();
        turns.add(&mut listener);
        let mut client = Fifo::new().connect(&name).unwrap();
        turns.add(&mut client);
        let mut server = turns.accept(&mut *listener);
        turns.add(&mut server);
        turns.send(&mut *client, b"x").unwrap();
        turns.receive(&mut *server, 1).unwrap();
        // And with something under way in both directions.
        while client.send(&LAST_WORDS).is_ok() {}
        while server.send(&LAST_WORDS).is_ok() {}
    };
    round();
    let before = handles();
    for _ in 0..ROUNDS {
        round();
    }
    say(&format!("{before} {}", handles()));
    hear();
}

/// So often that one handle of each would show.
const ROUNDS: u32 = 20;

/// How many handles this process has, or a number that grows with them: Wine does not count them, but gives
/// a new handle the lowest number that is free.
#[expect(unsafe_code, reason = "the standard library can't count them")]
fn handles() -> u32 {
    let mut count = 0;
    // SAFETY: takes nothing and gives a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's own, and the pointer leads to a number of ours.
    let counted = unsafe { GetProcessHandleCount(process, &raw mut count) };
    assert_ne!(counted, 0, "{}", io::Error::last_os_error());
    if count == 0 && wine() {
        // So many that they fill all gaps between those that are open.
        let more: Vec<File> = (0..1000).map(|_| File::open("NUL").unwrap()).collect();
        let last = more.iter().map(|file| file.as_raw_handle().addr()).max();
        count = u32::try_from(last.unwrap() / 4).unwrap();
    }
    count
}

const LAST_WORDS: [u8; 4096] = [7; 4096];

/// One poll for all pipes of a process: they belong to the first that they meet.
struct Loop {
    poll: Poll,
    events: Events,
}

impl Loop {
    fn new() -> Self {
        Self {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(64),
        }
    }

    fn add<S: mio::event::Source + ?Sized>(&mut self, source: &mut S) {
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(source, Token(0), both).unwrap();
    }

    /// Tries until it is not `WouldBlock`, with an event in between.
    fn until<T>(&mut self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            assert!(Instant::now() < deadline, "it does not happen");
            self.poll.poll(&mut self.events, Some(PATIENCE)).unwrap();
        }
    }

    fn accept(&mut self, listener: &mut dyn Listener) -> Box<dyn Link> {
        self.until(|| listener.accept()).unwrap()
    }

    fn send(&mut self, link: &mut dyn Link, bytes: &[u8]) -> io::Result<()> {
        let sent = self.until(|| link.send(bytes))?;
        assert_eq!(sent, bytes.len());
        Ok(())
    }

    /// Receives so many bytes.
    fn receive(&mut self, link: &mut dyn Link, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let mut buffer = vec![0; len - bytes.len()];
            match self.until(|| link.recv(&mut buffer))? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                taken => bytes.extend_from_slice(&buffer[..taken]),
            }
        }
        Ok(bytes)
    }

    /// Waits for the end of a link.
    fn end(&mut self, link: &mut dyn Link) {
        let end = self.until(|| link.recv(&mut [0; 16]));
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// A name that nobody else has.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("pipes-{}-{count}", process::id())
}

fn path(name: &str) -> String {
    format!(r"\\.\pipe\wayside-{name}")
}

/// Whether this is Wine, which has its own program for settings.
fn wine() -> bool {
    Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

#[test]
fn sixty_four_clients_of_eight_processes_get_in_at_once_and_the_next_has_to_wait() {
    let name = fresh();
    let mut listener = Fifo::new().bind(&name).unwrap();
    let mut crowds: Vec<Process> = (0..8).map(|_| Process::start("crowd", &[&name])).collect();
    for crowd in &mut crowds {
        assert_eq!(crowd.says(), "ready");
    }
    for crowd in &mut crowds {
        crowd.tell("connect");
    }
    // Nobody has been accepted yet.
    for crowd in &mut crowds {
        assert_eq!(crowd.says(), "0 failed");
    }
    let error = Fifo::new().connect(&name).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    let mut turns = Loop::new();
    turns.add(&mut listener);
    for crowd in &mut crowds {
        crowd.tell("speak");
    }
    let mut links = Vec::new();
    for _ in 0..64 {
        let mut link = turns.accept(&mut *listener);
        turns.add(&mut link);
        links.push(link);
    }
    for link in &mut links {
        assert_eq!(turns.receive(&mut **link, 1).unwrap(), b"x");
        let pid = link.peer().pid.unwrap();
        assert!(crowds.iter().any(|crowd| crowd.pid() == pid));
    }
    // And there is room again.
    Fifo::new().connect(&name).unwrap();
}

#[test]
fn each_side_knows_the_others_user_and_process() {
    let name = fresh();
    let mut owner = Process::start("owner", &[&name]);
    assert_eq!(owner.says(), "bound");
    let mut turns = Loop::new();
    let mut link = Fifo::new().connect(&name).unwrap();
    turns.add(&mut link);
    turns.send(&mut *link, b"x").unwrap();
    turns.receive(&mut *link, 1).unwrap();
    let peer = link.peer();
    assert_eq!(peer.pid, Some(owner.pid()));
    let sid = peer.sid.unwrap();
    assert!(sid.starts_with("S-1-5-"), "{sid}");
    assert_eq!(owner.says(), format!("{} {sid}", process::id()));
}

#[test]
fn a_name_has_one_owner_and_is_free_once_that_was_killed() {
    let name = fresh();
    let mut owner = Process::start("owner", &[&name]);
    assert_eq!(owner.says(), "bound");
    for address in [&name, &name.to_uppercase(), &path(&name)] {
        let error = Fifo::new().bind(address).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    }
    owner.kill();
    let error = Fifo::new().connect(&name).err().unwrap();
    let gone = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    assert!(gone.contains(&error.kind()), "{error}");
    Fifo::new().bind(&name).unwrap();
}

#[test]
fn a_killed_server_ends_its_links() {
    let name = fresh();
    let mut owner = Process::start("owner", &[&name]);
    assert_eq!(owner.says(), "bound");
    let mut turns = Loop::new();
    let mut link = Fifo::new().connect(&name).unwrap();
    turns.add(&mut link);
    turns.send(&mut *link, b"x").unwrap();
    turns.receive(&mut *link, 1).unwrap();
    owner.kill();
    turns.end(&mut *link);
    let failed = turns.until(|| match link.send(b"x") {
        Ok(_) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Ok(error.kind()),
    });
    assert_eq!(failed.unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn a_killed_client_ends_its_link_and_the_next_gets_in() {
    let name = fresh();
    let mut turns = Loop::new();
    let mut listener = Fifo::new().bind(&name).unwrap();
    turns.add(&mut listener);
    for _ in 0..3 {
        let mut client = Process::start("last words", &[&name]);
        let mut link = turns.accept(&mut *listener);
        turns.add(&mut link);
        assert_eq!(turns.receive(&mut *link, 1).unwrap(), b"x");
        assert_eq!(link.peer().pid, Some(client.pid()));
        client.kill();
        turns.end(&mut *link);
    }
}

#[test]
fn the_last_words_of_a_process_arrive_whichever_side_it_was() {
    let name = fresh();
    let mut turns = Loop::new();
    let mut listener = Fifo::new().bind(&name).unwrap();
    turns.add(&mut listener);
    let mut client = Process::start("last words", &[&name]);
    let mut link = turns.accept(&mut *listener);
    turns.add(&mut link);
    turns.receive(&mut *link, 1).unwrap();
    client.tell("speak");
    let words = turns.receive(&mut *link, LAST_WORDS.len()).unwrap();
    assert_eq!(words, LAST_WORDS);
    turns.end(&mut *link);

    let name = fresh();
    let mut owner = Process::start("owner", &[&name]);
    assert_eq!(owner.says(), "bound");
    let mut link = Fifo::new().connect(&name).unwrap();
    turns.add(&mut link);
    turns.send(&mut *link, b"!").unwrap();
    let words = turns.receive(&mut *link, LAST_WORDS.len()).unwrap();
    assert_eq!(words, LAST_WORDS);
    turns.end(&mut *link);
}

#[test]
fn a_pipe_that_no_listener_of_ours_made_is_neither_joined_nor_talked_to() {
    let name = fresh();
    let _stranger = NamedPipe::new(path(&name)).unwrap();
    let error = Fifo::new().connect(&name).err().unwrap();
    // Wine knows no owner where nobody has set it.
    let wine_says = wine() && error.kind() == ErrorKind::PermissionDenied;
    let refused = error.kind() == ErrorKind::ConnectionRefused;
    assert!(refused || wine_says, "{error}");
    match Fifo::new().bind(&name) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}"),
        Ok(_) => assert!(wine(), "joined a pipe that was there"),
    }
}

#[test]
fn links_outlive_their_listener_and_neither_keep_its_name_nor_look_busy() {
    let name = fresh();
    let mut turns = Loop::new();
    let mut listener = Fifo::new().bind(&name).unwrap();
    turns.add(&mut listener);
    let mut client = Fifo::new().connect(&name).unwrap();
    turns.add(&mut client);
    let mut server = turns.accept(&mut *listener);
    turns.add(&mut server);
    drop(listener);
    let error = Fifo::new().connect(&name).err().unwrap();
    let gone = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    assert!(gone.contains(&error.kind()), "{error}");
    turns.send(&mut *client, b"x").unwrap();
    assert_eq!(turns.receive(&mut *server, 1).unwrap(), b"x");

    // On Windows this joins the pipe that the links keep, after a look at whose it is.
    let mut listener = Fifo::new().bind(&name).unwrap();
    turns.add(&mut listener);
    let mut next = Fifo::new().connect(&name).unwrap();
    turns.add(&mut next);
    let mut link = turns.accept(&mut *listener);
    turns.add(&mut link);
    turns.send(&mut *next, b"y").unwrap();
    assert_eq!(turns.receive(&mut *link, 1).unwrap(), b"y");
    turns.send(&mut *server, b"z").unwrap();
    assert_eq!(turns.receive(&mut *client, 1).unwrap(), b"z");
}

#[test]
fn listeners_and_links_that_come_and_go_leave_no_handle() {
    let mut process = Process::start("come and go", &[]);
    let said = process.says();
    let (before, after) = said.split_once(' ').unwrap();
    let [before, after]: [u32; 2] = [before, after].map(|count| count.parse().unwrap());
    assert!(after < before + ROUNDS, "{before} handles became {after}");
}

#[test]
fn the_doctor_sees_a_listener_and_takes_nobodys_place() {
    let name = fresh();
    assert_eq!(Fifo::new().examine(&name), []);
    let mut listener = Fifo::new().bind(&name).unwrap();
    let findings = Fifo::new().examine(&name);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].about, About::Taken { pid: None });
    let nobody = listener.accept().err().unwrap();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_link_dropped_after_its_poll_ends_for_its_peer() {
    let name = fresh();
    let mut turns = Loop::new();
    let mut listener = Fifo::new().bind(&name).unwrap();
    turns.add(&mut listener);
    for poll_first in [true, false] {
        let mut client = Fifo::new().connect(&name).unwrap();
        let mut link = turns.accept(&mut *listener);
        turns.add(&mut link);
        let gone = thread::spawn(move || {
            let mut own = Loop::new();
            own.add(&mut client);
            own.send(&mut *client, b"x").unwrap();
            if poll_first {
                drop(own);
                drop(client);
            } else {
                drop(client);
                drop(own);
            }
        });
        gone.join().unwrap();
        assert_eq!(turns.receive(&mut *link, 1).unwrap(), b"x");
        turns.end(&mut *link);
    }
}
