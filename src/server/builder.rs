//! Where a server listens, and within which limits.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use mio::{Registry, Token};

use crate::endpoint::Endpoint;
use crate::event_loop::{EventLoop, FIRST_TOKEN};
use crate::limits::{Limits, LimitsError};
use crate::protocol::{NAME_LEN_MAX, Protocol};
use crate::server::Server;
use crate::server::control::Control;
use crate::server::embedded::EmbeddedServer;
use crate::server::engine::Engine;
use crate::server::handle::ServerHandle;
use crate::server::handler::Handler;
use crate::server::listening::Listening;
#[cfg(feature = "settings")]
use crate::settings::{Settings, SettingsError};
use crate::spin::{Spin, Spinner};
use crate::transport::Transport;

/// Describes a server. From [`Server::builder`].
#[must_use = "nothing is bound before `bind`"]
pub struct ServerBuilder<P> {
    transports: Vec<Transport>,
    limits: Limits,
    spin: Spin,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> ServerBuilder<P> {
    pub(crate) fn new() -> Self {
        Self {
            transports: Vec::new(),
            limits: Limits::default(),
            spin: Spin::default(),
            protocol: PhantomData,
        }
    }

    /// Listens here too. A server with several endpoints is how a deployment moves from one
    /// transport to another without a gap.
    pub fn listen(mut self, transport: Transport) -> Self {
        self.transports.push(transport);
        self
    }

    /// Listens on all transports of the settings, within their limits, and spins as they say.
    ///
    /// # Errors
    /// The directory that the addresses derive from can't be used; see [`Settings::transports`].
    #[cfg(feature = "settings")]
    pub fn settings(mut self, settings: &Settings) -> Result<Self, SettingsError> {
        self.transports.extend(settings.transports()?);
        self.limits = settings.limits().clone();
        self.spin = settings.spin();
        Ok(self)
    }

    /// Takes these bounds instead of the default ones, or of those of settings given before.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the server stays awake for a moment after it was asked.
    pub fn spin(mut self, spin: Spin) -> Self {
        self.spin = spin;
        self
    }

    /// Takes all endpoints.
    ///
    /// # Errors
    /// See [`BindError`]. None of the endpoints is taken then.
    pub fn bind<H: Handler<P>>(self, handler: H) -> Result<Server<P, H>, BindError> {
        let event_loop = EventLoop::new().map_err(BindError::Poll)?;
        let (listeners, endpoints) = self.listeners()?;
        let control = Arc::new(Control::new(event_loop.wake()));
        let registry = event_loop
            .poll
            .registry()
            .try_clone()
            .map_err(BindError::Poll)?;
        let handle = ServerHandle::new(Arc::clone(&control));
        let spinner = Spinner::new(self.spin);
        let engine = Engine::new(
            handler,
            self.limits,
            registry,
            FIRST_TOKEN,
            listeners,
            control,
        )
        .map_err(BindError::Poll)?;
        Ok(Server {
            event_loop,
            engine,
            spinner,
            _stopped: handle.stopped_guard(),
            handle,
            endpoints,
        })
    }

    /// Takes all endpoints, to be served from a poll of the caller's own.
    ///
    /// All tokens from `first_token` on belong to the server: at most one for each endpoint and
    /// for each of [`Limits::peers_max`]. `wake` is called by other threads and has to end the
    /// poll, which a [`mio::Waker`] of the caller's does.
    ///
    /// # Errors
    /// See [`BindError`]. None of the endpoints is taken then.
    pub fn embed<H: Handler<P>>(
        self,
        handler: H,
        registry: &Registry,
        first_token: Token,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<EmbeddedServer<P, H>, BindError> {
        let (listeners, endpoints) = self.listeners()?;
        let control = Arc::new(Control::new(Box::new(wake)));
        let registry = registry.try_clone().map_err(BindError::Poll)?;
        let handle = ServerHandle::new(Arc::clone(&control));
        let engine = Engine::new(
            handler,
            self.limits,
            registry,
            first_token.0,
            listeners,
            control,
        )
        .map_err(BindError::Poll)?;
        Ok(EmbeddedServer::new(engine, handle, endpoints))
    }

    fn listeners(&self) -> Result<(Vec<Listening>, Vec<Endpoint>), BindError> {
        self.limits.check()?;
        if P::NAME.is_empty() || P::NAME.len() > NAME_LEN_MAX {
            return Err(BindError::ProtocolName(P::NAME));
        }
        if self.transports.is_empty() {
            return Err(BindError::NoEndpoint);
        }
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        for transport in &self.transports {
            let listener = transport.backend.bind(&transport.address);
            let listener = listener.map_err(|source| BindError::Endpoint {
                endpoint: transport.to_string(),
                source,
            })?;
            let at = transport.at(listener.address()).to_string();
            endpoints.push(
                at.parse()
                    .expect("a backend's scheme and address are an endpoint"),
            );
            let capabilities = transport.backend.capabilities();
            listeners.push(Listening {
                short_recv_is_last: capabilities.short_recv_is_last,
                ..Listening::new(listener, at.into())
            });
        }
        Ok((listeners, endpoints))
    }
}

impl<P> fmt::Debug for ServerBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("transports", &self.transports)
            .field("limits", &self.limits)
            .finish()
    }
}

/// Why a server could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// One of the endpoints could not be taken.
    #[error("can't listen on {endpoint}: {source}")]
    Endpoint {
        /// Which one.
        endpoint: String,
        /// What the backend says.
        source: io::Error,
    },
    /// The builder was given no endpoint.
    #[error("no endpoint to listen on: call `listen` or `settings` before `bind`")]
    NoEndpoint,
    /// The bounds contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The protocol's name is empty or too long.
    #[error("Protocol::NAME `{0}` must have 1 to {NAME_LEN_MAX} bytes")]
    ProtocolName(&'static str),
    /// The system gives no poll.
    #[error("can't set up the event loop: {0}")]
    Poll(io::Error),
}
