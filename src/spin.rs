//! Looking again and again before a wait becomes a sleep.
//!
//! To put a core to sleep and wake it again takes some 30 µs, what a short call needs otherwise a
//! tenth of that. So whoever expects an answer looks for it for [`SPIN_TIME`] first. That pays only
//! if the other side works at the same time, on another core: where both share one, or the machine
//! is busy, or the other is slow, it keeps the core from whoever could bring the answer. Nobody
//! tells us which it is (how many cores this process may use says nothing of where the other is), so
//! it is measured:
//!
//! ```text
//!   score > 0       spins: +1 when something came in time, -3 when not
//!   score 0         sleeps, and tries again after a pause, which doubles with each failure
//! ```
//!
//! A long message gets the time on top that its bytes take to be read and answered.
//!
//! As long as this side is not sure, the other may well sleep before it answers, so it gets twice
//! the time; and two thirds of what this wait takes asleep, if that is more. Where waking up is slow,
//! the first to try would never see an answer else, and both would sleep for ever. With a third saved
//! it pays for one side alone, until the other tries as well.
//!
//! A spin that was interrupted for long has failed too, even if something is there when it goes on:
//! that is what sharing a core looks like. Over a long message there is time enough for that. And what
//! is there at the first look says nothing: a wait that sleeps would not have slept either.

use std::io;
use std::time::{Duration, Instant};

use mio::event::Event;

use crate::ambient;
use crate::event_loop::EventLoop;

/// Whether a side that expects something soon looks for it again and again for a moment, before it
/// sleeps: a blocking caller for its answer, a server that was just asked for the next request.
///
/// For 50 µs at a time and 1 µs more for each KiB of what was said, of which 1 ms counts; twice as long
/// while it is tried whether that pays, and up to 500 µs where waking up takes so long. Only in
/// blocking calls and flushes, as long as their messages are under way: with nothing under way nobody
/// spins. In a poll of the application's own ([`EmbeddedServer`](crate::EmbeddedServer),
/// [`EmbeddedClient`](crate::EmbeddedClient)) nobody does either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Spin {
    /// Never: every wait is a sleep. The least CPU time.
    Off,
    /// Where it was seen to pay: something comes in time in more than three of four waits.
    #[default]
    Adaptive,
    /// In every wait for an answer, and after every request: also where it does not pay.
    Always,
}

/// The longest that one wait spins: what it takes the other side to wake up and answer.
const SPIN_TIME: Duration = Duration::from_micros(50);

/// What it takes the other side to read and answer for each KiB that it was sent.
const TIME_PER_KIB: Duration = Duration::from_micros(1);

/// The longest time that is given for the length of what was sent.
const TIME_FOR_LENGTH_MAX: Duration = Duration::from_millis(1);

/// A look that finds nothing takes so long only if somebody else has the core meanwhile.
const INTERRUPTION: Duration = Duration::from_micros(50);

/// The same for one that moves bytes, which it may have to wait for its turn to do.
const LONG_INTERRUPTION: Duration = Duration::from_micros(250);

/// How long others than the one that is looked at may wait to be seen.
const POLL_EVERY: Duration = Duration::from_micros(20);

const SCORE_MAX: u32 = 12;
const LOSS: u32 = 3;

/// A wait that slept for longer was not for the time that waking up takes.
const ASLEEP_MAX: Duration = Duration::from_micros(750);

/// Between two attempts while spinning does not pay: 100 µs in 128 ms are no loss, nor 500 µs where
/// waking up is slow, nor 2 ms where messages are so long.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(128);

/// Decides before each wait. See the module's text.
#[derive(Debug)]
pub(crate) struct Spinner {
    mode: Spin,
    score: u32,
    pause: Duration,
    /// With a score of 0: when to try again.
    retry_at: Option<Instant>,
    /// The wait that is under way sleeps, since then.
    sleeps_since: Option<Instant>,
    /// What waits took lately that slept.
    asleep: Duration,
}

impl Spinner {
    pub(crate) fn new(mode: Spin) -> Self {
        Self {
            mode,
            score: 0,
            pause: PAUSE_MIN,
            retry_at: None,
            sleeps_since: None,
            asleep: Duration::ZERO,
        }
    }

