//! Describes an agent, and starts it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::application::Application;
use super::beats::Beats;
use super::board::Board;
use super::bounds::AgentBounds;
use super::build::is_newer;
use super::clerk::{Clerk, Desks};
use super::clock::{Clock, Wall};
use super::courier::Courier;
use super::desk::{Desk, HandOver, Refusals};
use super::ended::Vitals;
use super::memory::{Memory, Open};
use super::record::Record;
use super::running::Agent;
use super::state::State;
use super::tray::Tray;
use super::watcher::Watcher;
use crate::aggregator::journal::{Journal, JournalLimits};
use crate::aggregator::sink::Sink;
use crate::aggregator::{Reports, UnixMicros};
use crate::server::{BindError, Server, ServerBuilder};
use crate::settings::{Settings, SettingsError};
use crate::transport::Transport;

/// The tasks that wait for the clerk, at most.
const TRAY_COUNT_MAX: usize = 1 << 18;
/// About the bytes of those.
const TRAY_LEN_MAX: usize = 64 << 20;

/// What a message has around a configuration or a status, at most.
const TEXT_ROOM: u32 = 256;

/// Describes an agent. From [`Agent::builder`].
#[must_use = "there is no agent before `start`"]
pub struct AgentBuilder {
    applications: Vec<Application>,
    any: bool,
    settings: Option<Settings>,
    transports: Vec<Transport>,
    sinks: Vec<Box<dyn Sink>>,
    bounds: AgentBounds,
    heartbeat: Option<Duration>,
    first_heartbeat: Option<Duration>,
    interval_key: Option<String>,
    /// With limits of the program's own, or with those that fit what is kept.
    journal: Option<(PathBuf, Option<JournalLimits>)>,
    hand_over: Option<HandOver>,
    pub(super) wall: Wall,
    /// The tasks that wait for the clerk, and about their bytes, at most.
    pub(super) tray_max: (usize, usize),
}

/// The keys of the section `[agent]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Section {
    heartbeat: Option<Duration>,
    first_heartbeat: Option<Duration>,
    journal: Option<PathBuf>,
}

impl AgentBuilder {
    pub(crate) fn new(application: Application) -> Self {
        Self {
            applications: vec![application],
            any: false,
            settings: None,
            transports: Vec::new(),
            sinks: Vec::new(),
            bounds: AgentBounds::default(),
            heartbeat: None,
            first_heartbeat: None,
            interval_key: Some("heartbeat_interval".to_owned()),
            journal: None,
            hand_over: None,
            wall: UnixMicros::now,
            tray_max: (TRAY_COUNT_MAX, TRAY_LEN_MAX),
        }
    }

    /// Takes the workers of this application, too. Applications never mix: each has heartbeats, a
    /// ledger and a configuration of its own.
    pub fn application(mut self, application: impl Into<Application>) -> Self {
        self.applications.push(application.into());
        self
    }

    /// Takes the workers of any application, also of those that were not named. When there are
    /// [`AgentBounds::applications_max`], one that was not named, that nobody is connected for and nothing
    /// is left to report of, is forgotten for the next, with its ledger.
    pub fn any_application(mut self) -> Self {
        self.any = true;
        self
    }

