//! The submitter: hands in a batch, and shows what becomes of it.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::PATIENCE;
use crate::options::Options;
use crate::protocol::{Progress, Push, Reply, Request};

/// How long a batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(600);

/// How often to look whether the call has ended without a last word about the progress.
const LOOK: Duration = Duration::from_millis(100);

pub fn submit(
    options: &Options,
    mut watch: impl FnMut(Progress) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let client = options.connect()?;
    let below = (0..options.jobs).map(|job| 20_000 + job % 7 * 1000);
    let request = Request::Submit {
        below: below.collect(),
    };
    let mut line = Line::new();
    let pending = client.start(&request, BATCH_TIMEOUT)?;
    loop {
        // Once more after the end: the last word came before the answer.
        let last = pending.is_finished();
        while let Some(push) = client.next_push(if last { Duration::ZERO } else { LOOK }) {
            if let Push::Progress(progress) = push {
                line.show(progress);
                watch(progress)?;
            }
        }
        if last {
            break;
        }
    }
    line.end();
    match pending.wait()? {
        Reply::Finished(ledger) => println!("{ledger}"),
        other => return Err(format!("the dispatcher says {other:?}").into()),
    }
    client.close(PATIENCE)?;
    Ok(())
}

/// One line that changes on a terminal, and every quarter a line elsewhere.
struct Line {
    live: bool,
    quarters: u64,
}

impl Line {
    fn new() -> Self {
        Self {
            live: std::io::stdout().is_terminal(),
            quarters: 0,
        }
    }

    fn show(&mut self, progress: Progress) {
        if self.live {
            print!("\r{progress} ");
            // A terminal that is gone shows nothing anyway.
            std::io::stdout().flush().ok();
        } else if progress.ledger.done * 4 >= progress.ledger.submitted * self.quarters {
            println!("{progress}");
            self.quarters += 1;
        }
    }

    fn end(&self) {
        if self.live {
            println!();
        }
    }
}
