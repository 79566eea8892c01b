//! What stands in the way of queues: limits, by rules on numbers; and names, looked at and let be.

use std::io;

use rustix::process::{Resource, getrlimit};

use super::address::MailboxName;
use super::queue::Queue;
use super::sys::Access;
use super::{About, Finding, MqueueOptions, limit, slot};
use crate::backend::lock_holder;

/// What the system allows, as far as it tells.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    /// RLIMIT_MSGQUEUE; `None` if there is none.
    user_len: Option<u64>,
    messages: Option<u64>,
    message_len: Option<u64>,
    queues: Option<u64>,
}

pub(super) fn examine(options: &MqueueOptions, name: &MailboxName) -> Vec<Finding> {
    if let Err(error) = limit::check(options) {
        return vec![Finding::obstacle(About::Settings, error.to_string())];
    }
    let allowed = Allowed {
        user_len: getrlimit(Resource::Msgqueue).current,
        messages: limit::sysctl_number("msg_max"),
        message_len: limit::sysctl_number("msgsize_max"),
        queues: limit::sysctl_number("queues_max"),
    };
    let mut findings = judge(options, allowed);
    findings.extend(look(name));
    findings
}

/// The rules, without a look at the system.
fn judge(options: &MqueueOptions, allowed: Allowed) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sizes = [
        (
            "fs.mqueue.msg_max",
            "mqueue.messages",
            options.messages,
            allowed.messages,
        ),
        (
            "fs.mqueue.msgsize_max",
            "mqueue.message_len",
            options.message_len,
            allowed.message_len,
        ),
    ];
    for (name, key, wanted, allowed) in sizes {
        if allowed.is_some_and(|allowed| u64::from(wanted) > allowed) {
            let allowed = allowed.unwrap_or_default();
            let text = format!(
                "{key} is {wanted}, and the system allows {allowed} (sysctl {name}): lower the one \
                 or raise the other"
            );
            let value = Some(allowed);
            findings.push(Finding::obstacle(About::Limit { name, value }, text));
        }
    }
    let name = "RLIMIT_MSGQUEUE";
    let stock = u64::from(limit::peers_stock_max(options));
    let by_queues = allowed.queues.map_or(u64::MAX, limit::peers_by_count);
    let by_len = allowed
        .user_len
        .map_or(u64::MAX, |len| limit::peers_by_len(len, options));
    let peers = by_len.min(by_queues);
    let about = About::Limit {
        name,
        value: allowed.user_len,
    };
    let len = allowed
        .user_len
        .map_or("any number of".to_owned(), |len| len.to_string());
    let room =
        format!("the queues of this user may take {len} bytes ({name}), room for {peers} peers: ");
    let remedy = "raise it with ulimit -q, or LimitMSGQUEUE= of systemd, or make the queues smaller \
                  (mqueue.messages, mqueue.message_len)";
    findings.push(if peers == 0 {
        Finding::obstacle(about, room + remedy)
    } else if by_len < stock {
        Finding::warning(about, room + remedy)
    } else {
        Finding::note(about, room + "all that this user runs share it")
    });
    findings
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
            _ if lock_holder::is_told() => findings.push(leftover(&name.to_string(), &mailbox)),
            _ => {
                let text = format!(
                    "there is a queue {name}, and /proc/locks does not tell whose it is: perhaps a \
                     server's, perhaps left behind"
                );
                findings.push(Finding::warning(About::Taken { pid: None }, text));
            }
        },
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => {}
            io::ErrorKind::PermissionDenied => {
                let text = format!("another user has the queue {name}: use another name");
                findings.push(Finding::obstacle(About::Taken { pid: None }, text));
            }
            io::ErrorKind::Unsupported => {
                return vec![Finding::obstacle(About::Unsupported, error.to_string())];
            }
            _ => findings.push(Finding::obstacle(About::Address, error.to_string())),
        },
    }
    // A client that waits holds the lock of its pair.
    for number in (0..slot::SLOTS).filter(|_| lock_holder::is_told()) {
        let down = name.pair(number).down;
        if let Ok(queue) = Queue::open(&down, Access::Send) {
            if matches!(queue.holder(), Ok(None)) {
                findings.push(leftover(&down.to_string_lossy(), &queue));
            }
        }
    }
    findings
}

fn leftover(name: &str, queue: &Queue) -> Finding {
    let uid = queue.owner().ok().and_then(|owner| owner.uid);
    let about = About::Leftover {
        name: name.to_owned(),
        uid,
    };
    let text = format!("the queue {name} was left by a killed process: the next server removes it");
    Finding::note(about, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Weight;

    const STOCK: Allowed = Allowed {
        user_len: Some(819_200),
        messages: Some(10),
        message_len: Some(8192),
        queues: Some(256),
    };

    fn judged(allowed: Allowed) -> Vec<(Weight, &'static str)> {
        judge(&MqueueOptions::default(), allowed)
            .into_iter()
            .map(|finding| match finding.about {
                About::Limit { name, .. } => (finding.weight, name),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn stock_limits_are_good_to_know_and_no_more() {
        assert_eq!(judged(STOCK), [(Weight::Note, "RLIMIT_MSGQUEUE")]);
        let text = &judge(&MqueueOptions::default(), STOCK)[0].text;
        assert!(text.contains("51 peers"), "{text}");
    }

    #[test]
    fn too_little_for_one_peer_is_an_obstacle_and_for_fewer_than_usual_a_warning() {
        let with = |user_len| Allowed {
            user_len: Some(user_len),
            ..STOCK
        };
        // The mailbox takes 1,280, each peer 15,872.
        let expected = [
            (0, Weight::Obstacle),
            (1_280 + 15_871, Weight::Obstacle),
            (1_280 + 15_872, Weight::Warning),
            (1_280 + 51 * 15_872, Weight::Note),
        ];
        for (len, weight) in expected {
            assert_eq!(judged(with(len)), [(weight, "RLIMIT_MSGQUEUE")], "{len}");
        }
        let unlimited = Allowed {
            user_len: None,
            ..STOCK
        };
        assert_eq!(judged(unlimited)[0].0, Weight::Note);
    }

    #[test]
    fn sizes_beyond_what_the_system_allows_are_obstacles_with_the_sysctls_name() {
        let low = Allowed {
            messages: Some(7),
            message_len: Some(895),
            ..STOCK
        };
        let expected = [
            (Weight::Obstacle, "fs.mqueue.msg_max"),
            (Weight::Obstacle, "fs.mqueue.msgsize_max"),
        ];
        assert_eq!(judged(low)[..2], expected);
    }
}
