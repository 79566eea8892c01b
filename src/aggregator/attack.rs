//! What is reported at once: an attack, or any event of the application's own that can't wait.

use serde::{Deserialize, Serialize};

use super::readable;
use super::series::CharBoundary;

/// The longest text of an [`Attack`], in bytes. Longer ones are cut, and end with [`CUT_MARK`].
pub const ATTACK_TEXT_LEN_MAX: usize = 4096;
/// The most entries of [`Attack::metadata`] and lines of [`Attack::stack`]; beyond them the last
/// is [`CUT_MARK`].
pub const ATTACK_ENTRIES_MAX: usize = 64;
/// What a text that was cut ends with.
pub const CUT_MARK: &str = "…[cut]";

/// An attempt to misuse the application, as a firewall inside of it sees it.
///
/// ```
/// use wayside::aggregator::{Attack, AttackRequest};
///
/// let attack = Attack {
///     operation: "sqlite3.execute".to_owned(),
///     payload: "1' OR 1=1".to_owned(),
///     blocked: true,
///     request: Some(AttackRequest {
///         method: "GET".to_owned(),
///         ip: "203.0.113.7".to_owned(),
///         ..AttackRequest::default()
///     }),
///     ..Attack::new("sql_injection")
/// };
/// assert_eq!(attack.kind, "sql_injection");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attack {
    /// What kind of attack: `sql_injection`.
    pub kind: String,
    /// What it was aimed at: `sqlite3.execute`.
    pub operation: String,
    /// Where it came in: `query`, `body`, `headers`.
    pub source: String,
    /// Where in the source: `.user.name`.
    pub path: String,
    /// The offending text.
    pub payload: String,
    /// Whether it was stopped.
    pub blocked: bool,
    /// The request it came with.
    pub request: Option<AttackRequest>,
    /// The user on whose behalf.
    pub user: Option<String>,
    /// Where in the code.
    pub stack: Vec<String>,
    /// What else there is to say.
    pub metadata: Vec<(String, String)>,
}

/// The request that an attack came with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttackRequest {
    /// `GET`.
    pub method: String,
    /// As it was asked for.
    pub url: String,
    /// As the application routes it: `/users/:id`.
    pub route: String,
    /// Where it came from.
    pub ip: String,
    /// What the client says of itself.
    pub user_agent: String,
}

/// What travels: an attack, or a value of the application's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackBody {
    /// The built-in type.
    Attack(Box<Attack>),
    /// A type of the application's own.
    Own {
        /// What kind of event.
        kind: String,
        /// The value as JSON.
        #[serde(rename = "value", with = "readable::json")]
        json: String,
    },
}

impl Attack {
    /// An attack of this kind of which nothing else is known yet.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// Every text that it may have once, by where it stands.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &String> {
        let own = [&self.kind, &self.operation, &self.source];
        let own = own.into_iter().chain([&self.path, &self.payload]);
        let request = self.request.iter().flat_map(|request| {
            let what = [&request.method, &request.url, &request.route];
            what.into_iter().chain([&request.ip, &request.user_agent])
        });
        own.chain(request).chain(&self.user)
    }

    /// Every text in it.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        let metadata = self.metadata.iter();
        let metadata = metadata.flat_map(|(name, value)| [name, value]);
        self.fields().chain(&self.stack).chain(metadata)
    }

    /// Cuts what is longer than it may be, and marks it.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        let request = self.request.iter_mut().flat_map(|request| {
            [
                &mut request.method,
                &mut request.url,
                &mut request.route,
                &mut request.ip,
                &mut request.user_agent,
            ]
        });
        cut_list(&mut self.stack, CUT_MARK.to_owned());
        cut_list(&mut self.metadata, (CUT_MARK.to_owned(), String::new()));
        let own = [
            &mut self.kind,
            &mut self.operation,
            &mut self.source,
            &mut self.path,
            &mut self.payload,
        ];
        let metadata = self
            .metadata
            .iter_mut()
            .flat_map(|(name, value)| [name, value]);
        own.into_iter()
            .chain(request)
            .chain(self.user.as_mut())
            .chain(&mut self.stack)
            .chain(metadata)
            .for_each(cut);
        self
    }
}

fn cut(text: &mut String) {
    cut_to(text, ATTACK_TEXT_LEN_MAX);
}

/// Cuts a text that is longer than so many bytes, and marks it.
pub(crate) fn cut_to(text: &mut String, len_max: usize) {
    if text.len() > len_max {
        let kept = text.floor_char_boundary_at(len_max.saturating_sub(CUT_MARK.len()));
        text.truncate(kept);
        text.push_str(CUT_MARK);
    }
}

