//! Limits: what a size costs, and which of them was hit.

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};

use super::sys::Shape;
use super::{MqueueOptions, record};
use crate::identity::PeerId;

/// What the kernel counts for a message beside its bytes: its head (`struct msg_msg`) and a node of
/// the tree of priorities, 48 bytes each on a 64-bit system.
const OVERHEAD_LEN: u64 = 48 + 48;

/// RLIMIT_MSGQUEUE, as systems come.
const STOCK_LEN: u64 = 819_200;
/// The sysctl fs.mqueue.queues_max, as systems come.
const STOCK_QUEUES: u64 = 256;

/// What a queue takes of RLIMIT_MSGQUEUE.
fn charge_len(shape: Shape) -> u64 {
    u64::from(shape.messages) * (u64::from(shape.message_len) + OVERHEAD_LEN)
}

/// How many peers a server can have where nobody has changed a limit.
pub(super) fn peers_stock_max(options: &MqueueOptions) -> u32 {
    let pair_len = 2 * charge_len(shape(options));
    let by_len = (STOCK_LEN - charge_len(record::MAILBOX)) / pair_len.max(1);
    let by_count = (STOCK_QUEUES - 1) / 2;
    u32::try_from(by_len.min(by_count)).unwrap_or(u32::MAX)
}

/// The queues of a pair.
pub(super) fn shape(options: &MqueueOptions) -> Shape {
    Shape {
        messages: options.messages,
        message_len: options.message_len,
    }
}

/// Refuses sizes that can't work on any system.
pub(super) fn check(options: &MqueueOptions) -> io::Result<()> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    let (messages, message_len) = (options.messages, options.message_len);
    let max = MqueueOptions::MESSAGE_LEN_MAX;
    if messages == 0 {
        return invalid("messages is 0, must be at least 1".to_owned());
    }
    if message_len == 0 || message_len > max {
        return invalid(format!(
            "message_len is {message_len}, must be from 1 to {max}"
        ));
    }
    Ok(())
}

/// Says what kept a queue from being opened: which limit, its value, and how to raise it. `create`
/// is the size of one that was to be created.
pub(super) fn explain(error: io::Error, create: Option<Shape>) -> io::Error {
    let text = match (error.raw_os_error(), create) {
        (Some(libc::EMFILE), Some(shape)) if has_descriptor_left() => format!(
            "the queues of this user may take {} bytes (RLIMIT_MSGQUEUE), and one more of {} \
             messages of {} bytes takes {}: raise it with ulimit -q, or LimitMSGQUEUE= of systemd, \
             or make the queues smaller (mqueue.messages, mqueue.message_len)",
            soft(Resource::Msgqueue),
            shape.messages,
            shape.message_len,
            charge_len(shape),
        ),
        (Some(libc::EMFILE), _) => format!(
            "this process may have {} open files (RLIMIT_NOFILE), and each peer takes 3: raise it \
             with ulimit -n, or LimitNOFILE= of systemd",
            soft(Resource::Nofile)
        ),
        (Some(libc::ENFILE), _) => {
            "the system has as many open files as it may (sysctl fs.file-max): raise it".to_owned()
        }
        (Some(libc::ENOSPC), _) => format!(
            "the system may have {} message queues (sysctl fs.mqueue.queues_max): raise it",
            sysctl("queues_max")
        ),
        (Some(libc::EINVAL), Some(shape)) => {
            let (messages, message_len) = (shape.messages, shape.message_len);
            let text = format!(
                "a queue of {messages} messages of {message_len} bytes is more than the system \
                 allows: {} messages (sysctl fs.mqueue.msg_max) of {} bytes \
                 (fs.mqueue.msgsize_max): raise these, or set mqueue.messages and \
                 mqueue.message_len",
                sysctl("msg_max"),
                sysctl("msgsize_max")
            );
            return io::Error::new(io::ErrorKind::InvalidInput, text);
        }
        (Some(libc::ENOMEM), _) => "no memory for another message queue".to_owned(),
        (Some(libc::ENOSYS), _) => {
            let text = "this kernel is built without message queues: use the uds transport";
            return io::Error::new(io::ErrorKind::Unsupported, text);
        }
        _ => return error,
    };
    io::Error::new(io::ErrorKind::QuotaExceeded, text)
}

/// The system says the same of two limits: this one can be tried.
fn has_descriptor_left() -> bool {
    fs::File::open("/").is_ok()
}

fn soft(resource: Resource) -> String {
    let limit = getrlimit(resource).current;
    limit.map_or("any number of".to_owned(), |limit| limit.to_string())
}

fn sysctl(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}"));
    text.map_or("an unknown number of".to_owned(), |text| {
        text.trim().to_owned()
    })
}

/// Refuses a queue of somebody else's.
pub(super) fn check_owner(owner: &PeerId, what: &str) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if owner.uid.is_some_and(|uid| uid == own || uid == 0) {
        return Ok(());
    }
    let text = format!(
        "the queue {what} belongs to {owner}, who is neither our user (uid {own}) nor root"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_leave_room_for_as_many_peers_as_documented() {
        assert_eq!(peers_stock_max(&MqueueOptions::default()), 51);
    }
}
