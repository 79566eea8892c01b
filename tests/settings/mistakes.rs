//! What is said about a mistake: the exact words, for every kind of mistake there is.

use wayside::settings::{Settings, SettingsError};

/// The transports of this system, as errors list them.
use crate::HERE;

/// A file, and what is said about it. `{here}` stands for the transports of this system.
const FILES: &[(&str, &str)] = &[
    // Not TOML.
    (
        "transport",
        "wayside.toml:1:10: is not TOML: key with no value, expected `=` (in: transport)",
    ),
    (
        "transport = ",
        "wayside.toml:1:13: is not TOML: string values must be quoted, expected literal string (in: transport =)",
    ),
    (
        "transport = uds",
        "wayside.toml:1:13: is not TOML: string values must be quoted, expected literal string (in: transport = uds)",
    ),
    (
        "name = \"shop",
        "wayside.toml:1:13: is not TOML: invalid basic string, expected `\"` (in: name = \"shop)",
    ),
    (
        "[tcp\naddress = 1",
        "wayside.toml:1:5: is not TOML: unclosed table, expected `]` (in: [tcp)",
    ),
    (
        "name = \"a\"\nname = \"b\"",
        "wayside.toml:2:1: is not TOML: duplicate key (in: name = \"b\")",
    ),
    (
        "[tcp]\n[tcp]",
        "wayside.toml:2:2: is not TOML: duplicate key (in: [tcp])",
    ),
    (
        "\u{feff}name = \"ä\u{1}\"",
        "wayside.toml:1:11: is not TOML: invalid basic string, expected non-double-quote visible characters, `\\` (in: ﻿name = \"ä\\u{1}\")",
    ),
    (
        "a = 1\0",
        "wayside.toml:1:5: is not TOML: string values must be quoted, expected literal string (in: a = 1\\u{0})",
    ),
    (
        "[worker]\nn = 99999999999999999999999999999999999999999",
        "wayside.toml:2:5: this number is too large (in: n = 99999999999999999999999999999999999999999)",
    ),
    (
        "[worker]\nn = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
        "wayside.toml:2:21: is nested too deeply: at most 16 levels (in: n = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]])",
    ),
    // How waits are done.
    (
        "spin = \"sometimes\"",
        "wayside.toml:1:8: spin = \"sometimes\": must be \"off\", \"adaptive\" or \"always\"",
    ),
    (
        "spin = true",
        "wayside.toml:1:8: spin = true: must be \"off\", \"adaptive\" or \"always\"",
    ),
    // No such key.
    (
        "transprot = \"uds\"",
        "wayside.toml:1:1: transprot: there is no such key; did you mean `transport`?",
    ),
    (
        "colour = \"red\"",
        "wayside.toml:1:1: colour: there is no such key (there is: transport, name, dir, spin)",
    ),
    (
        "[tpc]\naddress = \"127.0.0.1:1\"",
        "wayside.toml:1:2: tpc: there is no such section; did you mean `tcp`?",
    ),
    (
        "[colours]",
        "wayside.toml:1:2: colours: there is no such section (there is: uds, tcp, fifo, mqueue, limits, agent, worker)",
    ),
    (
        "[tcp]\nadress = \"127.0.0.1:1\"",
        "wayside.toml:2:1: tcp.adress: there is no such key; did you mean `address`?",
    ),
    (
        "[tcp]\nport = 7471",
        "wayside.toml:2:1: tcp.port: there is no such key (there is: address, key, beyond_loopback)",
    ),
    (
        "tcp.port = 7471",
        "wayside.toml:1:5: tcp.port: there is no such key (there is: address, key, beyond_loopback)",
    ),
    (
        "ping_interval = \"5s\"",
        "wayside.toml:1:1: ping_interval: belongs in the section [limits]",
    ),
    (
        "[tcp]\naddress = \"127.0.0.1:1\"\nname = \"shop\"",
        "wayside.toml:3:1: tcp.name: belongs at the top of the file, above the first section: here it is a key of [tcp]",
    ),
    (
        "[limits]\nframe-len-max = 1",
        "wayside.toml:2:1: limits.frame-len-max: there is no such key; did you mean `frame_len_max`?",
    ),
    (
        "[limits]\n\"a\\u001b[31m\" = 1",
        "wayside.toml:2:1: limits.a\\u{1b}[31m: there is no such key (there is: frame_len_max, outbox_len_max, partial_len_max, calls_max, peers_max, handshakes_max, pushes_max, pushes_len_max, handshake_timeout, ping_interval, silence_timeout, frame_timeout, stall_timeout, reconnect_delay_min, reconnect_delay_max)",
    ),
    // The wrong type.
    (
        "tcp = 5",
        "wayside.toml:1:1: tcp: must be a section: write [tcp], and its keys below",
    ),
    (
        "[[tcp]]\naddress = \"127.0.0.1:1\"",
        "wayside.toml:1:3: tcp: must be a section: write [tcp], and its keys below",
    ),
    (
        "[transport]\nuds = true",
        "wayside.toml:1:1: transport: must be the name of a transport such as \"tcp\", an endpoint such as \"tcp:127.0.0.1:9000\", or a list of these",
    ),
    (
        "worker = 1",
        "wayside.toml:1:1: worker: must be a section: write [worker], and its keys below",
    ),
    (
        "transport = 1",
        "wayside.toml:1:13: transport = 1: must be the name of a transport such as \"tcp\", an endpoint such as \"tcp:127.0.0.1:9000\", or a list of these",
    ),
    (
        "transport = [\"uds\", 2]",
        "wayside.toml:1:21: transport = 2: must be the name of a transport such as \"tcp\", an endpoint such as \"tcp:127.0.0.1:9000\", or a list of these",
    ),
    (
        "name = 5",
        "wayside.toml:1:8: name = 5: must be a text such as \"shop\"",
    ),
    (
        "dir = true",
        "wayside.toml:1:7: dir = true: must be a text: a path from the root",
    ),
    (
        "[uds]\nallow_uids = 33",
        "wayside.toml:2:14: uds.allow_uids = 33: must be a list of numbers such as [33]",
    ),
    (
        "[uds]\nallow_uids = [33, \"www-data\"]",
        "wayside.toml:2:19: uds.allow_uids = \"www-data\": must be a number: names are not looked up (`id` prints the number)",
    ),
    (
        "[uds]\nallow_gids = [1.5]",
        "wayside.toml:2:15: uds.allow_gids = 1.5: must be a list of numbers such as [33]",
    ),
    (
        "[tcp]\naddress = 7471",
        "wayside.toml:2:11: tcp.address = 7471: must be a text such as \"127.0.0.1:7471\"",
    ),
    (
        "[tcp]\nbeyond_loopback = \"yes\"",
        "wayside.toml:2:19: tcp.beyond_loopback = \"yes\": must be true or false",
    ),
    (
        "[limits]\nframe_len_max = 1.5",
        "wayside.toml:2:17: limits.frame_len_max = 1.5: must be a size: write bytes as an integer, or a text such as \"4 MiB\"",
    ),
    (
        "[limits]\ncalls_max = \"many\"",
        "wayside.toml:2:13: limits.calls_max = \"many\": must be an integer from 0 to 4294967295",
    ),
    (
        "[limits]\nping_interval = 5",
        "wayside.toml:2:17: limits.ping_interval = 5: must be a duration: write a number and a unit, such as \"5s\" or \"250ms\"",
    ),
    (
        "[limits]\nping_interval = 2020-01-01",
        "wayside.toml:2:17: limits.ping_interval = 2020-01-01: must be a duration: write a number and a unit, such as \"5s\" or \"250ms\"",
    ),
    // Not a value that can be used.
    ("name = \"\"", "wayside.toml:1:8: name = \"\": is empty"),
    (
        "name = \"Shop\"",
        "wayside.toml:1:8: name = \"Shop\": a name can't have `S`: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "name = \"sh/op\"",
        "wayside.toml:1:8: name = \"sh/op\": a name can't have `/`: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "name = \"-shop\"",
        "wayside.toml:1:8: name = \"-shop\": is no name: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "name = \"a2345678901234567890123456789012x\"",
        "wayside.toml:1:8: name = \"a2345678901234567890123456789012x\": is no name: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "dir = \"/run/\\u0000\"",
        "wayside.toml:1:7: dir = \"/run/\\u0000\": no path can have a zero byte",
    ),
    (
        "[uds]\nallow_uids = [-1]",
        "wayside.toml:2:15: uds.allow_uids = -1: is out of range: 0 to 4294967294",
    ),
    (
        "[uds]\nallow_uids = [4294967295]",
        "wayside.toml:2:15: uds.allow_uids = 4294967295: is out of range: 0 to 4294967294",
    ),
    (
        "[tcp]\naddress = \"localhost:7471\"",
        "wayside.toml:2:11: tcp.address = \"localhost:7471\": names depend on the host: write \"127.0.0.1:7471\" or \"[::1]:7471\"",
    ),
    (
        "[tcp]\naddress = \"127.0.0.1\"",
        "wayside.toml:2:11: tcp.address = \"127.0.0.1\": is no address: write an IP address, a colon and a port, such as \"127.0.0.1:7471\"",
    ),
    (
        "[tcp]\naddress = \"0.0.0.0:7471\"",
        "wayside.toml:2:11: tcp.address = \"0.0.0.0:7471\": is not a loopback address, and what is sent is not encrypted: use 127.0.0.1, or set tcp.beyond_loopback = true if the network can be trusted",
    ),
    (
        "transport = [\n  \"tcp\",\n  \"tcp:10.0.0.1:7471\",\n]",
        "wayside.toml:3:3: transport = \"tcp:10.0.0.1:7471\": is not a loopback address, and what is sent is not encrypted: use 127.0.0.1, or set tcp.beyond_loopback = true if the network can be trusted",
    ),
    (
        "[limits]\nframe_len_max = \"4 parsecs\"",
        "wayside.toml:2:17: limits.frame_len_max = \"4 parsecs\": there is no unit `parsecs` (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)",
    ),
    (
        "[limits]\nframe_len_max = \"4M\"",
        "wayside.toml:2:17: limits.frame_len_max = \"4M\": there is no unit `M`; did you mean `MiB`? (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)",
    ),
    (
        "[limits]\nframe_len_max = \"4 GiB\"",
        "wayside.toml:2:17: limits.frame_len_max = \"4 GiB\": is out of range: at most 4294967295",
    ),
    (
        "[limits]\nframe_len_max = -1",
        "wayside.toml:2:17: limits.frame_len_max = -1: can't be negative",
    ),
    (
        "[limits]\ncalls_max = 4294967296",
        "wayside.toml:2:13: limits.calls_max = 4294967296: is out of range: at most 4294967295",
    ),
    (
        "[limits]\ncalls_max = 99999999999999999999999",
        "wayside.toml:2:13: limits.calls_max = 99999999999999999999999: is out of range: at most 4294967295",
    ),
    (
        "[limits]\nping_interval = \"5\"",
        "wayside.toml:2:17: limits.ping_interval = \"5\": has no unit: write a number and a unit, such as \"5s\" or \"250ms\"",
    ),
    (
        "[limits]\nping_interval = \"5 secs\"",
        "wayside.toml:2:17: limits.ping_interval = \"5 secs\": there is no unit `secs`; did you mean `s`? (units: ns, us, ms, s, m, h, d)",
    ),
    (
        "[limits]\nping_interval = \"soon\"",
        "wayside.toml:2:17: limits.ping_interval = \"soon\": is no duration: write a number and a unit, such as \"5s\" or \"250ms\"",
    ),
    (
        "[limits]\nping_interval = \"400d\"",
        "wayside.toml:2:17: limits.ping_interval = \"400d\": is too long: at most 365d",
    ),
    // Transports.
    (
        "transport = \"udp\"",
        "wayside.toml:1:13: transport = \"udp\": there is no such transport; did you mean `uds`? (here: {here})",
    ),
    (
        "transport = \"UDS\"",
        "wayside.toml:1:13: transport = \"UDS\": there is no such transport; did you mean `uds`? (here: {here})",
    ),
    (
        "transport = \"carrier pigeon\"",
        "wayside.toml:1:13: transport = \"carrier pigeon\": there is no such transport (here: {here})",
    ),
    (
        "transport = \"\"",
        "wayside.toml:1:13: transport = \"\": is empty",
    ),
    (
        "transport = []",
        "wayside.toml:1:13: transport = []: names no transport (here: {here})",
    ),
    (
        "transport = \"uds, tcp\"",
        "wayside.toml:1:13: transport = \"uds, tcp\": write several as a list: [\"uds\", \"tcp\"] (here: {here})",
    ),
    (
        "transport = [\"tcp\", \"tpc\"]",
        "wayside.toml:1:21: transport = \"tpc\": there is no such transport; did you mean `tcp`? (here: {here})",
    ),
    (
        "transport = [\"tcp\", \"tcp\"]",
        "wayside.toml:1:21: transport = \"tcp\": stands in the list twice",
    ),
    (
        "transport = \"tcp:\"",
        "wayside.toml:1:13: transport = \"tcp:\": the endpoint `tcp:` has no address after the colon",
    ),
    (
        "transport = \"tcp:localhost:1\"",
        "wayside.toml:1:13: transport = \"tcp:localhost:1\": names depend on the host: write \"127.0.0.1:1\" or \"[::1]:1\"",
    ),
    (
        "transport = \"uds:shop.sock\"",
        "wayside.toml:1:13: transport = \"uds:shop.sock\": is a relative path, which means another place to every process: write the whole path",
    ),
    (
        "transport = \"mqueue:shop\"",
        "wayside.toml:1:13: transport = \"mqueue:shop\": is no queue's name: write a slash and a name, such as /wayside-shop",
    ),
    // Limits that contradict each other: the one that was set is the one to look at.
    (
        "[limits]\nframe_len_max = 100",
        "wayside.toml:2:17: limits.frame_len_max = 100: frame_len_max is 100, must be at least 1024",
    ),
    (
        "[limits]\nframe_len_max = \"16 MiB\"",
        "wayside.toml:2:17: limits.frame_len_max = \"16 MiB\": outbox_len_max is 8388608, must hold one frame of frame_len_max 16777216 and 4 bytes",
    ),
    (
        "[limits]\noutbox_len_max = \"1 MiB\"",
        "wayside.toml:2:18: limits.outbox_len_max = \"1 MiB\": outbox_len_max is 1048576, must hold one frame of frame_len_max 4194304 and 4 bytes",
    ),
    (
        "[limits]\nping_interval = \"10s\"",
        "wayside.toml:2:17: limits.ping_interval = \"10s\": silence_timeout is 15s, must be at least twice ping_interval 10s",
    ),
    (
        "[limits]\nsilence_timeout = \"6s\"\nping_interval = \"4s\"",
        "wayside.toml:2:19: limits.silence_timeout = \"6s\": silence_timeout is 6s, must be at least twice ping_interval 4s",
    ),
    (
        "[limits]\nreconnect_delay_min = \"1m\"",
        "wayside.toml:2:23: limits.reconnect_delay_min = \"1m\": reconnect_delay_max is 2s, must be at least reconnect_delay_min 60s",
    ),
    (
        "[limits]\npeers_max = 0",
        "wayside.toml:2:13: limits.peers_max = 0: peers_max is 0, must be at least 1",
    ),
    (
        "[limits]\nstall_timeout = \"0s\"",
        "wayside.toml:2:17: limits.stall_timeout = \"0s\": stall_timeout is 0ns, must be at least 1ms",
    ),
];

