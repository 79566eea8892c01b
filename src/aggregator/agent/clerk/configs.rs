//! The applications' configurations, and the interval that they may say.

use std::time::Duration;

use super::Clerk;
use crate::aggregator::agent::config::{self, Next};
use crate::aggregator::agent::record::{ConfigOrigin, Record};
use crate::aggregator::{AgentPush, AgentReply, Moment};
use crate::ambient;
use crate::server::{PeerKey, PushError, ReplyError};

impl Clerk {
    pub(super) fn set_config(
        &mut self,
        application: String,
        json: String,
        origin: ConfigOrigin,
        now: Moment,
    ) -> Result<u64, String> {
        let Some(account) = self.memory.state.account(&application) else {
            return Err(format!("there is no application {application:?}"));
        };
        if json.len() > self.text_len_max {
            return Err(format!(
                "the configuration has {} bytes, and frame_len_max has room for {}",
                json.len(),
                self.text_len_max
            ));
        }
        let document = match config::next(account.config(), json, now.unix) {
            Next::Another(document) => document,
            // Whoever sets it wants it to stay, whatever the next agent begins with.
            Next::Same(same) if origin == ConfigOrigin::Set && !account.config_was_set() => same,
            Next::Same(same) => return Ok(same.version),
        };
        let version = document.version;
        let record = Record::Config {
            application: application.clone(),
            document,
            origin,
        };
        self.record(record, now);
        self.adopt_interval(&application, now);
        self.desks.configured.insert(application);
        Ok(version)
    }

    /// Answers hellos, with the configuration where it fits.
    pub(super) fn welcome(&mut self, now: Moment) {
        for (responder, key, welcome) in std::mem::take(&mut self.desks.welcomes) {
            let version = match &welcome {
                AgentReply::Welcome { config, .. } => config.as_ref().map(|config| config.version),
                _ => None,
            };
            if let (Some(version), Err(ReplyError::TooLong { max })) =
                (version, responder.reply(&welcome))
            {
                self.withhold_config(key, version, max, now);
            }
        }
    }

    pub(super) fn push_configs(&mut self, now: Moment) {
        let configured = std::mem::take(&mut self.desks.configured);
        let owed = std::mem::take(&mut self.desks.owed);
        if configured.is_empty() && owed.is_empty() {
            return;
        }
        let mut too_long = Vec::new();
        for (key, guest) in &self.desks.guests {
            let is_owed = owed.contains(key);
            if !is_owed && !configured.contains(&guest.whose.application) {
                continue;
            }
            let account = self.memory.state.account(&guest.whose.application);
            let config = account.and_then(|account| account.config());
            if let Some(document) = config {
                let push = AgentPush::Config(document.clone());
                match guest.peer.push(&push) {
                    Ok(()) | Err(PushError::Gone(_)) => {}
                    Err(PushError::Full { .. }) => {
                        self.desks.owed.insert(*key);
                    }
                    Err(PushError::TooLong { max }) => too_long.push((*key, document.version, max)),
                    Err(error) => {
                        log::warn!("a configuration can't be sent to {:?}: {error}", guest.peer);
                    }
                }
            }
            if is_owed {
                self.desks.attacked.insert(*key);
            }
        }
        for (key, version, max) in too_long {
            self.withhold_config(key, version, max, now);
        }
    }

    /// A worker takes no message so long: it keeps what it has, and is not kept from anything else. It
    /// is told nothing, as it has refused without knowing; its next hello is answered without.
    fn withhold_config(&mut self, key: PeerKey, version: u64, max: u32, now: Moment) {
        self.desks.unsendable.insert(key, version);
        let Some(whose) = self.whose(key) else {
            return;
        };
        let why = format!("the worker takes no message longer than {max} bytes (frame_len_max)");
        log::warn!(
            "worker {} of {} can't be sent configuration {version}: {why}",
            whose.worker,
            whose.application
        );
        let record = Record::ConfigRefused {
            whose,
            version,
            why,
        };
        self.record(record, now);
    }

    /// Takes the interval from the configuration, if it is there.
    pub(super) fn adopt_interval(&mut self, application: &str, now: Moment) {
        let Some(key) = &self.interval_key else {
            return;
        };
        let account = self.memory.state.account(application);
        let document = account.and_then(|account| account.config());
        match document.and_then(|document| config::interval(&document.json, key)) {
            Some(Ok(interval)) => self.set_interval(application, interval, now),
            Some(Err(why)) => log::warn!("the configuration of {application}: {key} {why}"),
            None => {}
        }
    }

    pub(super) fn set_interval(&mut self, application: &str, interval: Duration, now: Moment) {
        let chance = ambient::fresh_number();
        self.beats
            .set_interval(application, interval, now.steady, chance);
    }
}
