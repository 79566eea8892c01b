//! What waits for the sinks: attacks and findings, each with a ticket that says its turn.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::aggregator::{Attack, AttackBody, AttackNotice, Finding, Heartbeat, Report, WorkerId};

/// A report and its place in the order of all reports of all applications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ticketed {
    pub(crate) ticket: u64,
    #[serde(with = "kept")]
    pub(crate) report: Arc<Report>,
}

/// The reports of one application that no sink, or not every sink, has taken.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Waiting {
    reports: VecDeque<Ticketed>,
    len: u64,
}

impl Waiting {
    pub(crate) fn count(&self) -> usize {
        self.reports.len()
    }

    /// About how many bytes they take.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, ticket: u64, report: Report) {
        self.len += weight(&report);
        let report = Arc::new(report);
        self.reports.push_back(Ticketed { ticket, report });
    }

    /// Those from this ticket on, oldest first.
    pub(crate) fn since(&self, ticket: u64) -> impl Iterator<Item = &Ticketed> {
        let start = self.reports.partition_point(|known| known.ticket < ticket);
        self.reports.range(start..)
    }

    /// Takes away all up to this ticket.
    pub(crate) fn remove_through(&mut self, ticket: u64) {
        while self
            .reports
            .front()
            .is_some_and(|first| first.ticket <= ticket)
        {
            self.remove_at(0);
        }
    }

    /// Takes away one: whose attack it was. `None` if it is not here.
    pub(crate) fn remove(&mut self, ticket: u64) -> Option<Option<WorkerId>> {
        let found = self
            .reports
            .binary_search_by_key(&ticket, |known| known.ticket);
        let removed = self.remove_at(found.ok()?)?;
        Some(match &*removed.report {
            Report::Attack(notice) => Some(notice.worker),
            _ => None,
        })
    }

    fn remove_at(&mut self, index: usize) -> Option<Ticketed> {
        let removed = self.reports.remove(index)?;
        self.len -= weight(&removed.report);
        Some(removed)
    }
}

/// About how many bytes of memory a report takes.
fn weight(report: &Report) -> u64 {
    let len = match report {
        Report::Attack(notice) => notice.id.len() + notice.application.len() + len_of(&notice.body),
        Report::Finding(finding) => {
            let texts = [&finding.id, &finding.application, &finding.detector];
            let texts = texts.into_iter().chain([&finding.key, &finding.text]);
            texts.map(String::len).sum()
        }
        Report::Heartbeat(_) => 0,
    };
    u64::try_from(len + size_of::<Report>()).unwrap_or(u64::MAX)
}

/// About how many bytes of memory the texts of an attack take.
pub(crate) fn len_of(body: &AttackBody) -> usize {
    match body {
        AttackBody::Own { kind, json } => kind.len() + json.len(),
        AttackBody::Attack(attack) => attack_len(attack),
    }
}

fn attack_len(attack: &Attack) -> usize {
    let entry = size_of::<String>();
    size_of::<Attack>() + attack.texts().map(|text| text.len() + entry).sum::<usize>()
}

/// A report in the journal: without the tag inside, which only formats for people can read again.
pub(crate) mod kept {
    use super::*;

    #[derive(Deserialize)]
    enum Kept {
        Heartbeat(Heartbeat),
        Attack(AttackNotice),
        Finding(Finding),
    }

    /// The same, borrowed.
    #[derive(Serialize)]
    #[serde(rename = "Kept")]
    enum Keeping<'a> {
        Heartbeat(&'a Heartbeat),
        Attack(&'a AttackNotice),
        Finding(&'a Finding),
    }

    pub(crate) fn serialize<S: Serializer>(
        report: &Arc<Report>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match &**report {
            Report::Heartbeat(heartbeat) => Keeping::Heartbeat(heartbeat),
            Report::Attack(notice) => Keeping::Attack(notice),
            Report::Finding(finding) => Keeping::Finding(finding),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Report>, D::Error> {
        let report = match Kept::deserialize(deserializer)? {
            Kept::Heartbeat(heartbeat) => Report::Heartbeat(heartbeat),
            Kept::Attack(notice) => Report::Attack(notice),
            Kept::Finding(finding) => Report::Finding(finding),
        };
        Ok(Arc::new(report))
    }
}
