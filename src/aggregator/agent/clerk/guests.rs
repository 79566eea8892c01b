//! Who is connected, and what they bring.

use super::{Clerk, Guest, Meters, fresh_id};
use crate::aggregator::agent::desk::bounded;
use crate::aggregator::agent::detector::{Detector, Sight};
use crate::aggregator::agent::record::{Record, Whose};
use crate::aggregator::agent::workers::Order;
use crate::aggregator::{AgentReply, AttackReport, Batch, Finding, Hello, Moment, Reports};
use crate::ambient;
use crate::server::{Peer, PeerKey, Responder};

impl Clerk {
    pub(super) fn hello(
        &mut self,
        peer: Peer<Reports>,
        hello: Box<Hello>,
        responder: Responder<Reports>,
        now: Moment,
    ) {
        let whose = Whose {
            application: hello.application.clone(),
            worker: hello.worker,
        };
        if let Err(why) = self.open(&whose, now) {
            self.refusals.note(&why);
            self.desks
                .answers
                .push((responder, AgentReply::Refused { why }));
            return;
        }
        // On one connection there is one worker: another hello replaces it.
        if let Some(before) = self.end_of(peer.key()).filter(|before| *before != whose) {
            self.record(Record::Gone { whose: before }, now);
        }
        let hash = hello.config_hash;
        let account = self.memory.state.account(&whose.application);
        let known = account.is_some_and(|account| account.knows(&hello));
        self.record(Record::Hello { hello }, now);
        let key = peer.key();
        self.desks.present.insert(whose.clone(), key);
        self.desks.guests.insert(
            key,
            Guest {
                peer,
                whose: whose.clone(),
            },
        );
        let account = self.memory.state.account(&whose.application);
        let config = account.and_then(|account| account.config());
        let unsendable = self.desks.unsendable.get(&key).copied();
        let config = config
            .filter(|document| hash != Some(document.hash) && unsendable != Some(document.version));
        let worker = self.memory.state.worker(&whose);
        let welcome = AgentReply::Welcome {
            known,
            batch_applied: worker.map_or(0, |worker| worker.batch_applied),
            attack_taken: worker.map_or(0, |worker| worker.attack_taken),
            config: config.cloned(),
        };
        self.desks.welcomes.push((responder, key, welcome));
    }

    /// Makes sure that there is room for a worker.
    fn open(&mut self, whose: &Whose, now: Moment) -> Result<(), String> {
        let state = &self.memory.state;
        let (bounds, name) = (state.bounds(), &whose.application);
        match state.account(name) {
            Some(account) if account.has_room_for(whose.worker, bounds) => return Ok(()),
            Some(_) => {
                return Err(format!(
                    "{} workers of application {name:?} are connected, as many as this agent takes",
                    bounds.workers_max
                ));
            }
            None => {}
        }
        if !state.has_room() && !self.make_room(now) {
            let max = self.memory.state.bounds().applications_max;
            return Err(format!(
                "there are {max} applications, as many as this agent takes"
            ));
        }
        self.open_application(name.clone(), now);
        Ok(())
    }

    /// Forgets an application that the program has not named, and that nothing is left to do for.
    fn make_room(&mut self, now: Moment) -> bool {
        let is_named = |name: &str| self.detectors.contains_key(name);
        let Some(application) = self.memory.state.forgettable(is_named) else {
            return false;
        };
        let application = application.to_owned();
        self.beats.end(&application);
        self.desks.meters.remove(&application);
        self.record(Record::Forgotten { application }, now);
        true
    }

    pub(super) fn open_application(&mut self, application: String, now: Moment) {
        self.beats
            .begin(&application, now.steady, ambient::fresh_number());
        let at = now.unix;
        self.record(Record::Opened { application, at }, now);
    }

    /// Who speaks on this connection.
    pub(super) fn whose(&self, peer: PeerKey) -> Option<Whose> {
        self.desks
            .guests
            .get(&peer)
            .map(|guest| guest.whose.clone())
    }

