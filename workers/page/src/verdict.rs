//! What comes first: whether all is well, what to do, and the numbers; and at the end where the rest is.

use domain::{
    coverage::State,
    hooks::script::Level,
    report::{CoverageReport, Phase, ProblemKind, Summary, console_link, told},
    words::{counted, moment, plain, took},
};
use maud::{Markup, html};

use crate::parts::{MOST_ROWS, Tone, and_more, count as grouped, size, text, usd};

/// The name, the tone and the sentence of how the run ended.
fn verdict(summary: &Summary) -> (String, Tone, String) {
    let many = counted(summary.problems.len(), "problem", "problems");
    match (summary.run.dry_run, summary.is_complete()) {
        (true, true) => ("Dry run".into(), Tone::Quiet, format!("Nothing was changed. {}", summary.would())),
        (true, false) => {
            ("Dry run, not complete".into(), Tone::Bad, format!("{many}: not everything could be looked at."))
        }
        (false, false) => ("Not complete".into(), Tone::Bad, format!("{many}: see what is owed, and what to do.")),
        (false, true) if summary.is_full() => {
            ("Complete".into(), Tone::Good, "Everything that the tags ask for is there: nothing is owed.".into())
        }
        (false, true) => (
            "Complete, in part".into(),
            Tone::Good,
            format!("Nothing is owed of what this run was to do: {}.", phases(summary)),
        ),
    }
}

