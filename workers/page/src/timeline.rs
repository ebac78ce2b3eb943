use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    report::{Busy, Phase, PhaseTime, Summary},
    words::{counted, took},
};
use maud::{Markup, html};

use crate::parts::{Coordinate, text};

/// Units of a chart's width, and of a lane's height.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 40.0;
/// Vertical lines, and times below them, at these parts of the run.
const MARKS: [i32; 5] = [0, 1, 2, 3, 4];

/// The time that is shown.
struct Scale {
    begin: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Scale {
    #[allow(clippy::cast_precision_loss)] // A pixel of a chart.
    fn x(&self, at: DateTime<Utc>) -> f64 {
        let whole = (self.end - self.begin).num_milliseconds().max(1) as f64;
        ((at - self.begin).num_milliseconds() as f64 / whole).clamp(0.0, 1.0) * WIDTH
    }

    fn clock(&self, at: DateTime<Utc>) -> String {
        let short = self.end - self.begin < TimeDelta::minutes(10);
        at.format(if short { "%H:%M:%S" } else { "%H:%M" }).to_string()
    }
}

/// One line of the chart.
struct Lane<'a> {
    name: Markup,
    told: String,
    phase: Option<&'a PhaseTime>,
    /// What was in flight, and how many may be.
    busy: Option<(&'a Busy, Option<u32>)>,
}

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    let timeline = &summary.timeline;
    let lanes = lanes(summary);
    if lanes.is_empty() && timeline.untold.is_empty() {
        return None;
    }
    let scale = Scale { begin: summary.run.started, end: summary.ended };
    Some(html! {
        @if !lanes.is_empty() {
            p { "From the start of the execution to its report. The lighter ground is the time that the phase took; the steps are what was in flight." }
            ul.lanes {
                @for lane in &lanes {
                    li {
                        span.name { (lane.name) }
                        (chart(lane, &scale))
                        span.told { (lane.told) }
                    }
                }
            }
            p.axis aria-hidden="true" {
                @for mark in MARKS {
                    span { (scale.clock(scale.begin + (scale.end - scale.begin) * mark / 4)) }
                }
            }
            p.quiet.small { "Times of " (scale.begin.format("%Y-%m-%d")) ", UTC." }
        }
        @if !timeline.untold.is_empty() {
            @for line in &timeline.untold { p.small.quiet { (text(line)) "." } }
        }
    })
}

fn lanes(summary: &Summary) -> Vec<Lane<'_>> {
    let timeline = &summary.timeline;
    let of = |phase| timeline.phases.iter().find(|time| time.phase == phase);
    let lasted = |phase: Option<&PhaseTime>| {
        phase.and_then(|time| Some(format!("; the phase took {}", took(time.ended? - time.began)))).unwrap_or_default()
    };
    let mut lanes = Vec::new();
    let snapshots = of(Phase::Snapshot).filter(|_| summary.run.phases.snapshot);
    if timeline.snapshots.is_some() || snapshots.is_some() {
        let told = timeline.snapshots.as_ref().map_or("none begun".into(), |busy| told(busy, "snapshot", "snapshots"));
        let busy = timeline.snapshots.as_ref().map(|busy| (busy, None));
        let told = format!("{told}{}", lasted(snapshots));
        lanes.push(Lane { name: html! { "Snapshots" }, told, phase: snapshots, busy });
    }
    let copy = of(Phase::Copy).filter(|_| summary.run.phases.copy);
    for one in &timeline.copies {
        let told = told(&one.busy, "copy", "copies");
        let told = format!("{told} of {}", counted(one.slots as usize, "slot", "slots"));
        let name = html! { "Copies to " span.item { (one.region) } };
        lanes.push(Lane { name, told, phase: copy, busy: Some((&one.busy, Some(one.slots))) });
    }
    if let Some(phase) = of(Phase::Expire).filter(|_| summary.run.phases.expire) {
        let deleted: usize = summary.expiries.iter().map(|end| end.deleted.len()).sum();
        let told = format!("{} deleted{}", counted(deleted, "snapshot", "snapshots"), lasted(Some(phase)));
        lanes.push(Lane { name: html! { "Expiry" }, told, phase: Some(phase), busy: None });
    }
    lanes
}

fn told(busy: &Busy, one: &str, many: &str) -> String {
    let lasted = busy.last.map_or_else(String::new, |last| format!(" in {}", took(last - busy.first)));
    let pending = if busy.pending == 0 { String::new() } else { format!(", {} still pending", busy.pending) };
    format!("{}{lasted}{pending}, at most {} at once", counted(busy.begun, one, many), busy.most)
}

/// The lane says in words beside it what it shows.
fn chart(lane: &Lane<'_>, scale: &Scale) -> Markup {
    html! {
        svg.lane viewBox="0 0 1000 40" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.ground x="0" y="0" width="1000" height="40" {}
            @if let Some(phase) = lane.phase {
                @let (from, to) = (scale.x(phase.began), scale.x(phase.ended.unwrap_or(scale.end)));
                // A phase of less than a pixel is still there.
                rect.phase x=(Coordinate(from)) y="0" width=(Coordinate((to - from).max(3.0))) height="40" {}
            }
            @for mark in &MARKS[1..4] {
                @let x = Coordinate(f64::from(*mark) * WIDTH / 4.0);
                line.grid x1=(x) y1="0" x2=(x) y2="40" {}
            }
            @if let Some((busy, slots)) = lane.busy { (steps(busy, slots, scale)) }
        }
    }
}

#[allow(clippy::cast_precision_loss)] // A pixel of a chart.
fn steps(busy: &Busy, slots: Option<u32>, scale: &Scale) -> Markup {
    let most = slots.map_or(0, |slots| slots as usize).max(busy.most).max(1) as f64;
    // Room above the highest step, so that a line on it can be seen.
    let top = |count: f64| HEIGHT - count / most * (HEIGHT - 4.0);
    let ends = busy.in_flight.iter().skip(1).map(|step| step.at).chain([scale.end]);
    html! {
        @for (step, until) in busy.in_flight.iter().zip(ends).filter(|(step, _)| step.count > 0) {
            @let (x, y) = (scale.x(step.at), top(step.count as f64));
            rect.busy x=(Coordinate(x)) y=(Coordinate(y)) width=(Coordinate((scale.x(until) - x).max(0.5))) height=(Coordinate(HEIGHT - y)) {}
        }
        @if let Some(slots) = slots {
            @let y = Coordinate(top(f64::from(slots)));
            line.limit x1="0" y1=(y) x2="1000" y2=(y) {}
        }
    }
}
