//! How an answer is written: the envelope of the JSON, and words for people.

use std::io::{self, IsTerminal as _, Write as _};

use chrono::TimeDelta;
use domain::error::cut;
use serde::Serialize;

use crate::{args::Output, table::Style, trouble::Code};

pub use domain::words::{age, counted, gib, moment, plain, took};

/// The version of the JSON: it changes when a field goes or changes its meaning, not when one is added.
pub const VERSION: u32 = 1;

/// A command's answer.
pub trait View: Serialize {
    /// The command, as the JSON names it.
    const COMMAND: &'static str;

    /// The exit code.
    fn code(&self) -> Code;

    /// For people.
    fn text(&self, style: &Style) -> String;
}

/// Writes an answer to standard output; its exit code.
pub fn print<V: View>(view: &V, output: Output, style: &Style) -> Code {
    let text = match output {
        Output::Table => view.text(style),
        Output::Json => json_text(view),
    };
    write(&text);
    view.code()
}

/// What every command writes as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a, V> {
    version: u32,
    command: &'a str,
    exit_code: u8,
    data: &'a V,
}

/// The JSON of an answer.
pub fn json_text<V: View>(view: &V) -> String {
    let whole = Answer { version: VERSION, command: V::COMMAND, exit_code: view.code() as u8, data: view };
    let text = serde_json::to_string_pretty(&whole).unwrap_or_else(|error| unreachable!("an answer is data: {error}"));
    text + "\n"
}

/// Writes to standard output. That nobody reads it any more (`| head`) is no fault.
pub fn write(text: &str) {
    let mut out = io::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How long ago something was.
pub fn ago(passed: TimeDelta) -> String {
    match age(passed) {
        now if now == "now" => now,
        passed => format!("{passed} ago"),
    }
}

/// Characters of a name in a table, at most.
pub const MAX_NAME: usize = 32;

/// A name in a table.
pub fn name(text: &str) -> String {
    cut(&plain(text), MAX_NAME)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(name("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(name(&"x".repeat(99)).chars().count(), MAX_NAME);
    }
}
