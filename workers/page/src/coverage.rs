use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use domain::{
    coverage::{CoveredVolume, InRegion, ProofState, State},
    ids::Region,
    report::Summary,
    words::{age, counted},
};
use maud::{Markup, html};

use crate::parts::{FEW_ROWS, MOST_ROWS, Tone, badge, bar, id, instance_cell, share, state, table, text, words};

/// From the best to the worst, as they stand in a bar.
const STATES: [State; 5] = [State::Covered, State::Unjudged, State::Unreadable, State::Overdue, State::Missing];

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let coverage = summary.coverage.as_ref()?;
    let needs_a_look = |volume: &&CoveredVolume| {
        volume.state < State::Unjudged || volume.proof_state().is_some_and(|state| state <= ProofState::Overdue)
    };
    let behind = coverage.volumes.iter().filter(needs_a_look).count();
    // What is well is shown only in part, the oldest first.
    let most = behind.clamp(FEW_ROWS, MOST_ROWS);
    let today = summary.ended.date_naive();
    let counts = coverage.proofs();
    // Where nobody reads them there is nothing to show of each.
    let shows_proofs = coverage.drills.on || counts.read > 0;
    let mut columns = vec![words("Instance"), words("Volume"), words("State"), words("Here"), words("Copies")];
    columns.extend(shows_proofs.then(|| words("Proven")));
    let row = |volume: &CoveredVolume| {
        let mut row = row(volume);
        row.extend(shows_proofs.then(|| proven(volume, today)));
        row
    };
    Some(html! {
        p {
            @match coverage.allowed_hours {
                Some(hours) => { "A backup may be " (hours) " h old: the longest pause of the schedule, and RunHours." }
                None => "The schedule does not say how old a backup may be: ages are shown, and not judged.",
            }
            " The age of a copy is that of its data."
        }
        @if let Some(line) = counts.line(coverage.drills) {
            p class=(if counts.is_well() { Tone::Quiet } else { Tone::Bad }.class()) { (line) "." }
        }
        @if coverage.volumes.is_empty() {
            p { "Nothing asks for a backup: no instance is tagged " code { "Backup=Yes" } "." }
        } @else {
            (regions(summary, &coverage.volumes))
            (table("The newest backup of each volume, the worst first", &columns, coverage.volumes.iter(), most, row))
        }
    })
}

fn regions(summary: &Summary, volumes: &[CoveredVolume]) -> Markup {
    let mut counts: BTreeMap<&Region, BTreeMap<State, u64>> = BTreeMap::new();
    for one in volumes.iter().flat_map(|volume| &volume.regions) {
        *counts.entry(&one.region).or_default().entry(one.state).or_default() += 1;
    }
    let mut regions: Vec<_> = counts.into_iter().collect();
    regions.sort_by_key(|(region, _)| **region != summary.home);
    html! {
        ul.bars {
            @for (region, of) in &regions {
                @let all = of.values().sum();
                @let count = |state: &State| of.get(state).copied().unwrap_or(0);
                @let parts: Vec<_> = STATES.iter().map(|one| (share(count(one), all), state(*one).1.class())).collect();
                li {
                    span.name { (region) @if **region == summary.home { " " span.quiet { "(here)" } } }
                    (bar(&parts))
                    span.told {
                        @for one in STATES.iter().filter(|one| count(one) > 0) {
                            @let (word, tone) = state(*one);
                            span class=(tone.class()) { (count(one)) " " (word) } " "
                        }
                    }
                }
            }
        }
    }
}

fn row(volume: &CoveredVolume) -> Vec<Markup> {
    let (here, copies) = match volume.regions.split_first() {
        Some((here, copies)) => (Some(here), copies),
        None => (None, &[][..]),
    };
    let (word, tone) = state(volume.state);
    vec![
        instance_cell(&volume.instance, &volume.name),
        html! { (id(&volume.volume)) span.below { (text(&volume.device)) } },
        badge(word, tone),
        html! { @if let Some(here) = here { (how_old(here)) } },
        html! {
            @if copies.is_empty() { span.quiet { "none asked for" } }
            @for copy in copies { span.line { (copy.region) ": " (how_old(copy)) } }
        },
    ]
}

fn how_old(one: &InRegion) -> Markup {
    let old = one.age_minutes.map(|minutes| age(TimeDelta::minutes(minutes)));
    let (word, tone) = state(one.state);
    html! {
        @match (one.state, old) {
            (State::Covered | State::Unjudged, Some(old)) => span.age { (old) },
            (State::Overdue, Some(old)) => { span class={ "age " (tone.class()) } { (old) ", " (word) } }
            _ => span class={ "age " (tone.class()) } { (word) },
        }
    }
}

/// When the backups of a volume were last read in each region, and what was found.
fn proven(volume: &CoveredVolume, today: NaiveDate) -> Markup {
    html! {
        @for one in &volume.regions {
            @let (word, tone) = proof(one, today);
            @if !word.is_empty() {
                span class={ "line " (tone.class()) } { (one.region) ": " (word) }
            }
        }
    }
}

fn proof(one: &InRegion, today: NaiveDate) -> (String, Tone) {
    let proofs = &one.proofs;
    let last = proofs.last.as_ref().map(|last| {
        let days = (today - last.on).num_days();
        format!(
            "{}, {}",
            if days < 1 { "today".to_owned() } else { counted(days.unsigned_abs() as usize, "day", "days") },
            last.level
        )
    });
    match (proofs.state, last) {
        (None, _) => (String::new(), Tone::Quiet),
        (Some(ProofState::Bad), _) => ("bad".into(), Tone::Bad),
        (Some(ProofState::Overdue), Some(last)) => (format!("{last}, overdue"), Tone::Bad),
        (Some(ProofState::Overdue), None) => ("never, overdue".into(), Tone::Bad),
        (Some(_), Some(last)) => (last, Tone::Good),
        (Some(_), None) => ("never".into(), Tone::Quiet),
    }
}
