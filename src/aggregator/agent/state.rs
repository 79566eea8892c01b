//! All that the agent knows, as it follows from its records and from nothing else.
//!
//! Pure: no clock, no I/O, no chance. The same records give the same state, so a replay gives the
//! same heartbeats with the same ids. What to record is decided elsewhere (`clerk`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::bounds::{AgentBounds, count};
use super::record::{Record, Whose};
use super::waiting::Ticketed;
use super::workers::Worker;
use crate::aggregator::WorkerId;

/// What follows from the records. Serialized it is a snapshot that stands for all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    bounds: AgentBounds,
    accounts: BTreeMap<String, Account>,
    /// Of the next report.
    ticket: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            bounds: AgentBounds::default(),
            accounts: BTreeMap::new(),
            ticket: 1,
        }
    }
}

impl State {
    /// Takes one step. A record that is not in its order changes nothing.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Started { bounds } => {
                self.bounds = bounds;
                self.accounts.values_mut().for_each(Account::disconnect_all);
            }
            Record::Opened { application, at } => {
                let account = self.accounts.entry(application);
                account.or_insert_with(|| Account::starting(at));
            }
            Record::Hello { hello } => {
                if let Some(account) = self.accounts.get_mut(&hello.application) {
                    account.greet(&hello, &self.bounds);
                }
            }
            Record::Batch { whose, batch } => {
                if let Some(account) = self.accounts.get_mut(&whose.application) {
                    account.take_batch(whose.worker, *batch, &self.bounds);
                }
            }
            Record::Attack { whose, report } => {
                let ticket = self.ticket;
                let Whose {
                    application,
                    worker,
                } = whose;
                if let Some(account) = self.accounts.get_mut(&application) {
                    let taken = account.take_attack(application, worker, *report, ticket);
                    self.ticket += u64::from(taken);
                }
            }
            Record::Found { finding } => {
                if let Some(account) = self.accounts.get_mut(&finding.application) {
                    account.take_finding(*finding, self.ticket);
                    self.ticket += 1;
                }
            }
            Record::ConfigRuns { whose, version } => {
                self.with(&whose, |account, worker| {
                    account.config_runs(worker, version)
                });
            }
            Record::ConfigRefused {
                whose,
                version,
                why,
            } => self.with(&whose, |account, worker| {
                account.config_refused(worker, version, why);
            }),
            Record::Gone { whose } => self.with(&whose, Account::worker_gone),
            Record::Left { whose } => self.with(&whose, Account::worker_left),
            Record::Config {
                application,
                document,
                origin,
            } => {
                if let Some(account) = self.accounts.get_mut(&application) {
                    account.set_config(document, origin);
                }
            }
            Record::Freeze {
                application,
                id,
                at,
            } => {
                if let Some(account) = self.accounts.get_mut(&application) {
                    account.freeze(&application, id, at);
                }
            }
            Record::Closed {
                application,
                id,
                fate,
            } => {
                if let Some(account) = self.accounts.get_mut(&application) {
                    account.close(&id, fate, &self.bounds);
                }
            }
            Record::Delivered { through } => {
                let accounts = self.accounts.values_mut();
                accounts.for_each(|account| account.delivered(through));
            }
            Record::Dismissed { ticket, fate } => {
                let accounts = self.accounts.values_mut();
                accounts.for_each(|account| account.dismiss(ticket, fate));
            }
            Record::Forgotten { application } => drop(self.accounts.remove(&application)),
        }
    }

    fn with(&mut self, whose: &Whose, change: impl FnOnce(&mut Account, WorkerId)) {
        if let Some(account) = self.accounts.get_mut(&whose.application) {
            change(account, whose.worker);
        }
    }

    pub(crate) fn bounds(&self) -> &AgentBounds {
        &self.bounds
    }

    /// Whether one more application can be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.accounts.len() < count(self.bounds.applications_max)
    }

    /// The application to forget when another needs its place: of those that nothing is left to do for,
    /// the one whose last worker has gone first.
    pub(crate) fn forgettable(&self, is_kept: impl Fn(&str) -> bool) -> Option<&str> {
        let idle = self
            .accounts()
            .filter(|(name, account)| !is_kept(name) && account.is_done());
        let longest = idle.max_by_key(|(_, account)| account.periods_alone());
        longest.map(|(name, _)| name)
    }

    pub(crate) fn account(&self, application: &str) -> Option<&Account> {
        self.accounts.get(application)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> {
        let all = self.accounts.iter();
        all.map(|(name, account)| (name.as_str(), account))
    }

    pub(crate) fn worker(&self, whose: &Whose) -> Option<&Worker> {
        self.account(&whose.application)?.worker(whose.worker)
    }

    /// The ticket that the next report will have.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.ticket
    }

    /// The reports that wait for sinks, from this ticket on, in their order.
    pub(crate) fn reports_since(&self, ticket: u64) -> Vec<Ticketed> {
        let accounts = self.accounts.values();
        let mut reports: Vec<Ticketed> = accounts
            .flat_map(|account| account.reports_since(ticket).cloned())
            .collect();
        reports.sort_by_key(|known| known.ticket);
        reports
    }

    /// A report that has to go because there are more of an application than there may be; none of
    /// those that are spared.
    pub(crate) fn over_bound(&self, application: &str, spared: &[u64]) -> Option<u64> {
        self.account(application)?.over_bound(&self.bounds, spared)
    }
}
