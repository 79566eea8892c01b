//! What stands in the way of queues: limits, and names, looked at and let be.

use std::io;

use super::address::MailboxName;
use super::queue::Queue;
use super::record::MAILBOX;
use super::sys::Access;
use super::system;
use super::{About, Finding, MqueueOptions, limit, slot};

pub(super) fn examine(options: &MqueueOptions, name: &MailboxName) -> Vec<Finding> {
    if let Err(error) = limit::check(options) {
        return vec![Finding::obstacle(About::Settings, error.to_string())];
    }
    if let Err(error) = system::check() {
        return vec![Finding::obstacle(About::Unsupported, error.to_string())];
    }
    let mut findings = system::limits::findings(options);
    findings.extend(look(name));
    findings
}

/// Whether the system allows messages that many, and that long: each of its limits, with the name.
/// First for the queues of a pair, then for a mailbox, whose size nobody chooses.
pub(super) fn judge_sizes(
    options: &MqueueOptions,
    [messages, message_len]: [(&'static str, Option<u64>); 2],
) -> Vec<Finding> {
    let choose = "lower the one or raise the other";
    let wanted = [
        ("mqueue.messages is", options.messages, messages, choose),
        (
            "mqueue.message_len is",
            options.message_len,
            message_len,
            choose,
        ),
        (
            "a server's mailbox holds",
            MAILBOX.messages,
            messages,
            "raise it",
        ),
        (
            "its messages have",
            MAILBOX.message_len,
            message_len,
            "raise it",
        ),
    ];
    let too_large = |(what, wanted, (name, allowed), remedy): (_, u32, (_, Option<u64>), _)| {
        let allowed = allowed.filter(|&allowed| u64::from(wanted) > allowed)?;
        let text =
            format!("{what} {wanted}, and the system allows {allowed} (sysctl {name}): {remedy}");
        let value = Some(allowed);
        Some(Finding::obstacle(About::Limit { name, value }, text))
    };
    wanted.into_iter().filter_map(too_large).collect()
}

/// Whether so many queues on the whole system are enough for as many peers as usual.
pub(super) fn judge_count(name: &'static str, queues: u64, stock: u64) -> Option<Finding> {
    let peers = limit::peers_by_count(queues);
    let value = Some(queues);
    let about = About::Limit { name, value };
    let text = format!(
        "the system may have {queues} message queues (sysctl {name}), room for {peers} peers, and all \
         users share them: raise it"
    );
    if peers == 0 {
        Some(Finding::obstacle(about, text))
    } else if peers < stock {
        Some(Finding::warning(about, text))
    } else {
        None
    }
}

/// Looks at the names.
fn look(name: &MailboxName) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Queue::open(&name.mailbox(), Access::Receive) {
        Ok(mailbox) => match mailbox.holder() {
            Ok(Some(pid)) => {
                let text = format!(
                    "{name} is in use by process {pid}; clients can connect, a second server can't \
                     listen"
                );
                findings.push(Finding::warning(About::Taken { pid: Some(pid) }, text));
            }
            _ if is_left_behind(&mailbox) => findings.push(leftover(&name.to_string(), &mailbox)),
            _ => {
                let text = format!(
                    "{name} is in use by a process that can't be seen from here, as in another \
                     container; clients can connect, a second server can't listen"
                );
                findings.push(Finding::warning(About::Taken { pid: None }, text));
            }
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => {}
            io::ErrorKind::PermissionDenied => {
                let who = limit::another_user(&name.to_string());
                let text = format!("{who} has the queue {name}: use another name");
                findings.push(Finding::obstacle(About::Taken { pid: None }, text));
            }
            io::ErrorKind::Unsupported => {
                return vec![Finding::obstacle(About::Unsupported, error.to_string())];
            }
            _ => findings.push(Finding::obstacle(About::Address, error.to_string())),
        },
    }
    // A client that waits holds the lock of its pair.
    for number in 0..slot::SLOTS {
        let down = name.pair(number).down;
        if let Ok(queue) = Queue::open(&down, Access::Send) {
            if matches!(queue.holder(), Ok(None)) && is_left_behind(&queue) {
                findings.push(leftover(&down.to_string_lossy(), &queue));
            }
        }
    }
    findings
}

/// Whether nobody holds its lock. The kernel's list of locks leaves out those of processes that we can't
/// see, so the lock itself is asked, as each client does it: who takes names is used to that.
fn is_left_behind(queue: &Queue) -> bool {
    queue.is_free().unwrap_or(false)
}

/// A queue that we may open is our user's, or root's, which we then are.
fn leftover(name: &str, queue: &Queue) -> Finding {
    let uid = queue.owner().ok().and_then(|owner| owner.uid);
    let whose = uid.map_or("a user unknown".to_owned(), |uid| format!("uid {uid}"));
    let about = About::Leftover {
        name: name.to_owned(),
        uid,
    };
    let text =
        format!("the queue {name} was left by a process of {whose}: the next server removes it");
    Finding::note(about, text)
}