fn cut_list<T>(entries: &mut Vec<T>, mark: T) {
    if entries.len() > ATTACK_ENTRIES_MAX {
        entries.truncate(ATTACK_ENTRIES_MAX - 1);
        entries.push(mark);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        let around = ATTACK_TEXT_LEN_MAX - 12..ATTACK_TEXT_LEN_MAX + 12;
        let filled = (around, "[aä€𝄞]{0,4}").prop_map(|(len, end)| "x".repeat(len - 8) + &end);
        prop_oneof![3 => "[ -~ä€𝄞]{0,20}", 1 => filled, 1 => "[aä€𝄞]{1300,5000}"]
    }

    fn request() -> impl Strategy<Value = AttackRequest> {
        [text(), text(), text(), text(), text()].prop_map(|[method, url, route, ip, user_agent]| {
            AttackRequest {
                method,
                url,
                route,
                ip,
                user_agent,
            }
        })
    }

    fn attack() -> impl Strategy<Value = Attack> {
        let own = [text(), text(), text(), text(), text()];
        let request = prop::option::of(request());
        let stack = prop::collection::vec("[a-z]{0,3}", 0..130);
        let metadata = prop::collection::vec(("[a-z]{0,3}", text()), 0..80);
        let rest = (request, prop::option::of(text()), stack, metadata);
        (own, rest, any::<bool>()).prop_map(|(own, rest, blocked)| {
            let [kind, operation, source, path, payload] = own;
            let (request, user, stack, metadata) = rest;
            Attack {
                kind,
                operation,
                source,
                path,
                payload,
                blocked,
                request,
                user,
                stack,
                metadata,
            }
        })
    }

    /// What is left of a text is its beginning, as much of it as there is room for.
    fn check_text(before: &str, after: &str) -> Result<(), TestCaseError> {
        prop_assert!(after.len() <= ATTACK_TEXT_LEN_MAX);
        if before.len() <= ATTACK_TEXT_LEN_MAX {
            prop_assert_eq!(before, after);
            return Ok(());
        }
        let kept = after.strip_suffix(CUT_MARK);
        prop_assert!(kept.is_some_and(|kept| before.starts_with(kept)));
        prop_assert!(after.len() + 4 > ATTACK_TEXT_LEN_MAX);
        Ok(())
    }

    fn check_list<T: PartialEq + std::fmt::Debug>(
        before: &[T],
        after: &[T],
        mark: &T,
    ) -> Result<(), TestCaseError> {
        if before.len() <= ATTACK_ENTRIES_MAX {
            prop_assert_eq!(before, after);
            return Ok(());
        }
        prop_assert_eq!(after.len(), ATTACK_ENTRIES_MAX);
        let (last, kept) = after.split_last().expect("it is full");
        prop_assert_eq!(kept, &before[..kept.len()]);
        prop_assert_eq!(last, mark);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_too_long_is_cut_and_marked_and_nothing_else_is(before in attack()) {
            let after = before.clone().bounded();
            for (before, after) in before.fields().zip(after.fields()) {
                check_text(before, after)?;
            }
            prop_assert_eq!(before.request.is_some(), after.request.is_some());
            prop_assert_eq!(before.blocked, after.blocked);
            check_list(&before.stack, &after.stack, &CUT_MARK.to_owned())?;
            let names = |attack: &Attack| -> Vec<String> {
                attack.metadata.iter().map(|(name, _)| name.clone()).collect()
            };
            check_list(&names(&before), &names(&after), &CUT_MARK.to_owned())?;
            let values = before.metadata.iter().zip(&after.metadata);
            for ((_, before), (_, after)) in values.take(ATTACK_ENTRIES_MAX - 1) {
                check_text(before, after)?;
            }
        }
    }

    #[test]
    fn lines_of_the_stack_are_cut_too() {
        let long = "x".repeat(ATTACK_TEXT_LEN_MAX + 1);
        let attack = Attack {
            stack: vec!["main.rs:1".to_owned(), long.clone()],
            metadata: vec![(long.clone(), String::new())],
            ..Attack::new("x")
        };
        let after = attack.bounded();
        assert_eq!(after.stack[0], "main.rs:1");
        for cut in [&after.stack[1], &after.metadata[0].0] {
            assert!(cut.len() == ATTACK_TEXT_LEN_MAX && cut.ends_with(CUT_MARK));
        }
    }
}
