//! Sees SQL injections: the input must stay within the quotes that the query has for it.
//!
//! A query is cut into texts and the rest as a database does it (standard SQL: two quotes in a text are
//! one, a backslash is nothing special). No list of dangerous words: `OR 1=1` between quotes is a name
//! like any other, and one quote too many is an attack, or a mistake that looks like one.

use std::ops::Range;

/// A query with something in it that came from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub text: String,
    /// Where the input is.
    input: Range<usize>,
}

impl Query {
    /// Looks for pets, and trusts whatever the client has typed in. Don't do this at home.
    pub fn pets_named(input: &str) -> Self {
        const BEFORE: &str = "SELECT id, name FROM pets WHERE name = '";
        const AFTER: &str = "' AND hidden = 0";
        Self {
            text: format!("{BEFORE}{input}{AFTER}"),
            input: BEFORE.len()..BEFORE.len() + input.len(),
        }
    }

    /// Whether the input is anything else than the whole of one text.
    pub fn is_injected(&self) -> bool {
        !texts(&self.text).contains(&self.input)
    }
}

/// Where the texts between quotes are. One without an end is none.
fn texts(query: &str) -> Vec<Range<usize>> {
    let bytes = query.as_bytes();
    let after = |at: usize, mark: &[u8]| bytes[at..].starts_with(mark);
    let find = |from: usize, mark: &str| {
        let rest = query.get(from..)?;
        rest.find(mark).map(|at| from + at)
    };
    let mut texts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = if after(at, b"--") {
            find(at, "\n").unwrap_or(bytes.len())
        } else if after(at, b"/*") {
            find(at + 2, "*/").map_or(bytes.len(), |end| end + 2)
        } else if after(at, b"'") {
            let Some(end) = end_of_text(bytes, at + 1) else {
                break;
            };
            texts.push(at + 1..end);
            end + 1
        } else {
            at + 1
        };
    }
    texts
}

/// Where the quote is that ends the text which begins here.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\'')?;
        if bytes.get(at + 1) != Some(&b'\'') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_input_breaks_out_exactly_by_an_odd_run_of_quotes(input in "['a \\-/*;=\n]{0,12}|\\PC{0,20}") {
            let runs = input.split(|char| char != '\'');
            let odd = runs.filter(|run| run.len() % 2 == 1).count();
            prop_assert_eq!(Query::pets_named(&input).is_injected(), odd > 0, "{}", input);
        }

        #[test]
        fn what_is_escaped_never_breaks_out(input in "\\PC{0,40}") {
            let escaped = input.replace('\'', "''");
            prop_assert!(!Query::pets_named(&escaped).is_injected());
        }

        #[test]
        fn any_query_can_be_cut(query in "['\\-/*a\n]{0,30}|\\PC{0,40}") {
            for text in texts(&query) {
                let inside = &query[text.clone()];
                prop_assert_eq!(inside.matches('\'').count() % 2, 0);
                prop_assert_eq!(query.as_bytes()[text.end], b'\'');
            }
        }
    }

    #[test]
    fn a_comment_has_no_texts() {
        let inside = |query: &'static str| {
            let texts = texts(query).into_iter();
            texts.map(|text| &query[text]).collect::<Vec<_>>()
        };
        assert_eq!(inside("-- 'a'\n'b'"), ["b"]);
        assert_eq!(inside("/* 'a' */ 'b'"), ["b"]);
        assert_eq!(inside("/*/ 'a'"), Vec::<&str>::new());
    }
}
