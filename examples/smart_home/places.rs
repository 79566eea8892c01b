//! Where the two servers of a house are: the controller, and the agent.

use std::env;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use wayside::settings::Environment;
use wayside::{Settings, SettingsError};

/// Two servers, so two names and two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Agent,
    Controller,
}

/// A variable of the environment.
pub type Variable = (&'static str, std::ffi::OsString);

/// Tells the houses of one host apart.
const RUN: &str = "SMART_HOME_RUN";
/// Where each side listens over TCP.
const AGENT_ADDRESS: &str = "SMART_HOME_AGENT_ADDRESS";
const CONTROLLER_ADDRESS: &str = "SMART_HOME_CONTROLLER_ADDRESS";

/// What the file and the environment say, with these variables besides.
pub fn settings(side: Side, variables: &[Variable]) -> Result<Settings, SettingsError> {
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
pub fn surroundings(transport: Option<&str>, folder: &Path) -> io::Result<Vec<Variable>> {
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
