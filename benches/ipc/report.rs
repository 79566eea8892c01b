//! Tables of medians, and every single run as a line of JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use crate::Error;
use crate::case::{Case, Mechanism, Way, Workload};
use crate::options::Options;
use crate::pair::Run;

pub struct Report {
    runs: BTreeMap<Case, Vec<Run>>,
    json: Option<File>,
}

impl Report {
    pub fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            runs: BTreeMap::new(),
            json: options.json.as_ref().map(File::create).transpose()?,
        })
    }

    pub fn add(&mut self, case: &Case, round: u32, run: &Run) -> Result<(), Error> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", json(case, round, run))?;
        }
        self.runs.entry(case.clone()).or_default().push(*run);
        Ok(())
    }

    pub fn print(&self) {
        for &way in Way::ALL {
            self.print_table(Workload::Calls, way, CALLS_HEAD, call_row);
            self.print_table(Workload::Events, way, EVENTS_HEAD, event_row);
            self.print_table(Workload::Idle, way, IDLE_HEAD, idle_row);
        }
    }

    fn print_table(
        &self,
        workload: Workload,
        way: Way,
        head: &str,
        row: fn(&[Run], Baselines<'_>) -> String,
    ) {
        let wanted = |case: &&Case| case.workload == workload && case.way == way;
        let mut cases = self.runs.keys().filter(wanted).peekable();
        if cases.peek().is_none() {
            return;
        }
        println!("\n## {workload} over {way}\n\n{head}");
        for case in cases {
            let baseline = |mechanism| {
                let baseline = Case {
                    mechanism,
                    ..case.clone()
                };
                self.runs.get(&baseline).map(Vec::as_slice)
            };
            let (len, pinning) = (length(case.len), case.pinning);
            let row = row(&self.runs[case], &baseline);
            println!("| {len} | {pinning} | {} | {row} |", case.mechanism);
        }
    }
}

/// The runs of the same case by another mechanism, if it was measured.
type Baselines<'a> = &'a dyn Fn(Mechanism) -> Option<&'a [Run]>;

const CALLS_HEAD: &str = "\
| bytes | cores | by | p50 µs (min–max) | of raw | of raw-spin | p99 µs | CPU µs client | server | allocations client | server |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|";

fn call_row(runs: &[Run], baseline: Baselines<'_>) -> String {
    let p50 = |run: &Run| real(run.outcome.p50_ns) / 1e3;
    let p99 = |run: &Run| real(run.outcome.p99_ns) / 1e3;
    format!(
        "{} | {} | {} | {:.1} | {} | {} | {}",
        spread(runs, p50, 1),
        ratio(runs, baseline(Mechanism::Raw), p50),
        ratio(runs, baseline(Mechanism::RawSpin), p50),
        median(runs, p99),
        cpu(runs, |run| run.client.cpu_ns, 1e3),
        cpu(runs, |run| run.server.cpu_ns, 1e3),
        allocations(runs),
    )
}

const EVENTS_HEAD: &str = "\
| bytes | cores | by | thousand a second (min–max) | of raw-batch | CPU ns client | server | allocations client | server |
|---|---|---|--:|--:|--:|--:|--:|--:|";

fn event_row(runs: &[Run], baseline: Baselines<'_>) -> String {
    let rate = |run: &Run| real(run.messages) / real(run.outcome.elapsed_ns) * 1e6;
    format!(
        "{} | {} | {} | {} | {}",
        spread(runs, rate, 1),
        ratio(runs, baseline(Mechanism::RawBatch), rate),
        cpu(runs, |run| run.client.cpu_ns, 1.0),
        cpu(runs, |run| run.server.cpu_ns, 1.0),
        allocations(runs),
    )
}

const IDLE_HEAD: &str = "\
| bytes | cores | by | seconds | CPU µs client | server | sleeps client | server |
|---|---|---|--:|--:|--:|--:|--:|";

/// On each side one of the sleeps is the harness's own.
fn idle_row(runs: &[Run], _: Baselines<'_>) -> String {
    format!(
        "{:.1} | {:.0} | {:.0} | {} | {}",
        median(runs, |run| real(run.outcome.elapsed_ns) / 1e9),
        median(runs, |run| real(run.client.cpu_ns) / 1e3),
        median(runs, |run| real(run.server.cpu_ns) / 1e3),
        median(runs, |run| real(run.client.sleeps)),
        median(runs, |run| real(run.server.sleeps)),
    )
}

fn length(len: usize) -> String {
    match len {
        0..1024 => len.to_string(),
        1024..1_048_576 => format!("{} Ki", len / 1024),
        _ => format!("{} Mi", len / 1_048_576),
    }
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let values = sorted(runs, value);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn spread(runs: &[Run], value: impl Fn(&Run) -> f64, digits: usize) -> String {
    let values = sorted(runs, &value);
    let (least, most) = (values[0], values[values.len() - 1]);
    let median = median(runs, value);
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

fn ratio(runs: &[Run], baseline: Option<&[Run]>, value: impl Fn(&Run) -> f64) -> String {
    baseline.map_or("–".to_owned(), |baseline| {
        format!("{:.2}", median(runs, &value) / median(baseline, &value))
    })
}

fn cpu(runs: &[Run], value: impl Fn(&Run) -> u64, unit: f64) -> String {
    let each = |run: &Run| real(value(run)) / real(run.messages.max(1)) / unit;
    format!("{:.1}", median(runs, each))
}

fn allocations(runs: &[Run]) -> String {
    let client = |run: &Run| real(run.client.allocations) / real(run.messages.max(1));
    let server = |run: &Run| real(run.server.allocations) / real(run.messages.max(1));
    format!("{:.4} | {:.4}", median(runs, client), median(runs, server))
}

fn sorted(runs: &[Run], value: impl Fn(&Run) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A count as a number to divide.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "there is no other way, and no count here comes near 2^53"
)]
pub fn real(count: u64) -> f64 {
    count as f64
}

fn json(case: &Case, round: u32, run: &Run) -> String {
    let Case {
        workload,
        way,
        len,
        pinning,
        mechanism,
    } = case;
    let Run {
        messages,
        outcome,
        client,
        server,
    } = run;
    let mut line = format!(
        "{{\"workload\":\"{workload}\",\"way\":\"{way}\",\"len\":{len},\"pinning\":\"{pinning}\",\
         \"mechanism\":\"{mechanism}\",\"round\":{round},\"messages\":{messages},\
         \"elapsed_ns\":{},\"p50_ns\":{},\"p99_ns\":{}",
        outcome.elapsed_ns, outcome.p50_ns, outcome.p99_ns
    );
    for (side, figures) in [("client", client), ("server", server)] {
        let (cpu, allocations, sleeps) = (figures.cpu_ns, figures.allocations, figures.sleeps);
        line += &format!(
            ",\"{side}_cpu_ns\":{cpu},\"{side}_allocations\":{allocations},\"{side}_sleeps\":{sleeps}"
        );
    }
    line + "}"
}
