//! Questions of the application's own, and who answers them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::envelope;

/// Takes a question and gives the answer, both encoded. `None`: it has none, or the question is
/// none.
pub(crate) type Answerer = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// The longest answer; what a frame can hold is checked when it is sent.
const ANSWER_LEN_MAX: u32 = u32::MAX;

pub(crate) fn answerer<Q, A>(mut answer: impl FnMut(Q) -> Option<A> + Send + 'static) -> Answerer
where
    Q: DeserializeOwned + 'static,
    A: Serialize + 'static,
{
    Box::new(move |question| {
        let question = envelope::decode_body(question).ok()?;
        let answer = answer(question)?;
        let mut bytes = Vec::new();
        envelope::append_body(&mut bytes, &answer, ANSWER_LEN_MAX).ok()?;
        Some(bytes)
    })
}
