//! `scheme:address`, the one-line text that names a place to listen or connect.

use std::fmt;
use std::str::FromStr;

/// A place to listen or connect, as text: `uds:/run/shop/shop.sock`, `tcp:127.0.0.1:7471`.
///
/// Only the backend of the scheme knows what the address means.
///
/// ```
/// let endpoint: wayside::Endpoint = "tcp:127.0.0.1:7471".parse()?;
/// assert_eq!(endpoint.scheme(), "tcp");
/// assert_eq!(endpoint.address(), "127.0.0.1:7471");
/// assert_eq!(endpoint.to_string(), "tcp:127.0.0.1:7471");
/// # Ok::<(), wayside::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: String,
    address: String,
}

impl Endpoint {
    /// Joins a scheme and an address.
    ///
    /// # Errors
    /// The scheme is not lower-case letters and digits, or the address is empty.
    pub fn new(scheme: &str, address: &str) -> Result<Self, EndpointError> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if scheme.is_empty() || !scheme.chars().all(letters) {
            return Err(EndpointError::Scheme(scheme.to_owned()));
        }
        if address.is_empty() {
            return Err(EndpointError::Address(scheme.to_owned()));
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            address: address.to_owned(),
        })
    }

    /// The transport's name: what stands before the first colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands after the first colon.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.address)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, address) = text
            .split_once(':')
            .ok_or_else(|| EndpointError::Colon(text.to_owned()))?;
        Self::new(scheme, address)
    }
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// No colon.
    #[error("`{0}` is not an endpoint: write scheme:address, for example tcp:127.0.0.1:7471")]
    Colon(String),
    /// The part before the colon is no name.
    #[error("`{0}` is not the name of a transport: use lower-case letters and digits")]
    Scheme(String),
    /// Nothing after the colon.
    #[error("the endpoint `{0}:` has no address after the colon")]
    Address(String),
}