    /// Until when the wait that begins now spins, if it does. The other side was sent so much last.
    pub(crate) fn begin(&mut self, now: Instant, sent_len: usize) -> Option<Spell> {
        let kib = u32::try_from(sent_len / 1024).unwrap_or(u32::MAX);
        let time = SPIN_TIME + TIME_PER_KIB.saturating_mul(kib).min(TIME_FOR_LENGTH_MAX);
        let time = match self.mode {
            Spin::Off => return None,
            Spin::Always => time,
            Spin::Adaptive if self.score == SCORE_MAX => time,
            Spin::Adaptive => {
                let tries = self.score > 0 || self.retry_at.is_none_or(|at| now >= at);
                self.sleeps_since = (!tries).then_some(now);
                if !tries {
                    return None;
                }
                (2 * time).max(self.asleep * 2 / 3)
            }
        };
        Some(Spell {
            until: now + time,
            waits: false,
        })
    }

    /// Sleeps in the poll, and takes note of how long that was.
    pub(crate) fn sleep(
        &mut self,
        event_loop: &mut EventLoop,
        deadline: Option<Instant>,
        ready: impl FnMut(&Event),
    ) -> io::Result<bool> {
        let polled = event_loop.wait(deadline, ready);
        self.woke(ambient::now());
        polled
    }

    /// Takes note that a sleep has ended, if it was one of those that might have been a spin.
    fn woke(&mut self, now: Instant) {
        let slept = self
            .sleeps_since
            .take()
            .map(|at| now.saturating_duration_since(at));
        if let Some(slept) = slept.filter(|slept| *slept <= ASLEEP_MAX) {
            self.asleep = (self.asleep * 7 + slept) / 8;
        }
    }

    /// Takes note of how it went: whether something came, and when. One that was cut short says
    /// nothing.
    pub(crate) fn ended(&mut self, spell: &Spell, came: bool, now: Instant) {
        if now < spell.until {
            if came && spell.waits {
                self.score = (self.score + 1).min(SCORE_MAX);
                if self.score == SCORE_MAX {
                    self.pause = PAUSE_MIN;
                }
            }
            return;
        }
        self.score = self.score.saturating_sub(LOSS);
        if self.score == 0 {
            self.retry_at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }
}

/// One wait that spins.
#[derive(Debug)]
pub(crate) struct Spell {
    /// When it is in vain. An interruption brings that forward.
    until: Instant,
    /// A look was in vain.
    waits: bool,
}

impl Spell {
    /// Takes note of a look, and of how long it took.
    fn looked(&mut self, look: Look, from: Instant, to: Instant) {
        let limit = match look {
            Look::Nothing => INTERRUPTION,
            Look::Came | Look::WroteOn => LONG_INTERRUPTION,
        };
        if to > from + limit {
            self.until = self.until.min(to);
        }
        self.waits |= look != Look::Came;
    }
}

/// What a look has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Something has come: a turn is wanted.
    Came,
    /// Nothing, but there was room to write on.
    WroteOn,
    Nothing,
}

/// Who spins.
pub(crate) trait Looking {
    /// Looks, in the cheapest way, whether what is expected has come, and writes on where a link had no
    /// room.
    fn look(&mut self) -> Look;

    fn handle_event(&mut self, event: &Event);
}

/// What ended a spin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spun {
    /// Something has come, from the one that was looked at or from any other.
    Came,
    /// Another thread wants a turn.
    Called,
    /// The time is over.
    InVain,
}

