//! How many descriptors a process of tests may have open.

/// As many as the system grants, up to what the largest tests want: connections of a test have both of
/// their ends here, and some systems (macOS) begin with 256. Only once in a process, so that a test that
/// lowers the limit keeps it low.
pub fn raise_limit() {
    #[cfg(unix)]
    {
        use std::sync::Once;

        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        // macOS grants no more than 10,240, whatever its hard limit says.
        const WANTED: u64 = 10_000;
        static RAISED: Once = Once::new();

        RAISED.call_once(|| {
            let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
            let granted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
            if current.is_some_and(|current| current < granted) {
                let raised = Rlimit {
                    current: Some(granted),
                    maximum,
                };
                setrlimit(Resource::Nofile, raised).expect("it is within the hard limit");
            }
        });
    }
}
