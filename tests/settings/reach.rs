//! Settings that open a transport, or shape it, where they work. (Who may connect by a user id: see
//! `tests/uds_names.rs`.)

use wayside::Transport;
use wayside::settings::Settings;

fn transport(text: &str) -> Transport {
    let settings = Settings::from_text(text, "wayside.toml").unwrap();
    settings.transports().unwrap().remove(0)
}

#[test]
fn tcp_leaves_the_loopback_interface_where_the_settings_say_so() {
    let directory = crate::directory();
    let key = crate::toml(&directory.path().join("shop.key"));
    let text = format!("transport = 'tcp:0.0.0.0:0'\n[tcp]\nkey = {key}\n");
    let open = transport(&format!("{text}beyond_loopback = true"));
    let listener = open.backend().bind(open.address()).unwrap();
    assert!(listener.address().starts_with("0.0.0.0:"));
    // Without the line, the text itself is a mistake.
    Settings::from_text(&text, "wayside.toml")
        .and_then(|settings| settings.transports())
        .unwrap_err();
}

#[cfg(target_os = "linux")]
#[test]
fn the_length_of_messages_is_that_of_the_settings() {
    for len in [100, 2000] {
        let text = format!("transport = 'mqueue'\n[mqueue]\nmessage_len = {len}");
        let capabilities = transport(&text).backend().capabilities();
        assert_eq!(capabilities.chunk_len_max, Some(len));
    }
}

#[test]
fn a_fifo_is_where_the_settings_put_it() {
    let directory = crate::directory();
    let path = directory.path().join("x.fifo");
    let text = format!("transport = 'fifo'\n[fifo]\npath = {}", crate::toml(&path));
    assert_eq!(transport(&text).address(), path.to_str().unwrap());
}
