//! As much of JSON Schema as the schema of reports uses; a word that is not known here is a failure, so
//! nothing of it goes unchecked.

use serde_json::{Map, Value};

pub struct Schema(Value);

impl Schema {
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("the schema is JSON"))
    }

    /// What is wrong with a value, with the place; empty if nothing is.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.0, value, "$", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let words = match schema {
            Value::Bool(true) => return,
            Value::Object(words) => words,
            _ => return faults.push(format!("{place}: must not be there")),
        };
        for (word, wanted) in words {
            self.check_word(words, word, wanted, value, place, faults);
        }
    }

    fn check_word(
        &self,
        words: &Map<String, Value>,
        word: &str,
        wanted: &Value,
        value: &Value,
        place: &str,
        faults: &mut Vec<String>,
    ) {
        let mut fault = |text: String| faults.push(format!("{place}: {text}"));
        match word {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => self.check(self.definition(wanted), value, place, faults),
            "const" if wanted != value => fault(format!("not {wanted}")),
            "const" => {}
            "type" => {
                let names = wanted.as_array().cloned().unwrap_or(vec![wanted.clone()]);
                if !names.iter().any(|name| is_of_type(value, text(name))) {
                    fault(format!("not of type {wanted}"));
                }
            }
            "minimum" => {
                if value
                    .as_f64()
                    .is_some_and(|number| number < wanted.as_f64().unwrap())
                {
                    fault(format!("less than {wanted}"));
                }
            }
            "pattern" => {
                assert_eq!(wanted, "^[0-9a-f]{32}$", "the only one that is known");
                let digits = value.as_str().unwrap_or_default();
                let hex = |digit: char| digit.is_ascii_digit() || ('a'..='f').contains(&digit);
                if digits.len() != 32 || !digits.chars().all(hex) {
                    fault("not 32 hexadecimal digits".to_owned());
                }
            }
            "required" => {
                for name in wanted.as_array().unwrap() {
                    if value
                        .as_object()
                        .is_some_and(|object| !object.contains_key(text(name)))
                    {
                        fault(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, inner) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        self.check(inner, value, &format!("{place}.{name}"), faults);
                    }
                }
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    self.check(wanted, value, &format!("{place}.{name}"), faults);
                }
            }
            "prefixItems" => {
                for (index, inner) in wanted.as_array().unwrap().iter().enumerate() {
                    if let Some(value) = value.get(index) {
                        self.check(inner, value, &format!("{place}[{index}]"), faults);
                    }
                }
            }
            "items" => {
                let before = words.get("prefixItems").and_then(Value::as_array);
                let before = before.map_or(0, Vec::len);
                let items = value.as_array().into_iter().flatten().enumerate();
                for (index, value) in items.skip(before) {
                    self.check(wanted, value, &format!("{place}[{index}]"), faults);
                }
            }
            "oneOf" => {
                let each = wanted.as_array().unwrap().iter().map(|inner| {
                    let mut faults = Vec::new();
                    self.check(inner, value, place, &mut faults);
                    faults
                });
                let each: Vec<_> = each.collect();
                let fit = each.iter().filter(|faults| faults.is_empty()).count();
                if fit != 1 {
                    fault(format!("{fit} of the choices fit: {each:?}"));
                }
            }
            other => panic!("the word {other} of the schema is not known here"),
        }
    }

    fn definition(&self, reference: &Value) -> &Value {
        let path = text(reference)
            .strip_prefix('#')
            .expect("a place in the schema");
        self.0.pointer(path).expect("the definition is there")
    }

    /// For each property that the schema knows of any object: its name.
    pub fn property_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names.sort();
        names.dedup();
        names
    }
}

fn collect(schema: &Value, names: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        names.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(inner) => inner.values().for_each(|inner| collect(inner, names)),
        Value::Array(inner) => inner.iter().for_each(|inner| collect(inner, names)),
        _ => {}
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("no type {other}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
