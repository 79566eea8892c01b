//! Where sockets and keys come to lie.

#[cfg(unix)]
use wayside::Transport;
use wayside::settings::Settings;

use crate::{directory, toml};

#[test]
fn names_and_addresses_derive_from_name_and_dir() {
    let directory = directory();
    let run = directory.path().join("run");
    let text = format!("name = \"shop\"\ndir = {}\ntransport = \"tcp\"", toml(&run));
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    assert!(!run.exists(), "reading settings creates nothing");
    let transports = settings.transports().unwrap();
    assert_eq!(transports[0].to_string(), "tcp:127.0.0.1:7471");
    assert!(run.is_dir());
    assert_eq!(settings.dir().unwrap(), run);
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_open_to_others_is_refused_where_it_was_set() {
    use std::os::unix::fs::PermissionsExt;
    use std::{fs, io};

    use wayside::settings::SettingsErrorKind;

    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let text = format!("dir = {}", toml(directory.path()));
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let error = settings.transports().unwrap_err();
    assert_eq!(
        error.kind(),
        SettingsErrorKind::Io(io::ErrorKind::PermissionDenied)
    );
    assert_eq!(
        (error.line(), error.column(), error.key()),
        (Some(1), Some(7), Some("dir"))
    );
}

#[cfg(unix)]
#[test]
fn sockets_take_their_place_from_the_settings() {
    let directory = directory();
    let run = directory.path().join("run");
    let named = directory.path().join("named.sock");
    let text = format!("name = \"shop\"\ndir = {}\n", toml(&run));
    let transports = |more: &str| {
        let settings = Settings::from_text(&format!("{text}{more}"), "wayside.toml").unwrap();
        settings
            .transports()
            .unwrap()
            .iter()
            .map(Transport::to_string)
            .collect::<Vec<_>>()
    };
    let derived = format!("uds:{}", run.join("shop.sock").display());
    assert_eq!(transports(""), [derived.as_str()]);
    let named = format!("uds:{}", named.display());
    assert_eq!(
        transports(&format!("[uds]\npath = \"{}\"", &named[4..])),
        [named.as_str()]
    );
    let list = format!("transport = [\"uds\", \"{named}\", \"tcp:127.0.0.1:9\"]");
    assert_eq!(
        transports(&list),
        [derived, named, "tcp:127.0.0.1:9".to_owned()]
    );
}
