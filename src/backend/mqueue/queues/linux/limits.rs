//! Limits: what a size costs, which of them was hit, and which would be.

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};

use super::super::examine::{judge_count, judge_sizes};
use super::super::limit::{peers_by_count, shape, too_large};
use super::super::sys::Shape;
use super::super::{MqueueOptions, record};
use super::holder;
use crate::backend::{About, Finding};

/// What the kernel counts for a message beside its bytes: its head (`struct msg_msg`) and a node of
/// the tree of priorities, 48 bytes each on a 64-bit system.
const OVERHEAD_LEN: u64 = 48 + 48;

/// RLIMIT_MSGQUEUE, as systems come.
const STOCK_LEN: u64 = 819_200;
/// The sysctl fs.mqueue.queues_max, as systems come.
const STOCK_QUEUES: u64 = 256;

/// What holds in place of the sysctls msg_max and msgsize_max for who has CAP_SYS_RESOURCE.
const PRIVILEGED_MESSAGES: u64 = 65_536;
const PRIVILEGED_MESSAGE_LEN: u64 = 16 << 20;

/// What a queue takes of RLIMIT_MSGQUEUE.
fn charge_len(shape: Shape) -> u64 {
    u64::from(shape.messages) * (u64::from(shape.message_len) + OVERHEAD_LEN)
}

/// How many peers a server can have where nobody has changed a limit.
pub(crate) fn peers_stock_max(options: &MqueueOptions) -> u32 {
    let peers = peers_by_len(STOCK_LEN, options).min(peers_by_count(STOCK_QUEUES));
    u32::try_from(peers).unwrap_or(u32::MAX)
}

/// How many peers fit into so much of RLIMIT_MSGQUEUE.
fn peers_by_len(user_len: u64, options: &MqueueOptions) -> u64 {
    let pair_len = 2 * charge_len(shape(options));
    user_len.saturating_sub(charge_len(record::MAILBOX)) / pair_len.max(1)
}

/// Says what kept a queue from being opened: which limit, its value, and how to raise it. `create`
/// is the size of one that was to be created.
pub(crate) fn explain(error: io::Error, create: Option<Shape>) -> io::Error {
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
            let messages = format!("{} messages (sysctl fs.mqueue.msg_max)", sysctl("msg_max"));
            let len = format!("{} bytes (fs.mqueue.msgsize_max)", sysctl("msgsize_max"));
            return too_large(shape, [messages, len]);
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
    let number = sysctl_number(name);
    number.map_or("an unknown number of".to_owned(), |number| {
        number.to_string()
    })
}

/// A limit of the system; `None` if it does not tell.
fn sysctl_number(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}")).ok()?;
    text.trim().parse().ok()
}

/// What the system allows, as far as it tells.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    /// RLIMIT_MSGQUEUE; `None` if there is none.
    user_len: Option<u64>,
    messages: Option<u64>,
    message_len: Option<u64>,
    queues: Option<u64>,
    /// Whether it tells when the process of a peer ends.
    ends_show: bool,
}

/// What these limits mean for queues of this size.
pub(crate) fn findings(options: &MqueueOptions) -> Vec<Finding> {
    let mut allowed = Allowed {
        user_len: getrlimit(Resource::Msgqueue).current,
        messages: sysctl_number("msg_max"),
        message_len: sysctl_number("msgsize_max"),
        queues: sysctl_number("queues_max"),
        ends_show: holder::shows_ends(),
    };
    if is_privileged() {
        allowed.messages = Some(PRIVILEGED_MESSAGES);
        allowed.message_len = Some(PRIVILEGED_MESSAGE_LEN);
    }
    judge(options, allowed)
}

/// Whether this process has CAP_SYS_RESOURCE, and not only in a user namespace of its own.
fn is_privileged() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let status = read("status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    let has_it = effective.is_some_and(|effective| effective >> CAP_SYS_RESOURCE & 1 == 1);
    let all_users = ["0", "0", "4294967295"];
    has_it && read("uid_map").split_ascii_whitespace().eq(all_users)
}

