//! What could not be used, what failed, and what an operator should know.

use domain::report::{DeadLettersReport, ReportedFailure, Summary};
use maud::{Markup, html};

use crate::parts::{FEW_ROWS, MOST_ROWS, and_more, numbers, some, table, text, words};

pub(crate) fn rejected(summary: &Summary) -> Option<Markup> {
    (!summary.rejected.is_empty()).then(|| {
        html! {
            p { "They have no effect, and do not make a run incomplete." }
            (table(
                "Rejected tags and settings",
                &[words("Of"), words("What is wrong, and what is allowed")],
                summary.rejected.iter(),
                MOST_ROWS,
                |rejected| vec![text(&rejected.subject), text(&rejected.problem)],
            ))
        }
    })
}

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let Summary { failures, unread, dead_letters, notes, .. } = summary;
    if failures.is_empty() && unread.is_empty() && dead_letters.is_empty() && notes.is_empty() {
        return None;
    }
    Some(html! {
        @if !failures.is_empty() { (tasks(failures)) }
        @if !unread.is_empty() { ul { @for line in unread { li { (text(line)) } } } }
        @if !dead_letters.is_empty() { (letters(dead_letters)) }
        @if !notes.is_empty() {
            h3 { "Notes" }
            ul {
                @for note in notes.iter().take(FEW_ROWS) { li { (text(&note.subject)) ": " (text(&note.problem)) } }
            }
            (and_more(notes.len().saturating_sub(FEW_ROWS)))
        }
    })
}

fn tasks(failures: &[ReportedFailure]) -> Markup {
    let columns = [words("Error"), words("Cause"), words("Tasks")];
    table("Tasks that failed, by their reason", &columns, failures.iter(), FEW_ROWS, |failure| {
        vec![
            html! { (text(&failure.error)) " " span.quiet { (text(&failure.label)) } },
            text(&failure.cause),
            html! {
                @if failure.tasks.len() > 1 { (failure.tasks.len()) ": " }
                (some(&failure.tasks, |task| html! { span.item { (text(task)) } }))
            },
        ]
    })
}

fn letters(queues: &[DeadLettersReport]) -> Markup {
    html! {
        h3 { "Dead letters" }
        p { code.command { "ebs-snapshots dlq list" } " names them, and says what to do." }
        (table(
            "Dead letters per queue",
            &[words("Queue"), numbers("Left"), words("Of these"), numbers("Settled, and deleted")],
            queues.iter(),
            FEW_ROWS,
            |DeadLettersReport { queue, settled, left }| {
                let names: Vec<_> = left.iter().collect();
                vec![
                    html! { (format!("{queue:?}")) },
                    html! { (left.values().sum::<usize>()) },
                    some(&names, |(error, count)| html! { (count) " " (text(error)) }),
                    html! { (settled) },
                ]
            },
        ))
    }
}
