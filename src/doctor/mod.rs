//! Says, before anything is started, which transports would work here and now, and why not.
//!
//! It looks at directories, names, locks, limits and what the system has, for the settings at hand.
//! It creates nothing, changes nothing, connects to nobody: a server that is running does not
//! notice.
//!
//! ```
//! # #[cfg(all(unix, feature = "uds"))] {
//! use wayside::{Settings, doctor};
//!
//! # let folder = tempfile::tempdir()?;
//! # std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
//! # let dir = folder.path().display();
//! // Settings::load() reads wayside.toml and the environment; this is what they may say.
//! let text = format!("transport = 'uds'\nname = 'shop'\ndir = '{dir}'");
//! let report = doctor::examine(&Settings::from_text(&text, "wayside.toml")?);
//! println!("{report}");
//!
//! let uds = report.transports.iter().find(|found| found.scheme == "uds");
//! assert!(uds.is_some_and(|uds| uds.is_chosen && uds.verdict() != doctor::Verdict::WouldNotWork));
//! // Whatever is listed, with its reasons: transports that the settings do not name, too.
//! assert!(report.transports.len() >= 4);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Printed, a report reads like this:
//!
//! ```text
//! uds:/run/user/1000/wayside/shop.sock (chosen): works
//!   note: 1024 open files (RLIMIT_NOFILE) are room for about 1008 peers, 1 each, of peers_max 4096: raise it …
//! tcp:127.0.0.1:7471: works, with a warning
//!   warning: somebody listens at 127.0.0.1:7471; clients can connect if it is our server, a second …
//! mqueue: would not work
//!   obstacle: this system does not have the transport: …
//! ```
//!
//! Not seen: what a security module or a container's policy forbids; on Linux from inside a container,
//! whether the process that has locked a socket's name lives in another one (it says so then); on
//! Windows, which process has a pipe's name, and what access lists say.

mod report;

use crate::backend::{About, Finding, descriptors};
use crate::settings::{Candidate, NotMade, Settings, Standing};

pub use self::report::{Examined, Report, Verdict};
pub use crate::backend::Weight;

/// How many descriptors a process has for itself, before its first peer.
const OWN_DESCRIPTORS: u64 = 16;

/// Fewer peers than this are worth a warning.
const FEW_PEERS: u64 = 64;

/// Looks at every transport: first those that the settings name, in their order, then the others.
#[must_use]
pub fn examine(settings: &Settings) -> Report {
    let peers_max = settings.limits().peers_max;
    let transports = settings
        .candidates()
        .into_iter()
        .map(|candidate| examine_one(candidate, peers_max))
        .collect();
    Report { transports }
}

fn examine_one(candidate: Candidate, peers_max: u32) -> Examined {
    let (address, findings) = match candidate.transport {
        Ok(transport) => {
            let backend = transport.backend();
            let capabilities = backend.capabilities();
            let findings = match capabilities.unsupported {
                Some(reason) => vec![Finding::obstacle(About::Unsupported, reason)],
                None => {
                    let mut findings = backend.examine(transport.address());
                    let each = capabilities.descriptors_per_peer;
                    findings.extend(judge_descriptors(descriptors::max(), each, peers_max));
                    findings
                }
            };
            (Some(transport.address().to_owned()), findings)
        }
        Err(NotMade::NotHere(reason)) => {
            (None, vec![Finding::obstacle(About::Unsupported, reason)])
        }
        Err(NotMade::Settings(error)) => {
            let text = error.to_string();
            (None, vec![Finding::obstacle(About::Settings, text)])
        }
    };
    let mut findings = findings;
    // The worst first; what weighs the same stays in order.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Examined {
        scheme: candidate.scheme,
        address,
        is_chosen: candidate.standing == Standing::Chosen,
        findings,
    }
}

/// Whether so many descriptors are enough, for a server: `each` for each peer.
fn judge_descriptors(max: Option<u64>, each: u32, peers_max: u32) -> Option<Finding> {
    let max = max?;
    let name = "RLIMIT_NOFILE";
    let peers = max.saturating_sub(OWN_DESCRIPTORS) / u64::from(each.max(1));
    if peers >= u64::from(peers_max) {
        return None;
    }
    let about = About::Limit {
        name,
        value: Some(max),
    };
    let text = format!(
        "{max} open files ({name}) are room for about {peers} peers, {each} each, of peers_max \
         {peers_max}: raise it with ulimit -n, or LimitNOFILE= of systemd, if a server needs more"
    );
    Some(if peers == 0 {
        Finding::obstacle(about, text)
    } else if peers < FEW_PEERS {
        Finding::warning(about, text)
    } else {
        Finding::note(about, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_for_no_peer_are_an_obstacle_for_few_a_warning_for_all_nothing() {
        let weight = |max, each, peers_max| {
            judge_descriptors(max, each, peers_max).map(|finding| finding.weight)
        };
        assert_eq!(weight(None, 1, 4096), None);
        assert_eq!(weight(Some(10_000), 1, 4096), None);
        assert_eq!(weight(Some(1024), 1, 4096), Some(Weight::Note));
        assert_eq!(weight(Some(16 + 63 * 3), 3, 4096), Some(Weight::Warning));
        assert_eq!(weight(Some(16 + 64 * 3), 3, 4096), Some(Weight::Note));
        assert_eq!(weight(Some(17), 2, 4096), Some(Weight::Obstacle));
        assert_eq!(weight(Some(16 + 30), 1, 30), None);
        let text = judge_descriptors(Some(1024), 2, 4096).unwrap().text;
        assert!(text.contains("504 peers"), "{text}");
    }
}
