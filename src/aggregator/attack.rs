//! What is reported at once: an attack, or any event of the application's own that can't wait.

use serde::{Deserialize, Serialize};

use super::readable;
use super::series::CharBoundary;

/// The longest text of an [`Attack`], in bytes. Longer ones are cut, and end with [`CUT_MARK`].
pub const ATTACK_TEXT_LEN_MAX: usize = 4096;
/// The most entries of [`Attack::metadata`] and lines of [`Attack::stack`]; further ones are left out.
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
        self.stack.truncate(ATTACK_ENTRIES_MAX);
        self.metadata.truncate(ATTACK_ENTRIES_MAX);
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
    if text.len() > ATTACK_TEXT_LEN_MAX {
        let kept = text.floor_char_boundary_at(ATTACK_TEXT_LEN_MAX - CUT_MARK.len());
        text.truncate(kept);
        text.push_str(CUT_MARK);
    }
}
