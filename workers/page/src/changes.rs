use domain::{
    report::{ChangedVolume, Moves, Since, Summary},
    words::{counted, moment},
};
use maud::{Markup, html};

use crate::parts::{Tone, badge, id, named, some, text};

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let changes = summary.changes.as_ref()?;
    let is_same = changes.instances.is_empty() && changes.volumes.is_empty();
    Some(html! {
        (since(&changes.since, summary))
        @match (&changes.listed, &changes.not_compared) {
            (_, Some(why)) => p { "Instances and volumes are not compared: " (text(why)) "." },
            (None, None) => {},
            (Some(_), None) if is_same => p { "The same instances and volumes exist, and the same ones are backed up." },
            (Some(run), None) => {
                @if !matches!(&changes.since, Since::Report { run: last, .. } if last == run) {
                    p { "Instances and volumes are compared with those of the run " (text(run)) ", the last that could list them." }
                }
                dl.changes {
                    (moves(&changes.instances, ("instance", "instances"), named))
                    (moves(&changes.volumes, ("volume", "volumes"), volume))
                }
            }
        }
    })
}

fn since(since: &Since, summary: &Summary) -> Markup {
    let is_part = !summary.is_full();
    html! {
        @match since {
            Since::First => p { "This is the first report: there is nothing to compare with." },
            Since::Unknown { why } => p { "The last report is not known: " (text(why)) "." },
            Since::Report { run, reported, complete, .. } => p {
                "The last report, of the run " (text(run)) ", was made on " (moment(*reported)) ". It was "
                @match (complete, summary.is_complete()) {
                    // Of a dry run, or of some phases, it says nothing that the whole could be compared by.
                    (true, _) if is_part => "complete.",
                    (false, _) if is_part => "not complete.",
                    (true, true) => "complete, as this one is.",
                    (false, false) => "not complete, as this one is not.",
                    (false, true) => { "not complete; this one is " (badge("complete again", Tone::Good)) "." }
                    (true, false) => { "complete; this one is " (badge("not complete", Tone::Bad)) "." }
                }
            },
        }
    }
}

fn volume(ChangedVolume { id: own, instances }: &ChangedVolume) -> Markup {
    html! { (id(own)) @if let Some(first) = instances.first() { " of " (named(first)) } }
}

fn moves<T>(moves: &Moves<T>, (one, many): (&str, &str), show: impl Fn(&T) -> Markup) -> Markup {
    let kinds = [
        (&moves.lost, "lost protection", Tone::Bad),
        (&moves.came_unprotected, "new, not backed up", Tone::Warn),
        (&moves.came, "new, backed up", Tone::Good),
        (&moves.gained, "gained protection", Tone::Good),
        (&moves.went, "gone", Tone::Quiet),
    ];
    html! {
        @for (all, kind, tone) in kinds.into_iter().filter(|(all, ..)| !all.is_empty()) {
            div {
                dt { (badge(html! { (counted(all.len(), one, many)) " " (kind) }, tone)) }
                dd { (some(all, |one| html! { span.item { (show(one)) } })) }
            }
        }
    }
}
