//! interprocess, blocking, with postcard: the length, then the message, in one write each.
//!
//! A thread for each connection. Reading is buffered; writing is not, as nothing says when a buffer
//! should leave.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions};

use crate::Error;
use crate::case::{Case, Workload};
use crate::ledger::Ledger;
use crate::message::{CONFIRM, Typed};
use crate::side::{Serving, Traffic};

const READ_LEN: usize = 64 * 1024;

/// Frames over a stream, with buffers that are used again.
struct Frames {
    stream: BufReader<LocalSocketStream>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Frames {
    fn new(stream: LocalSocketStream) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_LEN, stream),
            incoming: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    fn write<M: serde::Serialize>(&mut self, message: &M) -> Result<(), Error> {
        let mut bytes = std::mem::take(&mut self.outgoing);
        bytes.clear();
        bytes.extend_from_slice(&[0; 4]);
        let mut bytes = postcard::to_extend(message, bytes)?;
        let len = u32::try_from(bytes.len() - 4)?;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.stream.get_mut().write_all(&bytes)?;
        self.outgoing = bytes;
        Ok(())
    }

    /// The next; `None` at the end.
    fn read<M: serde::de::DeserializeOwned>(&mut self) -> Result<Option<M>, Error> {
        let mut len = [0; 4];
        match self.stream.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let len = usize::try_from(u32::from_le_bytes(len))?;
        self.incoming.resize(len, 0);
        self.stream.read_exact(&mut self.incoming)?;
        Ok(Some(postcard::from_bytes(&self.incoming)?))
    }
}

pub fn serve<M: Typed>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let books = Arc::clone(&ledger);
    let path = folder.join("local");
    let address = path.to_str().ok_or("a path that is no text")?.to_owned();
    let name = path.to_fs_name::<GenericFilePath>()?;
    let listener = ListenerOptions::new().name(name).create_sync()?;
    let calls = case.workload == Workload::Calls;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let frames = Frames::new(stream.expect("a client comes"));
            let books = Arc::clone(&books);
            thread::spawn(move || {
                take_in::<M>(frames, &books, calls).expect("a working connection");
            });
        }
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

fn take_in<M: Typed>(mut frames: Frames, ledger: &Ledger, calls: bool) -> Result<(), Error> {
    while let Some(message) = frames.read::<M>()? {
        let number = ledger.verify(&message);
        if calls {
            frames.write(&message)?;
        } else if number & CONFIRM != 0 {
            frames.write(&number)?;
        }
    }
    Ok(())
}

pub struct Member<M> {
    frames: Frames,
    message: M,
}

impl<M: Typed> Member<M> {
    pub fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        let name = address.to_fs_name::<GenericFilePath>()?;
        Ok(Self {
            frames: Frames::new(LocalSocketStream::connect(name)?),
            message: M::of_len(case.len, source),
        })
    }
}

impl<M: Typed> Traffic for Member<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        self.frames.write(&self.message)?;
        let reply: Option<M> = self.frames.read()?;
        let reply = reply.ok_or("the server has gone")?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        (first..first + count).try_for_each(|number| {
            self.message.number(number);
            self.frames.write(&self.message)
        })
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.send_many(number, 1)?;
        assert_eq!(self.frames.read()?, Some(number));
        Ok(())
    }
}