fn phases(summary: &Summary) -> String {
    let of = summary.run.phases;
    let named = [(of.snapshot, "snapshot"), (of.copy, "copy"), (of.expire, "expire")];
    named.into_iter().filter_map(|(is, name)| is.then_some(name)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn header(summary: &Summary) -> Markup {
    let (word, tone, sentence) = verdict(summary);
    let run = &summary.run;
    let account = run.execution.split(':').nth(4).unwrap_or("not known");
    let shows_command = !summary.problems.is_empty();
    html! {
        header {
            p.over { "EBS backup report · " (summary.home) " · account " (plain(account)) }
            div class={ "verdict " (tone.class()) } {
                (sign(tone))
                h1 { (word) }
            }
            p.lede { (sentence) }
            @if shows_command {
                p.next { "Run next: " code.command { (plain(&summary.next_command())) } }
            }
            dl.tiles { @for tile in tiles(summary) { (tile) } }
            dl.facts {
                div { dt { "Run" } dd { (text(&run.id)) } }
                div { dt { "Started" } dd { (moment(run.started)) } }
                div { dt { "Reported" } dd { (moment(summary.ended)) ", after " (took(summary.ended - run.started)) } }
                div { dt { "Phases" } dd { (phases(summary)) } }
                div {
                    dt { "Execution" }
                    dd {
                        @match console_link(&run.execution) {
                            Some(link) => a href=(link) rel="noreferrer" { "in the Step Functions console" },
                            None => (text(&run.execution)),
                        }
                    }
                }
            }
        }
    }
}

/// A sign beside the word: they differ by their form, too.
fn sign(tone: Tone) -> Markup {
    html! {
        svg.sign viewBox="0 0 24 24" aria-hidden="true" focusable="false" {
            circle cx="12" cy="12" r="11" {}
            @match tone {
                Tone::Good => polyline points="7,12.5 10.5,16 17,8.5" {},
                Tone::Bad | Tone::Warn => { line x1="12" y1="6.5" x2="12" y2="13.5" {} line x1="12" y1="17" x2="12" y2="17.2" {} }
                Tone::Quiet => line x1="7.5" y1="12" x2="16.5" y2="12" {},
            }
        }
    }
}

fn tile(label: &str, value: &str, under: Option<(String, Tone)>) -> Markup {
    html! {
        div {
            dt { (label) }
            dd {
                strong { (value) }
                @if let Some((words, tone)) = under { span class=(tone.class()) { (words) } }
            }
        }
    }
}

/// Whether a part of a phase could not be done, or not be looked at: then no problem of it says little.
pub(crate) fn is_unsure(summary: &Summary, of: ProblemKind) -> bool {
    let kinds = [of, ProblemKind::Unreadable, ProblemKind::WholeRun];
    summary.coverage.is_none() || summary.problems.iter().any(|problem| kinds.contains(&problem.kind))
}

fn tiles(summary: &Summary) -> Vec<Markup> {
    let (run, mut all) = (&summary.run, Vec::new());
    if summary.coverage.is_none() {
        all.push(tile("Volumes covered", "not known", Some(("the fleet was not listed".into(), Tone::Bad))));
        return all;
    }
    if let Some(coverage) = &summary.coverage {
        let (count, behind, unread) = (coverage.volumes.len(), coverage.behind(), coverage.count(State::Unreadable));
        let under = match (behind, unread) {
            (0, 0) if coverage.allowed_hours.is_none() => ("not judged by age".into(), Tone::Quiet),
            (0, 0) => ("all of them".into(), Tone::Good),
            (0, unread) => (format!("{unread} not known"), Tone::Warn),
            (behind, 0) => (format!("{} behind", grouped(behind)), Tone::Bad),
            (behind, unread) => (format!("{} behind, {} not known", grouped(behind), grouped(unread)), Tone::Bad),
        };
        let under = if count == 0 { ("nothing asks for a backup".into(), Tone::Warn) } else { under };
        all.push(tile(
            "Volumes covered",
            &format!("{} of {}", grouped(count - behind - unread), grouped(count)),
            Some(under),
        ));
        all.extend(proofs(coverage));
    }
    if run.phases.snapshot && !run.dry_run {
        let (planned, completed) = summary.volumes();
        let missing = planned - completed;
        let under = match missing {
            0 => ("completed".into(), Tone::Good),
            missing => (format!("{} missing", grouped(missing)), Tone::Bad),
        };
        all.push(tile("Snapshots", &format!("{} of {}", grouped(completed), grouped(planned)), Some(under)));
        let hooked: Vec<_> = summary.instances.iter().filter_map(|end| end.consistency.as_ref()).collect();
        if !hooked.is_empty() {
            let well = hooked.iter().filter(|known| known.level == Some(Level::Application)).count();
            let under = match hooked.len() - well {
                0 => ("as asked for".into(), Tone::Good),
                less => (format!("{less} crash-consistent only"), Tone::Warn),
            };
            all.push(tile("Application-consistent", &format!("{well} of {}", hooked.len()), Some(under)));
        }
    }
    if run.phases.copy && !run.dry_run {
        let (made, owed) = summary.copies.iter().fold((0, 0), |(made, owed), end| (made + end.made, owed + end.owed));
        let under = match owed {
            0 if is_unsure(summary, ProblemKind::Copies) => ("not known everywhere".into(), Tone::Warn),
            0 => ("none owed".into(), Tone::Good),
            owed => (format!("{} owed", grouped(owed)), Tone::Bad),
        };
        all.push(tile("Copies made", &grouped(made), Some(under)));
    }
    if run.phases.expire && !run.dry_run {
        let ends = || summary.expiries.iter();
        let kept: usize = ends().map(|end| end.left.len() + end.kept.len()).sum();
        let deleted: usize = ends().map(|end| end.deleted.len()).sum();
        let under = (kept > 0).then(|| (format!("{} due and kept", grouped(kept)), Tone::Quiet));
        all.push(tile("Expired", &grouped(deleted), under));
    }
    if let Some(cost) = &summary.cost {
        let under = (format!("a month at least, for {}", size(cost.bytes)), Tone::Quiet);
        all.push(tile("Cost", &usd(cost.usd_a_month), Some(under)));
    }
    if !summary.rejected.is_empty() {
        let under = Some(("not used".into(), Tone::Warn));
        all.push(tile("Tags and settings", &summary.rejected.len().to_string(), under));
    }
    all
}

/// How many volumes are proven.
fn proofs(coverage: &CoverageReport) -> Option<Markup> {
    let (counts, count) = (coverage.proofs(), coverage.volumes.len());
    let under = match (counts.bad, counts.overdue) {
        _ if count == 0 => return None,
        _ if !coverage.drills.on && counts.read == 0 => {
            return Some(tile("Volumes proven", "none", Some(("drills are off".into(), Tone::Warn))));
        }
        (0, 0) if counts.proven == count => ("all of them were read".into(), Tone::Good),
        (0, 0) => (format!("{} not read yet", grouped(count - counts.proven)), Tone::Quiet),
        (0, overdue) => (format!("{} overdue", grouped(overdue)), Tone::Bad),
        (bad, _) => (format!("{} with a bad backup", grouped(bad)), Tone::Bad),
    };
    let value = format!("{} of {}", grouped(counts.proven), grouped(count));
    Some(tile("Volumes proven", &value, Some(under)))
}

pub(crate) fn problems_title(summary: &Summary) -> &'static str {
    if summary.run.dry_run && summary.is_complete() {
        "What a run would report"
    } else {
        "What is owed, and what to do"
    }
}

pub(crate) fn problems(summary: &Summary) -> Option<Markup> {
    let all = told(&summary.problems, summary.run.deadline);
    (!all.is_empty()).then(|| {
        html! {
            ol.problems {
                @for one in all.iter().take(MOST_ROWS) {
                    li {
                        (text(&one.what))
                        @if !one.to_do.is_empty() { p.todo { (text(&one.to_do)) } }
                    }
                }
            }
            (and_more(all.len().saturating_sub(MOST_ROWS)))
        }
    })
}

pub(crate) fn footer(summary: &Summary) -> Markup {
    let of = |phase| summary.timeline.phases.iter().any(|time| time.phase == phase);
    html! {
        footer {
            p {
                "The whole report is " (text(&summary.file("report.json"))) ", for programs; "
                (text("summary.txt")) " beside it is the same as text"
                @if of(Phase::Expire) { ", and verdicts-REGION.jsonl says of each snapshot why it is kept or expired" }
                "."
            }
            p { "ebs-snapshots, report version " (summary.version) "." }
        }
    }
}
