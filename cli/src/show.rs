//! How an answer is written: the envelope of the JSON, and words for ages, sizes and moments.

use std::io::{self, IsTerminal as _, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use domain::error::cut;
use serde::Serialize;
use serde_json::json;

use crate::{args::Output, table::Style, trouble::Code};

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

/// The JSON of an answer.
pub fn json_text<V: View>(view: &V) -> String {
    let code = view.code() as u8;
    let whole = json!({"version": VERSION, "command": V::COMMAND, "exitCode": code, "data": view});
    format!("{whole:#}\n")
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

/// A text of somebody else's, as one line that cannot steer a terminal: without control characters, and without those
/// that turn the direction of what follows.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// A name in a table.
pub fn name(text: &str) -> String {
    cut(&plain(text), MAX_NAME)
}

/// An age, in the largest unit that still says something.
pub fn age(age: TimeDelta) -> String {
    match age.num_minutes() {
        ..1 => "now".into(),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..4320 => format!("{} h", minutes / 60),
        minutes => format!("{} d", minutes / 1440),
    }
}

/// A length of time to the second.
pub fn took(time: TimeDelta) -> String {
    match time.num_seconds() {
        seconds @ ..60 => format!("{} s", seconds.max(0)),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A moment, to the minute.
pub fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A size in GiB.
#[allow(clippy::cast_precision_loss)] // One digit after the point is shown.
pub fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}

/// `1 volume`, `2 volumes`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(name(&"x".repeat(99)).chars().count(), MAX_NAME);
        assert_eq!(plain("Größe 東京"), "Größe 東京");
    }

    #[test]
    fn an_age_has_one_unit() {
        let minutes = |minutes| age(TimeDelta::minutes(minutes));
        assert_eq!(
            [minutes(-3), minutes(0), minutes(119), minutes(120), minutes(4319), minutes(4320)],
            ["now", "now", "119 min", "2 h", "71 h", "3 d"]
        );
        assert_eq!(took(TimeDelta::seconds(3700)), "1 h 1 min");
        assert_eq!(gib(1_610_612_736), "1.5 GiB");
    }
}
