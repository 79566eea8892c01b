//! Runs all cases, again and again.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use crate::case::{Case, Workload};
use crate::mechanism::Mechanism;
use crate::options::{Mode, Options};
use crate::pair::{Pair, Run};
use crate::report::Report;
use crate::{Error, message, options, strace};

/// Does what the arguments say.
pub fn run(arguments: &[String]) -> Result<(), Error> {
    let options = Options::parse(arguments)?;
    match options.mode {
        Mode::Help => {
            let mechanisms: Vec<_> = Mechanism::ALL.iter().map(ToString::to_string).collect();
            println!("{}{}", options::HELP, mechanisms.join(", "));
            Ok(())
        }
        Mode::Strace => strace::report(&options),
        Mode::Measure => measure(&options),
        Mode::Quick => {
            measure(&options)?;
            if strace::is_there() {
                strace::report(&options)?;
            }
            Ok(())
        }
    }
}

/// Interleaved: every round runs every case once, so that what disturbs the machine for a while
/// disturbs all alike.
fn measure(options: &Options) -> Result<(), Error> {
    let mut report = Report::new(options)?;
    let cases = options.cases();
    if cases.is_empty() {
        return Err("nothing on this machine is what was asked for".into());
    }
    let mut progress = Progress::new(cases.len() * options.rounds);
    let (mut repeats, mut disturbed) = (0, 0);
    for round in 0..options.rounds {
        for case in &cases {
            progress.show(case);
            let mut run = run_once(case, options)?;
            for _ in 0..REPEATS_MAX {
                if options.mode == Mode::Quick || !run.is_disturbed() {
                    break;
                }
                repeats += 1;
                run = run_once(case, options)?;
            }
            if options.mode == Mode::Quick {
                check(case, &run)?;
            }
            disturbed += usize::from(run.is_disturbed());
            report.add(case, round, &run)?;
        }
    }
    progress.end();
    report.print();
    if repeats + disturbed > 0 {
        eprintln!(
            "This machine's host took a core away for over a fifth of a run: {repeats} runs were \
             repeated for that, and of those that count {disturbed} were disturbed so."
        );
    }
    Ok(())
}

/// How often a run is repeated that was disturbed.
const REPEATS_MAX: usize = 3;

fn run_once(case: &Case, options: &Options) -> Result<Run, Error> {
    Pair::start(case, options.amount_for(case), None)
        .and_then(Pair::finish)
        .map_err(|error| format!("{case}: {error}").into())
}

/// One line that says how far it is: at a terminal always the same one, else one now and then.
struct Progress {
    runs: usize,
    done: usize,
    begun: Instant,
    shown: Option<Instant>,
}

/// In a file nobody needs more.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    fn new(runs: usize) -> Self {
        Self {
            runs,
            done: 0,
            begun: Instant::now(),
            shown: None,
        }
    }

    fn show(&mut self, case: &Case) {
        let (runs, done) = (self.runs, self.done);
        let elapsed = self.begun.elapsed();
        let at_terminal = io::stderr().is_terminal();
        if at_terminal
            || self
                .shown
                .is_none_or(|shown| shown.elapsed() > LINE_INTERVAL)
        {
            let left = elapsed.as_secs() * u64::try_from(runs - done).unwrap_or(0)
                / u64::try_from(done.max(1)).unwrap_or(1);
            let text = format!("run {} of {runs}, {left} s left: {case}", done + 1);
            if at_terminal {
                eprint!("\r\x1b[K{text}");
            } else {
                eprintln!("{text}");
            }
            self.shown = Some(Instant::now());
        }
        self.done += 1;
    }

    fn end(&self) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// What has to hold on any machine, however slow: the steady state allocates nothing. That every
/// message arrived, whole and in order, the sides check in every run.
fn check(case: &Case, run: &Run) -> Result<(), Error> {
    let inline = case.len <= message::INLINE_LEN_MAX;
    if !matches!(case.mechanism, Mechanism::Wayside | Mechanism::WaysideAll)
        || !matches!(case.workload, Workload::Calls | Workload::Events)
        || !inline
    {
        return Ok(());
    }
    for (side, figures) in [("client", &run.client), ("server", &run.server)] {
        let allocations = figures.allocations;
        // More may wait than ever before, and need its chunks: some hundred in all, not one for
        // each message.
        if allocations > 300 + run.messages / 1000 {
            let messages = run.messages;
            let text =
                format!("{case}: the {side} allocates: {allocations} in {messages} messages");
            return Err(text.into());
        }
    }
    Ok(())
}
