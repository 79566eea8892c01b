//! What all parts have done, and every alert: counted by a worker in each, written by the agent that the
//! first of them starts.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wayside::Settings;
use wayside::aggregator::lifecycle::{Resident, Spawn};
use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::{Agent, AttackBody, Report, Worker};

use crate::places::{Side, settings};

/// An alert, as it is in the log.
#[derive(Debug, Serialize, Deserialize)]
pub struct Alert {
    pub by: String,
}

pub const NAME: &str = "smart-home";
pub const LOG: &str = "log.jsonl";

pub fn worker() -> Result<Worker, Box<dyn Error>> {
    let settings = settings(Side::Agent, &[])?;
    let spawn = Spawn::this_program().log(settings.dir()?.join("agent.log"));
    let builder = Worker::builder(NAME).settings(&settings)?;
    Ok(builder.agent(spawn).start()?)
}

pub fn agent(settings: &Settings) -> Result<Resident, Box<dyn Error>> {
    let log = JsonLines::file(&settings.dir()?.join(LOG), Rotation::default())?;
    let agent = Agent::builder(NAME).sink(log);
    Ok(Resident::new(settings, agent).idle(Duration::from_millis(500)))
}

/// What the log says: a line for each alert, and one for each counter.
pub fn read_back(log: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut counters = BTreeMap::<String, u64>::new();
    for report in log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
    {
        match report {
            Report::Attack(notice) => {
                if let AttackBody::Own { kind, json } = notice.body {
                    let alert = serde_json::from_str::<Alert>(&json);
                    let by = alert.map_or(json, |alert| alert.by);
                    lines.push(format!("{kind}: {by}"));
                }
            }
            Report::Heartbeat(heartbeat) => {
                for count in heartbeat.counters {
                    *counters.entry(count.series.to_string()).or_default() += count.value;
                }
            }
            _ => {}
        }
    }
    let counters = counters.into_iter();
    lines.extend(counters.map(|(series, value)| format!("{series}={value}")));
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::aggregator::{Count, Heartbeat, Series};

    use super::*;

    proptest! {
        #[test]
        fn the_log_adds_up_over_heartbeats_and_skips_what_is_torn(
            values in prop::collection::vec(0..1000_u64, 1..10), torn in "[a-z{]{0,10}",
        ) {
            let lines = values.iter().map(|&value| {
                let count = Count { series: Series::new("pictures", &[]), value };
                let heartbeat = Heartbeat { counters: vec![count], ..Heartbeat::default() };
                serde_json::to_string(&Report::Heartbeat(heartbeat)).unwrap() + "\n"
            });
            let log = torn + "\n" + &lines.collect::<String>();
            let sum: u64 = values.iter().sum();
            prop_assert_eq!(read_back(&log), [format!("pictures={sum}")]);
        }
    }
}
