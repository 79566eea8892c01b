//! ZeroMQ with postcard: REQ and REP for calls, PUSH and PULL one way, each with its thread for I/O.
//!
//! One way has no way back: that everything has been handled is said over a DEALER and a ROUTER.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use zmq::{Context, Socket, SocketType};

use crate::Error;
use crate::case::{Case, Workload};
use crate::ledger::Ledger;
use crate::message::{CONFIRM, Typed};
use crate::side::{Serving, Traffic};

/// A context has no room for more than 1023 sockets, and 512 clients have two each.
fn contexts() -> &'static [Context; 2] {
    static CONTEXTS: OnceLock<[Context; 2]> = OnceLock::new();
    CONTEXTS.get_or_init(|| [Context::new(), Context::new()])
}

/// By default a thousand messages may wait on either side; of long ones, eight megabytes.
fn socket(context: &Context, kind: SocketType, len: usize) -> Result<Socket, Error> {
    let socket = context.socket(kind)?;
    let messages = ((8 << 20) / len).min(1000);
    socket.set_sndhwm(messages.try_into()?)?;
    socket.set_rcvhwm(messages.try_into()?)?;
    Ok(socket)
}

pub fn serve<M: Typed>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let books = Arc::clone(&ledger);
    let [context, _] = contexts();
    let folder = folder.to_str().ok_or("a path that is no text")?;
    let address = format!("ipc://{folder}/zeromq");
    let (calls, len) = (case.workload == Workload::Calls, case.len);
    if calls {
        let socket = socket(context, zmq::REP, len)?;
        socket.bind(&address)?;
        thread::spawn(move || echo::<M>(&socket, &books, len).expect("a working socket"));
    } else {
        let messages = socket(context, zmq::PULL, len)?;
        messages.bind(&address)?;
        let confirmations = context.socket(zmq::ROUTER)?;
        confirmations.set_router_mandatory(true)?;
        confirmations.bind(&format!("{address}-confirm"))?;
        thread::spawn(move || {
            take_in::<M>(&messages, &confirmations, &books).expect("working sockets");
        });
    }
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

fn echo<M: Typed>(socket: &Socket, ledger: &Ledger, len: usize) -> Result<(), Error> {
    let mut frame = zmq::Message::new();
    loop {
        socket.recv(&mut frame, 0)?;
        let message: M = postcard::from_bytes(&frame)?;
        ledger.verify(&message);
        socket.send(encode(&message, len)?, 0)?;
    }
}

fn take_in<M: Typed>(
    messages: &Socket,
    confirmations: &Socket,
    ledger: &Ledger,
) -> Result<(), Error> {
    let mut frame = zmq::Message::new();
    loop {
        messages.recv(&mut frame, 0)?;
        let message: M = postcard::from_bytes(&frame)?;
        let number = ledger.verify(&message);
        if number & CONFIRM != 0 {
            let parts = [identity(message.source()), number.to_le_bytes().to_vec()];
            // The client may not be known here yet.
            while confirmations.send_multipart(&parts, 0) == Err(zmq::Error::EHOSTUNREACH) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn identity(source: usize) -> Vec<u8> {
    format!("client {source}").into_bytes()
}

fn encode<M: Typed>(message: &M, len: usize) -> Result<Vec<u8>, Error> {
    Ok(postcard::to_extend(message, Vec::with_capacity(len + 64))?)
}

pub struct Member<M> {
    messages: Socket,
    confirmations: Option<Socket>,
    message: M,
    len: usize,
}

impl<M: Typed> Member<M> {
    pub fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        let [context, other] = contexts();
        let calls = case.workload == Workload::Calls;
        let kind = if calls { zmq::REQ } else { zmq::PUSH };
        let messages = socket(context, kind, case.len)?;
        messages.connect(address)?;
        let confirmations = if calls {
            None
        } else {
            let socket = other.socket(zmq::DEALER)?;
            socket.set_identity(&identity(source))?;
            socket.connect(&format!("{address}-confirm"))?;
            Some(socket)
        };
        Ok(Self {
            messages,
            confirmations,
            message: M::of_len(case.len, source),
            len: case.len,
        })
    }
}

impl<M: Typed> Traffic for Member<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.send_many(number, 1)?;
        let reply = self.messages.recv_msg(0)?;
        let reply: M = postcard::from_bytes(&reply)?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        for number in first..first + count {
            self.message.number(number);
            self.messages.send(encode(&self.message, self.len)?, 0)?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.send_many(number, 1)?;
        let confirmations = self
            .confirmations
            .as_ref()
            .ok_or("calls wait for nothing")?;
        assert_eq!(confirmations.recv_bytes(0)?, number.to_le_bytes());
        Ok(())
    }
}
