//! Tables of medians, and every single run as a line of JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use crate::case::{Case, Way, Workload};
use crate::mechanism::Mechanism;
use crate::options::Options;
use crate::pair::Run;
use crate::{Error, allocations};

pub struct Report {
    runs: BTreeMap<Case, Vec<Run>>,
    json: Option<File>,
}

impl Report {
    pub fn new(options: &Options) -> Result<Self, Error> {
        let open = |path| File::options().create(true).append(true).open(path);
        Ok(Self {
            runs: BTreeMap::new(),
            json: options.json.as_ref().map(open).transpose()?,
        })
    }

    pub fn add(&mut self, case: &Case, round: usize, run: &Run) -> Result<(), Error> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", json(case, round, run))?;
        }
        self.runs.entry(case.clone()).or_default().push(*run);
        Ok(())
    }

    pub fn print(&self) {
        for &way in Way::ALL {
            for &workload in Workload::ALL {
                self.print_table(workload, way);
            }
        }
    }

    fn print_table(&self, workload: Workload, way: Way) {
        let wanted = |case: &&Case| case.workload == workload && case.way == way;
        let cases: Vec<&Case> = self.runs.keys().filter(wanted).collect();
        if cases.is_empty() {
            return;
        }
        println!("\n## {workload} over {way}\n");
        let columns = columns(workload);
        let mut head = "| bytes | clients | cores | by |".to_owned();
        let mut line = "|--:|--:|---|---|".to_owned();
        for column in &columns {
            head += &format!(" {} |", column.head);
            line += "--:|";
        }
        println!("{head}\n{line}");
        for case in cases {
            let (len, clients) = (length(case.len), case.clients);
            let mut row = format!(
                "| {len} | {clients} | {} | {} |",
                case.pinning, case.mechanism
            );
            for column in &columns {
                row += &format!(" {} |", self.cell(case, column));
            }
            println!("{row}");
        }
    }

    fn cell(&self, case: &Case, column: &Column) -> String {
        let runs = &self.runs[case];
        let digits = column.digits;
        match column.kind {
            Kind::Median => format!("{:.digits$}", median(runs, column.value)),
            Kind::Spread => spread(runs, column.value, digits),
            Kind::Ratio(mechanism) => {
                let baseline = self.runs.get(&Case {
                    mechanism,
                    ..case.clone()
                });
                baseline.map_or("–".to_owned(), |baseline| {
                    let ratio = median(runs, column.value) / median(baseline, column.value);
                    format!("{ratio:.digits$}")
                })
            }
        }
    }
}

/// One figure of a table.
struct Column {
    head: &'static str,
    kind: Kind,
    digits: usize,
    value: fn(&Run) -> f64,
}

enum Kind {
    Median,
    /// The median, the least and the most.
    Spread,
    /// The median as a multiple of that of another mechanism.
    Ratio(Mechanism),
}

const fn column(head: &'static str, kind: Kind, digits: usize, value: fn(&Run) -> f64) -> Column {
    Column {
        head,
        kind,
        digits,
        value,
    }
}

