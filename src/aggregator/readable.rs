//! Forms of values for people and for other languages: JSON wants its maps as objects. On the wire and in the journal, which are not meant to be read, values stay as
//! they are. To be used with `#[serde(with = …)]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Pairs of a name and a value, by rising name, as an object.
pub(super) mod labels {
    use std::collections::BTreeMap;

    use super::*;

    pub(in crate::aggregator) fn serialize<S: Serializer>(
        labels: &Vec<(String, String)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_map(labels.iter().map(|(name, value)| (name, value)))
        } else {
            labels.serialize(serializer)
        }
    }

    pub(in crate::aggregator) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, String)>, D::Error> {
        if deserializer.is_human_readable() {
            let labels = BTreeMap::deserialize(deserializer)?;
            Ok(labels.into_iter().collect())
        } else {
            Vec::deserialize(deserializer)
        }
    }
}

/// A text of JSON as the value that it stands for.
pub(super) mod json {
    use serde_json::Value;

    use super::*;

    pub(in crate::aggregator) fn serialize<S: Serializer>(
        json: &String,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return json.serialize(serializer);
        }
        match serde_json::from_str::<Value>(json) {
            Ok(value) => value.serialize(serializer),
            // A peer need not have sent JSON.
            Err(_) => json.serialize(serializer),
        }
    }

    pub(in crate::aggregator) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Value::deserialize(deserializer)?.to_string())
        } else {
            String::deserialize(deserializer)
        }
    }
}
