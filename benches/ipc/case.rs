//! One thing to measure. As text it is also how a side is told what it is part of.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::mechanism::Mechanism;

/// Declares an enum of words, so that none is forgotten on any of the ways it is used.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(word: &str) -> Result<Self, crate::Error> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("`{word}` is none of {:?}", [$($word,)*]).into()),
                }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What is done.
    Workload {
        /// Round trips, one after the other.
        Calls = "calls",
        /// One way, as fast as it goes; then one round trip that says all has arrived.
        Events = "events",
        /// The same from many clients in one process to one server.
        FanIn = "fan-in",
        /// A hundred messages one way every millisecond; what counts is how late they are handled.
        Bursts = "bursts",
        /// Connected, with nothing to do.
        Idle = "idle",
    }
}

words! {
    /// The way between the processes.
    Way {
        /// Unix sockets.
        Uds = "uds",
        /// FIFOs.
        Fifo = "fifo",
        /// POSIX message queues.
        Mqueue = "mqueue",
        /// TCP on the loopback interface.
        Tcp = "tcp",
    }
}

words! {
    /// On which cores the two processes run.
    Pinning {
        /// Each on its own.
        Two = "two",
        /// Both on the same.
        One = "one",
        /// Wherever the system likes.
        Free = "free",
    }
}

/// One thing to measure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub workload: Workload,
    pub way: Way,
    /// Of one message.
    pub len: usize,
    pub clients: usize,
    pub pinning: Pinning,
    pub mechanism: Mechanism,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            workload,
            way,
            len,
            clients,
            pinning,
            mechanism,
        } = self;
        write!(f, "{workload} {way} {len} {clients} {pinning} {mechanism}")
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let words: Vec<&str> = text.split(' ').collect();
        let &[workload, way, len, clients, pinning, mechanism] = words.as_slice() else {
            return Err(format!("`{text}` is no case").into());
        };
        Ok(Self {
            workload: workload.parse()?,
            way: way.parse()?,
            len: len.parse()?,
            clients: clients.parse()?,
            pinning: pinning.parse()?,
            mechanism: mechanism.parse()?,
        })
    }
}
