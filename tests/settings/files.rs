//! Which file is read, and what is said when it can't be.

use std::ffi::OsString;
use std::fs;
use std::io;

use wayside::settings::{Environment, Settings, SettingsErrorKind};

use crate::directory;

#[test]
fn the_variable_names_the_file() {
    let directory = directory();
    let path = directory.path().join("shop.toml");
    fs::write(&path, "name = \"shop\"").unwrap();
    let load = |value: OsString| {
        let environment = Environment::from_iter([("WAYSIDE_CONFIG", value)]);
        Settings::builder().environment(environment).load()
    };
    let settings = load(path.clone().into_os_string()).unwrap();
    assert_eq!(
        (settings.name(), settings.file()),
        ("shop", Some(path.as_path()))
    );

    let missing = directory.path().join("none.toml");
    let error = load(missing.clone().into_os_string()).unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Io(io::ErrorKind::NotFound));
    let reason = fs::read(&missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: can't be read (WAYSIDE_CONFIG names it): {reason}",
            missing.display()
        )
    );
}

#[test]
fn a_file_that_is_none_says_so() {
    let directory = directory();
    let path = directory.path().join("shop.toml");
    let error = || Settings::from_file(&path).unwrap_err();
    let says =
        |problem: &str| assert_eq!(error().to_string(), format!("{}{problem}", path.display()));

    assert_eq!(
        error().kind(),
        SettingsErrorKind::Io(io::ErrorKind::NotFound)
    );
    assert_eq!(error().file(), Some(path.as_path()));

    fs::write(&path, b"name = \"shop\"\n# caf\xe9").unwrap();
    says(":2:6: is not UTF-8: the byte 0xe9 can't stand here");
    assert_eq!((error().line(), error().column()), (Some(2), Some(6)));

    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    says(": has 1048577 bytes, must be at most 1048576");
    fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
    Settings::from_file(&path).unwrap();

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    says(": is a directory: name the file in it");
}

#[cfg(unix)]
#[test]
fn a_fifo_is_refused_instead_of_waited_for() {
    let error = Settings::from_file("/dev/null").unwrap_err();
    assert_eq!(error.to_string(), "/dev/null: is not a regular file");
}
