//! Limits: which of them was hit, and which would be. They are the system's, for all its users.

use std::ffi::CStr;
use std::io;

use rustix::process::{Resource, getrlimit};

use super::super::MqueueOptions;
use super::super::examine::{judge_count, judge_sizes};
use super::super::limit::{peers_by_count, too_large};
use super::super::sys::Shape;
use super::sys;
use crate::backend::Finding;

/// The sysctl kern.mqueue.maxmq, as systems come.
const STOCK_QUEUES: u64 = 100;

const QUEUES: &CStr = c"kern.mqueue.maxmq";
const MESSAGES: &CStr = c"kern.mqueue.maxmsg";
const MESSAGE_LEN: &CStr = c"kern.mqueue.maxmsgsize";

/// How many peers a server can have where nobody has changed a limit.
pub(crate) fn peers_stock_max(_options: &MqueueOptions) -> u32 {
    u32::try_from(peers_by_count(STOCK_QUEUES)).unwrap_or(u32::MAX)
}

/// Says what kept a queue from being opened: which limit, its value, and how to raise it. `create`
/// is the size of one that was to be created.
pub(crate) fn explain(error: io::Error, create: Option<Shape>) -> io::Error {
    let text = match (error.raw_os_error(), create) {
        (Some(libc::EMFILE), _) => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or("any number of".to_owned(), |limit| limit.to_string());
            format!(
                "this process may have {limit} open files (RLIMIT_NOFILE), and each peer takes 4: raise \
                 it with ulimit -n"
            )
        }
        // The system says the same of two limits.
        (Some(libc::ENFILE), Some(_)) => format!(
            "the system may have {} message queues (sysctl kern.mqueue.maxmq), and as many open files \
             as kern.maxfiles says: raise the one that is reached",
            number(QUEUES)
        ),
        (Some(libc::ENFILE), None) => {
            "the system has as many open files as it may (sysctl kern.maxfiles): raise it"
                .to_owned()
        }
        (Some(libc::EINVAL), Some(shape)) => {
            let messages = format!("{} messages (sysctl kern.mqueue.maxmsg)", number(MESSAGES));
            let len = format!("{} bytes (kern.mqueue.maxmsgsize)", number(MESSAGE_LEN));
            return too_large(shape, [messages, len]);
        }
        (Some(libc::ENOMEM), _) => "no memory for another message queue".to_owned(),
        _ => return error,
    };
    io::Error::new(io::ErrorKind::QuotaExceeded, text)
}

/// What these limits mean for queues of this size.
pub(crate) fn findings(options: &MqueueOptions) -> Vec<Finding> {
    let sizes = [
        ("kern.mqueue.maxmsg", sys::sysctl(MESSAGES)),
        ("kern.mqueue.maxmsgsize", sys::sysctl(MESSAGE_LEN)),
    ];
    let mut findings = judge_sizes(options, sizes);
    if let Some(queues) = sys::sysctl(QUEUES) {
        let stock = u64::from(peers_stock_max(options));
        findings.extend(judge_count("kern.mqueue.maxmq", queues, stock));
    }
    findings
}

fn number(name: &CStr) -> String {
    let number = sys::sysctl(name);
    number.map_or("an unknown number of".to_owned(), |number| {
        number.to_string()
    })
}
