//! Waiting for the end of a call: by blocking, or as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::ambient;
use crate::client::calls::{Answer, CallId, Progress};
use crate::client::duty::{Drive, Duty, pass_on};
use crate::client::engine::Engine;
use crate::client::error::CallError;
use crate::client::shared::Shared;
use crate::close::CloseReason;
use crate::fork;
use crate::protocol::Protocol;
use crate::sync::checked::thread::{self, Thread};
use crate::sync::checked::thread_local;

/// Blocks until the call has ended, at the latest at its deadline. Drives the client meanwhile, if
/// it has a duty to take and nobody else has taken it.
pub(crate) fn block<P: Protocol>(
    shared: &Shared<P>,
    duty: Option<&Duty<impl Drive<Protocol = P>>>,
    id: CallId,
    deadline: Instant,
) -> Result<Answer<P::Reply>, CallError> {
    with_thread_waker(|waker| {
        loop {
            let driven = duty.is_some_and(|duty| duty.drive_for(id, deadline, shared));
            let mut outgoing = shared.outgoing();
            let progress = outgoing.calls.poll(id, waker);
            let over = ambient::now() >= deadline;
            if matches!(progress, Progress::Ended(_)) || over {
                outgoing.parked.retain(|(other, _)| *other != id);
                let others = !outgoing.parked.is_empty();
                drop(outgoing);
                if others {
                    // The duty may have been passed to this caller, which has no use for it now.
                    pass_on(shared);
                }
                return match progress {
                    Progress::Ended(result) => {
                        shared.count_end(&result);
                        result
                    }
                    Progress::Open { .. } => {
                        shared.abandon(id);
                        Err(CallError::TimedOut)
                    }
                };
            }
            let listed = outgoing.parked.iter().any(|(other, _)| *other == id);
            if !(driven || listed) {
                // Seen by whoever lets go of the duty; that may have been just now, so once more.
                outgoing.parked.push((id, waker.clone()));
            }
            drop(outgoing);
            if listed && !driven {
                thread::park_timeout(deadline.saturating_duration_since(ambient::now()));
            }
        }
    })
}

/// Lends the waker of this thread, made once for each thread.
fn with_thread_waker<T>(code: impl FnOnce(&Waker) -> T) -> T {
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unparker(thread::current())));
    }
    match WAKER.try_with(Waker::clone) {
        Ok(waker) => code(&waker),
        // The thread is at its end, and its own values are gone already.
        Err(_) => code(&Waker::from(Arc::new(Unparker(thread::current())))),
    }
}

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A call that was begun. Wait for it, or await it: it is a plain future and needs no runtime of
/// any kind. Dropped, it tells the server that nobody waits any more.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use wayside::{Client, Handler, Never, Peer, Protocol, Responder, Server, Transport};
/// # struct Shouting;
/// # impl Protocol for Shouting {
/// #     const NAME: &'static str = "shouting";
/// #     const VERSION: u32 = 1;
/// #     type Event = String;
/// #     type Request = String;
/// #     type Reply = String;
/// #     type Push = String;
/// # }
/// # struct Shouter;
/// # impl Handler<Shouting> for Shouter {
/// #     fn event(&mut self, _: &Peer<Shouting>, _: String) {}
/// #     fn request(&mut self, _: &Peer<Shouting>, text: String, responder: Responder<Shouting>) {
/// #         responder.reply(&text.to_uppercase()).ok();
/// #     }
/// # }
/// # use std::time::Duration;
/// # #[cfg(feature = "tcp")] {
/// # let folder = tempfile::tempdir()?;
/// # let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
/// # let place = Transport::new(tcp, "127.0.0.1:0");
/// # let server = Server::builder().listen(place.clone()).bind(Shouter)?.spawn()?;
/// # let place = place.at(server.endpoints()[0].address());
/// # let patience = Duration::from_secs(5);
/// # let client = Client::<Shouting>::builder().transport(place).connect(patience)?;
/// // Both are on their way before the first is waited for.
/// let one = client.start(&"one".to_owned(), patience)?;
/// let two = client.start(&"two".to_owned(), patience)?;
/// assert_eq!(two.wait()?, "TWO");
/// assert_eq!(one.wait()?, "ONE");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a call that nobody waits for is cancelled"]
pub struct Pending<P: Protocol> {
    shared: Arc<Shared<P>>,
    duty: Option<Arc<Duty<Engine<P>>>>,
    id: CallId,
    deadline: Instant,
    generation: u32,
    taken: bool,
}

impl<P: Protocol> Pending<P> {
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        duty: Option<Arc<Duty<Engine<P>>>>,
        id: CallId,
        deadline: Instant,
    ) -> Self {
        Self {
            shared,
            duty,
            id,
            deadline,
            generation: fork::generation(),
            taken: false,
        }
    }

    /// Blocks until the call has ended, at the latest at its deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn wait(mut self) -> Result<P::Reply, CallError> {
        if self.is_of_parent() {
            return Err(CallError::Forked);
        }
        self.taken = true;
        block(&self.shared, self.duty.as_deref(), self.id, self.deadline).and_then(reply)
    }

    /// When the call is over without an answer.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the call has ended: [`wait`](Pending::wait) would not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_of_parent() || self.taken || self.shared.outgoing().calls.has_ended(self.id)
    }

    /// After a fork nothing of the parent's may be touched: its locks may be held for ever.
    fn is_of_parent(&self) -> bool {
        self.generation != fork::generation()
    }
}

/// The reply in an answer. A server that acknowledges where it should reply breaks the protocol.
pub(crate) fn reply<R>(answer: Answer<R>) -> Result<R, CallError> {
    match answer {
        Answer::Reply(reply) => Ok(reply),
        Answer::Synced => Err(CallError::Lost {
            reason: CloseReason::Malformed("an acknowledgement in place of a reply"),
            may_have_run: true,
        }),
    }
}

impl<P: Protocol> Future for Pending<P> {
    type Output = Result<P::Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(context)
            .map(|result| result.and_then(reply))
    }
}

impl<P: Protocol> Pending<P> {
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Answer<P::Reply>, CallError>> {
        if self.is_of_parent() {
            return Poll::Ready(Err(CallError::Forked));
        }
        if self.taken {
            return Poll::Pending;
        }
        match self.shared.poll(self.id, context.waker()) {
            Progress::Open { .. } => {
                self.shared.watch_deadline(self.deadline);
                Poll::Pending
            }
            Progress::Ended(result) => {
                self.taken = true;
                Poll::Ready(result)
            }
        }
    }
}

/// A flush that was begun, as a future.
#[cfg(feature = "internals")]
#[must_use = "a flush that nobody waits for is cancelled"]
pub struct Flushing<P: Protocol>(pub(crate) Pending<P>);

#[cfg(feature = "internals")]
impl<P: Protocol> Future for Flushing<P> {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_answer(context).map(|result| result.map(drop))
    }
}

impl<P: Protocol> Drop for Pending<P> {
    fn drop(&mut self) {
        if self.is_of_parent() {
            // Kept for ever instead of being taken apart in the state that the fork found it in.
            std::mem::forget((Arc::clone(&self.shared), self.duty.clone()));
        } else if !self.taken {
            self.shared.abandon(self.id);
        }
    }
}

impl<P: Protocol> std::fmt::Debug for Pending<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending(call {})", self.id.0)
    }
}
