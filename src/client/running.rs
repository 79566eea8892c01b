//! A client at work in one process, and what becomes of it after a fork.
//!
//! A forked child has the parent's memory but none of its threads: locks may be held by nobody, the
//! link is the parent's. So the child touches nothing of it. The first use in the child finds
//! another [generation](fork::generation) and starts a client of its own from the same recipe.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use mio::Token;

use crate::ambient;
use crate::client::bell::Bell;
use crate::client::driver::Driver;
use crate::client::duty::Duty;
use crate::client::engine::Engine;
use crate::client::error::ConnectError;
use crate::client::pushes::PushQueue;
use crate::client::shared::{Shared, Status};
use crate::client::state::ClientState;
use crate::event_loop::{EventLoop, FIRST_TOKEN};
use crate::fork;
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::spin::{Spin, Spinner};
use crate::transport::Transport;
use crate::turn;

/// How long a dropped client lets what it has to send leave.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// What is done with each push.
pub(crate) type OnPush<P> = Arc<dyn Fn(<P as Protocol>::Push) + Send + Sync>;

/// What is done whenever things stand otherwise.
pub(crate) type OnState = Arc<dyn Fn(ClientState) + Send + Sync>;

/// What a client is made of.
pub(crate) struct Recipe<P: Protocol> {
    pub(crate) transports: Vec<Transport>,
    pub(crate) limits: Limits,
    pub(crate) spin: Spin,
    pub(crate) on_push: Option<OnPush<P>>,
    pub(crate) on_state: Option<OnState>,
}

pub(crate) struct Running<P: Protocol> {
    pub(crate) shared: Arc<Shared<P>>,
    /// `None` if the application's own loop drives.
    pub(crate) duty: Option<Arc<Duty<Engine<P>>>>,
    recipe: Arc<Recipe<P>>,
    generation: u32,
    /// The client of a forked child.
    child: OnceLock<Arc<Self>>,
}

impl<P: Protocol> Running<P> {
    /// A client with a thread of its own.
    pub(crate) fn start(recipe: Arc<Recipe<P>>) -> Result<Self, ConnectError> {
        let event_loop = EventLoop::new().map_err(ConnectError::Poll)?;
        let bell = Arc::new(Bell::new(event_loop.wake()));
        let shared = Arc::new(Shared::new(recipe.limits.clone(), bell));
        let registry = event_loop.poll.registry().try_clone();
        let driver = Driver::new(
            Arc::clone(&shared),
            registry.map_err(ConnectError::Poll)?,
            Token(FIRST_TOKEN),
            recipe.transports.clone(),
            recipe.on_state.clone(),
            ambient::now(),
        );
        let engine = Engine::new(event_loop, driver, Spinner::new(recipe.spin));
        let duty = Arc::new(Duty::new(engine));
        let background = {
            let (shared, duty) = (Arc::clone(&shared), Arc::clone(&duty));
            move || duty.drive_in_background(&shared)
        };
        thread::Builder::new()
            .name("wayside-client".to_owned())
            .spawn(background)
            .map_err(ConnectError::Poll)?;
        let running = Self::new(shared, Some(duty), recipe);
        running.start_callbacks()?;
        Ok(running)
    }

    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        duty: Option<Arc<Duty<Engine<P>>>>,
        recipe: Arc<Recipe<P>>,
    ) -> Self {
        Self {
            shared,
            duty,
            recipe,
            generation: fork::generation(),
            child: OnceLock::new(),
        }
    }

    /// Hands pushes to the callback, on a thread of its own: it may take its time.
    pub(crate) fn start_callbacks(&self) -> Result<(), ConnectError> {
        let Some(on_push) = self.recipe.on_push.clone() else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let deliver = move || {
            while let Some(push) = shared.pushes.take(None) {
                let call = std::panic::AssertUnwindSafe(|| on_push(push));
                if std::panic::catch_unwind(call).is_err() {
                    shared.counters.callback_panics.one();
                }
            }
        };
        thread::Builder::new()
            .name("wayside-pushes".to_owned())
            .spawn(deliver)
            .map(drop)
            .map_err(ConnectError::Poll)
    }

    /// Where pushes wait to be taken, unless the callback gets them.
    pub(crate) fn pushes(&self) -> Option<&PushQueue<P::Push>> {
        let taken = self.recipe.on_push.is_some();
        (!taken).then_some(&self.shared.pushes)
    }

    /// The client of this process.
    pub(crate) fn current(self: &Arc<Self>) -> &Arc<Self> {
        let generation = fork::generation();
        let mut running = self;
        while running.generation != generation {
            running = running.child.get_or_init(|| running.start_in_child());
        }
        running
    }

    /// Without threads or descriptors the child's client is there and closed: its errors say so.
    fn start_in_child(&self) -> Arc<Self> {
        let recipe = Arc::clone(&self.recipe);
        Arc::new(Self::start(recipe).unwrap_or_else(|error| {
            log::error!("the client of a forked child can't start: {error}");
            let bell = Arc::new(Bell::new(Box::new(|| {})));
            let shared = Arc::new(Shared::new(self.recipe.limits.clone(), bell));
            shared.outgoing().status = Status::Closed(Ok(()));
            Self::new(shared, None, Arc::clone(&self.recipe))
        }))
    }
}

impl<P: Protocol> Drop for Running<P> {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // Of the parent: kept for ever instead of being taken apart in the state that the fork
            // found it in. Its descriptors were made harmless at the fork.
            std::mem::forget((Arc::clone(&self.shared), self.duty.clone()));
            return;
        }
        // There is no point in waiting for a server that is not there.
        let reachable = !matches!(self.shared.outgoing().status, Status::Waiting(_));
        self.shared.begin_close(if reachable {
            DROP_TIMEOUT
        } else {
            Duration::ZERO
        });
        // Within a turn this thread may be the one that drives, in code of the application's that it
        // has called: it would wait for itself.
        if self.duty.is_some() && !turn::is_under_way() {
            if let Err(error) = self.shared.wait_closed() {
                log::warn!("a client was dropped: {error}");
            }
        }
    }
}
