//! A message for libraries that want to own what they send: it comes back when they have let go.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::{Message, Typed};

pub struct Shared<M>(Arc<M>);

impl<M: Message> Shared<M> {
    pub fn of_len(len: usize, source: usize) -> Self {
        Self(Arc::new(M::of_len(len, source)))
    }

    /// Numbers it, and answers with it as the library wants it.
    pub fn numbered(&mut self, number: u64) -> Self {
        let message = Arc::get_mut(&mut self.0);
        message.expect("the one before was sent").number(number);
        Self(Arc::clone(&self.0))
    }
}

impl<M> std::ops::Deref for Shared<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M: Typed> Serialize for Shared<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, M: Typed> Deserialize<'de> for Shared<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        M::deserialize(deserializer).map(|message| Self(Arc::new(message)))
    }
}
