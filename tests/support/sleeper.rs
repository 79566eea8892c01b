use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use wayside::{Client, ClientState, EmbeddedClient, Limits, Transport};

use super::{Chat, eventually};

/// A client that reads only when the test drives it.
pub struct Sleeper {
    poll: Poll,
    events: Events,
    pub embedded: EmbeddedClient<Chat>,
}

impl Sleeper {
    pub fn connect(transport: &Transport, limits: Limits) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let builder = Client::builder()
            .transport(transport.clone())
            .limits(limits);
        let wake = move || waker.wake().unwrap();
        let embedded = builder.embed(poll.registry(), Token(1), wake).unwrap();
        let mut sleeper = Self {
            poll,
            events: Events::with_capacity(16),
            embedded,
        };
        sleeper.drive_until("it is connected", |client| {
            matches!(client.state(), ClientState::Connected { .. })
        });
        sleeper
    }

    pub fn drive_until(&mut self, what: &str, mut is_so: impl FnMut(&Client<Chat>) -> bool) {
        let client = self.embedded.client();
        eventually(what, || {
            // It is looked at again and again, so the poll need not wait.
            self.poll
                .poll(&mut self.events, Some(Duration::ZERO))
                .unwrap();
            for event in &self.events {
                self.embedded.handle_event(event);
            }
            self.embedded.turn();
            is_so(&client)
        });
    }
}
