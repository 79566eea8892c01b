//! One simulated client: the real one, what its application does, and what it expects.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mio::{Registry, Token};
use wayside::internals::Flushing;
use wayside::{
    CallError, Client, ClientState, EmbeddedClient, Limits, Pending, SendError, Transport,
};

use crate::book::{Ask, Numbered, Shared, Talk, Wish};
use crate::network::Network;
use crate::random::Random;

/// A waker, and the wake-up of a loop, that only notes that it was called.
#[derive(Default)]
pub struct Woken(AtomicBool);

impl Woken {
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

struct Call {
    number: u64,
    pending: Pending<Talk>,
    deadline: Duration,
    woken: Arc<Woken>,
}

struct Flush {
    flushing: Flushing<Talk>,
    deadline: Duration,
    woken: Arc<Woken>,
    /// All that was sent before it.
    sent: u64,
}

pub struct Person {
    pub id: u32,
    pub embedded: EmbeddedClient<Talk>,
    pub client: Client<Talk>,
    pub woken: Arc<Woken>,
    /// When its loop ends its sleep, if nothing happens; as it was when it fell asleep.
    pub sleeps_until: Option<Duration>,
    pub closing_until: Option<Duration>,
    book: Shared,
    calls: Vec<Call>,
    flushes: Vec<Flush>,
    next_call: u64,
    now: Duration,
    /// It has done something since the last check. Nothing else changes what it has counted.
    acted: Cell<bool>,
    /// Flushes that told that all was handled.
    pub flushed: u64,
    /// Nothing is broken, and there is time enough.
    pub must_close_well: bool,
    /// Nothing is broken: a call may be too late, but not lost.
    pub must_not_lose: bool,
}

/// Nobody who has something to do is left waiting longer by the schedule.
const DELAY_MAX: Duration = Duration::from_millis(20);

/// No timeout of a call is longer.
const CALL_TIMEOUT_MAX: u64 = 3_000_000;

impl Person {
    pub fn new(
        id: u32,
        network: &Network,
        registry: &Registry,
        limits: Limits,
        book: Shared,
        now: Duration,
    ) -> Self {
        let woken = Arc::new(Woken::default());
        let wake = Arc::clone(&woken);
        let embedded = Client::<Talk>::builder()
            .transport(Transport::new(network.backend(id), "somewhere"))
            .limits(limits)
            .embed(registry, Token(0), move || wake.set())
            .unwrap();
        book.lock().accounts.insert(id, Default::default());
        Self {
            id,
            client: embedded.client(),
            embedded,
            woken,
            sleeps_until: Some(now),
            closing_until: None,
            book,
            calls: Vec::new(),
            flushes: Vec::new(),
            next_call: 1,
            now,
            acted: Cell::new(true),
            flushed: 0,
            must_not_lose: false,
            must_close_well: false,
        }
    }

    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    pub fn is_due(&self, network: &Network) -> bool {
        self.woken.is_set()
            || self.sleeps_until.is_some_and(|at| self.now >= at)
            || network.lock().client_has_edge(self.id)
    }

    /// What its loop does between two sleeps.
    pub fn turn(&mut self, network: &Network) {
        if network.lock().take_client_edge(self.id) {
            self.embedded.handle_end();
        }
        self.turn_without_poll();
    }

    fn turn_without_poll(&mut self) {
        self.acted.set(true);
        self.woken.take();
        self.embedded.turn();
        self.fall_asleep();
        self.poll_woken();
    }

    /// What a caller does that spins. True if it has found something, and taken a turn for it.
    pub fn look(&mut self) -> bool {
        self.acted.set(true);
        let found = self.embedded.look();
        if found {
            self.turn_without_poll();
        } else {
            // It may have written something.
            self.fall_asleep();
        }
        found
    }

    fn fall_asleep(&mut self) {
        self.sleeps_until = self.embedded.timeout().map(|time| self.now + time);
    }

    // ---- what its application does ----

    pub fn send(&mut self, urgent: bool, len: usize) {
        self.acted.set(true);
        let lane = usize::from(urgent);
        let number = {
            let mut book = self.book.lock();
            let sent = &mut book.accounts.get_mut(&self.id).unwrap().sent[lane];
            // Before it is sent: on its way out it may be handled at once.
            *sent += 1;
            *sent
        };
        let event = Numbered::new(self.id, urgent, number, len);
        let taken = if urgent {
            self.client.send_urgent(&event)
        } else {
            self.client.send(&event)
        };
        if let Err(error) = taken {
            self.not_taken(lane, 1, &error);
        }
    }

