//! Programs that are their own agent: real processes, elected, killed, replaced, asked to end.
//!
//! This binary is all of them, so it has a `main` of its own. A role is given by the environment; without
//! one it runs the tests, those whose name contains the argument if there is one.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it does"
)]

#[cfg(unix)]
mod unix {
    use std::env;
    use std::error::Error;
    use std::fs;
    use std::io::{self, Read, Write};
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, WaitOptions};
    use tempfile::TempDir;
    use wayside::aggregator::lifecycle::{
        self, EnsureError, HandOverError, Presence, Resident, ResidentError, Spawn, ensure_agent,
        hand_over, wait_gone,
    };
    use wayside::aggregator::sink::{JsonLines, Rotation};
    use wayside::aggregator::{Agent, AgentBuilder, Ended, Report, Worker, status};
    use wayside::settings::{Environment, Settings};

    const ROLE: &str = "TEST_ROLE";
    const DIR: &str = "TEST_DIR";
    const IDLE_MILLIS: &str = "TEST_IDLE_MILLIS";
    const PATIENCE: Duration = Duration::from_secs(30);

    pub fn main() -> ExitCode {
        let role = env::var(ROLE).unwrap_or_default();
        if role != "no_hook" {
            lifecycle::hook(|| resident(&env::var(DIR)?));
        }
        match role.as_str() {
            "" => run_tests(),
            "worker" => worker(),
            "agent" => agent(),
            "no_hook" => no_hook(),
            "short_life" => short_life(),
            other => panic!("no role {other}"),
        }
    }

    // ---- the roles ----

    fn settings(dir: &str) -> Settings {
        let environment = Environment::empty()
            .with("WAYSIDE_DIR", dir)
            .with("WAYSIDE_TRANSPORT", "uds");
        let builder = Settings::builder().name("shop").environment(environment);
        builder.build().unwrap()
    }

    fn builder(dir: &str) -> Result<AgentBuilder, Box<dyn Error>> {
        let path = Path::new(dir).join("reports.jsonl");
        Ok(Agent::builder("shop")
            .sink(JsonLines::file(&path, Rotation::default())?)
            .journal(Path::new(dir).join("journal"))
            .hand_over(|_| true)
            // The one at its end is what these tests are about.
            .first_heartbeat(Duration::from_secs(3600))
            .heartbeat(Duration::from_secs(3600)))
    }

    /// Each agent that is started leaves a line.
    fn resident(dir: &str) -> Result<Resident, Box<dyn Error>> {
        let path = Path::new(dir).join("agents");
        let mut agents = fs::File::options().append(true).create(true).open(path)?;
        agents.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        let resident = Resident::new(&settings(dir), builder(dir)?);
        Ok(match env::var(IDLE_MILLIS) {
            Ok(millis) => resident.idle(Duration::from_millis(millis.parse()?)),
            Err(_) => resident.stay(),
        })
    }

    fn own_worker(dir: &str) -> Worker {
        let spawn = Spawn::this_program().log(Path::new(dir).join("log"));
        let builder = Worker::builder("shop").settings(&settings(dir)).unwrap();
        builder.agent(spawn).start().unwrap()
    }

    /// Counts once when its input ends, and must get rid of it.
    fn worker() -> ExitCode {
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
        let worker = own_worker(&env::var(DIR).unwrap());
        worker.counter("starts").one();
        worker.close(PATIENCE).unwrap();
        ExitCode::SUCCESS
    }

    fn agent() -> ExitCode {
        let ended = resident(&env::var(DIR).unwrap()).unwrap().run().unwrap();
        println!("{}", ended.unwrap());
        ExitCode::SUCCESS
    }

    /// A program whose author has forgotten the hook.
    fn no_hook() -> ExitCode {
        let settings = settings(&env::var(DIR).unwrap());
        let error = ensure_agent(&settings, &Spawn::this_program(), PATIENCE).unwrap_err();
        eprintln!("{error}");
        let known = matches!(error, EnsureError::NoHook);
        ExitCode::from(if known { 17 } else { 18 })
    }

    /// Has the agent on its own threads, without a journal, and ends as soon as it may.
    fn short_life() -> ExitCode {
        let dir = env::var(DIR).unwrap();
        let builder = Worker::builder("shop").settings(&settings(&dir)).unwrap();
        let spawn = Spawn::in_process(move || {
            let path = Path::new(&dir).join("reports.jsonl");
            let sink = JsonLines::file(&path, Rotation::default())?;
            let agent = Agent::builder("shop").sink(sink);
            let agent = agent.first_heartbeat(Duration::from_secs(3600));
            Ok(Resident::new(&settings(&dir), agent))
        });
        let worker = builder.agent(spawn).start().unwrap();
        worker.counter("work").add(9);
        worker.close(PATIENCE).unwrap();
        ExitCode::SUCCESS
    }

    // ---- what the tests do with them ----

    /// A directory, and an end for whatever agent is still there.
    struct Shop {
        folder: TempDir,
        idle_millis: Option<u64>,
    }

    impl Shop {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            // What this very process starts finds its way by these, too.
            set_variable(DIR, folder.path().join("run").to_str().unwrap());
            fs::create_dir(folder.path().join("run")).unwrap();
            let owner = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
            fs::set_permissions(folder.path().join("run"), owner).unwrap();
            Self {
                folder,
                idle_millis: None,
            }
        }

        fn dir(&self) -> String {
            self.folder.path().join("run").to_str().unwrap().to_owned()
        }

        fn settings(&self) -> Settings {
            settings(&self.dir())
        }

        fn role(&self, role: &str) -> Command {
            let mut command = Command::new(env::current_exe().unwrap());
            command.env(ROLE, role).env(DIR, self.dir());
            if let Some(millis) = self.idle_millis {
                command.env(IDLE_MILLIS, millis.to_string());
            }
            command
        }

        /// The process of the agent that answers.
        fn agent(&self) -> Pid {
            let status = status(&self.settings(), PATIENCE).unwrap();
            Pid::from_raw(i32::try_from(status.process).unwrap()).unwrap()
        }

        /// The agents that were ever started.
        fn agents(&self) -> Vec<String> {
            let path = Path::new(&self.dir()).join("agents");
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }

        /// Waits for the agent's end, however it comes about.
        fn wait_for_the_end(&self) {
            let lock = Path::new(&self.dir()).join("shop.agent");
            eventually("the agent has ended", || {
                let file = fs::File::open(&lock).unwrap();
                let how = rustix::fs::FlockOperation::NonBlockingLockExclusive;
                rustix::fs::flock(&file, how).is_ok()
            });
        }

        /// The sum of a counter over all heartbeats.
        fn counted(&self, name: &str) -> u64 {
            let text = fs::read_to_string(Path::new(&self.dir()).join("reports.jsonl"));
            let mut sum = 0;
            for line in text.unwrap_or_default().lines() {
                if let Report::Heartbeat(heartbeat) = serde_json::from_str(line).unwrap() {
                    let counts = heartbeat.counters.iter();
                    let counts = counts.filter(|count| count.series.name == name);
                    sum += counts.map(|count| count.value).sum::<u64>();
                }
            }
            sum
        }

        fn log(&self) -> String {
            fs::read_to_string(Path::new(&self.dir()).join("log")).unwrap_or_default()
        }
    }

    impl Drop for Shop {
        fn drop(&mut self) {
            for agent in self.agents() {
                let pid = Pid::from_raw(agent.parse().unwrap()).unwrap();
                // Most have gone.
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
            if thread::panicking() {
                eprintln!("the agents said: {}", self.log());
            }
        }
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "not in time: {what}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn finish(mut child: Child) -> Option<i32> {
        let mut code = None;
        eventually("the process has ended", || {
            code = child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    #[allow(
        unsafe_code,
        reason = "the environment is changed while no other thread reads it"
    )]
    fn set_variable(name: &str, value: &str) {
        // SAFETY: the tests run one after the other on the main thread; each waits for the threads that
        // it has started, but for those of the library, which do not read this variable.
        unsafe { env::set_var(name, value) };
    }

    /// Of a process, or with 0 of this one; 0 where the session was begun outside of this container, which
    /// rustix does not expect.
    #[allow(unsafe_code, reason = "one system call on numbers")]
    fn session(process: libc::pid_t) -> libc::pid_t {
        // SAFETY: a system call that takes and gives numbers.
        let session = unsafe { libc::getsid(process) };
        assert!(session >= 0, "{}", io::Error::last_os_error());
        session
    }

    // ---- the tests ----

    fn fifty_that_start_at_once_elect_one() {
        let shop = Shop::new();
        let start = |_| shop.role("worker").stdin(Stdio::piped()).spawn().unwrap();
        let mut workers: Vec<Child> = (0..50).map(start).collect();
        // All at once, as far as that goes.
        for worker in &mut workers {
            drop(worker.stdin.take());
        }
        for worker in workers {
            assert_eq!(finish(worker), Some(0));
        }
        assert_eq!(shop.agents().len(), 1, "{:?}", shop.agents());
        // It has outlived those that started it, in a session of its own.
        let agent = shop.agent();
        assert_eq!(shop.agents(), [agent.as_raw_nonzero().to_string()]);
        assert_ne!(session(agent.as_raw_nonzero().get()), session(0));
        rustix::process::kill_process(agent, Signal::TERM).unwrap();
        shop.wait_for_the_end();
        assert_eq!(shop.counted("starts"), 50);
    }

    fn a_killed_agent_is_started_again_and_nothing_is_lost() {
        let shop = Shop::new();
        let worker = own_worker(&shop.dir());
        let counter = worker.counter("work");
        for round in 1..=3 {
            counter.add(5);
            worker.flush(PATIENCE).unwrap();
            assert_eq!(shop.agents().len(), round);
            let agent = shop.agent();
            rustix::process::kill_process(agent, Signal::KILL).unwrap();
            counter.add(5);
            worker.flush(PATIENCE).unwrap();
            assert_ne!(shop.agent(), agent);
            let agent = shop.agent();
            counter.add(1);
            worker.flush(PATIENCE).unwrap();
            assert_eq!(shop.agent(), agent, "one that lives stays");
        }
        worker.close(PATIENCE).unwrap();
        rustix::process::kill_process(shop.agent(), Signal::TERM).unwrap();
        shop.wait_for_the_end();
        assert_eq!(shop.counted("work"), 33);
    }

    fn the_starter_has_no_zombie() {
        let shop = Shop::new();
        let spawn = Spawn::this_program();
        let present = ensure_agent(&shop.settings(), &spawn, PATIENCE).unwrap();
        assert!(matches!(present, Presence::Spawned), "{present:?}");
        let children = rustix::process::wait(WaitOptions::NOHANG);
        assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD);
        let present = ensure_agent(&shop.settings(), &spawn, PATIENCE).unwrap();
        assert!(matches!(present, Presence::Found), "{present:?}");
        let names = fs::read_dir(shop.dir()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.contains("ticket")));
    }

    fn an_agent_without_workers_leaves() {
        let mut shop = Shop::new();
        shop.idle_millis = Some(300);
        let worker = shop.role("worker").stdin(Stdio::null()).spawn().unwrap();
        assert_eq!(finish(worker), Some(0));
        shop.wait_for_the_end();
        assert_eq!(shop.agents().len(), 1);
        assert_eq!(shop.counted("starts"), 1);
        // The next worker has another one.
        let worker = shop.role("worker").stdin(Stdio::null()).spawn().unwrap();
        assert_eq!(finish(worker), Some(0));
        assert_eq!(shop.agents().len(), 2);
    }

    fn sigterm_ends_it_with_a_last_heartbeat() {
        for signal in [Signal::TERM, Signal::INT] {
            let shop = Shop::new();
            let agent = shop.role("agent").stdout(Stdio::null()).spawn().unwrap();
            let builder = Worker::builder("shop").settings(&shop.settings()).unwrap();
            let worker = builder.start().unwrap();
            worker.counter("work").add(7);
            worker.flush(PATIENCE).unwrap();
            assert_eq!(shop.counted("work"), 0, "no heartbeat was due");
            let pid = Pid::from_child(&agent);
            rustix::process::kill_process(pid, signal).unwrap();
            assert_eq!(finish(agent), Some(0));
            assert_eq!(shop.counted("work"), 7);
        }
    }

    fn an_agent_hands_over_to_the_next() {
        let shop = Shop::new();
        assert!(!hand_over(&shop.settings(), "2.0", PATIENCE).unwrap());
        let agent = shop.role("agent").stdout(Stdio::piped()).spawn().unwrap();
        let worker = own_worker(&shop.dir());
        worker.counter("work").add(3);
        worker.flush(PATIENCE).unwrap();
        assert!(hand_over(&shop.settings(), "2.0", PATIENCE).unwrap());
        let output = agent.wait_with_output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("2.0 takes over"), "{said}");
        // The worker starts the next.
        worker.counter("work").add(4);
        worker.close(PATIENCE).unwrap();
        assert_eq!(shop.agents().len(), 2);
        rustix::process::kill_process(shop.agent(), Signal::TERM).unwrap();
        shop.wait_for_the_end();
        assert_eq!(shop.counted("work"), 7);
    }

    fn a_second_agent_ends_when_the_first_stays() {
        let shop = Shop::new();
        let first = shop.role("agent").stdout(Stdio::null()).spawn().unwrap();
        let builder = Worker::builder("shop").settings(&shop.settings()).unwrap();
        let worker = builder.start().unwrap();
        worker.counter("work").one();
        worker.flush(PATIENCE).unwrap();
        let second = Resident::new(&shop.settings(), Agent::builder("shop"))
            .predecessor_timeout(Duration::from_millis(100))
            .run();
        assert_eq!(second.unwrap(), None);
        rustix::process::kill_process(Pid::from_child(&first), Signal::TERM).unwrap();
        assert_eq!(finish(first), Some(0));
    }

    fn a_program_without_the_hook_is_told() {
        let shop = Shop::new();
        let mut command = shop.role("no_hook");
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // It is not told itself that it was overlooked, but that what it has started failed.
        assert_eq!(output.status.code(), Some(18), "{said}");
        assert!(said.contains("starter failed"), "{said}");
    }

    fn a_command_or_a_thread_can_be_the_agent() {
        let shop = Shop::new();
        let missing = Spawn::command("/nowhere/agent", ["--now"]);
        let error = ensure_agent(&shop.settings(), &missing, PATIENCE).unwrap_err();
        assert!(matches!(error, EnsureError::Launch(_)), "{error}");
        let dir = shop.dir();
        let fallback =
            missing.or_in_process(move || Ok(Resident::new(&settings(&dir), builder(&dir)?)));
        let builder = Worker::builder("shop").settings(&shop.settings()).unwrap();
        let worker = builder.agent(fallback).start().unwrap();
        worker.counter("work").add(2);
        worker.flush(PATIENCE).unwrap();
        assert_eq!(shop.agent(), rustix::process::getpid());
        worker.close(PATIENCE).unwrap();
        shop.wait_for_the_end();
        assert_eq!(shop.counted("work"), 2);
        let variables = [format!("{ROLE}=agent"), format!("{DIR}={}", shop.dir())];
        let this = env::current_exe().unwrap().to_str().unwrap().to_owned();
        let words = variables.into_iter().chain([this]);
        let present = ensure_agent(&shop.settings(), &Spawn::command("env", words), PATIENCE);
        assert!(matches!(present.unwrap(), Presence::Spawned));
        assert_ne!(shop.agent(), rustix::process::getpid());
    }

    fn a_short_life_with_an_agent_of_its_own_loses_nothing() {
        for round in 1..=5 {
            let shop = Shop::new();
            let process = shop.role("short_life").spawn().unwrap();
            assert_eq!(finish(process), Some(0));
            assert_eq!(shop.counted("work"), 9, "in round {round}");
        }
    }

    fn an_agent_that_fails_is_an_error_of_its_program() {
        let shop = Shop::new();
        let failed = Resident::new(&shop.settings(), Agent::builder("shop"))
            .on_start(|agent| agent.end(Ended::Failed("out of luck".to_owned())))
            .run();
        let error = failed.unwrap_err();
        assert!(matches!(error, ResidentError::Failed(_)), "{error}");
    }

    fn tickets_that_nobody_took_are_swept() {
        let shop = Shop::new();
        let ticket = |number: u32| {
            let name = format!("shop.agent-ticket-{number:032x}");
            Path::new(&shop.dir()).join(name)
        };
        let other = Path::new(&shop.dir()).join("shop.agent-tickets");
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        for path in [ticket(1), ticket(2), other.clone()] {
            fs::File::create(path).unwrap();
        }
        for path in [&ticket(1), &other] {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(hour_ago).unwrap();
        }
        let worker = own_worker(&shop.dir());
        worker.counter("work").one();
        worker.close(PATIENCE).unwrap();
        assert!(!ticket(1).exists());
        assert!(ticket(2).exists(), "its starter may be at work");
        assert!(other.exists(), "it is no ticket");
    }

    fn an_agent_makes_room_for_newer_builds_only() {
        let shop = Shop::new();
        let settings = shop.settings();
        let present = Resident::new(
            &settings,
            Agent::builder("shop").hand_over_to_newer("1.9.0"),
        );
        let running = thread::spawn(move || present.run().unwrap().unwrap());
        eventually("it is there", || status(&settings, PATIENCE).is_ok());
        for build in ["1.9.0", "1.8.12", "newest"] {
            let refused = hand_over(&settings, build, PATIENCE).unwrap_err();
            assert!(matches!(refused, HandOverError::Refused(_)), "{refused}");
        }
        assert!(!running.is_finished());
        assert!(hand_over(&settings, "1.10.0", PATIENCE).unwrap());
        let ended = running.join().unwrap();
        assert_eq!(ended.to_string(), "1.10.0 takes over");
    }

    fn the_program_of_an_agent_has_it_at_hand() {
        let shop = Shop::new();
        let settings = shop.settings();
        assert!(
            wait_gone(&settings, Duration::ZERO).unwrap(),
            "there never was one"
        );
        let (sender, at_hand) = std::sync::mpsc::channel();
        let resident = Resident::new(&settings, builder(&shop.dir()).unwrap())
            .stay()
            .on_start(move |agent| sender.send(agent.clone()).unwrap());
        let running = thread::spawn(move || resident.run().unwrap());
        let agent = at_hand.recv_timeout(PATIENCE).unwrap();
        assert!(!wait_gone(&settings, Duration::ZERO).unwrap());
        let version = agent.set_config("shop", "mallory is blocked").unwrap();
        assert_eq!(
            status(&settings, PATIENCE).unwrap().applications[0].config,
            Some(version)
        );
        agent.end(Ended::Idle);
        assert!(wait_gone(&settings, PATIENCE).unwrap());
        assert_eq!(running.join().unwrap(), Some(Ended::Idle));
        // Whoever still has it has one that has ended.
        assert!(agent.set_config("shop", "nobody").is_err());
    }

    fn run_tests() -> ExitCode {
        let tests: &[(&str, fn())] = &[
            (
                "fifty_that_start_at_once_elect_one",
                fifty_that_start_at_once_elect_one,
            ),
            (
                "a_killed_agent_is_started_again_and_nothing_is_lost",
                a_killed_agent_is_started_again_and_nothing_is_lost,
            ),
            ("the_starter_has_no_zombie", the_starter_has_no_zombie),
            (
                "an_agent_without_workers_leaves",
                an_agent_without_workers_leaves,
            ),
            (
                "sigterm_ends_it_with_a_last_heartbeat",
                sigterm_ends_it_with_a_last_heartbeat,
            ),
            (
                "an_agent_hands_over_to_the_next",
                an_agent_hands_over_to_the_next,
            ),
            (
                "a_short_life_with_an_agent_of_its_own_loses_nothing",
                a_short_life_with_an_agent_of_its_own_loses_nothing,
            ),
            (
                "an_agent_that_fails_is_an_error_of_its_program",
                an_agent_that_fails_is_an_error_of_its_program,
            ),
            (
                "tickets_that_nobody_took_are_swept",
                tickets_that_nobody_took_are_swept,
            ),
            (
                "an_agent_makes_room_for_newer_builds_only",
                an_agent_makes_room_for_newer_builds_only,
            ),
            (
                "the_program_of_an_agent_has_it_at_hand",
                the_program_of_an_agent_has_it_at_hand,
            ),
            (
                "a_second_agent_ends_when_the_first_stays",
                a_second_agent_ends_when_the_first_stays,
            ),
            (
                "a_program_without_the_hook_is_told",
                a_program_without_the_hook_is_told,
            ),
            (
                "a_command_or_a_thread_can_be_the_agent",
                a_command_or_a_thread_can_be_the_agent,
            ),
        ];
        let words: Vec<String> = env::args().skip(1).collect();
        let listed = words.iter().any(|word| word == "--list");
        let filter = words.iter().find(|word| !word.starts_with('-'));
        for (name, test) in tests {
            if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            if listed {
                println!("{name}: test");
                continue;
            }
            let start = Instant::now();
            // A panic ends it all with its own message and code.
            test();
            println!("test {name} ... ok ({:.1?})", start.elapsed());
        }
        ExitCode::SUCCESS
    }
}

#[cfg(unix)]
use unix::main;

/// Without signals and sessions there is little to see.
#[cfg(not(unix))]
fn main() {}
