use domain::report::{CopiesReport, ProblemKind, Summary};
use maud::{Markup, html};

use crate::parts::{Tone, badge, count, numbers, table, words};
use crate::verdict::is_unsure;

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    if !summary.run.phases.copy {
        return None;
    }
    let dry = summary.run.dry_run;
    let columns = match dry {
        true => {
            vec![words("Region"), words("State"), numbers("Owed"), numbers("Of new snapshots"), numbers("Forgotten")]
        }
        false => vec![
            words("Region"),
            words("State"),
            numbers("Made"),
            numbers("Owed"),
            numbers("Forgotten"),
            numbers("Surplus"),
        ],
    };
    let row = |end: &CopiesReport| {
        let count = |number: usize| html! { (count(number)) };
        let (region, state) = (html! { (end.region) }, state(summary, end));
        match dry {
            true => vec![region, state, count(end.owed), count(end.of_new_snapshots), count(end.forgotten.len())],
            false => vec![
                region,
                state,
                count(end.made),
                count(end.owed),
                count(end.forgotten.len()),
                count(end.surplus.len()),
            ],
        }
    };
    Some(html! {
        @if summary.copies.is_empty() {
            p {
                @if is_unsure(summary, ProblemKind::Copies) { "Nothing is known of them: see what is owed." }
                @else { "No tag asks for a copy." }
            }
        } @else {
            (table("Copies of this run, and what is still owed", &columns, summary.copies.iter(), 50, row))
            p.small.quiet {
                "Forgotten: its source left the look-back without a copy, and no run makes it any more. "
                "Surplus: beyond the one that counts; they expire on their own date."
            }
        }
    })
}

fn state(summary: &Summary, end: &CopiesReport) -> Markup {
    let stuck = summary.problems.iter().filter(|problem| problem.kind == ProblemKind::StuckCopy);
    let stuck = stuck.filter(|problem| problem.region.as_ref() == Some(&end.region)).count();
    match (end.owed, stuck, end.forgotten.len()) {
        (0, 0, 0) => badge("complete", Tone::Good),
        (owed, 0, 0) if summary.run.dry_run => badge(html! { (owed) " to make" }, Tone::Quiet),
        (0, 0, forgotten) => badge(html! { (forgotten) " forgotten" }, Tone::Bad),
        (_, 0, _) => badge("owed", Tone::Bad),
        (_, stuck, _) => badge(html! { (stuck) " stuck" }, Tone::Bad),
    }
}
