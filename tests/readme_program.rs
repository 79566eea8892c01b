//! The program that the README shows, run as a user runs it: it counts, reports, limits, and is its own agent.
//!
//! This binary is that program, so it has a `main` of its own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and the README's program is not written for us"
)]

/// What the README has, word for word (`tests/readme.rs`).
#[cfg(unix)]
mod shop {
    include!("readme_program/shop.rs");

    pub fn run() -> Result<(), Box<dyn Error>> {
        main()
    }
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, ExitCode};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};
    use wayside::aggregator::{Report, lifecycle, status};
    use wayside::settings::{Environment, Settings};

    /// Makes this the README's program.
    const PROGRAM: &str = "TEST_PROGRAM";
    const PATIENCE: Duration = Duration::from_secs(60);

    pub fn main() -> ExitCode {
        if env::var_os(PROGRAM).is_some() {
            super::shop::run().unwrap();
            return ExitCode::SUCCESS;
        }
        // The harness's words: a name that is no part of this one's asks for other tests.
        let name = "it_counts_reports_limits_and_is_its_own_agent";
        let asked = env::args().skip(1).find(|word| !word.starts_with('-'));
        if asked.is_none_or(|asked| name.contains(&asked)) {
            it_counts_reports_limits_and_is_its_own_agent();
            println!("test {name} ... ok");
        }
        ExitCode::SUCCESS
    }

    fn it_counts_reports_limits_and_is_its_own_agent() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("run");
        let variables = [("WAYSIDE_DIR", dir.to_str().unwrap()), (PROGRAM, "1")];
        let run = || {
            let mut program = Command::new(env::current_exe().unwrap());
            let program = program.envs(variables).current_dir(folder.path());
            let output = program.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let mut logins = 0;
        let started = Instant::now();
        while run().starts_with("logged in; reports are in ") {
            logins += 1;
            assert!(started.elapsed() < PATIENCE, "after {logins} logins");
        }
        // Not asked in time, on a busy machine, the agent lets one in more.
        assert!(logins >= 5, "{logins}");

        // At its end the agent reports what is left.
        let settings =
            Settings::builder().environment(variables.into_iter().collect::<Environment>());
        let settings = settings.build().unwrap();
        let process = status(&settings, PATIENCE).unwrap().process;
        let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        kill_process(process, Signal::TERM).unwrap();
        assert!(lifecycle::wait_gone(&settings, PATIENCE).unwrap());
        let (requests, attacks) = reported(&dir.join("reports.jsonl"));
        assert_eq!((requests, attacks), (logins + 1, logins + 1));
        assert!(dir.join("journal").read_dir().unwrap().next().is_some());
    }

    /// The requests that were counted, and the attacks.
    fn reported(path: &Path) -> (u64, u64) {
        let (mut requests, mut attacks) = (0, 0);
        for line in fs::read_to_string(path).unwrap().lines() {
            match serde_json::from_str(line).unwrap() {
                Report::Heartbeat(heartbeat) => {
                    let counters = heartbeat.counters.iter();
                    let ours = counters.filter(|count| count.series.name == "http.requests");
                    requests += ours.map(|count| count.value).sum::<u64>();
                }
                Report::Attack(_) => attacks += 1,
                other => panic!("{other:?}"),
            }
        }
        (requests, attacks)
    }
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}
