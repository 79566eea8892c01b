//! A house: sensors, a camera, a siren, a controller and a phone, each a process of its own.
//!
//! ```text
//! cargo run --example smart_home --features aggregator
//! ```
//!
//! prints:
//!
//! ```text
//! motion: told the controller
//! phone: armed
//! door: told the controller
//! siren: sounds
//! camera: took a picture
//! phone: alert: door
//! phone: wrong code
//! window: told the controller
//! camera: took a picture
//! phone: alert: window
//! phone: disarmed
//! siren: silent
//! log: alert: door
//! log: alert: window
//! log: pictures=2
//! log: pushes{to="camera"}=2
//! log: pushes{to="phone"}=2
//! log: pushes{to="siren"}=2
//! log: sensed{by="door"}=1
//! log: sensed{by="motion"}=1
//! log: sensed{by="window"}=1
//! ```
//!
//! What it shows: two floors side by side. The parts of the house talk with the controller in a
//! protocol of their own: sensors send events, the phone makes calls, the controller pushes. And each
//! has a worker, so that what all of them did and every alert is in one log, written by an agent that
//! the first of them has started. Each part ends on SIGTERM, or when its input ends.
//!
//! In terminals of their own, what happens in the house is typed in (`motion`, `open`, `arm`,
//! `disarm 1234`):
//!
//! ```text
//! cargo run --example smart_home --features aggregator -- controller
//! cargo run --example smart_home --features aggregator -- door
//! cargo run --example smart_home --features aggregator -- phone
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wayside::aggregator::lifecycle::{self, Resident, Spawn};
use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::{Agent, AttackBody, Report, Worker, status};
use wayside::settings::Environment;
use wayside::{
    Client, CloseReason, Handler, Peer, PeerKey, Protocol, Responder, Server, Settings,
    SettingsError,
};

const HELP: &str = "\
A house of sensors, camera, siren, controller and phone, each a process of its own.

