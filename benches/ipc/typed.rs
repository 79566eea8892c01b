//! The typed public API on both sides.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wayside::backend::{Fifo, Mqueue, Tcp, Uds};
use wayside::{
    Client, Handler, Limits, Never, Peer, Protocol, Responder, SendError, Server, Transport,
};

use crate::Error;
use crate::case::{Case, Way};
use crate::message::Message;
use crate::side::{Serving, Traffic};

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of one type in all directions.
struct Measured<M>(PhantomData<M>);

impl<M: Message> Protocol for Measured<M> {
    const NAME: &'static str = "measured";
    const VERSION: u32 = 1;
    type Event = M;
    type Request = M;
    type Reply = M;
    type Push = Never;
}

fn transport(way: Way, folder: &Path) -> Result<Transport, Error> {
    Ok(match way {
        Way::Uds => {
            let path = folder.join("typed.sock");
            Transport::new(Uds::new(), path.to_str().ok_or("a path that is no text")?)
        }
        Way::Fifo => {
            let path = folder.join("typed.fifo");
            Transport::new(Fifo::new(), path.to_str().ok_or("a path that is no text")?)
        }
        Way::Mqueue => {
            let name = folder.file_name().ok_or("a folder without a name")?;
            Transport::new(
                Mqueue::new(),
                format!("/wayside-{}", name.to_string_lossy()),
            )
        }
        Way::Tcp => Transport::new(Tcp::new(folder.join("key")), "127.0.0.1:0"),
    })
}

/// Listens and serves.
pub fn serve<M: Message>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let handled = Arc::new(AtomicU64::new(0));
    let verifier = Verifier {
        next: 0,
        handled: Arc::clone(&handled),
    };
    let server = Server::<Measured<M>>::builder()
        .listen(transport(case.way, folder)?)
        .bind(verifier)?
        .spawn()?;
    Ok(Serving {
        address: server.endpoints()[0].address().to_owned(),
        handled,
        keep: Box::new(server),
    })
}

/// Verifies every message. What it finds wrong is a panic, which closes the client.
struct Verifier {
    next: u64,
    handled: Arc<AtomicU64>,
}

impl Verifier {
    fn verify(&mut self, message: &impl Message) {
        let number = message.verified();
        assert_eq!(number, Some(self.next), "not the message that was sent");
        self.next += 1;
        self.handled.store(self.next, Ordering::Relaxed);
    }
}

impl<M: Message> Handler<Measured<M>> for Verifier {
    fn event(&mut self, _: &Peer<Measured<M>>, event: M) {
        self.verify(&event);
    }

    fn request(&mut self, _: &Peer<Measured<M>>, request: M, responder: Responder<Measured<M>>) {
        self.verify(&request);
        responder.reply(&request).expect("the client waits");
    }
}

/// The client's side.
pub struct Caller<M: Message> {
    client: Client<Measured<M>>,
    message: M,
}

impl<M: Message> Caller<M> {
    pub fn connect(case: &Case, folder: &Path, address: &str) -> Result<Self, Error> {
        let transport = transport(case.way, folder)?.at(address);
        Ok(Self {
            client: Client::builder()
                .transport(transport)
                .limits(Limits::default())
                .connect(PATIENCE)?,
            message: M::of_len(case.len),
        })
    }
}

impl<M: Message> Traffic for Caller<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        let reply = self.client.call(&self.message, PATIENCE)?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    fn send(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        loop {
            match self.client.send(&self.message) {
                Ok(()) => return Ok(()),
                // The server is behind: let it catch up.
                Err(SendError::Full { .. }) => self.client.flush(PATIENCE)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        self.send(number)?;
        Ok(self.client.flush(PATIENCE)?)
    }
}
