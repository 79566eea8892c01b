//! The outbox against a model that is too simple to be wrong.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::prelude::*;
use wayside::internals::{Lane, Outbox, Refusal};

#[derive(Debug, Clone)]
enum Step {
    Append(Lane, usize),
    /// An encoder that writes so many bytes, then fails or panics.
    Fail(Lane, usize, bool),
    Open,
    Shut,
    Last,
    /// Writes so many of the bytes there are.
    Write(usize),
    /// Keeps every n-th frame, counted by what is in it.
    Reset(u64),
    Shrink,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || prop_oneof![Just(Lane::Control), Just(Lane::Urgent), Just(Lane::Bulk)];
    let len = || prop_oneof![6 => 8_usize..40, 1 => 40..3000_usize];
    prop_oneof![
        12 => (lane(), len()).prop_map(|(lane, len)| Step::Append(lane, len)),
        1 => (lane(), len(), any::<bool>()).prop_map(|(lane, len, panic)| Step::Fail(lane, len, panic)),
        3 => Just(Step::Open),
        1 => Just(Step::Shut),
        1 => Just(Step::Last),
        8 => prop_oneof![1_usize..30, 1..4000_usize, Just(usize::MAX)].prop_map(Step::Write),
        1 => (1_u64..4).prop_map(Step::Reset),
        1 => Just(Step::Shrink),
    ]
}

/// A frame of the model: its lane, its number, its bytes.
type Frame = (u64, Vec<u8>);

#[derive(Default)]
struct Model {
    control: VecDeque<Frame>,
    urgent: VecDeque<Frame>,
    bulk: VecDeque<Frame>,
    /// How many frames at the front of `urgent` and `bulk` stand before the seal.
    sealed: Option<(usize, usize)>,
    open: bool,
    /// How many bytes of the frame at the front of a lane are written.
    begun: Option<(usize, usize)>,
}

impl Model {
    fn lane(&mut self, index: usize) -> &mut VecDeque<Frame> {
        [&mut self.control, &mut self.urgent, &mut self.bulk]
            .into_iter()
            .nth(index)
            .unwrap()
    }

    fn queued_len(&self) -> usize {
        let len: usize = self
            .urgent
            .iter()
            .chain(&self.bulk)
            .map(|(_, f)| f.len())
            .sum();
        match self.begun {
            Some((1 | 2, written)) => len - written,
            _ => len,
        }
    }

    /// The lane of the next byte.
    fn turn(&self) -> Option<usize> {
        if let Some((lane, _)) = self.begun {
            return Some(lane);
        }
        if !self.control.is_empty() {
            return Some(0);
        }
        let (urgent, bulk) = self.sealed.unwrap_or((self.urgent.len(), self.bulk.len()));
        match (self.open, urgent, bulk) {
            (true, 1.., _) => Some(1),
            (true, 0, 1..) => Some(2),
            _ => None,
        }
    }

    fn write_byte(&mut self) -> u8 {
        let lane = self.turn().unwrap();
        let written = self.begun.map_or(0, |(_, written)| written);
        let frame = &self.lane(lane)[0].1;
        let (byte, whole) = (frame[written], written + 1 == frame.len());
        self.begun = (!whole).then_some((lane, written + 1));
        if whole {
            self.lane(lane).pop_front();
            if let Some((urgent, bulk)) = &mut self.sealed {
                *urgent -= usize::from(lane == 1);
                *bulk -= usize::from(lane == 2);
            }
        }
        byte
    }
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Urgent => 1,
        Lane::Bulk => 2,
    }
}

/// A payload that begins with its number.
fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len, u8::try_from(number % 251).unwrap());
    bytes
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&len.to_le_bytes(), payload].concat()
}

const LEN_MAX: usize = 40_000;