usage: smart_home [OPTIONS]    shows it: starts all parts and lets a burglar in
       smart_home PART         one of: controller, motion, door, window, camera, siren, phone

  --transport T   uds, fifo, mqueue or tcp

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    // In the process that a worker has started to be the agent, this does not return.
    lifecycle::hook(|| agent(&settings(Side::Agent, &[])?));

    let mut words = env::args().skip(1);
    let first = words.next();
    let result = match (first.as_deref(), words.next()) {
        (None, _) => show(None),
        (Some("--help" | "-h"), _) => {
            println!("{HELP}");
            Ok(())
        }
        (Some("--transport"), Some(transport)) => show(Some(&transport)),
        (Some("controller"), None) => control(),
        (Some(word), None) if Part::named(word).is_some() => take_part(word),
        _ => {
            eprintln!("smart_home: --help shows what there is");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smart_home: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what has come.
const PAUSE: Duration = Duration::from_millis(10);

// ---- what the parts say to each other ----

struct Home;

impl Protocol for Home {
    const NAME: &'static str = "smart-home";
    const VERSION: u32 = 1;
    type Event = Event;
    type Request = Request;
    type Reply = Reply;
    type Push = Push;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Motion,
    Door,
    Window,
    Camera,
    Siren,
    Phone,
}

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    /// From a sensor.
    Sensed,
    /// From the camera.
    Picture { bytes: Vec<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// From each part first: this is me.
    Join(Part),
    /// From the phone.
    Arm,
    /// From the phone.
    Disarm { code: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Reply {
    Done,
    WrongCode,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Push {
    /// To the siren.
    Sound,
    /// To the siren.
    Silence,
    /// To the camera.
    TakePicture,
    /// To the phone.
    Alert { by: Part },
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Motion,
        Self::Door,
        Self::Window,
        Self::Camera,
        Self::Siren,
        Self::Phone,
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::Door => "door",
            Self::Window => "window",
            Self::Camera => "camera",
            Self::Siren => "siren",
            Self::Phone => "phone",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// ---- the alarm: no I/O, no clock ----

const CODE: &str = "1234";

/// Sounds only while it is armed.
#[derive(Debug, Default)]
struct Alarm {
    armed: bool,
    sounding: bool,
}

impl Alarm {
    /// A sensor has sensed something: who is to be told what.
    fn sensed(&mut self, by: Part) -> Vec<(Part, Push)> {
        if !self.armed {
            return Vec::new();
        }
        let mut pushes = vec![
            (Part::Phone, Push::Alert { by }),
            (Part::Camera, Push::TakePicture),
        ];
        if !self.sounding {
            pushes.push((Part::Siren, Push::Sound));
        }
        self.sounding = true;
        pushes
    }

    fn arm(&mut self) {
        self.armed = true;
    }

    fn disarm(&mut self, code: &str) -> (Reply, Vec<(Part, Push)>) {
        if code != CODE {
            return (Reply::WrongCode, Vec::new());
        }
        let sounded = std::mem::take(self).sounding;
        let silence = sounded.then_some((Part::Siren, Push::Silence));
        (Reply::Done, silence.into_iter().collect())
    }
}

// ---- the controller ----

struct Controller {
    alarm: Alarm,
    parts: HashMap<PeerKey, (Part, Peer<Home>)>,
    worker: Worker,
}

/// An alert, as it is in the log.
#[derive(Debug, Serialize, Deserialize)]
struct Alert {
    by: String,
}

impl Controller {
    fn tell(&self, pushes: Vec<(Part, Push)>) {
        for (to, push) in pushes {
            if let Push::Alert { by } = &push {
                let by = by.to_string();
                if let Err(error) = self.worker.report("alert", &Alert { by }) {
                    eprintln!("controller: {error}");
                }
            }
            let peers = self.parts.values().filter(|(part, _)| *part == to);
            for (_, peer) in peers {
                if peer.push(&push).is_err() {
                    // It can't take even this: better gone than late.
                    peer.close();
                }
            }
        }
        let armed = if self.alarm.armed { 1.0 } else { 0.0 };
        self.worker.gauge("armed").set(armed);
    }
}

impl Handler<Home> for Controller {
    fn event(&mut self, peer: &Peer<Home>, event: Event) {
        let Some((part, _)) = self.parts.get(&peer.key()) else {
            return;
        };
        match event {
            Event::Sensed => {
                let by = part.name();
                self.worker.counter_with("sensed", &[("by", by)]).one();
                let pushes = self.alarm.sensed(*part);
                self.tell(pushes);
            }
            Event::Picture { bytes } => {
                self.worker.counter("pictures").one();
                let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.worker.histogram("picture.bytes").record(len);
            }
        }
    }

    fn request(&mut self, peer: &Peer<Home>, request: Request, responder: Responder<Home>) {
        let (reply, pushes) = match request {
            Request::Join(part) => {
                self.parts.insert(peer.key(), (part, peer.clone()));
                (Reply::Done, Vec::new())
            }
            Request::Arm => {
                self.alarm.arm();
                (Reply::Done, Vec::new())
            }
            Request::Disarm { code } => self.alarm.disarm(&code),
        };
        // Who has gone meanwhile needs no answer.
        responder.reply(&reply).ok();
        self.tell(pushes);
    }

    fn disconnected(&mut self, peer: &Peer<Home>, _: &CloseReason) {
        self.parts.remove(&peer.key());
    }
}

fn control() -> Result<(), Box<dyn Error>> {
    let worker = worker()?;
    let controller = Controller {
        alarm: Alarm::default(),
        parts: HashMap::new(),
        worker: worker.clone(),
    };
    let settings = settings(Side::Controller, &[])?;
    let builder = Server::builder().settings(&settings)?;
    let server = builder.bind(controller)?.spawn()?;
    println!("controller: ready");
    let words = words()?;
    while words.recv()? != Word::End {}
    server.shutdown(PATIENCE);
    Ok(worker.close(PATIENCE)?)
}

// ---- the other parts ----

fn take_part(name: &str) -> Result<(), Box<dyn Error>> {
    let part = Part::named(name).ok_or("there is no such part")?;
    let worker = worker()?;
    let settings = settings(Side::Controller, &[])?;
    let client = Client::<Home>::builder()
        .settings(&settings)?
        .connect(PATIENCE)
        .map_err(|error| format!("{error} (`smart_home controller` starts it)"))?;
    client.call(&Request::Join(part), PATIENCE)?;
    println!("{part}: ready");
    let pushes = worker.counter_with("pushes", &[("to", part.name())]);
    let words = words()?;
    loop {
        while let Ok(word) = words.try_recv() {
            match word {
                Word::End => {
                    client.close(PATIENCE)?;
                    return Ok(worker.close(PATIENCE)?);
                }
                Word::Said(line) => live(part, &client, &line)?,
            }
        }
        if let Some(push) = client.next_push(PAUSE) {
            pushes.one();
            react(part, &client, &push)?;
        }
    }
}

/// Something happens in the house.
fn live(part: Part, client: &Client<Home>, line: &str) -> Result<(), Box<dyn Error>> {
    match (part, line.split_once(' ').unwrap_or((line, ""))) {
        (Part::Phone, ("arm", _)) => {
            client.call(&Request::Arm, PATIENCE)?;
            println!("phone: armed");
        }
        (Part::Phone, ("disarm", code)) => {
            let code = code.to_owned();
            match client.call(&Request::Disarm { code }, PATIENCE)? {
                Reply::Done => println!("phone: disarmed"),
                Reply::WrongCode => println!("phone: wrong code"),
            }
        }
        (Part::Motion, ("motion", _)) | (Part::Door | Part::Window, ("open", _)) => {
            client.send(&Event::Sensed)?;
            client.flush(PATIENCE)?;
            println!("{part}: told the controller");
        }
        _ => eprintln!("{part}: what is `{line}`?"),
    }
    Ok(())
}

/// The controller wants something.
fn react(part: Part, client: &Client<Home>, push: &Push) -> Result<(), Box<dyn Error>> {
    match push {
        Push::Sound => println!("{part}: sounds"),
        Push::Silence => println!("{part}: silent"),
        Push::Alert { by } => println!("{part}: alert: {by}"),
        Push::TakePicture => {
            // It is dark.
            client.send(&Event::Picture {
                bytes: vec![0; 600],
            })?;
            client.flush(PATIENCE)?;
            println!("{part}: took a picture");
        }
    }
    Ok(())
}

/// What a part hears besides the controller.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A line of standard input.
    Said(String),
    /// It is to end.
    End,
}

fn words() -> io::Result<Receiver<Word>> {
    let (sender, words) = channel();
    end_on_signal(sender.clone())?;
    thread::spawn(move || {
        let lines = io::stdin().lines().map_while(Result::ok).map(Word::Said);
        for word in lines.chain([Word::End]) {
            // Who has ended does not listen any more.
            sender.send(word).ok();
        }
    });
    Ok(words)
}

/// SIGTERM and SIGINT.
#[cfg(unix)]
fn end_on_signal(sender: Sender<Word>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let (mut heard, told) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
    }
    thread::spawn(move || {
        if heard.read_exact(&mut [0]).is_ok() {
            sender.send(Word::End).ok();
        }
    });
    Ok(())
}

/// There are none.
#[cfg(not(unix))]
fn end_on_signal(_: Sender<Word>) -> io::Result<()> {
    Ok(())
}

// ---- stats and the log ----

const NAME: &str = "smart-home";
const LOG: &str = "log.jsonl";

fn worker() -> Result<Worker, Box<dyn Error>> {
    let settings = settings(Side::Agent, &[])?;
    let spawn = Spawn::this_program().log(settings.dir()?.join("agent.log"));
    let builder = Worker::builder(NAME).settings(&settings)?;
    Ok(builder.agent(spawn).start()?)
}

fn agent(settings: &Settings) -> Result<Resident, Box<dyn Error>> {
    let log = JsonLines::file(&settings.dir()?.join(LOG), Rotation::default())?;
    let agent = Agent::builder(NAME).sink(log);
    Ok(Resident::new(settings, agent).idle(Duration::from_millis(500)))
}

/// What the log says: a line for each alert, and one for each counter.
fn read_back(log: &str) -> Vec<String> {
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

// ---- all of it, to show it ----

/// A part that was started. Dropping it kills the process if it is still there.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn start(part: &str, variables: &[Variable]) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(part).envs(variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the output is not piped")?;
        let lines = BufReader::new(output).lines();
        let mut started = Self { child, lines };
        let line = started.line()?;
        match line.ends_with(": ready") {
            true => Ok(started),
            false => Err(format!("it began with `{line}`").into()),
        }
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        Ok(self.lines.next().ok_or("a part ended too soon")??)
    }

    /// Something happens at this part.
    fn happens(&mut self, word: &str) -> Result<(), Box<dyn Error>> {
        let input = self.child.stdin.as_mut().ok_or("the input is not piped")?;
        Ok(writeln!(input, "{word}")?)
    }

    /// Its next line is this one.
    fn says(&mut self, expected: &str) -> Result<(), Box<dyn Error>> {
        let line = self.line()?;
        println!("{line}");
        match line == expected {
            true => Ok(()),
            false => Err(format!("that should have been `{expected}`").into()),
        }
    }

    /// Asks it to end, by a signal where there are any, and waits until it has.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        if cfg!(unix) {
            let process = self.child.id().to_string();
            Command::new("kill").args(["-TERM", &process]).status()?;
        } else {
            drop(self.child.stdin.take());
        }
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a part failed: {status}").into()),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn show(transport: Option<&str>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let variables = surroundings(transport, folder.path())?;
    let start = |part: &str| Started::start(part, &variables);
    let controller = start("controller")?;
    let [mut motion, mut door, mut window] = [start("motion")?, start("door")?, start("window")?];
    let [mut camera, mut siren, mut phone] = [start("camera")?, start("siren")?, start("phone")?];

    // Somebody is at home.
    motion.happens("motion")?;
    motion.says("motion: told the controller")?;
    // And leaves.
    phone.happens("arm")?;
    phone.says("phone: armed")?;
    // Somebody else comes.
    door.happens("open")?;
    door.says("door: told the controller")?;
    siren.says("siren: sounds")?;
    camera.says("camera: took a picture")?;
    phone.says("phone: alert: door")?;
    phone.happens("disarm 0000")?;
    phone.says("phone: wrong code")?;
    window.happens("open")?;
    window.says("window: told the controller")?;
    camera.says("camera: took a picture")?;
    phone.says("phone: alert: window")?;
    phone.happens("disarm 1234")?;
    phone.says("phone: disarmed")?;
    siren.says("siren: silent")?;

    for part in [motion, door, window, camera, siren, phone, controller] {
        part.end()?;
    }
    check_log(&settings(Side::Agent, &variables)?)
}

/// Waits until the agent has left, with a last heartbeat, and compares what it has written.
fn check_log(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let expected = [
        "alert: door",
        "alert: window",
        "pictures=2",
        "pushes{to=\"camera\"}=2",
        "pushes{to=\"phone\"}=2",
        "pushes{to=\"siren\"}=2",
        "sensed{by=\"door\"}=1",
        "sensed{by=\"motion\"}=1",
        "sensed{by=\"window\"}=1",
    ];
    let path = settings.dir()?.join(LOG);
    let deadline = Instant::now() + PATIENCE;
    let log = loop {
        let log = read_back(&fs::read_to_string(&path).unwrap_or_default());
        let is_there = status(settings, PAUSE).is_ok();
        if !is_there && log == expected || Instant::now() > deadline {
            break log;
        }
        thread::park_timeout(PAUSE);
    };
    for line in &log {
        println!("log: {line}");
    }
    match log == expected {
        true => Ok(()),
        false => Err(format!("that should have been {expected:#?}").into()),
    }
}

// ---- settings ----

/// Two servers, so two names and two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Agent,
    Controller,
}

/// A variable of the environment.
type Variable = (&'static str, std::ffi::OsString);

/// Tells the houses of one host apart.
const RUN: &str = "SMART_HOME_RUN";
/// Where each side listens over TCP.
const AGENT_ADDRESS: &str = "SMART_HOME_AGENT_ADDRESS";
const CONTROLLER_ADDRESS: &str = "SMART_HOME_CONTROLLER_ADDRESS";

/// What the file and the environment say, with these variables besides.
fn settings(side: Side, variables: &[Variable]) -> Result<Settings, SettingsError> {
    let find = |name: &str| {
        let given = variables.iter().find(|(given, _)| *given == name);
        given
            .map(|(_, value)| value.clone())
            .or_else(|| env::var_os(name))
    };
    let (name, address) = match side {
        Side::Agent => ("smart-home-agent", find(AGENT_ADDRESS)),
        Side::Controller => ("smart-home", find(CONTROLLER_ADDRESS)),
    };
    let name = match find(RUN).and_then(|run| run.into_string().ok()) {
        Some(run) => format!("{name}-{run}"),
        None => name.to_owned(),
    };
    let mut environment = Environment::of_process();
    for (name, value) in variables {
        environment = environment.with(*name, value);
    }
    if let Some(address) = address {
        environment = environment.with("WAYSIDE_TCP_ADDRESS", address);
    }
    let builder = Settings::builder().environment(environment.with("WAYSIDE_NAME", name));
    builder.load()
}

/// What all parts of this run find in their environment: a place of their own.
fn surroundings(transport: Option<&str>, folder: &Path) -> io::Result<Vec<Variable>> {
    let port = || -> io::Result<String> {
        Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
    };
    let mut variables = vec![
        ("WAYSIDE_DIR", folder.join("run").into()),
        (RUN, std::process::id().to_string().into()),
        (AGENT_ADDRESS, port()?.into()),
        (CONTROLLER_ADDRESS, port()?.into()),
    ];
    if let Some(transport) = transport {
        variables.push(("WAYSIDE_TRANSPORT", transport.into()));
        variables.push(("WAYSIDE_ENDPOINT", "".into()));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::aggregator::{Count, Heartbeat, Series};

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Sensed(Part),
        Arm,
        Disarm(String),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::sample::select(&Part::ALL[..3]).prop_map(Step::Sensed),
            Just(Step::Arm),
            prop_oneof![Just(CODE.to_owned()), "[0-9]{0,4}"].prop_map(Step::Disarm),
        ]
    }

    proptest! {
        #[test]
        fn the_siren_sounds_from_the_first_alert_until_the_right_code(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut alarm = Alarm::default();
            // What the siren, and somebody who looks on, know.
            let (mut sounds, mut armed, mut alerts, mut seen) = (false, false, 0, 0);
            for step in steps {
                let pushes = match step {
                    Step::Sensed(by) => {
                        seen += u32::from(armed);
                        alarm.sensed(by)
                    }
                    Step::Arm => {
                        alarm.arm();
                        armed = true;
                        Vec::new()
                    }
                    Step::Disarm(code) => {
                        let (reply, pushes) = alarm.disarm(&code);
                        prop_assert_eq!(reply == Reply::Done, code == CODE);
                        armed &= code != CODE;
                        pushes
                    }
                };
                for (to, push) in pushes {
                    match (to, push) {
                        (Part::Siren, Push::Sound) => {
                            prop_assert!(!sounds, "it sounds already");
                            sounds = true;
                        }
                        (Part::Siren, Push::Silence) => {
                            prop_assert!(sounds, "it is silent already");
                            sounds = false;
                        }
                        (Part::Phone, Push::Alert { .. }) => alerts += 1,
                        (Part::Camera, Push::TakePicture) => {}
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert_eq!(alerts, seen);
                prop_assert!(armed || !sounds, "it sounds, and nobody has armed it");
            }
        }

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

    #[test]
    fn each_part_has_a_name_of_its_own() {
        for part in Part::ALL {
            assert_eq!(Part::named(part.name()), Some(part));
        }
        assert_eq!(Part::named("cat"), None);
    }
}
