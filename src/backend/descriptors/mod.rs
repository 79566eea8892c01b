//! How many descriptors this process may have.

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        use unix as platform;
    } else {
        mod elsewhere;
        use elsewhere as platform;
    }
}

pub(crate) use platform::max;
