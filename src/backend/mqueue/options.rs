//! How large the queues of a peer are.

/// The size of each of the two queues that a client creates.
///
/// Linux counts the room of all queues of a user against RLIMIT_MSGQUEUE, 819,200 bytes unless it
/// was raised. A queue takes, on a 64-bit system,
///
/// ```text
/// messages × (message_len + 48 for the message's head + 48 for the list of its priority)
/// ```
///
/// With the defaults that is 8 × (896 + 96) = 7,936 bytes, 15,872 per peer. The mailbox takes
/// 10 × (32 + 96) = 1,280. So (819,200 - 1,280) / 15,872 = 51 peers fit. Larger messages mean fewer
/// system calls and fewer peers.
///
/// FreeBSD counts the queues of the whole system, whatever their size: at most 100 unless the sysctl
/// kern.mqueue.maxmq was raised, which are one mailbox and 49 peers.
///
/// ```
/// use wayside::backend::{Backend, Mqueue, MqueueOptions};
///
/// let options = MqueueOptions {
///     message_len: 256,
///     ..MqueueOptions::default()
/// };
/// let peers_max = Mqueue::with(options).capabilities().peers_stock_max;
/// # #[cfg(target_os = "linux")]
/// assert_eq!(peers_max, Some(127));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqueueOptions {
    /// How many messages a queue holds. Without privilege at most the sysctl fs.mqueue.msg_max,
    /// 10 unless it was raised; on FreeBSD kern.mqueue.maxmsg, 100.
    pub messages: u32,
    /// How many bytes a message has at most: [`MESSAGE_LEN_MAX`](MqueueOptions::MESSAGE_LEN_MAX),
    /// and without privilege the sysctl fs.mqueue.msgsize_max, 8192 unless it was raised; on FreeBSD
    /// kern.mqueue.maxmsgsize, 16384.
    pub message_len: u32,
}

impl MqueueOptions {
    /// The longest message that the other side takes: it has to hold one in memory.
    pub const MESSAGE_LEN_MAX: u32 = 1 << 20;
}

impl Default for MqueueOptions {
    fn default() -> Self {
        Self {
            messages: 8,
            message_len: 896,
        }
    }
}
