//! What is refused on any system: sizes that can't work, and queues of somebody else's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::MqueueOptions;
use super::record::MAILBOX;
use super::sys::Shape;
use crate::identity::PeerId;

/// The queues of a pair.
pub(super) fn shape(options: &MqueueOptions) -> Shape {
    Shape {
        messages: options.messages,
        message_len: options.message_len,
    }
}

/// How many peers so many queues are enough for: one is the mailbox. FreeBSD comes with 100.
pub(super) fn peers_by_count(queues: u64) -> u64 {
    queues.saturating_sub(1) / 2
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

/// The error for a size that the system does not allow; `allowed` are its two limits with their names.
pub(super) fn too_large(shape: Shape, allowed: [String; 2]) -> io::Error {
    let (messages, message_len) = (shape.messages, shape.message_len);
    let [most, longest] = allowed;
    // The size of a mailbox is always the same.
    let (what, remedy) = if shape == MAILBOX {
        ("the mailbox", "raise these")
    } else {
        (
            "a queue",
            "raise these, or set mqueue.messages and mqueue.message_len",
        )
    };
    let text = format!(
        "{what} of {messages} messages of {message_len} bytes is more than the system allows: \
         {most} of {longest}: {remedy}"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Who has a queue that we may not even look at, where the system shows queues as files.
pub(super) fn another_user(name: &str) -> String {
    let shown = Path::new("/dev/mqueue").join(name.trim_start_matches('/'));
    match std::fs::symlink_metadata(shown) {
        Ok(metadata) => format!("another user (uid {})", metadata.uid()),
        Err(_) => "another user".to_owned(),
    }
}
