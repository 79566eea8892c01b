//! What a build says of a transport that it was made without.

use wayside::settings::Settings;

/// Each transport, whether this build has it, and a way to name it in a file.
const TRANSPORTS: [(&str, bool, &str); 4] = [
    ("uds", cfg!(feature = "uds"), "uds"),
    ("tcp", cfg!(feature = "tcp"), "tcp:127.0.0.1:1"),
    ("fifo", cfg!(feature = "fifo"), "fifo:/run/shop.fifo"),
    ("mqueue", cfg!(feature = "mqueue"), "mqueue:/shop"),
];

#[test]
fn a_transport_that_is_not_in_names_its_feature() {
    for (name, is_in, example) in TRANSPORTS {
        let text = format!("transport = \"{example}\"");
        let settings = Settings::from_text(&text, "wayside.toml");
        if is_in {
            settings.unwrap();
            continue;
        }
        let expected = format!(
            "wayside.toml:1:13: {text}: the transport is known, but this build does not have it: \
             enable the cargo feature `{name}` of wayside (here: "
        );
        let error = settings.unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[cfg(not(any(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue")))]
#[test]
fn a_build_without_transports_says_so_when_one_is_needed() {
    let settings = Settings::from_text("", "wayside.toml").unwrap();
    let error = settings.transports().unwrap_err().to_string();
    assert!(error.contains("this build has no transport"), "{error}");
}
