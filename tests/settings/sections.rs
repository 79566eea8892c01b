//! Sections of the floors above and of programs: as strict and as clear as the crate's own.

use std::time::Duration;

use serde::Deserialize;
use wayside::settings::{Settings, SettingsErrorKind, Size};

use crate::environment;

#[derive(Debug, Deserialize, PartialEq)]
struct Worker {
    flush: Duration,
    #[serde(default)]
    batch: Size,
    #[serde(default)]
    shards: Option<u8>,
    #[serde(default)]
    sampling: f64,
    #[serde(default)]
    quiet: bool,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    when_lost: WhenLost,
    #[serde(default)]
    retry: Option<Retry>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum WhenLost {
    #[default]
    Open,
    Closed,
    LastKnown {
        for_at_most: Duration,
    },
}

#[derive(Debug, Deserialize, PartialEq)]
struct Retry {
    delay: Duration,
    count: u32,
}

fn worker(text: &str, variables: &[(&str, &str)]) -> Result<Worker, String> {
    Settings::builder()
        .environment(environment(variables))
        .load_text(text, "wayside.toml")
        .and_then(|settings| settings.section("worker"))
        .map_err(|error| error.to_string())
}

#[test]
fn file_and_variables_fill_the_type() {
    let text = "[worker]\nflush = \"1s\"\nbatch = \"4 KiB\"\nshards = 3\nsampling = 1\n\
                tags = [\"a\", \"b\"]\nretry = { delay = \"20ms\", count = 5 }\n\
                [worker.when_lost.last_known]\nfor_at_most = \"1m\"";
    let mut expected = Worker {
        flush: Duration::from_secs(1),
        batch: Size(4096),
        shards: Some(3),
        sampling: 1.0,
        quiet: false,
        tags: vec!["a".to_owned(), "b".to_owned()],
        when_lost: WhenLost::LastKnown {
            for_at_most: Duration::from_secs(60),
        },
        retry: Some(Retry {
            delay: Duration::from_millis(20),
            count: 5,
        }),
    };
    assert_eq!(worker(text, &[]).as_ref(), Ok(&expected));

    let variables = [
        ("WAYSIDE_WORKER_FLUSH", "2s"),
        ("WAYSIDE_WORKER_BATCH", "8192"),
        ("WAYSIDE_WORKER_SHARDS", "4"),
        ("WAYSIDE_WORKER_SAMPLING", "0.5"),
        ("WAYSIDE_WORKER_QUIET", "true"),
        ("WAYSIDE_WORKER_TAGS", "c, d"),
        ("WAYSIDE_WORKER_WHEN_LOST", "closed"),
        ("WAYSIDE_WORKER_SERVICE_HOST", "10.0.0.1"),
    ];
    expected.flush = Duration::from_secs(2);
    expected.batch = Size(8192);
    expected.shards = Some(4);
    expected.sampling = 0.5;
    expected.quiet = true;
    expected.tags = vec!["c".to_owned(), "d".to_owned()];
    expected.when_lost = WhenLost::Closed;
    assert_eq!(worker(text, &variables), Ok(expected));
}

#[test]
fn mistakes_are_said_as_well_as_those_in_the_keys_of_the_crate() {
    for (keys, expected) in [
        (
            "",
            ":1:2: worker.flush: is missing, and has no default: write it into [worker], or set WAYSIDE_WORKER_FLUSH",
        ),
        (
            "flsh = \"1s\"",
            ":2:1: worker.flsh: there is no such key; did you mean `flush`?",
        ),
        (
            "colour = 1",
            ":2:1: worker.colour: there is no such key (there is: flush, batch, shards, sampling, quiet, tags, when_lost, retry)",
        ),
        (
            "flush = 1",
            ":2:9: worker.flush = 1: must be a duration: write a number and a unit, such as \"5s\" or \"250ms\"",
        ),
        (
            "flush = \"1 sec\"",
            ":2:9: worker.flush = \"1 sec\": there is no unit `sec`; did you mean `s`? (units: ns, us, ms, s, m, h, d)",
        ),
        (
            "batch = true",
            ":2:9: worker.batch = true: must be a size: write bytes as an integer, or a text such as \"4 MiB\"",
        ),
        (
            "batch = \"4 MB \\n\\u001b[31m\"",
            ":2:9: worker.batch = \"4 MB \\n\\u001b[31m\": is no size: write bytes as an integer, or a text such as \"4 MiB\"",
        ),
        (
            "shards = 300",
            ":2:10: worker.shards = 300: must be an integer from 0 to 255",
        ),
        (
            "shards = \"3\"",
            ":2:10: worker.shards = \"3\": must be an integer from 0 to 255",
        ),
        (
            "sampling = \"much\"",
            ":2:12: worker.sampling = \"much\": must be a number",
        ),
        ("quiet = 1", ":2:9: worker.quiet = 1: must be true or false"),
        ("tags = \"a\"", ":2:8: worker.tags = \"a\": must be a list"),
        (
            "tags = [\"a\", 2]",
            ":2:14: worker.tags = 2: must be a text in quotes",
        ),
        (
            "when_lost = \"close\"",
            ":2:13: worker.when_lost = \"close\": there is no such choice; did you mean `closed`?",
        ),
        (
            "when_lost = { open = 1, closed = 2 }",
            ":2:13: worker.when_lost: must have exactly one key: the choice",
        ),
        (
            "when_lost = { last_known = { for_at_most = 1 } }",
            ":2:44: worker.when_lost.last_known.for_at_most = 1: must be a duration: write a number and a unit, such as \"5s\" or \"250ms\"",
        ),
        (
            "retry = 3",
            ":2:9: worker.retry = 3: must be a table of keys",
        ),
        (
            "retry = { delay = \"1s\" }",
            ":2:9: worker.retry.count: is missing, and has no default",
        ),
        (
            "retry.delay = \"1s\"\nretry.cuont = 2",
            ":3:7: worker.retry.cuont: there is no such key; did you mean `count`?",
        ),
    ] {
        let text = format!("[worker]\n{keys}");
        assert_eq!(
            worker(&text, &[]),
            Err(format!("wayside.toml{expected}")),
            "{keys}"
        );
    }
    for (name, value, expected) in [
        (
            "WAYSIDE_WORKER_FLUSH",
            "soon",
            "WAYSIDE_WORKER_FLUSH = \"soon\": is no duration: write a number and a unit, such as \"5s\" or \"250ms\"",
        ),
        (
            "WAYSIDE_WORKER_SHARDS",
            "300",
            "WAYSIDE_WORKER_SHARDS = \"300\": must be an integer from 0 to 255",
        ),
        (
            "WAYSIDE_WORKER_FLSH",
            "1s",
            "WAYSIDE_WORKER_FLSH: there is no such variable; did you mean `WAYSIDE_WORKER_FLUSH`?",
        ),
    ] {
        let found = worker("[worker]\nflush = \"1s\"", &[(name, value)]);
        assert_eq!(found, Err(expected.to_owned()), "{name}");
    }
}

#[test]
fn a_missing_section_is_an_empty_one() {
    let expected = "wayside.toml: worker.flush: is missing, and has no default: write it into \
                    [worker], or set WAYSIDE_WORKER_FLUSH";
    assert_eq!(worker("", &[]), Err(expected.to_owned()));
    let found = worker("", &[("WAYSIDE_WORKER_FLUSH", "3s")]).unwrap();
    assert_eq!(found.flush, Duration::from_secs(3));
}

#[test]
fn a_program_declares_its_sections_and_rejects_what_does_not_fit() {
    let error = Settings::from_text("[cache]\nkeep = 1", "wayside.toml").unwrap_err();
    assert_eq!(error.key(), Some("cache"));
    let builder = || {
        Settings::builder()
            .section("cache")
            .environment(environment(&[("WAYSIDE_CACHE_SIZE", "7")]))
    };
    let settings = builder()
        .load_text("[cache]\nkeep = { min = 5 }", "wayside.toml")
        .unwrap();
    assert_eq!(
        settings
            .reject("cache.keep.min", "must be more than 7")
            .to_string(),
        "wayside.toml:2:16: cache.keep.min = 5: must be more than 7"
    );
    assert_eq!(
        settings.reject("cache.size", "must be less").to_string(),
        "WAYSIDE_CACHE_SIZE = \"7\": must be less"
    );
    assert_eq!(
        settings.reject("cache.other", "is bad").to_string(),
        "cache.other: is bad"
    );
    assert!(settings.to_string().contains("\n[cache]\nkeep = { min = 5 }  # wayside.toml:2\n# WAYSIDE_CACHE_SIZE = \"7\"  # environment\n"));
    let map: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
        settings.section("cache").unwrap();
    assert_eq!(map.keys().collect::<Vec<_>>(), ["keep", "size"]);

    let error = settings.section::<Worker>("cash").unwrap_err();
    assert_eq!(
        error.to_string(),
        "set by the program: cash: is read without having been declared by `SettingsBuilder::section`"
    );
    for taken in ["tcp", "worker", "name", "a_b", "", "cache"] {
        let error = builder().section(taken).build().unwrap_err();
        assert_eq!(error.kind(), SettingsErrorKind::BadValue, "{taken}");
    }
}

#[test]
fn values_of_every_type_are_printed_as_what_they_are() {
    let text = "[worker]\n\
                text = \"a \\\"b\\\" \\u0001\"\n\
                whole = 1.0\n\
                large = 1e300\n\
                none = nan\n\
                below = -inf\n\
                bits = 0xff\n\
                date = 1979-05-27T07:32:00Z\n\
                list = [1, [true], { \"a b\" = 1, c = {} }]\n";
    let settings = Settings::from_text(text, "wayside.toml").unwrap();
    let expected = "\n[worker]\n\
                    text = \"a \\\"b\\\" \\u0001\"\n\
                    whole = 1.0\n\
                    large = 1e300\n\
                    none = nan\n\
                    below = -inf\n\
                    bits = 255\n\
                    date = 1979-05-27T07:32:00Z\n\
                    list = [1, [true], { \"a b\" = 1, c = { } }]\n";
    let printed = format!("{settings:#}");
    assert!(printed.ends_with(expected), "{printed}");
}