/// The rules, without a look at the system.
fn judge(options: &MqueueOptions, allowed: Allowed) -> Vec<Finding> {
    let mut findings = judge_sizes(
        options,
        [
            ("fs.mqueue.msg_max", allowed.messages),
            ("fs.mqueue.msgsize_max", allowed.message_len),
        ],
    );
    let stock = u64::from(peers_stock_max(options));
    findings.push(judge_room(options, allowed.user_len, stock));
    if let Some(queues) = allowed.queues {
        findings.extend(judge_count("fs.mqueue.queues_max", queues, stock));
    }
    if !allowed.ends_show {
        let text = "this system does not tell when the process of a peer ends (by /proc/locks and \
                    pidfd_open, since Linux 5.3): that a peer was killed is noticed by the ping, \
                    after silence_timeout";
        findings.push(Finding::warning(About::Unsupported, text));
    }
    findings
}

/// Whether there is room for enough peers: always worth a word, as all that a user runs share it.
fn judge_room(options: &MqueueOptions, user_len: Option<u64>, stock: u64) -> Finding {
    let name = "RLIMIT_MSGQUEUE";
    let about = About::Limit {
        name,
        value: user_len,
    };
    let Some(len) = user_len else {
        let text = format!("the queues of this user may take any number of bytes ({name})");
        return Finding::note(about, text);
    };
    let peers = peers_by_len(len, options);
    let room =
        format!("the queues of this user may take {len} bytes ({name}), room for {peers} peers: ");
    let remedy = "raise it with ulimit -q, or LimitMSGQUEUE= of systemd, or make the queues smaller \
                  (mqueue.messages, mqueue.message_len)";
    if peers == 0 {
        Finding::obstacle(about, room + remedy)
    } else if peers < stock {
        Finding::warning(about, room + remedy)
    } else {
        Finding::note(about, room + "all that this user runs share it")
    }
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
        ends_show: true,
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
    fn the_defaults_leave_room_for_as_many_peers_as_documented() {
        assert_eq!(peers_stock_max(&MqueueOptions::default()), 51);
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

    #[test]
    fn a_system_without_room_for_the_mailbox_is_told_apart_from_one_without_room_for_pairs() {
        let low = Allowed {
            messages: Some(9),
            ..STOCK
        };
        let findings = judge(&MqueueOptions::default(), low);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(findings[0].weight, Weight::Obstacle);
        let text = &findings[0].text;
        assert!(text.contains("mailbox holds 10"), "{text}");
        assert!(
            text.contains("allows 9 (sysctl fs.mqueue.msg_max)"),
            "{text}"
        );
        assert!(!text.contains("mqueue.messages"), "{text}");

        let refused = |shape| {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            explain(error, Some(shape)).to_string()
        };
        let text = refused(record::MAILBOX);
        assert!(text.contains("the mailbox of 10 messages"), "{text}");
        assert!(!text.contains("mqueue.messages"), "{text}");
        let text = refused(shape(&MqueueOptions::default()));
        assert!(text.contains("set mqueue.messages"), "{text}");
    }

    #[test]
    fn a_kernel_without_queues_is_unsupported_with_what_to_use() {
        let error = explain(io::Error::from_raw_os_error(libc::ENOSYS), None);
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("use the uds"), "{error}");
    }

    #[test]
    fn where_the_end_of_a_peer_does_not_show_there_is_a_warning() {
        let blind = Allowed {
            ends_show: false,
            ..STOCK
        };
        let findings = judge(&MqueueOptions::default(), blind);
        let warning = findings.last().unwrap();
        assert_eq!(warning.weight, Weight::Warning);
        assert!(warning.text.contains("pidfd_open"), "{}", warning.text);
    }

    #[test]
    fn too_few_queues_are_told_by_their_own_limit() {
        let with = |queues| {
            let allowed = Allowed {
                queues: Some(queues),
                ..STOCK
            };
            judged(allowed)[1..].to_vec()
        };
        let name = "fs.mqueue.queues_max";
        // One is the mailbox, each peer takes two.
        assert_eq!(with(2), [(Weight::Obstacle, name)]);
        assert_eq!(with(3), [(Weight::Warning, name)]);
        assert_eq!(with(1 + 2 * 50), [(Weight::Warning, name)]);
        assert_eq!(with(1 + 2 * 51), []);
    }
}
