//! What a build says of a transport that it was made without.

use wayside::settings::{Settings, SettingsErrorKind};

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

/// Another build, in which somebody else has asked for more features, means the same by the same settings.
#[test]
fn the_default_does_not_depend_on_what_is_in() {
    let (name, is_in) = if cfg!(unix) {
        ("uds", cfg!(feature = "uds"))
    } else {
        ("tcp", cfg!(feature = "tcp"))
    };
    let folder = tempfile::tempdir().unwrap();
    let text = format!("dir = '{}'", folder.path().join("run").display());
    // Whoever wants no more than limits and sections of them is not concerned.
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let line = format!("transport = \"{name}\"  # default");
    assert!(settings.to_string().starts_with(&line), "{settings}");
    let transports = settings.transports();
    if is_in {
        assert!(transports.unwrap()[0].to_string().starts_with(name));
        return;
    }
    let error = transports.unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Transport);
    let expected = format!(
        "transport: none is named, and this build does not have `{name}`, the default on this \
         system: enable the cargo feature `{name}` of wayside, or name another transport (here: "
    );
    let error = error.to_string();
    assert!(error.starts_with(&expected), "{error}");
}
