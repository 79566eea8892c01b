//! Named pipes: the parts joined.
//!
//! ```text
//! name      reads and limits the address
//! user      who we are, whom we let in, and whose a pipe is
//! guard     says whether somebody listens at a name
//! listener  instances of the pipe that wait for clients, and how one becomes a link
//! link      one end, and who is at the other
//! sys       the system calls: the only file that is unsafe
//! ```
//!
//! One name has many instances, each for one client. The system picks one that waits:
//!
//! ```text
//! \\.\pipe\wayside-shop   waiting   waiting   …   connected   connected
//!                         listener: always 64     links: as many as there are peers
//! ```
//!
//! The name lives as long as any instance does, so links that outlive their listener keep it. Hence
//! the guard, which lives exactly as long as the listener: without it a client could not tell "all
//! instances are busy" from "nobody listens any more", nor a new listener whose instances they are.

mod guard;
mod link;
mod listener;
mod name;
mod sys;
mod user;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;

use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};

use self::guard::Guard;
use self::link::{PipeLink, SEND_LEN_MAX};
use self::listener::PipeListener;
use self::name::Name;
use super::{Capabilities, Finding, Link, Listener};
use crate::backend::About;
use crate::backend::table::{self, System};

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        in_flight_len_max: SEND_LEN_MAX,
        ..table::of("fifo", System::HERE)
    }
}

pub(super) fn bind(address: &str) -> io::Result<Box<dyn Listener>> {
    Ok(Box::new(PipeListener::bind(Name::parse(address)?)?))
}

/// The name, and whether somebody listens there. Not the pipe: whoever opened that to look would take the
/// place of a client.
pub(super) fn examine(address: &str) -> Vec<Finding> {
    let name = match Name::parse(address) {
        Ok(name) => name,
        Err(error) => return vec![Finding::obstacle(About::Address, error.to_string())],
    };
    if !Guard::is_held(&name).unwrap_or(false) {
        return Vec::new();
    }
    let text = format!(
        "{name} is in use by another process; clients can connect, a second server can't listen"
    );
    vec![Finding::warning(About::Taken { pid: None }, text)]
}

pub(super) fn connect(address: &str) -> io::Result<Box<dyn Link>> {
    let name = Name::parse(address)?;
    let file = match open(&name) {
        Ok(file) => file,
        Err(error) if is(&error, ERROR_PIPE_BUSY) && Guard::is_held(&name)? => {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Err(error) if is(&error, ERROR_PIPE_BUSY) => return Err(nobody_listens(&name)),
        Err(error) => {
            let text = format!("can't open {name}: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    };
    let link = PipeLink::connected(sys::pipe(file.into()), &name)?;
    // An instance whose listener has just gone may still have taken us.
    if !Guard::is_held(&name)? {
        return Err(nobody_listens(&name));
    }
    Ok(Box::new(link))
}

/// Opens an instance as a client. Never blocks: when none waits, it fails.
fn open(name: &Name) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        // A server may ask who we are, but not act as us.
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(name.path())
}

fn nobody_listens(name: &Name) -> io::Error {
    let text = format!("nobody listens at {name} any more");
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}

/// Whether this runs under Wine, which, unlike Windows, does what is said here.
#[cfg(test)]
fn under_wine(what_it_does: &str) -> bool {
    let wine = std::env::var_os("WINEPREFIX").is_some();
    if wine {
        eprintln!("skipped: Wine {what_it_does}");
    }
    wine
}

/// Whether it is this error of the system.
fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().and_then(|raw| u32::try_from(raw).ok()) == Some(code)
}
