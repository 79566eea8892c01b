//! What holds for any text and any settings.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wayside::internals::fuzz_settings;
use wayside::settings::Settings;

#[test]
fn the_corpus_holds_nothing_that_breaks_the_promise() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        // A published package is without the folder, which is a package of its own.
        return;
    }
    let folder = fuzz.join("corpus/settings");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        // Also with each end cut off: what a half-written file looks like.
        for len in 0..=data.len() {
            fuzz_settings(&data[..len]);
        }
        count += 1;
    }
    assert!(count >= 24, "the corpus has only {count} files");
}

/// A line that is right, or nearly.
fn line() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("transport"),
        Just("name"),
        Just("dir"),
        Just("path"),
        Just("allow_uids"),
        Just("address"),
        Just("key"),
        Just("beyond_loopback"),
        Just("frame_len_max"),
        Just("ping_interval"),
        Just("silence_timeout"),
        Just("calls_max"),
        Just("flush"),
        Just("batch"),
        Just("shards"),
        Just("ratio"),
        Just("mode"),
        Just("tags"),
        Just("retry"),
        Just("tcp.address"),
        Just("worker.retry.a"),
        Just("\"\\u001b\""),
    ];
    let value = prop_oneof![
        Just("\"uds\""),
        Just("\"tcp\""),
        Just("[\"tcp\", \"tcp:127.0.0.1:1\"]"),
        Just("\"shop\""),
        Just("\"/run/shop\""),
        Just("\"run\""),
        Just("[1, 2]"),
        Just("[]"),
        Just("true"),
        Just("\"5s\""),
        Just("\"1m 30s\""),
        Just("\"4 MiB\""),
        Just("4096"),
        Just("-1"),
        Just("1.5"),
        Just("nan"),
        Just("1e400"),
        Just("{ a = 1 }"),
        Just("{ a = [{ b = 1 }] }"),
        Just("{ sampled = { rate = 0.5 } }"),
        Just("\"plain\""),
        Just("1979-05-27"),
        Just("'''\n\u{1}'''"),
        Just("\"\\u001b\\n\""),
        Just("340282366920938463463374607431768211456"),
    ];
    let section = prop_oneof![
        Just("[uds]"),
        Just("[tcp]"),
        Just("[limits]"),
        Just("[worker]"),
        Just("[agent]"),
        Just("[worker.retry]"),
        Just("[[worker]]"),
        Just("[tcq]"),
    ];
    prop_oneof![
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => section.prop_map(str::to_owned),
        1 => "[ -~é]{0,20}",
    ]
}

/// A variable that is right, or nearly.
fn variable() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("NAME"),
        Just("DIR"),
        Just("TRANSPORT"),
        Just("ENDPOINT"),
        Just("TCP_ADDRESS"),
        Just("TCP_PORT"),
        Just("UDS_ALLOW_UIDS"),
        Just("LIMITS_PING_INTERVAL"),
        Just("COLOUR"),
        Just("WORKER_FLUSH"),
        Just("WORKER_SHARDS"),
        Just("WORKER_TAGS"),
        Just("WORKER_MODE"),
    ];
    let value = prop_oneof![
        Just("shop"),
        Just("/run"),
        Just("tcp"),
        Just("tcp:127.0.0.1:1"),
        Just("1,2"),
        Just(""),
        Just("5s"),
        Just("plain"),
        Just("\u{1b}"),
        Just("127.0.0.1:1"),
    ];
    (name, value).prop_map(|(name, value)| format!("WAYSIDE_{name}={value}"))
}

/// Valid settings, as a file.
fn valid() -> impl Strategy<Value = String> {
    let transport = prop_oneof![
        Just("\"tcp\"".to_owned()),
        (1_u16..).prop_map(|port| format!("\"tcp:127.0.0.1:{port}\"")),
        (1_u16..).prop_map(|port| format!("[\"tcp\", 'tcp:[::1]:{port}']")),
    ];
    let path = "/[a-zA-Z0-9 ._é\"\\\\-]{0,30}";
    let top = (transport, "[a-z0-9][a-z0-9_-]{0,31}", path);
    let uds = (path, prop::collection::vec(0..u32::MAX, 0..4));
    let limits = (1024_u32..1 << 28, 1_u32.., 1_u64..1 << 40, 0_u64..1 << 40);
    (top, uds, limits, any::<bool>()).prop_map(|(top, uds, limits, beyond)| {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let (frame, calls, ping, more) = limits;
        format!(
            "transport = {}\nname = \"{}\"\ndir = {}\n[uds]\npath = {}\nallow_uids = {:?}\n\
             [tcp]\nbeyond_loopback = {beyond}\n[limits]\nframe_len_max = {frame}\n\
             outbox_len_max = {}\npartial_len_max = \"1 GiB\"\ncalls_max = {calls}\n\
             ping_interval = \"{}us\"\nsilence_timeout = \"{}us\"\n",
            top.0,
            top.1,
            quoted(&top.2),
            quoted(&uds.0),
            uds.1,
            u64::from(frame) + 4,
            ping + 1000,
            2 * (ping + 1000) + more,
        )
    })
}

proptest! {
    #[test]
    fn no_text_panics_and_every_error_has_a_place_in_it(text in any::<String>()) {
        fuzz_settings(text.as_bytes());
    }

    #[test]
    fn no_bytes_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_settings(&data);
    }

    #[test]
    fn what_is_nearly_right_is_said_with_its_place_or_taken(
        lines in prop::collection::vec(line(), 0..8),
        variables in prop::collection::vec(variable(), 0..3),
    ) {
        let text = format!("{}\0{}", lines.join("\n"), variables.join("\n"));
        fuzz_settings(text.as_bytes());
    }

    #[test]
    fn printed_settings_mean_the_same(text in valid()) {
        let settings = Settings::from_text(&text, "valid.toml");
        let settings = settings.unwrap_or_else(|error| panic!("{error}\n{text}"));
        for printed in [settings.to_string(), format!("{settings:#}")] {
            let again = Settings::from_text(&printed, "printed.toml").unwrap();
            prop_assert_eq!(again.limits(), settings.limits());
            prop_assert_eq!(again.name(), settings.name());
            prop_assert_eq!(format!("{again:#}"), format!("{settings:#}"));
        }
    }
}
