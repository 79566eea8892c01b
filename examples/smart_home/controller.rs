//! The controller: a server that the other parts are clients of. Every alert of it is in the log.

use std::collections::HashMap;
use std::error::Error;

use wayside::aggregator::Worker;
use wayside::{CloseReason, Handler, Peer, PeerKey, Responder, Server};

use crate::PATIENCE;
use crate::alarm::Alarm;
use crate::log::{Alert, worker};
use crate::places::{Side, settings};
use crate::protocol::{Event, Home, Part, Push, Reply, Request};
use crate::words::{Word, words};

struct Controller {
    alarm: Alarm,
    parts: HashMap<PeerKey, (Part, Peer<Home>)>,
    worker: Worker,
}

impl Controller {
    fn tell(&self, pushes: Vec<(Part, Push)>) {
        for (to, push) in pushes {
            if let Push::Alert { by } = &push {
                let by = by.to_string();
                if let Err(error) = self.worker.report("alert", &Alert { by }) {
                    eprintln!("controller: {error}");
                }
            }
            let peers = self.parts.values().filter(|(part, _)| *part == to);
            for (_, peer) in peers {
                if peer.push(&push).is_err() {
                    // It can't take even this: better gone than late.
                    peer.close();
                }
            }
        }
        let armed = if self.alarm.armed { 1.0 } else { 0.0 };
        self.worker.gauge("armed").set(armed);
    }
}

impl Handler<Home> for Controller {
    fn event(&mut self, peer: &Peer<Home>, event: Event) {
        let Some((part, _)) = self.parts.get(&peer.key()) else {
            return;
        };
        match event {
            Event::Sensed => {
                let by = part.name();
                self.worker.counter_with("sensed", &[("by", by)]).one();
                let pushes = self.alarm.sensed(*part);
                self.tell(pushes);
            }
            Event::Picture { bytes } => {
                self.worker.counter("pictures").one();
                let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.worker.histogram("picture.bytes").record(len);
            }
        }
    }

    fn request(&mut self, peer: &Peer<Home>, request: Request, responder: Responder<Home>) {
        let (reply, pushes) = match request {
            Request::Join(part) => {
                self.parts.insert(peer.key(), (part, peer.clone()));
                (Reply::Done, Vec::new())
            }
            Request::Arm => {
                self.alarm.arm();
                (Reply::Done, Vec::new())
            }
            Request::Disarm { code } => self.alarm.disarm(&code),
        };
        // Who has gone meanwhile needs no answer.
        responder.reply(&reply).ok();
        self.tell(pushes);
    }

    fn disconnected(&mut self, peer: &Peer<Home>, _: &CloseReason) {
        self.parts.remove(&peer.key());
    }
}

pub fn control() -> Result<(), Box<dyn Error>> {
    let worker = worker()?;
    let controller = Controller {
        alarm: Alarm::default(),
        parts: HashMap::new(),
        worker: worker.clone(),
    };
    let settings = settings(Side::Controller, &[])?;
    let builder = Server::builder().settings(&settings)?;
    let server = builder.bind(controller)?.spawn()?;
    println!("controller: ready");
    let words = words()?;
    while words.recv()? != Word::End {}
    server.shutdown(PATIENCE);
    Ok(worker.close(PATIENCE)?)
}
