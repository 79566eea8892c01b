//! A backend and an address of it: a place that a server can listen on or a client connect to.

use std::fmt;
use std::sync::Arc;

use crate::backend::Backend;

/// A backend and an address that it understands.
///
/// Settings make these from `transport = "…"`; programs make them for backends of their own.
///
/// ```
/// # #[cfg(feature = "tcp")] {
/// use wayside::{Transport, backend::Tcp};
///
/// let transport = Transport::new(Tcp::new("/run/shop/shop.key"), "127.0.0.1:7471");
/// assert_eq!(transport.to_string(), "tcp:127.0.0.1:7471");
/// assert_eq!(transport.at("127.0.0.1:0").address(), "127.0.0.1:0");
/// # }
/// ```
#[derive(Clone)]
pub struct Transport {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) address: String,
}

impl Transport {
    /// Joins a backend and an address.
    pub fn new(backend: impl Backend, address: impl Into<String>) -> Self {
        Self {
            backend: Arc::new(backend),
            address: address.into(),
        }
    }

    /// The same backend at another address: the one a listener got from the system, say.
    #[must_use]
    pub fn at(&self, address: impl Into<String>) -> Self {
        Self {
            backend: Arc::clone(&self.backend),
            address: address.into(),
        }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The address, as the backend reads it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.backend.capabilities().scheme, self.address)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({self})")
    }
}