    /// Where to listen, the limits of connections, and the keys of `[agent]`: `heartbeat`,
    /// `first_heartbeat` and `journal` (a directory). What the program says of one of these itself,
    /// before or after, stands above it.
    ///
    /// Without, they are [loaded](Settings::load) for the name of the first application.
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.settings = Some(settings.clone());
        self
    }

    /// Listens here instead of where the settings say.
    pub fn listen(mut self, transport: Transport) -> Self {
        self.transports.push(transport);
        self
    }

    /// Gives it all reports. Of several each gets everything, in its own time.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Keeps what was acknowledged in this directory, so that it outlives the agent. It takes twice what
    /// all applications may hold for the sinks ([`AgentBounds::reports_len_max`]), and at least 256 MiB.
    pub fn journal(mut self, directory: impl Into<PathBuf>) -> Self {
        self.journal = Some((directory.into(), None));
        self
    }

    /// As [`journal`](AgentBuilder::journal), within these limits. One that is too small for what the
    /// applications may hold fails the start.
    pub fn journal_within(mut self, directory: impl Into<PathBuf>, limits: JournalLimits) -> Self {
        self.journal = Some((directory.into(), Some(limits)));
        self
    }

    /// What is kept at most.
    pub fn bounds(mut self, bounds: AgentBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The time between two heartbeats, a minute if nothing is said; a tenth more or less by chance.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// The first heartbeat of an application comes after this time, 5 seconds if nothing is said.
    pub fn first_heartbeat(mut self, after: Duration) -> Self {
        self.first_heartbeat = Some(after);
        self
    }

    /// Takes the interval from this key of an application's configuration if it is there, in seconds.
    /// If nothing is said it is `heartbeat_interval`.
    pub fn heartbeat_key(mut self, key: impl Into<String>) -> Self {
        self.interval_key = Some(key.into());
        self
    }

    /// Makes room for agents of newer builds than this, and for no others: `1.10.0` is newer than
    /// `1.9.3`, and than `1.10.0-rc.1`. They say what they are by
    /// [`lifecycle::hand_over`](crate::aggregator::lifecycle::hand_over).
    pub fn hand_over_to_newer(self, this_build: impl Into<String>) -> Self {
        let this = this_build.into();
        self.hand_over(move |other| is_newer(other, &this))
    }

    /// Asked when another agent wants to take over; it says what build it is. If nothing is said,
    /// nobody may.
    pub fn hand_over(mut self, agrees: impl FnMut(&str) -> bool + Send + 'static) -> Self {
        self.hand_over = Some(Box::new(agrees));
        self
    }

    /// Starts the agent, on threads of its own.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn start(mut self) -> Result<Agent, AgentError> {
        let settings = match self.settings.take() {
            Some(settings) => settings,
            None => Settings::builder()
                .name(self.applications[0].name.as_str())
                .load()?,
        };
        let section: Section = settings.section("agent")?;
        let heartbeat = self.heartbeat.or(section.heartbeat);
        let heartbeat = heartbeat.unwrap_or(Duration::from_secs(60));
        let first = self.first_heartbeat.or(section.first_heartbeat);
        let beats = Beats::new(heartbeat, first.unwrap_or(Duration::from_secs(5)));
        let of_section = || Some((section.journal?, None));
        let journal = match self.journal.take().or_else(of_section) {
            Some((directory, asked)) => Some((directory, self.journal_limits(asked)?)),
            None => None,
        };
        self.assemble(&settings, beats, journal)
    }

    /// The limits of the journal: as long as it must be for what may wait for the sinks, and as much
    /// again for the periods and what comes between two snapshots.
    fn journal_limits(&self, asked: Option<JournalLimits>) -> Result<JournalLimits, AgentError> {
        let named = u32::try_from(self.applications.len()).unwrap_or(u32::MAX);
        let applications = match self.any {
            true => named.max(self.bounds.applications_max),
            false => named,
        };
        let reports = self
            .bounds
            .reports_len_max
            .saturating_mul(applications.into());
        let len_min = reports.saturating_mul(2);
        let default = JournalLimits::default();
        let fitting = JournalLimits {
            len_max: default.len_max.max(len_min),
            ..default
        };
        let limits = asked.unwrap_or(fitting);
        if limits.len_max < len_min {
            return Err(AgentError::JournalTooSmall {
                len_max: limits.len_max,
                len_min,
                applications,
            });
        }
        Ok(limits)
    }

    /// What an earlier agent has left.
    fn remember(
        journal: Option<(PathBuf, JournalLimits)>,
    ) -> Result<(Memory, Option<String>), AgentError> {
        let Some((directory, limits)) = journal else {
            return Ok((Memory::new(State::default(), None), None));
        };
        let place = directory.clone();
        let mut open: Open = Box::new(move || Journal::open(&place, limits));
        let (journal, replay) = match open() {
            Ok(opened) => opened,
            Err(error) if is_of_the_disk(&error) => {
                return Ok((Memory::without(open, &error), None));
            }
            Err(source) => return Err(AgentError::Journal { directory, source }),
        };
        let mut state = replay.snapshot.unwrap_or_default();
        for record in replay.records {
            state.apply(record);
        }
        let lost = replay.lost.map(|damage| damage.to_string());
        if let Some(damage) = &lost {
            log::error!(
                "the journal in {} is damaged: {damage}",
                directory.display()
            );
        }
        Ok((Memory::new(state, Some(journal)), lost))
    }

    fn assemble(
        mut self,
        settings: &Settings,
        beats: Beats,
        journal: Option<(PathBuf, JournalLimits)>,
    ) -> Result<Agent, AgentError> {
        let clock = Clock::starting_now(self.wall);
        let (tray_count_max, tray_len_max) = self.tray_max;
        let tray = Tray::new(tray_count_max, tray_len_max);
        let refusals = Arc::new(Refusals::default());
        let mut applications = std::mem::take(&mut self.applications);
        let mut desk = Desk::new(
            Arc::clone(&tray),
            clock,
            self.any,
            self.hand_over.take(),
            Arc::clone(&refusals),
        );
        for application in &mut applications {
            desk.add(application);
        }
        // Of several that start at once one has the names; only that one touches the journal.
        let server = self.bind(settings, desk)?;
        let (mut memory, lost) = Self::remember(journal)?;
        let now = clock.moment();
        let bounds = self.bounds.clone();
        memory.record(Record::Started { bounds }, now.steady);
        let names = self.sinks.iter().map(|sink| sink.name().to_owned());
        let board = Board::new(names.collect());
        let vitals = Arc::new(Vitals::default());
        let mut clerk = Clerk {
            memory,
            tray: Arc::clone(&tray),
            board: Arc::clone(&board),
            clock,
            vitals: Arc::clone(&vitals),
            refusals,
            beats,
            detectors: std::collections::HashMap::new(),
            interval_key: self.interval_key.take(),
            text_len_max: super::bounds::count(settings.limits().frame_len_max - TEXT_ROOM),
            since: now.unix,
            lost,
            desks: Desks::default(),
        };
        for application in &mut applications {
            let added = clerk.add(application, now);
            added.map_err(|why| AgentError::Config {
                application: application.name.clone(),
                why,
            })?;
        }
        let mut couriers = Vec::new();
        for (index, sink) in self.sinks.into_iter().enumerate() {
            let courier = Courier {
                sink,
                index,
                board: Arc::clone(&board),
                tray: Arc::clone(&tray),
                clock,
            };
            // Should one not start, the clerk that is dropped ends the others.
            couriers.push(spawn("wayside-sink", move || courier.run())?);
        }
        let mut watchers = Vec::new();
        for application in &mut applications {
            for source in application.sources.drain(..) {
                let name = application.name.clone();
                let watcher = Watcher::start(name, source, Arc::clone(&tray));
                watchers.push(watcher.map_err(AgentError::Thread)?);
            }
        }
        let clerk = spawn("wayside-clerk", move || clerk.run())?;
        let server = server.spawn().map_err(AgentError::Thread)?;
        Ok(Agent::new(
            tray, board, vitals, server, clerk, couriers, watchers,
        ))
    }

    fn bind(
        &mut self,
        settings: &Settings,
        desk: Desk,
    ) -> Result<Server<Reports, Desk>, AgentError> {
        let mut transports = std::mem::take(&mut self.transports);
        if transports.is_empty() {
            transports = settings.transports()?;
        }
        let builder = Server::<Reports>::builder().limits(settings.limits().clone());
        let builder = transports.into_iter().fold(builder, ServerBuilder::listen);
        Ok(builder.bind(desk)?)
    }
}

fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, AgentError> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(AgentError::Thread)
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("applications", &self.applications)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It can't listen. Another agent may be there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The journal can't be used.
    #[error("the journal in {directory}: {source}")]
    Journal {
        /// Where.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The journal is smaller than what the agent may hold.
    #[error(
        "the journal may have {len_max} bytes, and needs {len_min} for {applications} applications: \
         raise JournalLimits::len_max, or lower AgentBounds::reports_len_max"
    )]
    JournalTooSmall {
        /// What it may have.
        len_max: u64,
        /// Twice what the applications may hold for the sinks.
        len_min: u64,
        /// How many there may be.
        applications: u32,
    },
    /// A configuration can't be handed out.
    #[error("the configuration of {application:?} can't be encoded: {why}")]
    Config {
        /// Whose.
        application: String,
        /// What is wrong.
        why: String,
    },
    /// The system gives no thread.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
}

/// Whether a journal can't be had for now: reason to go on without it, as a disk that fails later is.
fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

#[cfg(all(test, feature = "tcp"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::aggregator::sink::SinkError;
    use crate::aggregator::{Attack, RateLimit, Report, Worker};
    use crate::backend::Tcp;

    const HOUR: Duration = Duration::from_secs(3600);
    const PATIENCE: Duration = Duration::from_secs(30);

    /// What the clock on the wall says.
    static WALL: AtomicU64 = AtomicU64::new(0);

    fn wall() -> UnixMicros {
        UnixMicros(WALL.load(Ordering::SeqCst))
    }

    struct Telling(Sender<Report>);

    impl Sink for Telling {
        fn name(&self) -> &str {
            "telling"
        }

        fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
            self.0.send(report.clone()).ok();
            Ok(())
        }
    }

    #[test]
    fn a_running_agent_goes_on_whatever_becomes_of_the_clock_on_the_wall() {
        let folder = tempfile::tempdir().unwrap();
        let place = Transport::new(Tcp::new(folder.path().join("key")), "127.0.0.1:0");
        let (sender, reports) = channel();
        let shop = Application::named("shop").rule("login", RateLimit::new(3, HOUR));
        let mut builder = Agent::builder(shop)
            .settings(&Settings::from_text("", "wayside.toml").unwrap())
            .listen(place.clone())
            .heartbeat(HOUR)
            .first_heartbeat(HOUR)
            .sink(Telling(sender));
        builder.wall = wall;
        let agent = builder.start().unwrap();
        let place = place.at(agent.endpoints()[0].address());
        let worker = Worker::builder("shop").transport(place).start().unwrap();
        let login = worker.rule("login").timeout(PATIENCE);
        worker.flush(PATIENCE).unwrap();
        let (mut end, mut version, mut allowed, mut counted) = (0, 0, 0, 0);
        // Also by an hour to and fro, which would make room if limits went by it.
        for micros in [1 << 50, 5, (1 << 50) + 7_200_000_000, 1 << 50, 0, u64::MAX] {
            WALL.store(micros, Ordering::SeqCst);
            worker.counter("requests").one();
            worker.attack(Attack::new("sql_injection")).unwrap();
            worker.flush(PATIENCE).unwrap();
            allowed += u32::from(login.allow("eve"));
            let next = agent.set_config("shop", &micros).unwrap();
            assert!(next > version, "{next} after {version}");
            version = next;
            agent.beat();
            assert!(matches!(
                reports.recv_timeout(PATIENCE).unwrap(),
                Report::Attack(_)
            ));
            let Report::Heartbeat(heartbeat) = reports.recv_timeout(PATIENCE).unwrap() else {
                panic!("it is a heartbeat");
            };
            assert!(heartbeat.from.0 >= end && heartbeat.to >= heartbeat.from);
            end = heartbeat.to.0;
            let requests = heartbeat.counters.iter();
            let requests = requests.filter(|count| count.series.name == "requests");
            counted += requests.map(|count| count.value).sum::<u64>();
            assert!(heartbeat.ledger.is_balanced());
        }
        assert_eq!((allowed, counted), (3, 6));
        worker.close(PATIENCE).unwrap();
        assert!(agent.shutdown(PATIENCE).is_complete());
    }
}
