//! What several sections are made of: texts, tables, bars.

use std::fmt::{self, Display};

use domain::{
    coverage::State,
    ids::{InstanceId, VolumeId},
    report::Named,
    words::plain,
};
use maud::{Markup, Render, html};

/// Rows of a table about what is wrong, at most.
pub(crate) const MOST_ROWS: usize = 100;
/// Rows of a table about what is well, at most.
pub(crate) const FEW_ROWS: usize = 12;
/// Names in a sentence, at most.
pub(crate) const MOST_NAMES: usize = 8;
/// Characters of a text of somebody else's in a cell, at most.
const MOST_CHARACTERS: usize = 600;

/// A text of somebody else's: it cannot steer, and cannot turn what stands beside it.
pub(crate) fn text(text: &str) -> Markup {
    html! { bdi { (plain(&domain::error::cut(text, MOST_CHARACTERS))) } }
}

/// An id of AWS.
pub(crate) fn id(id: &impl Display) -> Markup {
    html! { code { (plain(&id.to_string())) } }
}

/// An instance, by its name where it has one.
pub(crate) fn named(Named { id: own, name }: &Named) -> Markup {
    instance(own, name.as_deref())
}

/// An instance, by its name where it has another one than its id.
pub(crate) fn instance(own: &InstanceId, name: Option<&str>) -> Markup {
    html! {
        @match name.filter(|name| *name != own.as_str()) {
            Some(name) => { (text(name)) " " span.quiet { (id(own)) } }
            None => (id(own)),
        }
    }
}

/// The same, in a cell: the id below the name.
pub(crate) fn instance_cell(own: &InstanceId, name: &str) -> Markup {
    html! {
        @if name == own.as_str() { (id(own)) } @else { (text(name)) span.below { (id(own)) } }
    }
}

/// A volume and the instances that have it.
pub(crate) fn of_volume(volume: Option<&VolumeId>, instances: &[Named]) -> Markup {
    html! {
        @match volume {
            Some(volume) => (id(volume)),
            None => span.quiet { "not known" },
        }
        @if let Some(first) = instances.first() {
            span.below {
                (named(first))
                @if instances.len() > 1 { " and " (instances.len() - 1) " more" }
            }
        }
    }
}

/// How good something is: the colour always goes with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

/// A word of a state.
pub(crate) fn badge(word: impl Render, tone: Tone) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (word) } }
}

/// The word and the tone of a coverage.
pub(crate) fn state(state: State) -> (&'static str, Tone) {
    match state {
        State::Missing => ("missing", Tone::Bad),
        State::Overdue => ("overdue", Tone::Bad),
        State::Unreadable => ("not known", Tone::Warn),
        State::Unjudged => ("not judged", Tone::Quiet),
        State::Covered => ("covered", Tone::Good),
    }
}

/// A number in a chart.
pub(crate) struct Coordinate(pub(crate) f64);

impl Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl Render for Coordinate {
    fn render_to(&self, buffer: &mut String) {
        maud::display(&self).render_to(buffer);
    }
}

/// A whole number, with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = (digits.len() + 2) % 3 + 1;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    std::iter::once(head.to_owned()).chain(groups).collect::<Vec<_>>().join(",")
}

/// A count, with its thousands apart.
pub(crate) fn count(number: usize) -> String {
    grouped(number as u64)
}

/// A size in GiB: with a digit after the point only where it is small.
pub(crate) fn size(bytes: u64) -> String {
    let gib = bytes >> 30;
    if gib < 100 { domain::words::gib(bytes) } else { format!("{} GiB", grouped(gib)) }
}

/// US dollars.
pub(crate) fn usd(usd: f64) -> String {
    let cents = format!("{usd:.2}");
    let (whole, cents) = cents.split_once('.').unwrap_or((&cents, "00"));
    format!("${}.{cents}", whole.parse().map_or_else(|_| whole.to_owned(), grouped))
}

/// A part of a whole, from 0 to 1.
#[allow(clippy::cast_precision_loss)] // A pixel of a chart.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).clamp(0.0, 1.0) }
}

/// A bar of `parts`, each a share of the whole and its class. What it says is said in words beside it.
pub(crate) fn bar(parts: &[(f64, &str)]) -> Markup {
    let begins = parts.iter().scan(0.0, |at, (share, _)| {
        let begin = *at;
        *at += share * 100.0;
        Some(begin)
    });
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.ground x="0" y="0" width="100" height="10" {}
            @for ((share, class), begin) in parts.iter().zip(begins) {
                rect class=(class) x=(Coordinate(begin)) y="0" width=(Coordinate(share * 100.0)) height="10" {}
            }
        }
    }
}

/// A column: its head, and whether it holds numbers.
pub(crate) struct Column(pub(crate) &'static str, pub(crate) bool);

/// A column of words.
pub(crate) const fn words(head: &'static str) -> Column {
    Column(head, false)
}

/// A column of numbers.
pub(crate) const fn numbers(head: &'static str) -> Column {
    Column(head, true)
}

/// A table of which the first column names the row, with as many rows as are wanted of `all`.
///
/// On a narrow screen each row becomes a block, with the heads beside the cells; the roles keep it a table for those who
/// have it read to them.
pub(crate) fn table<T>(
    caption: &str,
    columns: &[Column],
    all: impl ExactSizeIterator<Item = T>,
    most: usize,
    row: impl Fn(T) -> Vec<Markup>,
) -> Markup {
    let more = all.len().saturating_sub(most);
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for Column(head, is_number) in columns {
                        th scope="col" role="columnheader" class=[is_number.then_some("number")] { (head) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for cells in all.take(most).map(row) {
                    tr role="row" {
                        @for (at, (cell, Column(head, is_number))) in cells.into_iter().zip(columns).enumerate() {
                            @if at == 0 {
                                th scope="row" role="rowheader" { (cell) }
                            } @else {
                                td role="cell" data-head=(head) class=[is_number.then_some("number")] { div { (cell) } }
                            }
                        }
                    }
                }
            }
        }
        (and_more(more))
    }
}

/// What a shortened list leaves out.
pub(crate) fn and_more(more: usize) -> Markup {
    html! { @if more > 0 { p.more { "And " (count(more)) " more, in report.json." } } }
}

/// The first of some names, and how many more there are.
pub(crate) fn some<T>(all: &[T], show: impl Fn(&T) -> Markup) -> Markup {
    html! {
        @for (at, one) in all.iter().take(MOST_NAMES).enumerate() {
            @if at > 0 { ", " }
            (show(one))
        }
        @if all.len() > MOST_NAMES { span.quiet { " and " (count(all.len() - MOST_NAMES)) " more, in report.json" } }
    }
}
