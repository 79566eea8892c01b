//! A configuration that the agent's own program sets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{ConfigSource, SourceError, Wake};

/// The source: give it to the agent.
pub struct Programmed {
    shared: Arc<Shared>,
}

/// Sets the configuration, from any thread. Clones set the same one.
#[derive(Clone)]
pub struct ConfigSetter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Set, and not yet taken.
    next: Option<Value>,
    current: Option<Value>,
    wake: Option<Wake>,
}

impl Programmed {
    /// A source, and what sets it.
    ///
    /// ```
    /// use wayside::aggregator::source::{ConfigSource, Programmed};
    ///
    /// let (mut source, setter) = Programmed::new();
    /// assert_eq!(source.poll(), Ok(None));
    /// setter.set(serde_json::json!({"blocked_users": ["mallory"]}));
    /// assert!(matches!(source.poll(), Ok(Some(_))));
    /// ```
    #[must_use]
    pub fn new() -> (Self, ConfigSetter) {
        let shared = Arc::new(Shared::default());
        let setter = ConfigSetter {
            shared: Arc::clone(&shared),
        };
        (Self { shared }, setter)
    }
}

impl ConfigSetter {
    /// Sets the configuration. The agent hands it out at once, if it is another.
    pub fn set(&self, document: Value) {
        let wake = {
            let mut state = self.shared.lock();
            state.next = Some(document);
            state.wake.clone()
        };
        if let Some(wake) = wake {
            wake();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in it is ever half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConfigSource for Programmed {
    fn name(&self) -> &str {
        "program"
    }

    fn poll(&mut self) -> Result<Option<Value>, SourceError> {
        let mut state = self.shared.lock();
        let next = state.next.take();
        if next.is_none() || next == state.current {
            return Ok(None);
        }
        state.current.clone_from(&next);
        Ok(next)
    }

    /// It wakes the agent by itself.
    fn interval(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn wake_by(&mut self, wake: Wake) {
        self.shared.lock().wake = Some(wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_wakes_the_agent_and_is_given_once() {
        let (mut source, setter) = Programmed::new();
        let (woken, wakes) = channel();
        source.wake_by(Arc::new(move || woken.send(()).unwrap()));
        setter.set(json!(1));
        setter.set(json!(2));
        assert_eq!(wakes.try_iter().count(), 2);
        assert_eq!(source.poll(), Ok(Some(json!(2))));
        assert_eq!(source.poll(), Ok(None));
        setter.set(json!(2));
        assert_eq!(source.poll(), Ok(None));
    }
}
