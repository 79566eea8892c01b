//! Who is at the other end, and which run of a program this is.

use std::fmt;

/// What the system vouches for about the other end of a link. What it doesn't tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerId {
    /// The effective user id of the peer (Unix), as it was when it connected or bound.
    pub uid: Option<u32>,
    /// The effective group id of the peer (Unix).
    pub gid: Option<u32>,
    /// The security identifier of the peer's user (Windows), as `S-1-5-21-…`.
    pub sid: Option<String>,
    /// The process id of the peer. It may have been reused since: a hint for people.
    pub pid: Option<u32>,
    /// The peer has proven to know the key of this endpoint.
    pub key_proven: bool,
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        for (name, value) in [
            ("uid", number(self.uid)),
            ("gid", number(self.gid)),
            ("sid", self.sid.clone()),
            ("pid", number(self.pid)),
        ] {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value}")?;
                separator = ", ";
            }
        }
        if self.key_proven {
            write!(f, "{separator}key proven")?;
            separator = ", ";
        }
        if separator.is_empty() {
            f.write_str("unknown")?;
        }
        Ok(())
    }
}
