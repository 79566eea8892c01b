//! Who wins, and who is said to have won.

use std::time::Duration;

use wayside::settings::{Environment, Origin, Settings};
use wayside::{Limits, Spin, Transport};

use crate::environment;

#[test]
fn without_anything_there_are_defaults() {
    let settings = Settings::default_for("shop").unwrap();
    assert_eq!(settings.name(), "shop");
    assert_eq!(settings.limits(), &Limits::default());
    assert_eq!(settings.file(), None);
    let settings = Settings::from_text("", "wayside.toml").unwrap();
    assert_eq!(settings.name(), "wayside");
    assert_eq!(settings.origin("name"), Origin::Default);
    let first = if cfg!(unix) { "uds" } else { "tcp" };
    let line = format!("transport = \"{first}\"  # default");
    assert!(settings.to_string().starts_with(&line));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_program() {
    let limits = || Limits {
        calls_max: 1,
        ..Limits::default()
    };
    let program = || {
        let builder = Settings::builder().name("program").limits(limits());
        builder.environment(Environment::empty())
    };
    let file = "name = \"file\"\nlimits.calls_max = 2";
    let variables = [
        ("WAYSIDE_NAME", "variable"),
        ("WAYSIDE_LIMITS_CALLS_MAX", "3"),
    ];

    let settings = program().build().unwrap();
    assert_eq!(
        (settings.name(), settings.limits().calls_max),
        ("program", 1)
    );
    assert_eq!(settings.origin("name"), Origin::Program);
    assert_eq!(settings.origin("limits.calls_max"), Origin::Program);
    assert_eq!(settings.origin("limits.peers_max"), Origin::Default);

    let settings = program().load_text(file, "f.toml").unwrap();
    assert_eq!((settings.name(), settings.limits().calls_max), ("file", 2));
    let origin = Origin::File {
        name: "f.toml".into(),
        line: 2,
    };
    assert_eq!(settings.origin("limits.calls_max"), origin);

    let settings = program().environment(environment(&variables));
    let settings = settings.load_text(file, "f.toml").unwrap();
    assert_eq!(
        (settings.name(), settings.limits().calls_max),
        ("variable", 3)
    );
    let origin = Origin::Variable("WAYSIDE_NAME".to_owned());
    assert_eq!(settings.origin("name"), origin);
}

#[test]
fn how_waits_are_done_follows_the_same_order() {
    let program = || {
        Settings::builder()
            .spin(Spin::Off)
            .environment(Environment::empty())
    };
    let spin = |settings: Settings| (settings.spin(), settings.origin("spin"));
    let nothing = Settings::from_text("", "f.toml").unwrap();
    assert_eq!(spin(nothing), (Spin::Adaptive, Origin::Default));
    let settings = program().build().unwrap();
    assert_eq!(spin(settings), (Spin::Off, Origin::Program));
    let file = "spin = \"always\"";
    let settings = program().load_text(file, "f.toml").unwrap();
    assert_eq!(settings.spin(), Spin::Always);
    let variables = environment(&[("WAYSIDE_SPIN", "adaptive")]);
    let settings = program().environment(variables).load_text(file, "f.toml");
    assert_eq!(settings.unwrap().spin(), Spin::Adaptive);
}

#[test]
fn an_endpoint_replaces_the_transport_also_that_of_its_variable() {
    let settings = Settings::builder()
        .environment(environment(&[
            ("WAYSIDE_TRANSPORT", "tcp:127.0.0.1:1"),
            ("WAYSIDE_ENDPOINT", "tcp:127.0.0.1:2, tcp:[::1]:3"),
        ]))
        .load_text("transport = \"tcp\"\ntcp.key = '/k'", "wayside.toml")
        .unwrap();
    let names: Vec<String> = settings
        .transports()
        .unwrap()
        .iter()
        .map(Transport::to_string)
        .collect();
    assert_eq!(names, ["tcp:127.0.0.1:2", "tcp:[::1]:3"]);
}

#[test]
fn a_variable_set_to_nothing_is_not_set_and_a_list_becomes_empty() {
    let variables = [
        ("WAYSIDE_NAME", ""),
        ("WAYSIDE_ENDPOINT", ""),
        ("WAYSIDE_LIMITS_PING_INTERVAL", ""),
        ("WAYSIDE_UDS_ALLOW_UIDS", ""),
    ];
    let text = "name = \"shop\"\nuds.path = \"/s\"\nuds.allow_uids = [33]";
    let builder = Settings::builder().environment(environment(&variables));
    let settings = builder.load_text(text, "wayside.toml").unwrap();
    assert_eq!(settings.name(), "shop");
    assert_eq!(settings.limits(), &Limits::default());
    let printed = settings.to_string();
    assert!(printed.contains("allow_uids = []  # environment WAYSIDE_UDS_ALLOW_UIDS"));
}

/// A value for each key, other than its default.
const OTHERS: [(&str, &str); 28] = [
    ("WAYSIDE_TRANSPORT", "tcp"),
    ("WAYSIDE_NAME", "other"),
    ("WAYSIDE_DIR", "/other"),
    ("WAYSIDE_SPIN", "off"),
    ("WAYSIDE_UDS_PATH", "/other.sock"),
    ("WAYSIDE_UDS_ALLOW_UIDS", "1,2"),
    ("WAYSIDE_UDS_ALLOW_GIDS", "3"),
    ("WAYSIDE_TCP_ADDRESS", "10.0.0.1:1"),
    ("WAYSIDE_TCP_KEY", "/other.key"),
    ("WAYSIDE_TCP_BEYOND_LOOPBACK", "true"),
    ("WAYSIDE_FIFO_PATH", "/other.fifo"),
    ("WAYSIDE_MQUEUE_MESSAGES", "7"),
    ("WAYSIDE_MQUEUE_MESSAGE_LEN", "512"),
    ("WAYSIDE_LIMITS_FRAME_LEN_MAX", "1 MiB"),
    ("WAYSIDE_LIMITS_OUTBOX_LEN_MAX", "2 MiB"),
    ("WAYSIDE_LIMITS_PARTIAL_LEN_MAX", "3000000"),
    ("WAYSIDE_LIMITS_CALLS_MAX", "4"),
    ("WAYSIDE_LIMITS_PEERS_MAX", "5"),
    ("WAYSIDE_LIMITS_HANDSHAKES_MAX", "6"),
    ("WAYSIDE_LIMITS_PUSHES_MAX", "7"),
    ("WAYSIDE_LIMITS_PUSHES_LEN_MAX", "7000000"),
    ("WAYSIDE_LIMITS_HANDSHAKE_TIMEOUT", "8s"),
    ("WAYSIDE_LIMITS_PING_INTERVAL", "9s"),
    ("WAYSIDE_LIMITS_SILENCE_TIMEOUT", "1m 10s"),
    ("WAYSIDE_LIMITS_FRAME_TIMEOUT", "11s"),
    ("WAYSIDE_LIMITS_STALL_TIMEOUT", "12s"),
    ("WAYSIDE_LIMITS_RECONNECT_DELAY_MIN", "13ms"),
    ("WAYSIDE_LIMITS_RECONNECT_DELAY_MAX", "14s"),
];

#[test]
fn every_key_can_be_set_by_its_variable_and_by_the_file_alike() {
    let reference = Settings::reference();
    assert_eq!(reference.matches("| `WAYSIDE_").count(), OTHERS.len());
    for (variable, _) in OTHERS {
        assert!(
            reference.contains(&format!("| `{variable}` |")),
            "{variable}"
        );
    }
    let builder = Settings::builder().environment(environment(&OTHERS));
    let settings = builder.build().unwrap();
    let printed = settings.to_string();
    for (variable, _) in OTHERS {
        assert!(
            printed.contains(&format!("  # environment {variable}\n")),
            "{variable}"
        );
    }
    assert!(!printed.contains("# default"), "{printed}");

    let again = Settings::from_text(&printed, "printed.toml").unwrap();
    assert_eq!(again.limits(), settings.limits());
    assert_eq!(again.limits().silence_timeout, Duration::from_secs(70));
    assert_eq!(format!("{again:#}"), format!("{settings:#}"));
    assert!(!again.to_string().contains("# default"));
}

#[test]
fn strange_variables_are_left_alone_and_listed() {
    let strangers = [
        ("WAYSIDE_COLOUR", "red"),
        ("WAYSIDE_SERVICE_HOST", "10.0.0.1"),
        ("WAYSIDE_PORT_7471_TCP_ADDR", "10.0.0.1"),
        ("WAYSIDE_TCP_SERVICE_HOST", "10.0.0.1"),
        ("WAYSIDE_TCP_SERVICE_PORT_HTTP", "80"),
        ("WAYSIDE_TCP_PORT", "tcp://10.0.0.1:80"),
        ("PATH", "/bin"),
    ];
    let builder = Settings::builder().environment(environment(&strangers));
    let settings = builder.build().unwrap();
    assert_eq!(
        settings.unused_variables(),
        [
            "WAYSIDE_COLOUR",
            "WAYSIDE_PORT_7471_TCP_ADDR",
            "WAYSIDE_SERVICE_HOST",
            "WAYSIDE_TCP_PORT",
            "WAYSIDE_TCP_SERVICE_HOST",
            "WAYSIDE_TCP_SERVICE_PORT_HTTP",
        ]
    );
    assert!(
        settings
            .to_string()
            .contains("# WAYSIDE_COLOUR means nothing to wayside")
    );
}
