//! A text as a document. Pure.

use serde_json::Value;

use super::{DOCUMENT_LEN_MAX, Place, SourceError};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
}

impl Format {
    /// By the end of a name: `.json`, else TOML.
    pub(super) fn of_name(name: &str) -> Self {
        if name.to_ascii_lowercase().ends_with(".json") {
            Self::Json
        } else {
            Self::Toml
        }
    }
}

/// Reads a document.
///
/// # Errors
/// With the place of what is wrong.
pub(super) fn parse(origin: &str, bytes: &[u8], format: Format) -> Result<Value, SourceError> {
    if bytes.len() > DOCUMENT_LEN_MAX {
        let why = format!("longer than {DOCUMENT_LEN_MAX} bytes");
        return Err(SourceError::new(origin, why));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        // All before is text.
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        fault(origin, &before, before.len(), "not UTF-8")
    })?;
    match format {
        Format::Json => parse_json(origin, text),
        Format::Toml => parse_toml(origin, text),
    }
}

fn parse_json(origin: &str, text: &str) -> Result<Value, SourceError> {
    serde_json::from_str(text).map_err(|error| {
        let full = error.to_string();
        // It ends in the place, which we have apart.
        let why = full.rsplit_once(" at line ").map_or(&*full, |(why, _)| why);
        // Its column counts bytes up to the fault, 0 for a fault at the line's start.
        let (line, column) = (error.line().max(1), error.column().max(1));
        let offset = line_start(text, line) + column - 1;
        fault(origin, text, offset, why)
    })
}

fn parse_toml(origin: &str, text: &str) -> Result<Value, SourceError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        fault(origin, text, offset, error.message())
    })?;
    to_json(toml::Value::Table(table)).map_err(|why| SourceError::new(origin, why))
}

fn to_json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("{number} has no form in JSON"))?,
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => {
            Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(entries) => {
            let entries = entries.into_iter();
            let each = entries.map(|(name, value)| to_json(value).map(|value| (name, value)));
            Value::Object(each.collect::<Result<_, _>>()?)
        }
    })
}

/// Where a line begins, in bytes; the end if there are fewer.
fn line_start(text: &str, line: usize) -> usize {
    let mut ends = text.match_indices('\n').map(|(at, _)| at + 1);
    match line.checked_sub(2) {
        None => 0,
        Some(before) => ends.nth(before).unwrap_or(text.len()),
    }
}

/// An error at a place that is given in bytes.
fn fault(origin: &str, text: &str, offset: usize, why: &str) -> SourceError {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line_before = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let place = Place {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + String::from_utf8_lossy(line_before).chars().count(),
    };
    // Some of the parsers' texts have several lines.
    let why: Vec<&str> = why.lines().collect();
    SourceError {
        place: Some(place),
        ..SourceError::new(origin, why.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(text: &[u8], format: Format) -> String {
        parse("c", text, format).unwrap_err().to_string()
    }

    #[test]
    fn both_forms_of_a_document_are_the_same() {
        let toml = b"limit = 3\nratio = 0.5\nday = 2026-01-02\n[rules]\nblock = [\"a\", true]\n";
        let json = br#"{"limit":3,"ratio":0.5,"day":"2026-01-02","rules":{"block":["a",true]}}"#;
        let expected = json!({
            "limit": 3, "ratio": 0.5, "day": "2026-01-02", "rules": {"block": ["a", true]}
        });
        assert_eq!(parse("c", toml, Format::Toml).unwrap(), expected);
        assert_eq!(parse("c", json, Format::Json).unwrap(), expected);
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        assert!(shown("a = 1\nü = = 2".as_bytes(), Format::Toml).starts_with("c:2:"));
        assert!(shown("{\"ä\": 1,\n  \"ö\" 2}".as_bytes(), Format::Json).starts_with("c:2:7: "));
        assert!(shown(b"", Format::Json).starts_with("c:1:1: EOF"));
        assert_eq!(
            shown(b"a = 1\nb = '\xff'", Format::Toml),
            "c:2:6: not UTF-8"
        );
        assert_eq!(
            shown(b"a = nan", Format::Toml),
            "c: NaN has no form in JSON"
        );
        let long = vec![b' '; DOCUMENT_LEN_MAX + 1];
        assert_eq!(shown(&long, Format::Toml), "c: longer than 1048576 bytes");
    }

    proptest! {
        #[test]
        fn nonsense_is_one_line_with_a_place_in_the_text(text in "[\\[\\]{}=\",a1.\\n ü-]{0,40}") {
            for format in [Format::Json, Format::Toml] {
                if let Err(error) = parse("c", text.as_bytes(), format) {
                    prop_assert!(!error.to_string().contains('\n'), "{}", error);
                    let place = error.place.unwrap();
                    let line = text.split('\n').nth(place.line - 1);
                    prop_assert!(place.column <= line.unwrap().chars().count() + 1, "{}", error);
                }
            }
        }
    }
}
