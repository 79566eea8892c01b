//! The section `[worker]`.

use std::time::Duration;

use wayside::Settings;
use wayside::aggregator::{Worker, WorkerLimits};

use crate::agent::Agent;
use crate::support::*;

#[test]
fn the_section_is_read_and_a_mistake_says_where_it_is() {
    let error = |text: &str| {
        let settings = Settings::from_text(text, "wayside.toml").unwrap();
        let builder = Worker::builder("shop").settings(&settings);
        builder.err().map(|error| error.to_string())
    };
    let all = "[worker]\ntoken = \"x\"\nflush_interval = \"250ms\"\nattacks_len_max = \"1 MiB\"\n\
               allow_policy = \"last_known\"\nseries_max = 7";
    assert_eq!(error(all), None);
    let unknown = error("[worker]\nflush = \"1s\"").unwrap();
    assert!(
        unknown.starts_with("wayside.toml:2:1: worker.flush: there is no such key"),
        "{unknown}"
    );
    let never = error("[worker]\nflush_interval = \"0s\"").unwrap();
    assert!(never.contains("must be longer than nothing"), "{never}");
    let policy = error("[worker]\nallow_policy = \"ajar\"").unwrap();
    assert!(policy.starts_with("wayside.toml:2:16"), "{policy}");
}

#[test]
fn a_worker_by_settings_finds_its_agent_and_says_the_token() {
    let folder = private_folder();
    let dir = folder.path().display();
    let text = format!("transport = \"tcp\"\ndir = '{dir}'\n[worker]\ntoken = \"secret\"");
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let agent = Agent::default();
    let (_server, at) = agent.serve(&settings.transports().unwrap()[0].at("127.0.0.1:0"));
    let text = format!("{text}\n[tcp]\naddress = \"{}\"", at.address());
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let worker = Worker::builder("shop")
        .settings(&settings)
        .unwrap()
        .start()
        .unwrap();
    worker.counter("requests").one();
    worker.flush(Duration::from_secs(60)).unwrap();
    let hello = agent.book().hellos[0].clone();
    assert_eq!(
        (&*hello.application, hello.token.as_deref()),
        ("shop", Some("secret"))
    );
    assert_eq!(hello.worker, worker.id());
}

#[test]
fn what_the_program_says_stands_above_the_settings_in_any_order() {
    let folder = private_folder();
    let dir = folder.path().display();
    let text = format!(
        "transport = \"tcp\"\ndir = '{dir}'\n[worker]\ntoken = \"theirs\"\nseries_per_name_max = 5"
    );
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let limits = || WorkerLimits {
        series_per_name_max: 3,
        ..WorkerLimits::default()
    };
    let series = |worker: Worker| {
        for user in 0..10 {
            drop(worker.counter_with("logins", &[("user", &user.to_string())]));
        }
        10 - worker.counters().series_overflowed
    };
    let by_settings = Worker::builder("shop").settings(&settings).unwrap();
    assert_eq!(series(by_settings.start().unwrap()), 5);
    let before = Worker::builder("shop").limits(limits()).token("ours");
    let before = before.settings(&settings).unwrap();
    let after = Worker::builder("shop").settings(&settings).unwrap();
    let after = after.limits(limits()).token("ours");
    for builder in [before, after] {
        assert_eq!(series(builder.start().unwrap()), 3);
    }
}
