//! Where a client connects, within which limits, and what it does with pushes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Token};

use crate::ambient;
use crate::client::Client;
use crate::client::bell::Bell;
use crate::client::driver::Driver;
use crate::client::embedded::EmbeddedClient;
use crate::client::error::ConnectError;
use crate::client::running::{OnPush, OnState, Recipe, Running};
use crate::client::shared::Shared;
use crate::client::state::ClientState;
use crate::limits::Limits;
use crate::protocol::{NAME_LEN_MAX, Protocol};
#[cfg(feature = "settings")]
use crate::settings::{Settings, SettingsError};
use crate::spin::Spin;
use crate::transport::Transport;

/// Describes a client. From [`Client::builder`].
#[must_use = "nothing is connected before `connect` or `start`"]
pub struct ClientBuilder<P: Protocol> {
    transports: Vec<Transport>,
    limits: Limits,
    spin: Spin,
    on_push: Option<OnPush<P>>,
    on_state: Option<OnState>,
}

impl<P: Protocol> ClientBuilder<P> {
    pub(crate) fn new() -> Self {
        Self {
            transports: Vec::new(),
            limits: Limits::default(),
            spin: Spin::default(),
            on_push: None,
            on_state: None,
        }
    }

    /// Connects here, if the endpoints that were named before can't be reached.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transports.push(transport);
        self
    }

    /// Connects to the first of the settings' transports that answers, within their limits, and
    /// spins as they say.
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

    /// Whether a caller stays awake for a moment while it waits for its answer.
    pub fn spin(mut self, spin: Spin) -> Self {
        self.spin = spin;
        self
    }

    /// Calls `callback` with each push, on a thread of its own, one after the other.
    ///
    /// A panic in it is counted and concerns nothing else.
    pub fn on_push(mut self, callback: impl Fn(P::Push) + Send + Sync + 'static) -> Self {
        self.on_push = Some(Arc::new(callback));
        self
    }

    /// Calls `callback` with every new state, in order: each [`ClientState::Connected`] is another
    /// connection, on which the server knows nothing yet of what was said on the one before.
    ///
    /// It is called by whichever thread drives the client at that moment, which may be one of the
    /// application's own that waits for an answer. So it must be quick, and never wait for this
    /// client; [`Client::send`] and [`Client::start`] are allowed, and so is dropping it. A panic in
    /// it is counted and concerns nothing else.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use wayside::{Handler, Never, Peer, Protocol, Responder};
    /// # struct Notes;
    /// # impl Protocol for Notes {
    /// #     const NAME: &'static str = "notes";
    /// #     const VERSION: u32 = 1;
    /// #     type Event = String;
    /// #     type Request = String;
    /// #     type Reply = String;
    /// #     type Push = Never;
    /// # }
    /// # struct Book;
    /// # impl Handler<Notes> for Book {
    /// #     fn event(&mut self, _: &Peer<Notes>, _: String) {}
    /// #     fn request(&mut self, _: &Peer<Notes>, _: String, _: Responder<Notes>) {}
    /// # }
    /// # #[cfg(feature = "tcp")] {
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use wayside::{Client, ClientState, Server, Transport, backend::Tcp};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let place = Transport::new(Tcp::new(folder.path().join("key")), "127.0.0.1:0");
    /// # let server = Server::<Notes>::builder().listen(place.clone()).bind(Book)?.spawn()?;
    /// # let place = place.at(server.endpoints()[0].address());
    /// let (sender, states) = mpsc::channel();
    /// let client = Client::<Notes>::builder()
    ///     .transport(place)
    ///     // Who has stopped listening needs no word.
    ///     .on_state(move |state| drop(sender.send(state)))
    ///     .start()?;
    /// let first = states.recv_timeout(Duration::from_secs(5))?;
    /// assert!(matches!(first, ClientState::Connected { .. }));
    /// # drop(client);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_state(mut self, callback: impl Fn(ClientState) + Send + Sync + 'static) -> Self {
        self.on_state = Some(Arc::new(callback));
        self
    }

    /// Makes the client and blocks until it is connected, at most for `timeout`.
    ///
    /// A server that starts a moment later is waited for. One that speaks another protocol is an
    /// error at once.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(self, timeout: Duration) -> Result<Client<P>, ConnectError> {
        let client = self.start()?;
        client.wait_connected(timeout)?;
        Ok(client)
    }

    /// Makes the client, which connects in the background: for programs that have to run with or
    /// without the server.
    ///
    /// # Errors
    /// See [`ConnectError`]: nothing that has to do with a server.
    pub fn start(self) -> Result<Client<P>, ConnectError> {
        let running = Running::start(self.recipe()?)?;
        Ok(Client {
            running: Arc::new(running),
        })
    }

    /// Makes a client that is driven by a poll of the caller's own, under the one token. `wake` is
    /// called by other threads and has to end the poll, which a [`mio::Waker`] of the caller's
    /// does.
    ///
    /// # Errors
    /// See [`ConnectError`]: nothing that has to do with a server.
    pub fn embed(
        self,
        registry: &Registry,
        token: Token,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<EmbeddedClient<P>, ConnectError> {
        let recipe = self.recipe()?;
        let registry = registry.try_clone().map_err(ConnectError::Poll)?;
        let bell = Arc::new(Bell::new(Box::new(wake)).always_polling());
        let shared = Arc::new(Shared::new(recipe.limits.clone(), bell));
        let transports = recipe.transports.clone();
        let driver = Driver::new(
            Arc::clone(&shared),
            registry,
            token,
            transports,
            recipe.on_state.clone(),
            ambient::now(),
        );
        let running = Running::new(shared, None, recipe);
        running.start_callbacks()?;
        let client = Client {
            running: Arc::new(running),
        };
        Ok(EmbeddedClient::new(driver, client))
    }

    fn recipe(self) -> Result<Arc<Recipe<P>>, ConnectError> {
        self.limits.check()?;
        if P::NAME.is_empty() || P::NAME.len() > NAME_LEN_MAX {
            return Err(ConnectError::ProtocolName(P::NAME));
        }
        if self.transports.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Arc::new(Recipe {
            transports: self.transports,
            limits: self.limits,
            spin: self.spin,
            on_push: self.on_push,
            on_state: self.on_state,
        }))
    }
}

impl<P: Protocol> fmt::Debug for ClientBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("transports", &self.transports)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