    /// A connection ends. Whose it was, if no later one speaks for that worker.
    pub(super) fn end_of(&mut self, peer: PeerKey) -> Option<Whose> {
        let whose = self.desks.guests.remove(&peer)?.whose;
        self.desks.attacked.remove(&peer);
        self.desks.owed.remove(&peer);
        let speaks = self.desks.present.get(&whose) == Some(&peer);
        if speaks {
            self.desks.present.remove(&whose);
        }
        speaks.then_some(whose)
    }

    pub(super) fn batch(
        &mut self,
        peer: PeerKey,
        batch: Box<Batch>,
        responder: Responder<Reports>,
        now: Moment,
    ) {
        let seq = batch.seq;
        let whose = self.whose(peer);
        let known = whose.and_then(|whose| {
            let order = self.memory.state.worker(&whose)?.batch_order(seq);
            Some((whose, order))
        });
        let reply = match known {
            None => AgentReply::HelloFirst,
            Some((_, Order::Again)) => AgentReply::Taken { seq },
            Some((_, Order::Gap { expected })) => AgentReply::Refused {
                why: format!("batch {seq} came where {expected} was expected: say hello again"),
            },
            Some((whose, Order::Next)) => {
                self.observe(&whose, now, |detector| {
                    detector.batch(whose.worker, &batch, now)
                });
                let application = whose.application.clone();
                self.meters(&application).batches.add(1, now.steady);
                self.record(Record::Batch { whose, batch }, now);
                // What a detector has found waits for the sinks, too.
                self.keep_within_bounds(&application, now);
                AgentReply::Taken { seq }
            }
        };
        self.desks.answers.push((responder, reply));
    }

    pub(super) fn attack(&mut self, peer: PeerKey, report: Box<AttackReport>, now: Moment) {
        let Some(whose) = self.whose(peer) else {
            return;
        };
        let Some(worker) = self.memory.state.worker(&whose) else {
            return;
        };
        // Also what was taken before is acknowledged again. What is behind a gap is not: it comes
        // again after the next hello.
        self.desks.attacked.insert(peer);
        if worker.attack_order(report.number) != Order::Next {
            return;
        }
        let report = bounded(report);
        self.meters(&whose.application).attacks.add(1, now.steady);
        self.observe(&whose, now, |detector| {
            detector.attack(whose.worker, &report, now)
        });
        let application = whose.application.clone();
        self.record(Record::Attack { whose, report }, now);
        self.keep_within_bounds(&application, now);
    }

    pub(super) fn meters(&mut self, application: &str) -> &mut Meters {
        if !self.desks.meters.contains_key(application) {
            let name = application.to_owned();
            self.desks.meters.insert(name, Meters::default());
        }
        self.desks
            .meters
            .get_mut(application)
            .expect("it was inserted")
    }

    /// Shows something to all detectors of an application, and records what they find.
    fn observe(
        &mut self,
        whose: &Whose,
        now: Moment,
        mut look: impl FnMut(&mut dyn Detector) -> Option<Sight>,
    ) {
        let Some(detectors) = self.detectors.get_mut(&whose.application) else {
            return;
        };
        let mut found = Vec::new();
        for detector in detectors {
            let seen = std::panic::AssertUnwindSafe(|| look(&mut **detector));
            match std::panic::catch_unwind(seen) {
                Ok(Some(sight)) => found.push((detector.name().to_owned(), sight)),
                Ok(None) => {}
                Err(_) => log::error!("detector {} panicked", detector.name()),
            }
        }
        for (detector, sight) in found {
            let finding = Finding {
                id: fresh_id(),
                application: whose.application.clone(),
                detector,
                key: sight.key,
                at: now.unix,
                text: sight.text,
            };
            let finding = Box::new(finding);
            self.record(Record::Found { finding }, now);
        }
    }
}
