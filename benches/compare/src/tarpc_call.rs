//! tarpc over Unix sockets with bincode, which is its own format for short messages.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tarpc::server::{BaseChannel, Channel, Serve};
use tarpc::{RequestName, ServerError, client, context};
use tokio_serde::formats::Bincode;

use crate::Error;
use crate::case::Case;
use crate::ledger::Ledger;
use crate::message::Typed;
use crate::shared::Shared;
use crate::side::Serving;
use crate::tasks;

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Request<M: Typed>(Shared<M>);

impl<M: Typed> RequestName for Request<M> {
    fn name(&self) -> &str {
        "Measured.echo"
    }
}

struct Echo<M> {
    ledger: Arc<Ledger>,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for Echo<M> {
    fn clone(&self) -> Self {
        Self {
            ledger: Arc::clone(&self.ledger),
            message: PhantomData,
        }
    }
}

impl<M: Typed> Serve for Echo<M> {
    type Req = Request<M>;
    type Resp = Shared<M>;

    async fn serve(
        self,
        _: context::Context,
        request: Request<M>,
    ) -> Result<Shared<M>, ServerError> {
        self.ledger.verify(&*request.0);
        Ok(request.0)
    }
}

pub fn serve<M: Typed>(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let echo = Echo::<M> {
        ledger: Arc::clone(&ledger),
        message: PhantomData,
    };
    let path = folder.join("tarpc");
    let address = path.to_str().ok_or("a path that is no text")?.to_owned();
    let runtime = tasks::runtime()?;
    let mut incoming = runtime.block_on(tarpc::serde_transport::unix::listen(
        &path,
        Bincode::default,
    ))?;
    thread::spawn(move || {
        runtime.block_on(async move {
            while let Some(transport) = incoming.next().await {
                let channel = BaseChannel::with_defaults(transport.expect("a client comes"));
                tokio::spawn(channel.execute(echo.clone()).for_each(|answer| async {
                    tokio::spawn(answer);
                }));
            }
        })
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

pub struct Member<M: Typed> {
    channel: client::Channel<Request<M>, Shared<M>>,
    message: Shared<M>,
}

impl<M: Typed> Member<M> {
    pub async fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        let transport = tarpc::serde_transport::unix::connect(address, Bincode::default).await?;
        Ok(Self {
            channel: client::new(client::Config::default(), transport).spawn(),
            message: Shared::of_len(case.len, source),
        })
    }
}

impl<M: Typed> tasks::Member for Member<M> {
    async fn call(&mut self, number: u64) -> Result<(), Error> {
        let mut context = context::current();
        context.deadline = Instant::now() + crate::side::PATIENCE;
        let request = Request(self.message.numbered(number));
        let reply = self.channel.call(context, request).await?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    async fn send_many(&mut self, _: u64, _: u64) -> Result<(), Error> {
        Err("tarpc has nothing but calls".into())
    }

    async fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn flush(&mut self, _: u64) -> Result<(), Error> {
        Err("tarpc has nothing but calls".into())
    }
}
