//! The address: a queue's name that leaves room for those that derive from it.

use std::ffi::CString;
use std::fmt;
use std::io;

use super::system;

/// How many bytes a name may have behind its slash: what the system takes, without the longest
/// `.127.down`.
const NAME_LEN_MAX: usize = system::NAME_LEN_MAX - ".127.down".len();

/// The name of a mailbox.
#[derive(Debug, Clone)]
pub(super) struct MailboxName(String);

/// The names of a pair.
#[derive(Debug)]
pub(super) struct PairNames {
    /// Client to server.
    pub(super) up: CString,
    /// Server to client.
    pub(super) down: CString,
}

/// Reads the name.
pub(super) fn parse(address: &str) -> io::Result<MailboxName> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let Some(name) = address.strip_prefix('/').filter(|name| !name.is_empty()) else {
        return invalid(format!(
            "{address:?} is no queue's name: write a slash and a name, such as /wayside-shop"
        ));
    };
    if name.contains(['/', '\0']) || [".", ".."].contains(&name) {
        return invalid(format!(
            "{address:?} is no queue's name: behind the slash there is one plain name"
        ));
    }
    let len = name.len();
    if len > NAME_LEN_MAX {
        return invalid(format!(
            "the queue's name has {len} bytes, at most {NAME_LEN_MAX} are possible: use a shorter \
             one ({address})"
        ));
    }
    Ok(MailboxName(address.to_owned()))
}

impl MailboxName {
    pub(super) fn mailbox(&self) -> CString {
        text(self.0.clone())
    }

    pub(super) fn pair(&self, number: u32) -> PairNames {
        PairNames {
            up: text(format!("{self}.{number}.up")),
            down: text(format!("{self}.{number}.down")),
        }
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parsing has seen that there is no NUL in it; an empty name would only be refused.
fn text(name: String) -> CString {
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_works_with_all_that_derives_from_it_and_one_more_byte_does_not() {
        let longest = format!("/{}", "x".repeat(NAME_LEN_MAX));
        let name = parse(&longest).unwrap();
        let mut listener = super::super::MqueueListener::bind(name.clone()).unwrap();
        let options = super::super::MqueueOptions::default();
        super::super::MqueueLink::connect(&name, &options).unwrap();
        drop(crate::backend::Listener::accept(&mut listener));
        let longest_down = name.pair(127).down.as_bytes().len();
        assert_eq!(longest_down, 1 + system::NAME_LEN_MAX);

        let error = parse(&format!("{longest}x")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&NAME_LEN_MAX.to_string()), "{text}");
        assert!(text.contains(&(NAME_LEN_MAX + 1).to_string()), "{text}");
    }

    #[test]
    fn what_is_no_name_of_a_queue_is_invalid() {
        for address in ["", "/", "a", "/a/b", "/.", "/..", "/a\0b", "a/"] {
            let error = parse(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address:?}");
        }
    }
}
