//! Tables that fit the terminal, without frames, so that they can be searched and copied.

use std::env;

use comfy_table::{Cell as Drawn, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// From so many columns on there is room for what is good to know.
const WIDE: u16 = 120;

/// How much room there is, and whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns; none where nothing limits them.
    pub width: Option<u16>,
    /// Whether there are colours.
    pub colour: bool,
}

impl Style {
    /// That of standard output: `COLUMNS`, else the terminal's width, else as wide as it gets.
    pub fn of_output(is_terminal: bool) -> Self {
        let given = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        let seen = || if is_terminal { Table::new().width() } else { None };
        // Any value but none at all takes colours away (no-color.org).
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width: given.or_else(seen), colour: is_terminal && !no_colour }
    }

    /// Whether there is room for what is good to know.
    pub fn is_wide(&self) -> bool {
        self.width.is_none_or(|width| width >= WIDE)
    }

    /// A text in a tone.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        match (self.colour, tone.code()) {
            (true, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// A paragraph that fits.
    pub fn wrapped(&self, text: &str, indent: usize) -> String {
        let room = usize::from(self.width.unwrap_or(u16::MAX)).saturating_sub(indent).max(20);
        let (mut lines, mut line) = (Vec::new(), String::new());
        for word in words(text) {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        lines.push(line);
        lines.join(&format!("\n{}", " ".repeat(indent)))
    }
}

/// The words of a text. A command between backticks is one, since a line break inside would end it where it is pasted.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut command): (Vec<String>, bool) = (Vec::new(), false);
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if command => *last = format!("{last} {word}"),
            _ => words.push(word.to_owned()),
        }
        command ^= word.matches('`').count() % 2 == 1;
    }
    words
}

/// What a cell says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// All is well.
    Good,
    /// Somebody has to look.
    Bad,
    /// It may be of interest.
    Warn,
}

impl Tone {
    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Bad => Some(Color::Red),
            Self::Warn => Some(Color::Yellow),
        }
    }

    fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Good => Some(32),
            Self::Bad => Some(31),
            Self::Warn => Some(33),
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// A cell in a tone.
pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

/// A cell.
pub fn cell(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

/// Columns that stand around what a cell says.
const PADDING: usize = 2;
/// A word that is not longer is never broken: an id that is broken cannot be copied.
const MAX_WHOLE: usize = 32;

/// What keeps the words of each column whole.
fn whole_words<'a>(columns: usize, rows: &'a [Vec<Cell>]) -> impl Iterator<Item = ColumnConstraint> + use<'a> {
    (0..columns).map(|column| {
        let cells = rows.iter().filter_map(move |row| row.get(column));
        let words = cells.flat_map(|cell| cell.text.split_whitespace()).map(|word| word.chars().count());
        let longest = words.filter(|length| *length <= MAX_WHOLE).max().unwrap_or(0);
        ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(longest + PADDING).unwrap_or(u16::MAX)))
    })
}

/// A table; empty without rows. Every line ends with a line feed and without blanks.
pub fn table(style: &Style, heads: &[&str], rows: Vec<Vec<Cell>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    if style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(heads.iter().map(|head| head.to_uppercase()));
    if style.width.is_some() {
        table.set_constraints(whole_words(heads.len(), &rows));
    }
    for row in rows {
        let drawn = |Cell { text, tone }: Cell| match tone.colour() {
            Some(colour) => Drawn::new(text).fg(colour),
            None => Drawn::new(text),
        };
        table.add_row(row.into_iter().map(drawn).collect::<Vec<_>>());
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn style(width: Option<u16>, colour: bool) -> Style {
        Style { width, colour }
    }

    #[test]
    fn a_table_fits_the_width_and_has_colours_only_where_they_are_wanted() {
        let rows = || vec![vec![cell("vol-0123456789abcdef0"), toned("none ".repeat(30), Tone::Bad)]];
        let narrow = table(&style(Some(60), false), &["volume", "here"], rows());
        assert!(narrow.lines().all(|line| line.chars().count() <= 60) && narrow.lines().count() > 2, "{narrow}");
        assert!(!narrow.contains('\u{1b}') && narrow.lines().all(|line| line == line.trim_end()));
        let sentence = || vec![vec![cell("snap-0123456789abcdef0"), cell("kept: not due until 2026-11-29")]];
        let narrow = table(&style(Some(44), false), &["snapshot", "verdict"], sentence());
        assert!(narrow.contains("snap-0123456789abcdef0 ") && narrow.lines().count() == 3, "{narrow}");
        assert!(table(&style(Some(60), true), &["volume", "here"], rows()).contains('\u{1b}'));
        assert_eq!(table(&style(None, false), &["volume", "here"], rows()).lines().count(), 2, "as wide as it gets");
        assert_eq!(table(&style(None, false), &["volume"], vec![]), "");
    }

    #[test]
    fn a_paragraph_fits_the_width() {
        let text = style(Some(30), false).wrapped(&"word ".repeat(20), 2);
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        let text = style(Some(30), false).wrapped("look: `ebs-snapshots --region eu-west-1 status` says it", 2);
        assert_eq!(text, "look:\n  `ebs-snapshots --region eu-west-1 status`\n  says it");
    }
}
