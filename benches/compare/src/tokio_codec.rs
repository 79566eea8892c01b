//! tokio, its codec of length-delimited frames, and postcard: what many programs build by hand.
//!
//! A task for each connection, all on one thread. What is sent waits in the codec's buffer until that
//! is full or nothing more comes.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use futures::{SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::Error;
use crate::case::{Case, Workload};
use crate::ledger::Ledger;
use crate::message::{CONFIRM, Typed};
use crate::side::Serving;
use crate::tasks;

type Frames = Framed<UnixStream, LengthDelimitedCodec>;

/// Of the buffers for reading and writing: more than tokio's own 8 KiB.
const BUFFER_LEN: usize = 64 * 1024;

fn frames(stream: UnixStream) -> Frames {
    let mut frames = Framed::with_capacity(stream, LengthDelimitedCodec::new(), BUFFER_LEN);
    frames.set_backpressure_boundary(BUFFER_LEN);
    frames
}

/// Encodes into a buffer that is used again.
fn encode<M: Typed>(message: &M, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.clear();
    *bytes = postcard::to_extend(message, std::mem::take(bytes))?;
    Ok(())
}

pub fn serve<M: Typed>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let books = Arc::clone(&ledger);
    let path = folder.join("tokio");
    let address = path.to_str().ok_or("a path that is no text")?.to_owned();
    let calls = case.workload == Workload::Calls;
    let runtime = tasks::runtime()?;
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(&path)?
    };
    thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client comes");
                let (books, frames) = (Arc::clone(&books), frames(stream));
                tokio::spawn(async move {
                    let result = take_in::<M>(frames, &books, calls).await;
                    result.expect("a working connection");
                });
            }
        })
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

async fn take_in<M: Typed>(mut frames: Frames, ledger: &Ledger, calls: bool) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = frames.next().await {
        let message: M = postcard::from_bytes(&frame?)?;
        let number = ledger.verify(&message);
        if calls {
            encode(&message, &mut bytes)?;
            frames.send(&bytes[..]).await?;
        } else if number & CONFIRM != 0 {
            frames.send(&number.to_le_bytes()[..]).await?;
        }
    }
    Ok(())
}

pub struct Member<M> {
    frames: Frames,
    message: M,
    bytes: Vec<u8>,
}

impl<M: Typed> Member<M> {
    pub async fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        Ok(Self {
            frames: frames(UnixStream::connect(address).await?),
            message: M::of_len(case.len, source),
            bytes: Vec::new(),
        })
    }

    fn encode(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        encode(&self.message, &mut self.bytes)
    }
}

impl<M: Typed> tasks::Member for Member<M> {
    async fn call(&mut self, number: u64) -> Result<(), Error> {
        self.encode(number)?;
        self.frames.send(&self.bytes[..]).await?;
        let reply = self.frames.next().await.ok_or("the server has gone")??;
        let reply: M = postcard::from_bytes(&reply)?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    async fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        for number in first..first + count {
            self.encode(number)?;
            self.frames.feed(&self.bytes[..]).await?;
        }
        Ok(())
    }

    async fn pass_on(&mut self) -> Result<(), Error> {
        Ok(SinkExt::<&[u8]>::flush(&mut self.frames).await?)
    }

    async fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.encode(number)?;
        self.frames.send(&self.bytes[..]).await?;
        let confirmation = self.frames.next().await.ok_or("the server has gone")??;
        assert_eq!(&confirmation[..], number.to_le_bytes());
        Ok(())
    }
}