/// As [`FILES`], where paths look like those of Unix and there are Unix sockets. `{cwd}` stands for
/// the current directory.
#[cfg(unix)]
const FILES_ON_UNIX: &[(&str, &str)] = &[
    (
        "dir = \"run\"",
        "wayside.toml:1:7: dir = \"run\": is a relative path, which means another place to every process: write the whole path, such as \"{cwd}/run\"",
    ),
    (
        "[uds]\npath = \"shop.sock\"",
        "wayside.toml:2:8: uds.path = \"shop.sock\": is a relative path, which means another place to every process: write the whole path, such as \"{cwd}/shop.sock\"",
    ),
    (
        "[uds]\nallow_uids = [33]",
        "wayside.toml:2:14: uds.allow_uids = [33]: needs uds.path, in a directory that those users may pass: the one of `dir` is closed to them",
    ),
    (
        "transport = \"uds\"\n[uds]\nallow_uids = []\nallow_gids = [33]",
        "wayside.toml:4:14: uds.allow_gids = [33]: needs uds.path, in a directory that those users may pass: the one of `dir` is closed to them",
    ),
];

/// A variable over a file with the name `shop`, and what is said about it.
const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "WAYSIDE_TCP_ADDRESS",
        "here",
        "WAYSIDE_TCP_ADDRESS = \"here\": is no address: write an IP address, a colon and a port, such as \"127.0.0.1:7471\"",
    ),
    (
        "WAYSIDE_TRANSPORT",
        "tcp,tpc",
        "WAYSIDE_TRANSPORT = \"tpc\": there is no such transport; did you mean `tcp`? (here: {here})",
    ),
    (
        "WAYSIDE_ENDPOINT",
        "tcp",
        "WAYSIDE_ENDPOINT = \"tcp\": is no full endpoint: write scheme:address, such as tcp:127.0.0.1:9000 (WAYSIDE_TRANSPORT takes names)",
    ),
    (
        "WAYSIDE_ENDPOINT",
        "tcp:127.0.0.1:1, pigeon:home",
        "WAYSIDE_ENDPOINT = \"pigeon:home\": there is no such transport (here: {here})",
    ),
    (
        "WAYSIDE_NAME",
        "My Shop",
        "WAYSIDE_NAME = \"My Shop\": a name can't have `M`: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "WAYSIDE_NAME",
        "a\u{1b}[31m\nb",
        "WAYSIDE_NAME = \"a\\u{1b}[31m\\nb\": a name can't have `\\u{1b}`: use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit",
    ),
    (
        "WAYSIDE_DIR",
        "run",
        "WAYSIDE_DIR = \"run\": is a relative path, which means another place to every process: write the whole path",
    ),
    (
        "WAYSIDE_UDS_ALLOW_UIDS",
        "33,www-data",
        "WAYSIDE_UDS_ALLOW_UIDS = \"www-data\": must be a list of numbers such as [33]",
    ),
    (
        "WAYSIDE_TCP_BEYOND_LOOPBACK",
        "yes",
        "WAYSIDE_TCP_BEYOND_LOOPBACK = \"yes\": must be true or false",
    ),
    (
        "WAYSIDE_LIMITS_CALLS_MAX",
        "-1",
        "WAYSIDE_LIMITS_CALLS_MAX = \"-1\": must be an integer from 0 to 4294967295",
    ),
    (
        "WAYSIDE_LIMITS_PING_INTERVAL",
        "5",
        "WAYSIDE_LIMITS_PING_INTERVAL = \"5\": has no unit: write a number and a unit, such as \"5s\" or \"250ms\"",
    ),
    (
        "WAYSIDE_LIMITS_PING_INTERVAL",
        "1m",
        "WAYSIDE_LIMITS_PING_INTERVAL = \"1m\": silence_timeout is 15s, must be at least twice ping_interval 60s",
    ),
    // Slips.
    (
        "WAYSIDE_ENDPIONT",
        "tcp:127.0.0.1:1",
        "WAYSIDE_ENDPIONT: there is no such variable; did you mean `WAYSIDE_ENDPOINT`?",
    ),
    (
        "WAYSIDE_CONFG",
        "/etc/shop.toml",
        "WAYSIDE_CONFG: there is no such variable; did you mean `WAYSIDE_CONFIG`?",
    ),
    (
        "WAYSIDE_TCP_ADRESS",
        "127.0.0.1:1",
        "WAYSIDE_TCP_ADRESS: there is no such variable; did you mean `WAYSIDE_TCP_ADDRESS`?",
    ),
    (
        "WAYSIDE_TCP_PORT",
        "7471",
        "WAYSIDE_TCP_PORT: there is no such variable (there is: WAYSIDE_TCP_ADDRESS, WAYSIDE_TCP_KEY, WAYSIDE_TCP_BEYOND_LOOPBACK)",
    ),
    (
        "WAYSIDE_LIMIT_CALLS_MAX",
        "7",
        "WAYSIDE_LIMIT_CALLS_MAX: there is no such variable; did you mean `WAYSIDE_LIMITS_CALLS_MAX`?",
    ),
];

fn check(error: &SettingsError, expected: &str) {
    let expected = expected.replace("{here}", HERE);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn every_mistake_in_a_file_is_said_with_its_place_and_what_would_be_right() {
    for (text, expected) in FILES {
        let error = Settings::from_text(text, "wayside.toml").expect_err(text);
        check(&error, expected);
        assert!(error.line().is_some() && error.column().is_some(), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn mistakes_about_paths_and_sockets_say_which_path_would_be_right() {
    for (text, expected) in FILES_ON_UNIX {
        let error = Settings::from_text(text, "wayside.toml").expect_err(text);
        let directory = std::env::current_dir().unwrap();
        check(
            &error,
            &expected.replace("{cwd}", &directory.to_string_lossy()),
        );
    }
}

#[test]
fn every_mistake_in_a_variable_is_said_with_its_name() {
    for (name, value, expected) in VARIABLES {
        let error = Settings::builder()
            .environment([(*name, *value)].into_iter().collect())
            .load_text("name = \"shop\"", "wayside.toml")
            .expect_err(name);
        check(&error, expected);
        assert_eq!(error.variable(), Some(*name));
    }
}