    /// Many at once; who has a loop to turn does not wait for room.
    pub fn send_all(&mut self, count: u64, len: usize) {
        self.acted.set(true);
        let before = {
            let mut book = self.book.lock();
            let sent = &mut book.accounts.get_mut(&self.id).unwrap().sent[0];
            *sent += count;
            *sent - count
        };
        let numbers = before + 1..=before + count;
        let events: Vec<_> = numbers
            .map(|number| Numbered::new(self.id, false, number, len))
            .collect();
        if let Err(error) = self.client.send_all(&events, Duration::ZERO) {
            self.not_taken(0, count - u64::try_from(error.sent).unwrap(), &error.error);
        }
    }

    fn not_taken(&self, lane: usize, count: u64, error: &SendError) {
        let mut book = self.book.lock();
        match error {
            SendError::Full { .. } | SendError::TooLong { .. } | SendError::Closed => {
                if matches!(error, SendError::Closed) && self.closing_until.is_none() {
                    book.violated(format!("client {} is closed, by nobody", self.id));
                }
                book.accounts.get_mut(&self.id).unwrap().sent[lane] -= count;
            }
            other => book.violated(format!("client {} can't send: {other}", self.id)),
        }
    }

    pub fn call(&mut self, random: &mut Random) {
        self.acted.set(true);
        let number = self.next_call;
        self.next_call += 1;
        let wish = match random.index(20) {
            _ if self.must_not_lose => Wish::Reply(3000),
            0..=7 => Wish::Reply(u32::try_from(random.within(0..=40)).unwrap()),
            8..=9 => Wish::Reply(u32::try_from(random.within(0..=3000)).unwrap()),
            10..=13 => Wish::Hold,
            14..=15 => Wish::LetGo,
            16..=18 => Wish::PushMe(u32::try_from(random.within(1..=12)).unwrap()),
            _ if random.chance(10) => Wish::Panic,
            _ => Wish::Reply(0),
        };
        let len = usize::try_from(random.pick(&[0, 3, 30, 700])).unwrap();
        let call = Numbered::new(self.id, false, number, len);
        let timeout = random.micros(CALL_TIMEOUT_MAX);
        {
            let mut book = self.book.lock();
            let account = book.accounts.get_mut(&self.id).unwrap();
            account.calls.insert(number, Default::default());
        }
        match self.client.start(&Ask { call, wish }, timeout) {
            Ok(pending) => {
                let woken = Arc::new(Woken::default());
                // Polled once, so that it knows whom to wake; then only when woken.
                woken.set();
                self.calls.push(Call {
                    number,
                    pending,
                    deadline: self.now + timeout,
                    woken,
                });
                self.poll_woken();
            }
            Err(error) => self.call_failed(number, &error),
        }
    }

    pub fn flush(&mut self, timeout: Duration) {
        self.acted.set(true);
        let sent = self.sent();
        if let Ok(flushing) = self.client.start_flush(timeout) {
            let woken = Arc::new(Woken::default());
            woken.set();
            self.flushes.push(Flush {
                flushing,
                deadline: self.now + timeout,
                woken,
                sent,
            });
            self.poll_woken();
        }
    }

    /// Stops waiting for some call.
    pub fn cancel(&mut self, random: &mut Random) {
        self.acted.set(true);
        if !self.calls.is_empty() {
            let index = random.index(self.calls.len());
            drop(self.calls.swap_remove(index));
        }
    }

    pub fn take_push(&mut self) {
        if let Some(push) = self.client.next_push(Duration::ZERO) {
            self.acted.set(true);
            self.book.lock().push(self.id, &push);
        }
    }

    pub fn close(&mut self, timeout: Duration) {
        self.acted.set(true);
        let until = self.now + timeout;
        self.closing_until = Some(self.closing_until.map_or(until, |at| at.min(until)));
        self.embedded.begin_close(timeout);
    }

    // ---- what it expects ----

    fn poll_woken(&mut self) {
        let mut index = 0;
        while index < self.calls.len() {
            let call = &mut self.calls[index];
            if !call.woken.take() {
                index += 1;
                continue;
            }
            let waker = Waker::from(Arc::clone(&call.woken));
            let pending = Pin::new(&mut call.pending);
            match pending.poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => index += 1,
                Poll::Ready(result) => {
                    let Call {
                        number, deadline, ..
                    } = self.calls.swap_remove(index);
                    match result {
                        Ok(reply) => self.book.lock().reply(self.id, number, &reply),
                        Err(error) => {
                            if matches!(error, CallError::TimedOut) && self.now < deadline {
                                let what = format!("call {number} timed out too soon");
                                self.book.lock().violated(what);
                            }
                            self.call_failed(number, &error);
                        }
                    }
                }
            }
        }
        self.poll_flushes();
    }

