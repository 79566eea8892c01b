//! Settings as a program and its operator meet them.

#![cfg(feature = "settings")]
#![expect(
    clippy::unwrap_used,
    reason = "a test may fail where it stands, also in its helpers"
)]

mod sections;

use wayside::settings::Environment;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

cfg_if::cfg_if! {
    if #[cfg(all(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue"))] {
        mod documentation;
        mod files;
        mod mistakes;
        mod moving;
        mod own_transport;
        mod places;
        mod precedence;
        mod properties;
        mod reach;

        use std::path::Path;

        /// A directory for a test's files.
        fn directory() -> tempfile::TempDir {
            tempfile::tempdir().unwrap()
        }

        /// A path as TOML.
        fn toml(path: &Path) -> String {
            format!("'{}'", path.display())
        }

        /// The transports of this crate that this system has, as errors list them.
        const HERE: &str = if cfg!(any(target_os = "linux", target_os = "freebsd")) {
            "uds, tcp, fifo, mqueue"
        } else if cfg!(unix) {
            "uds, tcp, fifo"
        } else {
            "tcp, fifo"
        };
    } else {
        mod features;
    }
}
