//! The dispatcher: the queue, joined to peers.

use std::collections::HashMap;
use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};

use wayside::{CloseReason, Handler, Peer, PeerKey, Responder, Server};

use crate::PATIENCE;
use crate::options::Options;
use crate::protocol::{Done, Jobs, Ledger, Progress, Push, Reply, Request};
use crate::queue::Queue;

pub struct Dispatcher {
    queue: Queue<PeerKey>,
    peers: HashMap<PeerKey, Peer<Jobs>>,
    submitters: HashMap<PeerKey, Responder<Jobs>>,
    /// Told when a batch is over.
    over: Sender<()>,
}

impl Dispatcher {
    pub fn new() -> (Self, Receiver<()>) {
        let (over, ending) = channel();
        let dispatcher = Self {
            queue: Queue::new(),
            peers: HashMap::new(),
            submitters: HashMap::new(),
            over,
        };
        (dispatcher, ending)
    }

    /// Sends what the queue decides, and answers those whose batch is finished.
    fn go_on(&mut self) {
        while let Some((worker, job)) = self.queue.hand_out() {
            let push = Push::Job {
                job: job.number,
                below: job.below,
            };
            if let Some(peer) = self.peers.get(&worker) {
                if peer.push(&push).is_err() {
                    // It can't even take this: `disconnected` follows, and gives the job back.
                    peer.close();
                }
            }
        }
        while let Some((owner, ledger)) = self.queue.take_finished() {
            self.tell(owner, ledger);
            if let Some(responder) = self.submitters.remove(&owner) {
                // If it has left meanwhile, nobody wants to know.
                responder.reply(&Reply::Finished(ledger)).ok();
            }
            // Only `--once` listens.
            self.over.send(()).ok();
        }
    }

    fn tell(&self, owner: PeerKey, ledger: Ledger) {
        let workers = self.queue.hands.len();
        let push = Push::Progress(Progress { ledger, workers });
        if let Some(peer) = self.peers.get(&owner) {
            // Progress that can't be sent is followed by more.
            peer.push(&push).ok();
        }
    }
}

impl Handler<Jobs> for Dispatcher {
    fn connected(&mut self, peer: &Peer<Jobs>) {
        self.peers.insert(peer.key(), peer.clone());
    }

    fn event(&mut self, peer: &Peer<Jobs>, done: Done) {
        if let Some(owner) = self.queue.finish(peer.key(), done.job, done.primes) {
            if let Some(ledger) = self.queue.ledgers.get(&owner) {
                self.tell(owner, *ledger);
            }
        }
        self.go_on();
    }

    fn request(&mut self, peer: &Peer<Jobs>, request: Request, responder: Responder<Jobs>) {
        let key = peer.key();
        match request {
            Request::Work => {
                responder.reply(&Reply::Welcome).ok();
                self.queue.join(key);
            }
            Request::Submit { below } => {
                if self.queue.submit(key, below) {
                    self.submitters.insert(key, responder);
                } else {
                    responder.reply(&Reply::Busy).ok();
                }
                if let Some(ledger) = self.queue.ledgers.get(&key) {
                    self.tell(key, *ledger);
                }
            }
        }
        self.go_on();
    }

    fn disconnected(&mut self, peer: &Peer<Jobs>, _: &CloseReason) {
        self.peers.remove(&peer.key());
        self.queue.leave(peer.key());
        if self.submitters.remove(&peer.key()).is_some() {
            self.over.send(()).ok();
        }
        self.go_on();
    }
}

pub fn dispatch(options: &Options) -> Result<(), Box<dyn Error>> {
    let settings = options.settings()?;
    let (dispatcher, ending) = Dispatcher::new();
    let builder = Server::builder().settings(&settings)?;
    let server = builder.bind(dispatcher)?.spawn()?;
    for endpoint in server.endpoints() {
        println!("dispatch: listening on {endpoint}");
    }
    for () in ending {
        if options.once {
            break;
        }
    }
    server.broadcast(&Push::GoHome);
    server.shutdown(PATIENCE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::Client;

    use super::*;
    use crate::worker::primes_below;

    /// With real connections: a worker leaves in the middle, wherever that is, and another comes.
    #[test]
    fn a_batch_is_finished_when_a_worker_leaves_with_jobs_in_hand() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let place = wayside::Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
        let (dispatcher, _ending) = Dispatcher::new();
        let builder = Server::builder().listen(place.clone());
        let server = builder.bind(dispatcher).unwrap().spawn().unwrap();
        let place = place.at(server.endpoints()[0].address());
        let client = || {
            let builder = Client::<Jobs>::builder().transport(place.clone());
            builder.connect(PATIENCE).unwrap()
        };
        let do_jobs = |worker: &Client<Jobs>, count: u32| {
            for _ in 0..count {
                match worker.next_push(PATIENCE) {
                    Some(Push::Job { job, below }) => {
                        let primes = primes_below(below);
                        worker.send(&Done { job, primes }).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let few = ProptestConfig::with_cases(16);
        proptest!(few, |(jobs in 1..20_u32, part in 0..20_u32)| {
            let part = part % jobs;
            let submitter = client();
            let below = vec![30; usize::try_from(jobs).unwrap()];
            let pending = submitter.start(&Request::Submit { below }, PATIENCE).unwrap();
            let first = client();
            first.call(&Request::Work, PATIENCE).unwrap();
            do_jobs(&first, part);
            first.close(PATIENCE).unwrap();
            let second = client();
            second.call(&Request::Work, PATIENCE).unwrap();
            do_jobs(&second, jobs - part);
            let Reply::Finished(ledger) = pending.wait().unwrap() else {
                panic!("not finished");
            };
            prop_assert_eq!(ledger.done, u64::from(jobs));
            prop_assert_eq!(ledger.primes, 10 * u64::from(jobs));
            prop_assert_eq!(ledger.handed_out, ledger.done + ledger.lost);
        });
    }
}
