//! The typed public API on both sides.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use wayside::backend::{Fifo, Mqueue, Tcp, Uds};
use wayside::{Client, Handler, Limits, Never, Peer, Protocol, Responder, Server, Spin, Transport};

use crate::Error;
use crate::case::{Case, Way, Workload};
use crate::crowd::STRIDE;
use crate::ledger::Ledger;
use crate::mechanism::Mechanism;
use crate::message::Typed;
use crate::side::{PATIENCE, Serving, Traffic};

/// Messages of one type in all directions.
struct Measured<M>(PhantomData<M>);

impl<M: Typed> Protocol for Measured<M> {
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

/// What the variable `WAYSIDE_SPIN` says to both sides.
fn spin() -> Result<Spin, Error> {
    match std::env::var("WAYSIDE_SPIN").as_deref() {
        Ok("off") => Ok(Spin::Off),
        Ok("always") => Ok(Spin::Always),
        Ok("adaptive") | Err(_) => Ok(Spin::Adaptive),
        Ok(other) => Err(format!("WAYSIDE_SPIN={other}: there is no such spin").into()),
    }
}

/// Listens and serves.
pub fn serve<M: Typed>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let verifier = Verifier(Arc::clone(&ledger));
    let server = Server::<Measured<M>>::builder()
        .listen(transport(case.way, folder)?)
        .spin(spin()?)
        .bind(verifier)?
        .spawn()?;
    Ok(Serving {
        address: server.endpoints()[0].address().to_owned(),
        ledger,
        keep: Box::new(server),
    })
}

/// Verifies every message. What it finds wrong is a panic, which closes the client.
struct Verifier(Arc<Ledger>);

impl<M: Typed> Handler<Measured<M>> for Verifier {
    fn event(&mut self, _: &Peer<Measured<M>>, event: M) {
        self.0.verify(&event);
    }

    fn request(&mut self, _: &Peer<Measured<M>>, request: M, responder: Responder<Measured<M>>) {
        self.0.verify(&request);
        responder.reply(&request).expect("the client waits");
    }
}

/// Hundreds of clients in one process wait with less.
fn limits(case: &Case) -> Limits {
    match case.workload {
        Workload::FanIn => Limits {
            frame_len_max: 64 << 10,
            outbox_len_max: 256 << 10,
            ..Limits::default()
        },
        _ => Limits::default(),
    }
}

/// The client's side.
pub struct Caller<M: Typed> {
    client: Client<Measured<M>>,
    message: M,
    /// As many as are sent with one call, if they are.
    many: Vec<M>,
}

impl<M: Typed> Caller<M> {
    pub fn connect(
        case: &Case,
        folder: &Path,
        address: &str,
        source: usize,
    ) -> Result<Self, Error> {
        let transport = transport(case.way, folder)?.at(address);
        Ok(Self {
            client: Client::builder()
                .transport(transport)
                .spin(spin()?)
                .limits(limits(case))
                .connect(PATIENCE)?,
            message: M::of_len(case.len, source),
            many: match case.mechanism {
                Mechanism::WaysideAll => (0..STRIDE).map(|_| M::of_len(case.len, source)).collect(),
                _ => Vec::new(),
            },
        })
    }
}

impl<M: Typed> Traffic for Caller<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        let reply = self.client.call(&self.message, PATIENCE)?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        if self.many.is_empty() {
            return (first..first + count).try_for_each(|number| self.send(number));
        }
        let some = &mut self.many[..usize::try_from(count)?];
        for (message, number) in some.iter_mut().zip(first..) {
            message.number(number);
        }
        Ok(self.client.send_all(some, PATIENCE)?)
    }

    /// It leaves by itself.
    fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        self.send(number)?;
        Ok(self.client.flush(PATIENCE)?)
    }
}

impl<M: Typed> Caller<M> {
    fn send(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        Ok(self.client.send_within(&self.message, PATIENCE)?)
    }
}
