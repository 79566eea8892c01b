//! How many instructions the pure parts take for a message, by callgrind: the same number whenever
//! the same compiler built it, where times are not.
//!
//! ```text
//! cargo bench --all-features --bench instructions               prints them beside the budget
//! cargo bench --all-features --bench instructions -- --check    fails if one is above its budget by more than 3 %
//! cargo bench --all-features --bench instructions -- --record   makes what they are now the budget
//! ```
//!
//! Each case runs twice under `valgrind --tool=callgrind`, with N and with 2 N messages: the
//! difference has nothing of the program's start in it. The budget is `benches/instructions/budget.txt`, for
//! the compiler that it names; with another one the numbers are printed and nothing fails.
#![allow(clippy::unwrap_used, reason = "a bench ends by panicking")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is for reading"
)]

mod cases;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cases::CASES;

/// Above its budget by more than this a case fails the check. In permille.
const TOLERANCE: u64 = 30;

const HELP: &str = "\
Counts the instructions of the pure parts per message, under callgrind.

usage: cargo bench --all-features --bench instructions -- [--check | --record | --help]

  --check   fail if a case is above its budget by more than 3 %
  --record  make the present numbers the budget";

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Print,
    Check,
    Record,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut mode = Mode::Print;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The child under callgrind.
        ["--run", case, count] => {
            cases::run(case, count.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        _ => {
            for argument in &arguments {
                match argument.as_str() {
                    // What `cargo bench` adds.
                    "--bench" => {}
                    "--check" => mode = Mode::Check,
                    "--record" => mode = Mode::Record,
                    "--help" => {
                        println!("{HELP}");
                        return ExitCode::SUCCESS;
                    }
                    other => {
                        eprintln!("there is no option {other}\n\n{HELP}");
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
    }
    match compare(mode) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all cases. False if one is beyond its budget.
fn compare(mode: Mode) -> Result<bool, String> {
    let compiler = compiler()?;
    let budget = Budget::read(&budget_path());
    let comparable = budget.compiler == compiler;
    let mut now = Budget {
        compiler: compiler.clone(),
        cases: BTreeMap::new(),
    };
    let mut within = true;
    println!(
        "{:<36} {:>13} {:>9}",
        "instructions per message", "now", "budget"
    );
    for case in CASES {
        let count = instructions(case.name, case.count)?;
        now.cases.insert(case.name.to_owned(), count);
        let budgeted = budget.cases.get(case.name).copied();
        let note = match budgeted {
            _ if !comparable => "",
            None => "  not in the budget: record it",
            Some(most) if count * 1000 > most * (1000 + TOLERANCE) => "  TOO MANY",
            Some(most) if count * (1000 + TOLERANCE) < most * 1000 => "  less: record it",
            Some(_) => "",
        };
        within &= !(note.contains("TOO MANY") || note.contains("not in"));
        let budgeted = budgeted.map_or_else(String::new, |most| most.to_string());
        println!("{:<36} {count:>13} {budgeted:>9}{note}", case.name);
    }
    if mode == Mode::Record {
        fs::write(budget_path(), now.to_text()).map_err(|error| error.to_string())?;
        println!("recorded for {compiler}");
        return Ok(true);
    }
    if !comparable {
        println!(
            "The budget is for {}, this is {compiler}: not compared.",
            budget.compiler
        );
        return Ok(true);
    }
    Ok(within || mode == Mode::Print)
}

/// The difference of two runs, for each message.
fn instructions(case: &str, count: u64) -> Result<u64, String> {
    let once = run_under_callgrind(case, count)?;
    let twice = run_under_callgrind(case, 2 * count)?;
    Ok(twice.saturating_sub(once) / count)
}

fn run_under_callgrind(case: &str, count: u64) -> Result<u64, String> {
    let out = env::temp_dir().join(format!("wayside-callgrind-{}", std::process::id()));
    let mut out_option = std::ffi::OsString::from("--callgrind-out-file=");
    out_option.push(&out);
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let result = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(out_option)
        .arg(program)
        .args(["--run", case, &count.to_string()])
        // The same memory layout each time, whatever the environment is like, and the C library's
        // copying that every processor has.
        .env_clear()
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.hwcaps=-AVX2,-ERMS,-FSRM,-AVX512VL,-AVX512F,-AVX_Fast_Unaligned_Load",
        )
        .output();
    let text = fs::read_to_string(&out);
    fs::remove_file(&out).ok();
    let output = result.map_err(|error| format!("valgrind does not start: {error}"))?;
    let complaint = || format!("{case}: {}", String::from_utf8_lossy(&output.stderr));
    let text = text.map_err(|_| complaint())?;
    if !output.status.success() {
        return Err(complaint());
    }
    // `summary: 123` or `totals: 123`.
    let total = text.lines().find_map(|line| {
        line.strip_prefix("summary: ")
            .or(line.strip_prefix("totals: "))
    });
    total
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(complaint)
}

/// As `rustc --version` says.
fn compiler() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let output = output.map_err(|error| format!("rustc does not start: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn budget_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/budget.txt")
}

#[derive(Default)]
struct Budget {
    compiler: String,
    cases: BTreeMap<String, u64>,
}

impl Budget {
    /// The first line is the compiler, then a case and its number in each.
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().to_owned();
        let entry = |line: &str| {
            let (name, number) = line.rsplit_once(' ')?;
            Some((name.trim().to_owned(), number.parse().ok()?))
        };
        let cases = lines.filter_map(entry).collect();
        Self { compiler, cases }
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.compiler);
        for (name, number) in &self.cases {
            writeln!(text, "{name} {number}").unwrap();
        }
        text
    }
}
