//! ipc-channel: each client sends the server the ends of two channels; the server waits for all of
//! them in one set.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use ::ipc_channel::ipc::{
    self, IpcOneShotServer, IpcReceiver, IpcReceiverSet, IpcSelectionResult, IpcSender,
};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::case::{Case, Workload};
use crate::ledger::Ledger;
use crate::message::{CONFIRM, Typed};
use crate::shared::Shared;
use crate::side::{Serving, Traffic};

/// What a client sends the server to begin with.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Link<M: Typed> {
    messages: IpcReceiver<Shared<M>>,
    answers: IpcSender<Answer<M>>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Answer<M: Typed> {
    Reply(Shared<M>),
    Handled(u64),
}

/// The name of a one-shot server is for one client; through it comes where all of them say hello.
type Hello<M> = IpcReceiver<Link<M>>;

pub fn serve<M: Typed>(case: &Case) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let books = Arc::clone(&ledger);
    let (server, address) = IpcOneShotServer::<Hello<M>>::new()?;
    let case = case.clone();
    thread::spawn(move || {
        let (_, hello) = server.accept().expect("a client comes");
        let links = (0..case.clients).map(|_| hello.recv().expect("a client comes"));
        let links: Vec<Link<M>> = links.collect();
        let calls = case.workload == Workload::Calls;
        if let [_] = links.as_slice() {
            links.iter().for_each(|link| take_in(link, &books, calls));
        } else {
            take_in_all(links, &books).expect("a working set");
        }
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

fn take_in<M: Typed>(link: &Link<M>, ledger: &Ledger, calls: bool) {
    while let Ok(message) = link.messages.recv() {
        let number = ledger.verify(&*message);
        let answer = if calls {
            Answer::Reply(message)
        } else if number & CONFIRM != 0 {
            Answer::Handled(number)
        } else {
            continue;
        };
        link.answers.send(answer).expect("the client waits");
    }
}

fn take_in_all<M: Typed>(links: Vec<Link<M>>, ledger: &Ledger) -> Result<(), Error> {
    let mut set = IpcReceiverSet::new()?;
    let mut answers = Vec::new();
    for link in links {
        set.add(link.messages)?;
        answers.push(link.answers);
    }
    let mut open = answers.len();
    while open > 0 {
        for result in set.select()? {
            match result {
                IpcSelectionResult::MessageReceived(_, message) => {
                    let message: Shared<M> = message.to()?;
                    let number = ledger.verify(&*message);
                    if number & CONFIRM != 0 {
                        answers[message.source()].send(Answer::Handled(number))?;
                    }
                }
                IpcSelectionResult::ChannelClosed(_) => open -= 1,
            }
        }
    }
    Ok(())
}

pub struct Member<M: Typed> {
    messages: IpcSender<Shared<M>>,
    answers: IpcReceiver<Answer<M>>,
    message: Shared<M>,
}

/// The first client opens the way for all, which say hello one after the other.
fn hello<M: Typed>(address: &str, link: Link<M>) -> Result<(), Error> {
    static HELLO: OnceLock<Mutex<Box<dyn std::any::Any + Send>>> = OnceLock::new();
    if HELLO.get().is_none() {
        let (sender, receiver) = ipc::channel::<Link<M>>()?;
        let server = IpcSender::<Hello<M>>::connect(address.to_owned())?;
        server.send(receiver)?;
        HELLO.get_or_init(|| Mutex::new(Box::new(sender)));
    }
    let sender = HELLO.get().ok_or("it was just set")?;
    let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = sender.downcast_ref::<IpcSender<Link<M>>>();
    Ok(sender
        .ok_or("one process, one kind of message")?
        .send(link)?)
}

impl<M: Typed> Member<M> {
    pub fn connect(case: &Case, address: &str, source: usize) -> Result<Self, Error> {
        let (messages, theirs) = ipc::channel()?;
        let (answer, answers) = ipc::channel()?;
        let link = Link {
            messages: theirs,
            answers: answer,
        };
        hello(address, link)?;
        Ok(Self {
            messages,
            answers,
            message: Shared::of_len(case.len, source),
        })
    }
}

impl<M: Typed> Traffic for Member<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.messages.send(self.message.numbered(number))?;
        match self.answers.recv()? {
            Answer::Reply(reply) => {
                assert_eq!(reply.verified(), Some(number), "another answer");
                Ok(())
            }
            Answer::Handled(_) => Err("not an answer to a call".into()),
        }
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        for number in first..first + count {
            self.messages.send(self.message.numbered(number))?;
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.messages.send(self.message.numbered(number))?;
        match self.answers.recv()? {
            Answer::Handled(handled) if handled == number => Ok(()),
            _ => Err("not the confirmation".into()),
        }
    }
}