fn apply(
    step: Step,
    number: u64,
    outbox: &mut Outbox,
    model: &mut Model,
) -> Result<(), TestCaseError> {
    match step {
        Step::Append(lane, len) => {
            let payload = payload(number, len);
            let queued = model.queued_len();
            let result = outbox.append(lane, |bytes| {
                bytes.extend_from_slice(&payload);
                Ok::<(), ()>(())
            });
            if lane != Lane::Control && queued + len + 4 > LEN_MAX {
                prop_assert_eq!(
                    result,
                    Err(Refusal::Full {
                        len: queued,
                        max: LEN_MAX
                    })
                );
            } else {
                prop_assert_eq!(result, Ok(()));
                model
                    .lane(index(lane))
                    .push_back((number, framed(&payload)));
            }
        }
        Step::Fail(lane, len, panic) => {
            let result = catch_unwind(AssertUnwindSafe(|| {
                outbox.append(lane, |bytes| {
                    bytes.resize(bytes.len() + len, 0xEE);
                    if panic {
                        // Unlike a panic, this prints nothing.
                        resume_unwind(Box::new(()));
                    }
                    Err("refused")
                })
            }));
            prop_assert_eq!(
                result.ok(),
                (!panic).then_some(Err(Refusal::Encode("refused")))
            );
        }
        Step::Open => {
            outbox.open();
            model.open = true;
        }
        Step::Shut => {
            outbox.shut();
            model.open = false;
        }
        Step::Last if model.sealed.is_none() => {
            let last = payload(number, 9);
            outbox.append_last(|bytes| bytes.extend_from_slice(&last));
            model.bulk.push_back((number, framed(&last)));
            model.sealed = Some((model.urgent.len(), model.bulk.len()));
        }
        // A session says goodbye once.
        Step::Last => {}
        Step::Write(most) => {
            let next = outbox.next_bytes().to_vec();
            let len = next.len().min(most);
            if len > 0 {
                outbox.written(len);
            }
            let expected: Vec<u8> = (0..len).map(|_| model.write_byte()).collect();
            prop_assert!(next[..len] == expected, "other bytes were written");
        }
        Step::Reset(nth) => {
            outbox.reset(|payload| number_of(payload) % nth == 0);
            model.control.clear();
            model.urgent.retain(|(number, _)| number % nth == 0);
            model.bulk.retain(|(number, _)| number % nth == 0);
            (model.open, model.sealed, model.begun) = (false, None, None);
        }
        Step::Shrink => outbox.shrink(),
    }
    Ok(())
}

fn number_of(payload: &[u8]) -> u64 {
    u64::from_le_bytes(*payload.first_chunk().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Lanes, order, the gate, the seal, the bound, what a reset keeps: all as in the model.
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec(step(), 1..300)) {
        let mut outbox = Outbox::new(LEN_MAX);
        let mut model = Model::default();
        for (number, step) in (0..).zip(steps) {
            apply(step, number, &mut outbox, &mut model)?;
            prop_assert_eq!(outbox.queued_len(), model.queued_len());
            prop_assert_eq!(outbox.is_drained(), model.turn().is_none());
            prop_assert_eq!(outbox.is_control_empty(), model.control.is_empty());
        }
    }
}

/// A buffer that never runs empty is still bounded: what was written makes room.
#[test]
fn a_lane_that_is_never_empty_does_not_grow() {
    let mut outbox = Outbox::new(LEN_MAX);
    outbox.open();
    let append = |outbox: &mut Outbox| {
        let result: Result<(), Refusal<()>> = outbox.append(Lane::Bulk, |bytes| {
            bytes.extend_from_slice(&[7; 996]);
            Ok(())
        });
        result.unwrap();
    };
    for _ in 0..30 {
        append(&mut outbox);
    }
    let ((), peak) = crate::allocation::peak_of(|| {
        for _ in 0..10_000 {
            append(&mut outbox);
            outbox.written(1000);
        }
    });
    // What waits, and chunks of 64 KiB: the one that is written, the one that is filled, and one
    // that was grown to that size.
    assert!(peak <= LEN_MAX + 3 * 72 * 1024, "{peak}");
}
