//! The applications' configurations, and the interval that they may say.

use std::time::Duration;

use super::Clerk;
use crate::aggregator::Moment;
use crate::aggregator::agent::config::{self, Next};
use crate::aggregator::agent::record::{ConfigOrigin, Record};
use crate::ambient;

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
        if json.len() > self.config_len_max {
            return Err(format!(
                "the configuration has {} bytes, and frame_len_max has room for {}",
                json.len(),
                self.config_len_max
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
