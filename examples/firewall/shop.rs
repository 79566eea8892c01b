//! A process of the application: a pet shop with a firewall inside.
//!
//! Requests come in by standard input, a line of JSON each. At its end it says what it has recorded.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wayside::Settings;
use wayside::aggregator::lifecycle::{Resident, Spawn};
use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::source::ConfigFile;
use wayside::aggregator::{
    Agent, Application, Attack, AttackRequest, AttackWave, Counter, Histogram, Inventory, Policy,
    RateLimit, Rule, Worker, WorkerLimits,
};

use crate::books::{Outcome, REQUESTS, Said, Tally};
use crate::injection::Query;
use crate::traffic::Request;
use crate::{NAME, PATIENCE};

/// The logins of one address that are let through, by all processes together.
pub const LOGINS_MAX: u32 = 20;
/// The attacks of one address that are a wave, over all processes.
pub const WAVE_LEN: u32 = 10;

/// The configuration, as `rules.json` has it and the agent hands it out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    pub blocked_users: BTreeSet<String>,
}

/// The agent that this program becomes when a worker needs one.
pub fn agent(settings: &Settings) -> Result<Resident, Box<dyn Error>> {
    let dir = settings.dir()?;
    let everything = Rotation {
        len_max: u64::MAX,
        ..Rotation::default()
    };
    let rules = ConfigFile::new(dir.join("rules.json")).interval(Duration::from_millis(20));
    let application = Application::named(NAME)
        .rule(
            "login",
            RateLimit::new(LOGINS_MAX, Duration::from_secs(600)),
        )
        .detect(AttackWave::new(WAVE_LEN, Duration::from_secs(60)))
        .source(rules);
    let agent = Agent::builder(application)
        .sink(JsonLines::file(&dir.join("reports.jsonl"), everything)?)
        .journal(dir.join("journal"))
        .first_heartbeat(Duration::from_millis(200))
        .heartbeat(Duration::from_millis(300));
    Ok(Resident::new(settings, agent).idle(Duration::from_millis(300)))
}

/// The worker, until its input ends.
pub fn work(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let limits = WorkerLimits {
        flush_interval: Duration::from_millis(100),
        ..WorkerLimits::default()
    };
    let worker = Worker::builder(NAME)
        .settings(settings)?
        .limits(limits)
        .agent(spawn()?.log(settings.dir()?.join("agent.log")))
        .config(Rules::default())
        .start()?;
    let mut shop = Shop::new(worker);
    for line in stdin().lock().lines() {
        shop.handle(&serde_json::from_str(&line?)?);
    }
    let closed = shop.worker.close(PATIENCE);
    println!("{}", serde_json::to_string(&shop.said())?);
    Ok(closed?)
}

/// This program again. Its tests are another program, where nobody calls the hook: see there.
fn spawn() -> Result<Spawn, Box<dyn Error>> {
    if !cfg!(test) {
        return Ok(Spawn::this_program());
    }
    let arguments = ["tests::plays_the_agent", "--exact", "--nocapture"];
    Ok(Spawn::command(std::env::current_exe()?, arguments))
}

/// The application, and what it counts with.
struct Shop {
    worker: Worker<Rules>,
    requests: [(Outcome, Counter); 4],
    time: Histogram,
    routes: Inventory,
    login: Rule,
    /// Counted by hand, to be compared with what wayside has counted.
    tally: Tally,
    logins: u64,
}

impl Shop {
    fn new(worker: Worker<Rules>) -> Self {
        let counter = |outcome: Outcome| {
            let labels = [("outcome", outcome.name())];
            (outcome, worker.counter_with(REQUESTS, &labels))
        };
        Self {
            requests: Outcome::ALL.map(counter),
            time: worker.histogram("request.nanos"),
            routes: worker.inventory("routes"),
            login: worker
                .rule("login")
                .policy(Policy::LastKnown)
                .timeout(Duration::from_secs(1)),
            worker,
            tally: Tally::new(),
            logins: 0,
        }
    }

    fn handle(&mut self, request: &Request) {
        let start = Instant::now();
        let outcome = self.judge(request);
        // An honest request would go on to the database now.
        for (_, counter) in self.requests.iter().filter(|(each, _)| *each == outcome) {
            counter.one();
        }
        self.routes.seen(&request.route);
        self.time.record_duration(start.elapsed());
        *self.tally.entry(outcome).or_default() += 1;
    }

    fn judge(&mut self, request: &Request) -> Outcome {
        if self.worker.config().blocked_users.contains(&request.user) {
            return Outcome::Blocked;
        }
        if request.route == "/login" {
            if !self.login.allow(&request.ip) {
                return Outcome::Limited;
            }
            self.logins += 1;
        }
        let query = Query::pets_named(&request.input);
        if !query.is_injected() {
            return Outcome::Served;
        }
        self.worker.attack(attack(request, query));
        Outcome::Attack
    }

    fn said(&self) -> Said {
        Said {
            process: std::process::id(),
            tally: self.tally.clone(),
            logins: self.logins,
            fallbacks: self.worker.counters().fallbacks,
            recorded: self.worker.ledger().recorded,
        }
    }
}

fn attack(request: &Request, query: Query) -> Attack {
    Attack {
        operation: "database.query".to_owned(),
        source: "query".to_owned(),
        path: ".name".to_owned(),
        payload: request.input.clone(),
        blocked: true,
        request: Some(AttackRequest {
            method: request.method.clone(),
            route: request.route.clone(),
            ip: request.ip.clone(),
            ..AttackRequest::default()
        }),
        user: Some(request.user.clone()),
        metadata: vec![("sql".to_owned(), query.text)],
        ..Attack::new("sql_injection")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::{Kind, MALLORY, Traffic};

    #[test]
    fn without_an_agent_the_shop_is_open_and_still_stops_attacks() {
        let few = ProptestConfig::with_cases(16);
        proptest!(few, |(seed: u64, blocks: bool)| {
            let mut rules = Rules::default();
            if blocks {
                rules.blocked_users.insert(MALLORY.to_owned());
            }
            let worker = Worker::builder("firewall").config(rules).start().unwrap();
            let mut shop = Shop::new(worker);
            let mut expected = Tally::new();
            for request in (Traffic { seed, count: 400 }).requests() {
                shop.handle(&request);
                let outcome = match request.kind {
                    Kind::Injection | Kind::Wave => Outcome::Attack,
                    Kind::Mallory if blocks => Outcome::Blocked,
                    _ => Outcome::Served,
                };
                *expected.entry(outcome).or_default() += 1;
            }
            let said = shop.said();
            prop_assert_eq!(said.fallbacks, 40);
            prop_assert_eq!(said.recorded.hits, 400);
            prop_assert_eq!(said.recorded.observed, 400);
            prop_assert_eq!(said.recorded.attacks, expected[&Outcome::Attack]);
            prop_assert_eq!(said.tally, expected);
        });
    }
}
