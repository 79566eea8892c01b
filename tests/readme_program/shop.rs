use std::error::Error;
use std::time::Duration;

use wayside::Settings;
use wayside::aggregator::lifecycle::{self, Resident, Spawn};
use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::{Agent, Application, Attack, RateLimit, Worker};

const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    // Started once more by itself, this program is the agent, and does not come back from here.
    lifecycle::hook(|| {
        let settings = Settings::load()?;
        let dir = settings.dir()?;
        let shop = Application::named("shop").rule("login", RateLimit::new(5, MINUTE));
        let reports = JsonLines::file(&dir.join("reports.jsonl"), Rotation::default())?;
        let agent = Agent::builder(shop).sink(reports).journal(dir.join("journal"));
        Ok(Resident::new(&settings, agent))
    });

    let settings = Settings::load()?;
    let dir = settings.dir()?;
    let agent = Spawn::this_program().log(dir.join("agent.log"));
    let worker = Worker::builder("shop").settings(&settings)?.agent(agent).start()?;
    let requests = worker.counter("http.requests");
    requests.one();                               // nanoseconds; added up exactly once
    worker.attack(Attack::new("sql_injection"));  // at the agent's sinks at once
    worker.flush(MINUTE)?;                        // only to be sure that there is an agent by now
    if worker.allow("login", "203.0.113.7") {     // a limit that all processes share
        println!("logged in; reports are in {}", dir.display());
    } else {
        println!("more than five logins in a minute");
    }
    worker.close(MINUTE)?;                        // who runs on sends every second
    Ok(())
}