/// Looks until something has come, `called` says so, or the time is over: its own, or at the deadline.
///
/// The poll is asked now and then: for all others, and for transports that bring nothing without it.
/// Also when there is always something to be seen at once, so that nobody starves.
pub(crate) fn spin(
    side: &mut impl Looking,
    event_loop: &mut EventLoop,
    spell: &mut Spell,
    deadline: Option<Instant>,
    called: impl Fn() -> bool,
) -> io::Result<Spun> {
    let mut now = ambient::now();
    loop {
        let mut look = Look::Nothing;
        if event_loop.polled_at.is_none_or(|at| now >= at + POLL_EVERY) {
            event_loop.polled_at = Some(now);
            if event_loop.wait(Some(now), |event| side.handle_event(event))? {
                look = Look::Came;
            }
        }
        if look != Look::Came {
            look = side.look();
        }
        let looked_at = now;
        now = ambient::now();
        spell.looked(look, looked_at, now);
        if look == Look::Came {
            return Ok(Spun::Came);
        }
        if called() {
            return Ok(Spun::Called);
        }
        if now >= spell.until || deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(Spun::InVain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many waits spin, one a millisecond, if each goes like this.
    fn spins(
        spinner: &mut Spinner,
        waits: u32,
        from: Instant,
        goes_well: impl Fn(u32) -> bool,
    ) -> u32 {
        (0..waits)
            .filter(|wait| {
                let now = from + Duration::from_millis(1) * *wait;
                let Some(mut spell) = spinner.begin(now, 0) else {
                    return false;
                };
                spell.waits = true;
                if goes_well(*wait) {
                    spinner.ended(&spell, true, now + Duration::from_micros(5));
                } else {
                    spinner.ended(&spell, false, spell.until);
                }
                true
            })
            .count()
            .try_into()
            .expect("no more than there are waits")
    }

    #[test]
    fn it_goes_on_while_it_pays_and_hardly_tries_while_it_does_not() {
        let start = Instant::now();
        let mut spinner = Spinner::new(Spin::Adaptive);
        assert_eq!(spins(&mut spinner, 1000, start, |_| true), 1000);
        let later = start + Duration::from_secs(10);
        let tried = spins(&mut spinner, 10_000, later, |_| false);
        assert!((10_000 / 128..110).contains(&tried), "{tried}");
        // One success is not taken for more than it is.
        let later = later + Duration::from_secs(100);
        assert!(spins(&mut spinner, 1000, later, |wait| wait == 0) < 20);
        let later = later + Duration::from_secs(100);
        assert!(spins(&mut spinner, 1000, later, |_| true) > 990);
        // Every second time is not often enough.
        let later = later + Duration::from_secs(100);
        assert!(spins(&mut spinner, 1000, later, |wait| wait % 2 == 0) < 100);
    }

    #[test]
    fn a_sleep_instead_of_a_spin_is_noted_by_whoever_sleeps() {
        let now = ambient::now();
        let mut event_loop = EventLoop::new().unwrap();
        let mut spinner = Spinner::new(Spin::Adaptive);
        let spell = spinner.begin(now, 0).expect("the first wait is tried");
        spinner.ended(&spell, false, spell.until);
        assert!(spinner.begin(now, 0).is_none());
        assert_eq!(spinner.sleeps_since, Some(now));
        // How long it was is another matter: a busy machine may have taken its time.
        let came = spinner.sleep(&mut event_loop, Some(now), |_| {}).unwrap();
        assert!(!came);
        assert_eq!(spinner.sleeps_since, None);
    }

    /// A client and a server where waking up takes so long.
    struct Pair {
        now: Instant,
        waking: Duration,
        client: Side,
        server: Side,
    }

    struct Side {
        spinner: Spinner,
        /// Since when it looks, if it does.
        spell: Option<(Instant, Spell)>,
        /// All the time that it looked for something.
        looked: Duration,
    }

    impl Side {
        fn new() -> Self {
            Self {
                spinner: Spinner::new(Spin::Adaptive),
                spell: None,
                looked: Duration::ZERO,
            }
        }

        fn waits_from(&mut self, now: Instant) {
            self.spell = self.spinner.begin(now, 0).map(|mut spell| {
                spell.waits = true;
                (now, spell)
            });
        }

        /// When it goes on after something has come.
        fn goes_on(&mut self, came_at: Instant, waking: Duration) -> Instant {
            if let Some((since, spell)) = self.spell.take() {
                let in_time = came_at < spell.until;
                let ends = spell.until.min(came_at);
                self.looked += ends - since;
                self.spinner.ended(&spell, in_time, ends);
                if in_time {
                    return came_at;
                }
            }
            let awake = came_at + waking;
            self.spinner.woke(awake);
            awake
        }
    }

    impl Pair {
        fn new(waking: u64) -> Self {
            Self {
                now: Instant::now(),
                waking: Duration::from_micros(waking),
                client: Side::new(),
                server: Side::new(),
            }
        }

        /// How long a call takes in the mean, and which share of that the client looks.
        fn calls(&mut self, number: u32, thinks: u64, works: u64) -> (Duration, f64) {
            let start = self.now;
            self.client.looked = Duration::ZERO;
            for _ in 0..number {
                self.client.waits_from(self.now);
                self.now =
                    self.server.goes_on(self.now, self.waking) + Duration::from_micros(works);
                self.server.waits_from(self.now);
                self.now =
                    self.client.goes_on(self.now, self.waking) + Duration::from_micros(thinks);
            }
            let took = self.now - start;
            let share = self.client.looked.as_secs_f64() / took.as_secs_f64();
            (took / number, share)
        }
    }

    #[test]
    fn two_sides_keep_each_other_awake_however_slow_waking_is() {
        for waking in [30, 100, 180, 350] {
            let mut pair = Pair::new(waking);
            // Neither has seen it pay, and they try at different times.
            for (side, tries_after) in [(&mut pair.client, 64), (&mut pair.server, 100)] {
                side.spinner.pause = PAUSE_MAX;
                side.spinner.retry_at = Some(pair.now + Duration::from_millis(tries_after));
            }
            pair.calls(4000, 1, 2);
            let (call, _) = pair.calls(4000, 1, 2);
            assert!(call < Duration::from_micros(4), "{waking} µs: {call:?}");
        }
    }

    #[test]
    fn whoever_waits_for_long_work_sleeps_however_fast_waking_is() {
        for (waking, works) in [(5, 150), (30, 200), (30, 400), (180, 700), (30, 3000)] {
            let mut pair = Pair::new(waking);
            pair.calls(1000, 1, works);
            let (_, share) = pair.calls(10_000, 1, works);
            assert!(share < 0.01, "{waking} µs, {works} µs of work: {share}");
        }
    }

    #[test]
    fn what_comes_after_a_long_interruption_has_not_come_in_time() {
        let now = Instant::now();
        let mut spinner = Spinner::new(Spin::Adaptive);
        let spell = spinner.begin(now, 0).expect("it has not failed yet");
        let later = spell.until + Duration::from_millis(4);
        spinner.ended(&spell, true, later);
        assert!(spinner.begin(later, 0).is_none());
    }

    fn spell_until(until: Instant) -> Spell {
        Spell {
            until,
            waits: false,
        }
    }

    #[test]
    fn what_is_there_at_the_first_look_says_nothing() {
        let now = Instant::now();
        let mut spinner = Spinner::new(Spin::Adaptive);
        for _ in 0..100 {
            let spell = spinner.begin(now, 0).expect("it has not failed yet");
            spinner.ended(&spell, true, now);
        }
        let spell = spinner.begin(now, 0).expect("it has not failed yet");
        spinner.ended(&spell, false, spell.until);
        assert!(
            spinner.begin(spell.until, 0).is_none(),
            "it was taken for a success"
        );
    }

    #[test]
    fn a_spin_that_was_cut_short_says_nothing() {
        let now = Instant::now();
        let mut spinner = Spinner::new(Spin::Adaptive);
        let spell = spinner.begin(now, 0).expect("it has not failed yet");
        spinner.ended(&spell, false, now);
        assert!(spinner.begin(now, 0).is_some());
    }

    /// Finds something whenever it looks, and hears of others by the poll alone.
    #[derive(Default)]
    struct Insatiable {
        events: u32,
    }

    impl Looking for Insatiable {
        fn look(&mut self) -> Look {
            Look::Came
        }

        fn handle_event(&mut self, _: &Event) {
            self.events += 1;
        }
    }

    #[test]
    fn others_are_seen_also_while_there_is_always_something_at_the_first_look() {
        let mut event_loop = EventLoop::new().expect("a poll");
        let free = "127.0.0.1:0".parse().expect("an address");
        let mut listener = mio::net::TcpListener::bind(free).expect("a free port");
        let registry = event_loop.poll.registry();
        registry
            .register(&mut listener, mio::Token(1), mio::Interest::READABLE)
            .expect("a poll takes a listener");
        let mut side = Insatiable::default();
        let start = Instant::now();
        let never = start + Duration::from_secs(60);
        let mut once = |side: &mut Insatiable| {
            assert!(Instant::now() < never, "it was not seen");
            let mut spell = spell_until(never);
            let spun = spin(side, &mut event_loop, &mut spell, None, || false).expect("a poll");
            assert_eq!(spun, Spun::Came);
        };
        once(&mut side);
        assert_eq!(side.events, 0);
        let address = listener.local_addr().expect("an address");
        let _other = std::net::TcpStream::connect(address).expect("a listener");
        while side.events == 0 {
            once(&mut side);
        }
    }

    #[test]
    fn a_spin_ends_when_it_is_called_or_its_time_is_over() {
        struct Deaf;
        impl Looking for Deaf {
            fn look(&mut self) -> Look {
                Look::Nothing
            }
            fn handle_event(&mut self, _: &Event) {}
        }
        let mut event_loop = EventLoop::new().expect("a poll");
        let now = Instant::now();
        let later = now + Duration::from_secs(600);
        let mut spin_for = |until, deadline, called: bool| {
            let mut spell = spell_until(until);
            spin(&mut Deaf, &mut event_loop, &mut spell, deadline, || called).expect("a poll")
        };
        assert_eq!(spin_for(later, None, true), Spun::Called);
        assert_eq!(spin_for(now, None, false), Spun::InVain);
        assert_eq!(spin_for(later, Some(now), false), Spun::InVain);
        event_loop.wake()();
        // An interruption of the test ends a spin, too.
        let mut spun = Spun::InVain;
        while spun == Spun::InVain {
            let mut spell = spell_until(later);
            let spin = spin(&mut Deaf, &mut event_loop, &mut spell, None, || false);
            spun = spin.expect("a poll");
        }
        assert_eq!(spun, Spun::Came);
    }

    #[test]
    fn an_interruption_uses_the_time_up_even_if_something_has_come_by_then() {
        let now = Instant::now();
        for (look, limit) in [
            (Look::Nothing, INTERRUPTION),
            (Look::WroteOn, LONG_INTERRUPTION),
            (Look::Came, LONG_INTERRUPTION),
        ] {
            for too_long in [false, true] {
                let mut spinner = Spinner::new(Spin::Adaptive);
                let mut spell = spinner.begin(now, 1 << 20).expect("it has not failed yet");
                spell.looked(Look::Nothing, now, now);
                let later = now + limit + Duration::from_nanos(too_long.into());
                spell.looked(look, now, later);
                spinner.ended(&spell, true, later);
                let goes_on = spinner.begin(later, 0).is_some();
                assert_eq!(goes_on, !too_long, "{look:?}");
            }
        }
    }

    #[test]
    fn the_length_of_what_was_sent_is_given_time() {
        let now = Instant::now();
        let time = |mode, sent_len| {
            let spell = Spinner::new(mode).begin(now, sent_len);
            spell.map(|spell| (spell.until - now).as_micros())
        };
        assert_eq!(time(Spin::Always, 0), Some(50));
        assert_eq!(time(Spin::Always, 64 * 1024), Some(50 + 64));
        assert_eq!(time(Spin::Adaptive, 64 * 1024), Some(2 * (50 + 64)));
        assert_eq!(time(Spin::Always, usize::MAX), Some(50 + 1000));
        assert_eq!(time(Spin::Off, 64 * 1024), None);
    }

    #[test]
    fn off_and_always_are_what_they_say() {
        let now = Instant::now();
        for (mode, wanted) in [(Spin::Off, false), (Spin::Always, true)] {
            let mut spinner = Spinner::new(mode);
            for _ in 0..10 {
                spinner.ended(&spell_until(now), false, now);
                assert_eq!(spinner.begin(now, 0).is_some(), wanted);
            }
        }
    }
}
