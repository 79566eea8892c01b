//! What an agent is to hear of the configuration: the last word only. Pure.

use super::Unsaid;
use crate::aggregator::attack::cut_to;
use crate::aggregator::message::WorkerEvent;

#[derive(Debug, Default)]
pub(super) struct ConfigWord {
    /// The configuration that runs, to be told to each agent.
    runs: Option<u64>,
    say: Option<WorkerEvent>,
}

impl ConfigWord {
    /// Another configuration runs, or one was refused. What was to be said of an earlier one is of no
    /// interest any more.
    pub(super) fn set(&mut self, said: WorkerEvent) {
        if let WorkerEvent::ConfigRuns { version } = said {
            self.runs = Some(version);
        }
        self.say = Some(said);
    }

    /// There is an agent that has heard nothing yet.
    pub(super) fn greet(&mut self) {
        if let Some(version) = self.runs {
            self.say = Some(WorkerEvent::ConfigRuns { version });
        }
    }

    pub(super) fn poll(&mut self) -> Option<WorkerEvent> {
        self.say.take()
    }

    /// It was not said after all. What is too long, and can't be cut, would be said again for ever.
    pub(super) fn unsaid(&mut self, event: &WorkerEvent, why: Unsaid) {
        let again = match why {
            Unsaid::TooLong { max } => shorter(event, max),
            Unsaid::Apart | Unsaid::Full => Some(event.clone()),
        };
        if self.say.is_none() {
            self.say = again;
        }
    }
}

/// The same in so many bytes. `None` if it can't be said in those.
fn shorter(event: &WorkerEvent, max: usize) -> Option<WorkerEvent> {
    /// What such an event takes besides its reason, at most.
    const ROOM: usize = 64;
    let WorkerEvent::ConfigRefused { version, why } = event else {
        return None;
    };
    let mut cut = why.clone();
    cut_to(&mut cut, max.saturating_sub(ROOM));
    (cut.len() < why.len()).then_some(WorkerEvent::ConfigRefused {
        version: *version,
        why: cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_said_shorter_and_in_the_end_not_at_all() {
        let mut word = ConfigWord::default();
        let why = "x".repeat(4096);
        word.set(WorkerEvent::ConfigRefused { version: 7, why });
        let mut lens = Vec::new();
        while let Some(event) = word.poll() {
            let WorkerEvent::ConfigRefused { version: 7, why } = &event else {
                panic!("{event:?}");
            };
            lens.push(why.len());
            // The agent takes less and less, and then the same.
            let max = 1200 - 100 * lens.len().min(3);
            word.unsaid(&event, Unsaid::TooLong { max });
        }
        assert_eq!(lens, [4096, 1036, 936, 836]);
        let runs = WorkerEvent::ConfigRuns { version: 8 };
        word.set(runs.clone());
        word.unsaid(&runs, Unsaid::TooLong { max: 1 });
        assert_eq!(word.poll(), Some(runs.clone()));
        word.unsaid(&runs, Unsaid::TooLong { max: 1 });
        assert_eq!(word.poll(), None);
        word.greet();
        assert_eq!(word.poll(), Some(runs));
    }
}
