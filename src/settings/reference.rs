//! Every key as a page: what `docs/settings.md` is compared with.

use super::keys::{self, Default as KeyDefault, Key};
use super::{Settings, bounds};
use crate::limits::Limits;

impl Settings {
    /// Every key with its default, variable and meaning, as Markdown: the tables of
    /// `docs/settings.md`, for a program's own help.
    #[must_use]
    pub fn reference() -> String {
        let mut out = String::new();
        for section in std::iter::once("").chain(keys::sections()) {
            match section {
                "" => out.push_str("### Top of the file"),
                section => out.push_str(&format!("\n### `[{section}]`")),
            }
            out.push_str("\n\n| key | default | variable | meaning |\n|---|---|---|---|\n");
            for key in keys::of_section(section) {
                let (name, variable) = (key.name, key.variable());
                let (default, meaning) = (default(key), key.meaning);
                out.push_str(&format!(
                    "| `{name}` | {default} | `{variable}` | {meaning} |\n"
                ));
            }
        }
        out
    }
}

fn default(key: &Key) -> String {
    let value = match key.default {
        KeyDefault::Derived(derived) => return derived.to_owned(),
        KeyDefault::Text(text) => key.default_text_value(text),
        KeyDefault::Limit => bounds::value(&Limits::default(), key.name),
    };
    value
        .map(|value| format!("`{}`", value.to_toml(key.kind)))
        .unwrap_or_default()
}
