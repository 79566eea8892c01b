//! Instances of the pipe that wait for clients.
//!
//! Invariant: there are always [`WAITING`] of them, so that as many clients at once get in without
//! trying again, and none finds the name gone. The next is created before one is handed out.
//!
//! ```text
//!            register          a client opens          accept
//! created ──────────▶ waiting ───────────────▶ taken ─────────▶ a link
//!     └───────────────────────────────────────▶ │
//! ```
//!
//! Whether an instance is taken is asked of the system, not of mio, which knows it only after a
//! poll: an accept may come before, and a client may have come before any registration. What mio
//! waits for is the edge.

use std::fs::File;
use std::io;

use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use mio::event::Source;
use mio::windows::NamedPipe;
use mio::{Interest, Registry, Token};
use windows_sys::Win32::Foundation::ERROR_ACCESS_DENIED;

use super::guard::Guard;
use super::link::PipeLink;
use super::name::Name;
use super::sys::{self, Instance};
use super::{Link, Listener, is, user};

/// How many clients may come at once. An instance that waits costs a handle and a little memory of
/// the system; its buffers take none while they are empty.
const WAITING: usize = 64;

/// A bound name.
pub(super) struct PipeListener {
    name: Name,
    descriptor: SecurityDescriptor,
    waiting: Vec<NamedPipe>,
    /// Where to look first for one that is taken: behind the last, so that each gets its turn.
    next: usize,
    registered: Option<(Registry, Token)>,
    /// Given back last.
    _guard: Guard,
}

impl PipeListener {
    pub(super) fn bind(name: Name) -> io::Result<Self> {
        let guard = Guard::take(&name)?;
        let descriptor = user::only_us()?;
        let first = first_instance(&name, &descriptor)?;
        let mut listener = Self {
            name,
            descriptor,
            waiting: vec![first],
            next: 0,
            registered: None,
            _guard: guard,
        };
        while listener.waiting.len() < WAITING {
            let instance = listener.further_instance()?;
            listener.waiting.push(instance);
        }
        Ok(listener)
    }

    /// One more that waits, where the others do.
    fn further_instance(&self) -> io::Result<NamedPipe> {
        let instance = sys::create_instance(&self.name, &self.descriptor, Instance::Further);
        let mut instance = instance.map_err(|error| {
            let text = format!("no further instance of {}: {error}", self.name);
            // Whatever the system calls it: this is about us, and not about one peer.
            io::Error::other(text)
        })?;
        if let Some((registry, token)) = &self.registered {
            wait(&mut instance, registry, *token)?;
        }
        Ok(instance)
    }
}

/// Creates the pipe, which must not exist yet, unless all there is of it is our own: links that
/// outlive an earlier listener.
///
/// Without that check a program of another user that was there first could have made a pipe that
/// lets us add instances to it, and get some of our clients. Wine does not tell whether a pipe
/// exists already: there only the guard keeps two listeners apart.
fn first_instance(name: &Name, descriptor: &SecurityDescriptor) -> io::Result<NamedPipe> {
    let denied = |error: &io::Error| is(error, ERROR_ACCESS_DENIED);
    let taken = || {
        let text = format!("{name} is taken by a program that is not wayside, or not our user's");
        io::Error::new(io::ErrorKind::AddrInUse, text)
    };
    match sys::create_instance(name, descriptor, Instance::First) {
        Err(error) if denied(&error) => {}
        other => return other,
    }
    match sys::create_instance(name, descriptor, Instance::Further) {
        Ok(instance) if user::is_only_ours(&instance)? => Ok(instance),
        Ok(_) => Err(taken()),
        Err(error) if denied(&error) => Err(taken()),
        Err(error) => Err(error),
    }
}

/// Lets an instance wait for a client, with an edge when one comes or is there already.
fn wait(instance: &mut NamedPipe, registry: &Registry, token: Token) -> io::Result<()> {
    // mio ignores the interest.
    instance.register(registry, token, Interest::READABLE)?;
    match instance.connect() {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

impl Listener for PipeListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let (before, behind) = self.waiting.split_at(self.next);
        let taken = behind
            .iter()
            .chain(before)
            .position(sys::is_taken)
            .ok_or(io::ErrorKind::WouldBlock)?;
        let index = (self.next + taken) % WAITING;
        // If either fails, the client goes on waiting.
        let registry = match &self.registered {
            Some((registry, _)) => Some(registry.try_clone()?),
            None => None,
        };
        let instance = self.further_instance()?;
        let instance = std::mem::replace(&mut self.waiting[index], instance);
        self.next = (index + 1) % WAITING;
        Ok(Box::new(PipeLink::accepted(instance, registry)))
    }

    fn address(&self) -> String {
        self.name.path().to_owned()
    }
}

impl Source for PipeListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        _interest: Interest,
    ) -> io::Result<()> {
        for instance in &mut self.waiting {
            wait(instance, registry, token)?;
        }
        self.registered = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        for instance in &mut self.waiting {
            instance.reregister(registry, token, interest)?;
        }
        self.registered = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registered = None;
        for instance in &mut self.waiting {
            instance.deregister(registry)?;
        }
        Ok(())
    }
}

impl Drop for PipeListener {
    /// Makes sure that no client meets an instance that nobody will ever accept. mio keeps the
    /// handles until the next poll, when it learns that they wait no more.
    fn drop(&mut self) {
        let refused = |instance: &&NamedPipe| instance.disconnect().is_err();
        // Wine refuses while nobody is connected. So as many come: whichever instances they get are
        // ours, and those are disconnected then.
        for _ in 0..self.waiting.iter().filter(refused).count() {
            let _client = File::open(self.name.path());
        }
        let _nothing_more_to_do = self.waiting.iter().filter(refused).count();
    }
}
