//! What a fork must not do: leave the child with the parent's connections.
//!
//! A child has copies of the parent's descriptors. With them it could write into the parent's
//! byte stream, and the peer would not see the parent's end for as long as the child lives.
//! Close-on-exec helps only those that run another program; pre-forking servers don't.
//!
//! So each descriptor of ours is held in a [`Guarded`], and in a child it leads nowhere. A
//! session asks [`generation`] whether it has become a child, and then connects for itself.

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        pub use unix::Guarded;
        pub(crate) use unix::generation;
        #[cfg(feature = "aggregator")]
        pub(crate) use unix::generation_once_armed;
    } else {
        mod none;
        pub use none::Guarded;
        pub(crate) use none::generation;
        #[cfg(feature = "aggregator")]
        pub(crate) use none::generation_once_armed;
    }
}
