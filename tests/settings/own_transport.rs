//! A backend of the program's own, named in the settings.

use std::io;

use wayside::Transport;
use wayside::backend::{Backend, Capabilities, Link, Listener};
use wayside::settings::{Environment, Settings, SettingsErrorKind};

/// The reason for which this system lacks it.
struct Pigeon(Option<&'static str>);

impl Backend for Pigeon {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::stream("pigeon");
        capabilities.unsupported = self.0;
        capabilities
    }

    fn bind(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(&self, _: &str) -> io::Result<Box<dyn Link>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn a_backend_of_the_program_can_be_named_like_any_other() {
    let builder = || {
        Settings::builder()
            .environment(Environment::empty())
            .own_transport(Transport::new(Pigeon(None), "loft"))
    };
    let text = "transport = [\"pigeon\", \"pigeon:roof\"]";
    let settings = builder().load_text(text, "wayside.toml").unwrap();
    let transports = settings.transports().unwrap();
    assert_eq!(transports[0].to_string(), "pigeon:loft");
    assert_eq!(transports[1].to_string(), "pigeon:roof");

    let error = builder()
        .load_text("transport = \"pidgeon\"", "wayside.toml")
        .unwrap_err();
    let problem = error.problem();
    assert!(problem.contains("did you mean `pigeon`?"), "{problem}");
    assert!(problem.contains(", pigeon)"), "{problem}");
}

#[test]
fn what_a_system_lacks_is_said_with_the_reason_and_what_there_is() {
    let here = crate::HERE;
    let pigeon = Pigeon(Some("no bird flies indoors; use tcp"));
    let error = Settings::builder()
        .environment(Environment::empty())
        .own_transport(Transport::new(pigeon, "loft"))
        .load_text("transport = [\"tcp\", \"pigeon\"]", "wayside.toml")
        .unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Transport);
    assert_eq!(
        error.to_string(),
        format!(
            "wayside.toml:1:21: transport = \"pigeon\": this system does not have the transport: \
             no bird flies indoors; use tcp (here: {here})"
        )
    );
}

#[cfg(windows)]
#[test]
fn windows_has_no_unix_sockets_and_says_what_to_use() {
    let error = Settings::from_text("transport = \"uds\"", "wayside.toml").unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Transport);
    assert!(error.problem().contains("tcp"), "{error}");
}
