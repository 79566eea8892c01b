//! The agent's last answers, for those who ask and get none.

use std::collections::HashMap;

/// The bytes of all that is remembered, at most.
const LEN_MAX: usize = 4 << 20;
/// What an answer takes besides its texts, about.
const EACH_LEN: usize = 96;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    Rule { name: String, key: String },
    Question { topic: String, question: Vec<u8> },
}

impl Asked {
    fn len(&self) -> usize {
        match self {
            Self::Rule { name, key } => name.len() + key.len(),
            Self::Question { topic, question } => topic.len() + question.len(),
        }
    }
}

/// At most so many, and so many bytes of them: when a half is full the older half is forgotten.
#[derive(Debug)]
pub(crate) struct LastKnown {
    young: HashMap<Asked, Vec<u8>>,
    old: HashMap<Asked, Vec<u8>>,
    /// Of those that are young. What is replaced counts too.
    len: usize,
    half: usize,
}

impl LastKnown {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            len: 0,
            half: usize::try_from(max / 2).unwrap_or(usize::MAX),
        }
    }

    /// What alone would take too much is not remembered.
    pub(crate) fn keep(&mut self, asked: Asked, answer: Vec<u8>) {
        let len = asked.len() + answer.len() + EACH_LEN;
        if self.half == 0 || len > LEN_MAX / 2 {
            return;
        }
        if self.young.len() >= self.half || self.len + len > LEN_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.len = 0;
        }
        self.len += len;
        self.young.insert(asked, answer);
    }

    pub(crate) fn find(&self, asked: &Asked) -> Option<&[u8]> {
        let found = self.young.get(asked).or_else(|| self.old.get(asked));
        found.map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(key: impl ToString) -> Asked {
        Asked::Rule {
            name: "login".to_owned(),
            key: key.to_string(),
        }
    }

    #[test]
    fn the_last_answers_are_known_and_no_more_than_the_bound() {
        let mut known = LastKnown::new(10);
        for number in 0..1000 {
            known.keep(login(number), vec![u8::from(number % 2 == 0)]);
            assert!(known.young.len() + known.old.len() <= 10);
        }
        assert_eq!(known.find(&login(999)), Some(&[0][..]));
        assert_eq!(known.find(&login(998)), Some(&[1][..]));
        assert_eq!(known.find(&login(1)), None);
        let logout = Asked::Question {
            topic: "login".to_owned(),
            question: b"999".to_vec(),
        };
        assert_eq!(known.find(&logout), None);
    }

    #[test]
    fn answers_of_any_length_take_no_more_than_the_bound() {
        let mut known = LastKnown::new(u32::MAX);
        for number in 0..2000 {
            let key = format!("{number}{}", "x".repeat(number * 20));
            known.keep(login(&key), vec![1; 100]);
            let all = known.young.iter().chain(&known.old);
            let len: usize = all.map(|(asked, answer)| asked.len() + answer.len()).sum();
            assert!(len <= LEN_MAX, "{len}");
            assert!(known.find(&login(key)).is_some());
        }
        let endless = login("x".repeat(LEN_MAX));
        known.keep(endless.clone(), vec![1]);
        assert_eq!(known.find(&endless), None);
        assert!(!known.young.is_empty());
    }
}
