//! Words for people: ages, sizes and moments; and texts of somebody else's, made harmless.
#![warn(missing_docs)]

use chrono::{DateTime, TimeDelta, Utc};

/// A text of somebody else's, as one line that cannot steer what shows it: without control characters, and without those
/// that turn the direction of what follows.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        let ends_a_line = matches!(c, '\u{2028}' | '\u{2029}');
        let turns =
            matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() || ends_a_line || turns
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
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
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_steer_what_shows_it() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d\u{2028}e"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(plain("Größe 東京 ירושלים"), "Größe 東京 ירושלים");
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
