//! What a frame of the peer's means.

use std::time::Duration;

use super::{Incoming, Phase, Role, Session};
use crate::close::CloseReason;
use crate::envelope::{self, Head};
use crate::hello::Hello;

impl Session {
    /// Reads one payload.
    ///
    /// # Errors
    /// Why the connection has to be closed, with [`close`](Session::close) as the last word.
    #[inline]
    pub fn receive<'a>(&mut self, payload: &'a [u8]) -> Result<Incoming<'a>, CloseReason> {
        self.frame_finished();
        // What comes by the million.
        if self.phase == Phase::Open && self.role == Role::Server && !self.ending.heard {
            if let Some(body) = envelope::event(payload) {
                self.events += 1;
                return Ok(Incoming::Event(body));
            }
        }
        self.receive_any(payload)
    }

    fn receive_any<'a>(&mut self, payload: &'a [u8]) -> Result<Incoming<'a>, CloseReason> {
        match (self.phase, self.role) {
            (Phase::Refused, _) => Ok(Incoming::Nothing),
            (Phase::Greeting, Role::Server) => self.receive_hello(payload),
            (Phase::Greeting, Role::Client) => self.receive_welcome(payload),
            (Phase::Open, role) => {
                let (head, body) = envelope::decode_head(payload)?;
                match role {
                    Role::Server => self.receive_as_server(head, body),
                    Role::Client => self.receive_as_client(head, body),
                }
            }
        }
    }

    fn receive_hello(&mut self, payload: &[u8]) -> Result<Incoming<'static>, CloseReason> {
        let (Head::Hello, body) = greeting(payload)? else {
            return Err(CloseReason::NotWayside);
        };
        let theirs = Hello::parse(body)?;
        self.ours.agree(&theirs)?;
        self.open(theirs);
        Ok(Incoming::Opened)
    }

    fn receive_welcome(&mut self, payload: &[u8]) -> Result<Incoming<'static>, CloseReason> {
        let (head, body) = greeting(payload)?;
        match head {
            Head::Welcome => {
                let theirs = Hello::parse(body)?;
                self.ours.agree(&theirs)?;
                self.open(theirs);
                Ok(Incoming::Opened)
            }
            Head::Refuse { code } => {
                // The hello of the server says most: both names, both versions.
                self.ours.agree(&Hello::parse(body)?)?;
                Err(CloseReason::by_peer(code))
            }
            Head::Abort { code } => Err(CloseReason::by_peer(code)),
            _ => Err(CloseReason::NotWayside),
        }
    }

    fn open(&mut self, theirs: Hello) {
        self.theirs = Some(theirs);
        self.phase = Phase::Open;
    }

    fn receive_as_server<'a>(
        &mut self,
        head: Head,
        body: &'a [u8],
    ) -> Result<Incoming<'a>, CloseReason> {
        if self.ending.heard
            && !matches!(
                head,
                Head::Farewell | Head::Ping { .. } | Head::Pong { .. } | Head::Abort { .. }
            )
        {
            return Err(CloseReason::Malformed("a message after the goodbye"));
        }
        match head {
            Head::Event => {
                self.events += 1;
                Ok(Incoming::Event(body))
            }
            Head::Request { id, timeout_ms } => Ok(Incoming::Request {
                id,
                timeout: Duration::from_millis(timeout_ms),
                body,
            }),
            Head::Cancel { id } => Ok(Incoming::Cancel { id }),
            Head::Sync { id } => Ok(Incoming::Sync { id }),
            other => self.receive_as_either(other),
        }
    }

    fn receive_as_client<'a>(
        &mut self,
        head: Head,
        body: &'a [u8],
    ) -> Result<Incoming<'a>, CloseReason> {
        match head {
            Head::Reply { id } => Ok(Incoming::Reply { id, body }),
            Head::Failed { id, failure } => Ok(Incoming::Failed { id, failure }),
            Head::Push => Ok(Incoming::Push(body)),
            Head::Ack { id, events } => Ok(Incoming::Acknowledged { id, events }),
            Head::Drain => Ok(Incoming::Draining),
            other => self.receive_as_either(other),
        }
    }

    fn receive_as_either(&mut self, head: Head) -> Result<Incoming<'static>, CloseReason> {
        match head {
            Head::Ping { id } => self.pong_due = Some(id),
            Head::Pong { id } if id == self.ping_id => self.ping_sent = None,
            Head::Pong { .. } => {}
            Head::Goodbye => {
                self.ending.heard = true;
                return Ok(Incoming::Goodbye);
            }
            // It says that the peer has heard our goodbye, so both must have been said.
            Head::Farewell if self.ending.heard && self.ending.said.is_some() => {
                self.ending.farewell_heard = true;
            }
            Head::Farewell => return Err(CloseReason::Malformed("a farewell before the goodbyes")),
            Head::Abort { code } => return Err(CloseReason::by_peer(code)),
            _ => return Err(CloseReason::Malformed("a head that this side never gets")),
        }
        Ok(Incoming::Nothing)
    }
}

/// The head of a first frame. What can't be read there was never a wayside peer.
fn greeting(payload: &[u8]) -> Result<(Head, &[u8]), CloseReason> {
    envelope::decode_head(payload).map_err(|_| CloseReason::NotWayside)
}
