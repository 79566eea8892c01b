//! The line at the top of `main`.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;

use super::call::{Call, Task};
use super::resident::Resident;
use super::{platform, spawn};

/// Lets this program be its own agent: to be called at the top of `main`, before anything else.
///
/// If this process was started by [`Spawn::this_program`](super::Spawn::this_program) to be the
/// agent, it is that, and does not return. Otherwise it returns at once.
///
/// ```no_run
/// use wayside::Settings;
/// use wayside::aggregator::lifecycle::{Resident, hook};
/// use wayside::aggregator::sink::JsonLines;
/// use wayside::aggregator::Agent;
///
/// fn main() {
///     hook(|| {
///         let settings = Settings::load()?;
///         let reports = settings.dir()?.join("reports.jsonl");
///         let agent = Agent::builder("shop").sink(JsonLines::file(&reports, Default::default())?);
///         Ok(Resident::new(&settings, agent))
///     });
///     // The program's own work.
/// }
/// ```
pub fn hook(agent: impl FnOnce() -> Result<Resident, Box<dyn Error>>) {
    let Some(call) = Call::of_process() else {
        return;
    };
    let result = match call.task {
        Task::Launch => launch(call.ticket),
        // Only the one that was called gets the ticket; what it starts has other work.
        Task::Serve if call.take_ticket() => serve(agent),
        Task::Serve => return,
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            // Nobody has set up the log yet. Without standard error nobody can be told.
            writeln!(io::stderr(), "the agent can't run: {error}").ok();
            1
        }
    };
    process::exit(code);
}

fn launch(ticket: PathBuf) -> Result<(), Box<dyn Error>> {
    platform::detach_this()?;
    let task = Task::Serve;
    let mut command = spawn::this_program(&Call { task, ticket })?;
    // Not waited for: it is to outlive this process, which ends now.
    drop(command.spawn()?);
    Ok(())
}

fn serve(agent: impl FnOnce() -> Result<Resident, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    agent()?.run()?;
    Ok(())
}