fn columns(workload: Workload) -> Vec<Column> {
    let mut columns = match workload {
        Workload::Calls => vec![
            column("p50 µs (min–max)", Kind::Spread, 1, p50_us),
            column("of raw", Kind::Ratio(Mechanism::Raw), 2, p50_us),
            column("of raw-poll", Kind::Ratio(Mechanism::RawPoll), 2, p50_us),
            column("of raw-spin", Kind::Ratio(Mechanism::RawSpin), 2, p50_us),
            column("of raw-typed", Kind::Ratio(Mechanism::RawTyped), 2, p50_us),
        ],
        Workload::Events | Workload::FanIn => vec![
            column("thousand/s (min–max)", Kind::Spread, 1, thousands),
            column(
                "of raw-batch",
                Kind::Ratio(Mechanism::RawBatch),
                2,
                thousands,
            ),
        ],
        Workload::Bursts => vec![
            column("p50 µs (min–max)", Kind::Spread, 1, p50_us),
            column("of raw", Kind::Ratio(Mechanism::Raw), 2, p50_us),
        ],
        Workload::Idle => {
            let seconds = |run: &Run| real(run.outcome.elapsed_ns) / 1e9;
            return vec![
                column("seconds", Kind::Median, 1, seconds),
                column("CPU µs client", Kind::Median, 0, |run| {
                    real(run.client.cpu_ns) / 1e3
                }),
                column("server", Kind::Median, 0, |run| {
                    real(run.server.cpu_ns) / 1e3
                }),
                // On each side one of them is the harness's own.
                column("sleeps client", Kind::Median, 0, |run| {
                    real(run.client.sleeps)
                }),
                column("server", Kind::Median, 0, |run| real(run.server.sleeps)),
            ];
        }
    };
    if matches!(workload, Workload::Calls | Workload::Bursts) {
        columns.extend([
            column("p90", Kind::Median, 1, |run| real(run.delays.p90_ns) / 1e3),
            column("p99", Kind::Median, 1, |run| real(run.delays.p99_ns) / 1e3),
            column("p99.9", Kind::Median, 1, |run| {
                real(run.delays.p999_ns) / 1e3
            }),
        ]);
    }
    if workload == Workload::FanIn {
        columns.push(column("least/most", Kind::Median, 2, |run| {
            real(run.outcome.least) / real(run.outcome.most.max(1))
        }));
    }
    columns.extend([
        column("CPU s per million client", Kind::Median, 3, |run| {
            real(run.client.cpu_ns) / real(run.messages.max(1)) / 1e3
        }),
        column("server", Kind::Median, 3, |run| {
            real(run.server.cpu_ns) / real(run.messages.max(1)) / 1e3
        }),
        column("peak MiB client", Kind::Median, 1, |run| {
            real(run.client.peak_kib) / 1024.0
        }),
        column("server", Kind::Median, 1, |run| {
            real(run.server.peak_kib) / 1024.0
        }),
    ]);
    if allocations::ARE_COUNTED {
        columns.extend([
            column("allocations client", Kind::Median, 4, |run| {
                real(run.client.allocations) / real(run.messages.max(1))
            }),
            column("server", Kind::Median, 4, |run| {
                real(run.server.allocations) / real(run.messages.max(1))
            }),
        ]);
    }
    columns
}

fn p50_us(run: &Run) -> f64 {
    real(run.delays.p50_ns) / 1e3
}

fn thousands(run: &Run) -> f64 {
    real(run.messages) / real(run.outcome.elapsed_ns) * 1e6
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

fn json(case: &Case, round: usize, run: &Run) -> String {
    let Case {
        workload,
        way,
        len,
        clients,
        pinning,
        mechanism,
    } = case;
    let mut line = format!(
        "{{\"workload\":\"{workload}\",\"way\":\"{way}\",\"len\":{len},\"clients\":{clients},\
         \"pinning\":\"{pinning}\",\"mechanism\":\"{mechanism}\",\"round\":{round}"
    );
    let (outcome, delays) = (&run.outcome, &run.delays);
    let mut numbers = vec![
        ("messages".to_owned(), run.messages),
        ("stolen_ns".to_owned(), run.stolen_ns),
        ("disturbed".to_owned(), run.is_disturbed().into()),
        ("elapsed_ns".to_owned(), outcome.elapsed_ns),
        ("least".to_owned(), outcome.least),
        ("most".to_owned(), outcome.most),
        ("p50_ns".to_owned(), delays.p50_ns),
        ("p90_ns".to_owned(), delays.p90_ns),
        ("p99_ns".to_owned(), delays.p99_ns),
        ("p999_ns".to_owned(), delays.p999_ns),
    ];
    for (side, figures) in [("client", &run.client), ("server", &run.server)] {
        numbers.extend([
            (format!("{side}_cpu_ns"), figures.cpu_ns),
            (format!("{side}_allocations"), figures.allocations),
            (format!("{side}_sleeps"), figures.sleeps),
            (format!("{side}_peak_kib"), figures.peak_kib),
        ]);
    }
    for (name, number) in numbers {
        line += &format!(",\"{name}\":{number}");
    }
    line + "}"
}
