use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::{
    coverage::{CoveredVolume, InRegion, State},
    ids::Region,
    report::Summary,
    words::age,
};
use maud::{Markup, html};

use crate::parts::{FEW_ROWS, MOST_ROWS, badge, bar, id, instance_cell, share, state, table, text, words};

/// From the best to the worst, as they stand in a bar.
const STATES: [State; 5] = [State::Covered, State::Unjudged, State::Unreadable, State::Overdue, State::Missing];

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let coverage = summary.coverage.as_ref()?;
    let behind = coverage.volumes.iter().filter(|volume| volume.state < State::Unjudged).count();
    // What is well is shown only in part, the oldest first.
    let most = behind.clamp(FEW_ROWS, MOST_ROWS);
    let columns = [words("Instance"), words("Volume"), words("State"), words("Here"), words("Copies")];
    Some(html! {
        p {
            @match coverage.allowed_hours {
                Some(hours) => { "A backup may be " (hours) " h old: the longest pause of the schedule, and RunHours." }
                None => "The schedule does not say how old a backup may be: ages are shown, and not judged.",
            }
            " The age of a copy is that of its data."
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