    fn poll_flushes(&mut self) {
        let mut index = 0;
        while index < self.flushes.len() {
            let flush = &mut self.flushes[index];
            index += 1;
            if !flush.woken.take() {
                continue;
            }
            let waker = Waker::from(Arc::clone(&flush.woken));
            let flushing = Pin::new(&mut flush.flushing);
            if let Poll::Ready(result) = flushing.poll(&mut Context::from_waker(&waker)) {
                index -= 1;
                let sent = self.flushes.swap_remove(index).sent;
                if result.is_ok() {
                    self.flushed += 1;
                    self.check_flushed(sent);
                }
            }
        }
    }

    /// All that was sent before a flush is handled, or known to be lost.
    fn check_flushed(&self, sent: u64) {
        let counters = self.client.counters();
        let settled =
            counters.events_acknowledged + counters.events_in_doubt + counters.events_too_long;
        if settled < sent {
            let what = format!("client {} flushed {sent} events: {counters:?}", self.id);
            self.book.lock().violated(what);
        }
    }

    fn call_failed(&self, number: u64, error: &CallError) {
        if self.must_not_lose && matches!(error, CallError::Lost { .. }) {
            let what = format!("call {number} of client {}: {error}", self.id);
            self.book.lock().violated(what);
        }
        if !error.may_have_run() {
            self.book.lock().denied(self.id, number);
        }
    }

    fn sent(&self) -> u64 {
        self.book.lock().accounts[&self.id].sent.iter().sum()
    }

    pub fn open_calls(&self) -> usize {
        self.calls.len() + self.flushes.len()
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.client.state(), ClientState::Connected { .. })
    }

    /// Not connected, and nothing of an earlier connection is open any more.
    pub fn is_away(&self) -> bool {
        let state = self.client.state();
        matches!(state, ClientState::Connecting | ClientState::Waiting { .. })
    }

    /// The events that wait to be sent, while there is no connection.
    pub fn queued(&self) -> u64 {
        let counters = self.client.counters();
        let settled = counters.events_acknowledged + counters.events_in_doubt;
        counters.events - settled - counters.events_too_long
    }

    /// What has to hold at any time.
    pub fn check(&self) {
        if self.acted.take() {
            self.check_counters();
        }
        self.check_times();
    }

    fn check_counters(&self) {
        let counters = self.client.counters();
        let mut book = self.book.lock();
        let account = &book.accounts[&self.id];
        let sent: u64 = account.sent.iter().sum();
        let delivered = account.delivered;
        let settled = counters.events_acknowledged
            + counters.events_in_doubt
            + counters.events_too_long
            + counters.events_unsent;
        let fine = counters.events == sent
            && settled <= sent
            && counters.events_acknowledged <= delivered
            && account.pushes + counters.pushes_dropped <= counters.pushes
            && counters.replies + counters.calls_failed <= counters.calls;
        if !fine {
            let what = format!(
                "client {}: {sent} sent, {delivered} delivered, but {counters:?}",
                self.id
            );
            book.violated(what);
        }
    }

    /// Its loop has not slept through a deadline.
    fn check_times(&self) {
        let late = |deadline: Duration| self.now > deadline + DELAY_MAX;
        let overdue = self.calls.iter().any(|call| late(call.deadline))
            || self.flushes.iter().any(|flush| late(flush.deadline));
        if overdue {
            let what = format!("a call of client {} has not ended", self.id);
            self.book.lock().violated(what);
        }
        let closing = self.closing_until.is_some_and(late);
        if closing && self.embedded.close_result().is_none() {
            let what = format!("client {} has not closed in time", self.id);
            self.book.lock().violated(what);
        }
    }

    /// What has to hold once it is closed: every event has one fate.
    pub fn check_closed(&mut self) {
        while let Some(push) = self.client.next_push(Duration::ZERO) {
            self.book.lock().push(self.id, &push);
        }
        self.poll_woken();
        self.acted.set(true);
        self.check();
        let counters = self.client.counters();
        let open = self.open_calls();
        let mut book = self.book.lock();
        let result = self.embedded.close_result();
        if self.must_close_well && result != Some(Ok(())) {
            let what = format!(
                "client {} in good health: {result:?}, {counters:?}",
                self.id
            );
            book.violated(what);
        }
        let account = &book.accounts[&self.id];
        let (acknowledged, in_doubt) = (counters.events_acknowledged, counters.events_in_doubt);
        let fates = acknowledged + in_doubt + counters.events_too_long + counters.events_unsent;
        let fine = fates == counters.events
            && (acknowledged..=acknowledged + in_doubt).contains(&account.delivered)
            && account.pushes + counters.pushes_dropped == counters.pushes
            && open == 0
            && counters.replies + counters.calls_failed == counters.calls;
        if !fine {
            let what = format!(
                "client {} is closed with {open} open calls, {} events delivered, {} pushes: {counters:?}",
                self.id, account.delivered, account.pushes,
            );
            book.violated(what);
        }
    }
}
