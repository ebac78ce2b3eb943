//! A restore's plan and its end, for people.

use chrono::TimeDelta;
use domain::{
    error::Failure,
    restore::{
        check::Problem,
        plan::{Chosen, Plan, PlannedVolume},
        progress::Made,
        request::Action,
    },
};

use super::{Before, words};
use crate::{
    commands::same_command,
    show::{age, counted, name, plain},
    table::{Style, Tone, cell, table, toned},
};

/// What is restored, from when, into what, and at what price.
pub(super) fn plan(plan: &Plan, style: &Style) -> String {
    let lines = [head(plan), from_when(&plan.chosen, plan.age_seconds), from_what(plan)];
    let mut text = lines.map(|line| style.wrapped(&line, 2)).join("\n");
    text.push_str("\n\n");
    text.push_str(&volumes(plan, style));
    if let Some(image) = &plan.image {
        let boot = image.boot_mode.as_ref().map_or(String::new(), |mode| format!(", boot mode {}", plain(mode)));
        text.push_str(&format!("\nImage {}: {}{boot}\n", plain(&image.name), plain(&image.architecture)));
    }
    text.push_str(&price(plan, style));
    for note in words::notes(plan) {
        text.push_str(&format!("\n{}\n", style.paint(&style.wrapped(&plain(&note), 2), Tone::Warn)));
    }
    text
}

fn head(plan: &Plan) -> String {
    let chosen = &plan.chosen;
    let mut of = match (&chosen.instance, plan.volumes.as_slice()) {
        (_, [one]) => one.source_volume.as_ref().map_or_else(|| one.snapshot.to_string(), ToString::to_string),
        (Some(instance), volumes) => format!("{} of {instance}", counted(volumes.len(), "volume", "volumes")),
        (None, volumes) => counted(volumes.len(), "volume", "volumes"),
    };
    if let Some(own) = &chosen.name {
        of.push_str(&format!(" ({})", name(own)));
    }
    let place = plan.zone.as_ref().map_or_else(|| plan.region.to_string(), |zone| plain(zone));
    let becomes = match &plan.action {
        Action::MakeVolumes => "volumes, attached to nothing".to_owned(),
        Action::Attach(instance) => format!("attached to {instance}"),
        Action::Swap(instance) => format!("in the place of the volumes of {instance}"),
        Action::ReplaceRoot(instance) => format!("as the root volume of {instance}"),
        Action::RegisterImage => "an image".to_owned(),
    };
    format!("Restore {of} in {place}: {becomes}")
}

fn from_when(chosen: &Chosen, age_seconds: i64) -> String {
    let age = match age(TimeDelta::seconds(age_seconds)) {
        now if now == "now" => "less than a minute old".to_owned(),
        age => format!("{age} old at most"),
    };
    format!("from {}, {age}", words::when(&chosen.moment))
}

fn from_what(plan: &Plan) -> String {
    let chosen = &plan.chosen;
    let run = chosen.run_id.as_ref().map(|run| format!("run {}", plain(run)));
    let copies = chosen.from_region.as_ref().map(|from| format!("copies from {}", plain(from)));
    let own = format!("plan {}{}", plan.id, if plan.goes_on { ", which goes on" } else { "" });
    [run, copies, Some(own)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn volumes(plan: &Plan, style: &Style) -> String {
    let wide = style.is_wide();
    let (replaces, fast) =
        (plan.volumes.iter().any(|v| v.replaces.is_some()), plan.volumes.iter().any(|v| v.minutes.is_some()));
    let row = |one: &PlannedVolume| {
        let device = one.device.as_deref().map_or_else(|| "-".to_owned(), plain);
        let mut row = vec![cell(device), cell(one.snapshot.to_string())];
        if wide {
            row.push(cell(optional(one.source_volume.as_ref())));
        }
        let tone = if one.recorded { Tone::Plain } else { Tone::Warn };
        row.push(toned(becomes(one), tone));
        if wide {
            row.push(cell(if one.encrypted { "yes" } else { "no" }));
        }
        if replaces {
            row.push(cell(optional(one.replaces.as_ref())));
        }
        if fast {
            row.push(cell(one.minutes.map_or_else(|| "-".to_owned(), |minutes| format!("{minutes} min"))));
        }
        row
    };
    let mut heads = vec!["device", "snapshot"];
    heads.extend(wide.then_some("of volume"));
    heads.push("becomes");
    heads.extend(wide.then_some("encrypted"));
    heads.extend(replaces.then_some("replaces"));
    heads.extend(fast.then_some("full speed"));
    table(style, &heads, plan.volumes.iter().map(row).collect())
}

fn optional(id: Option<&impl ToString>) -> String {
    id.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn becomes(one: &PlannedVolume) -> String {
    let own = &one.performance;
    let iops = own.iops.map_or(String::new(), |iops| format!(", {iops} IOPS"));
    let throughput = own.throughput.map_or(String::new(), |mibs| format!(", {mibs} MiB/s"));
    format!("{} {} GiB{iops}{throughput}", own.volume_type, one.gib)
}

fn price(plan: &Plan, style: &Style) -> String {
    let price = &plan.price;
    let mut line = match plan.image {
        Some(_) => "Price: an image costs nothing beside its snapshots".to_owned(),
        None => format!("Price: {} a month for the volumes", usd(price.volumes_a_month)),
    };
    if price.initialization > 0.0 {
        line.push_str(&format!(", and {} once at most for their initialization", usd(price.initialization)));
    }
    line.push_str(&format!(" (of {}: {})", plain(&price.as_of), plain(&price.source)));
    let mut text = format!("\n{}\n", style.wrapped(&line, 2));
    if let Some(minutes) = plan.minutes {
        text.push_str(&format!("Time: {minutes} min until all volumes have their full speed\n"));
    }
    text
}

fn usd(amount: f64) -> String {
    format!("{amount:.2} USD")
}

/// What was made, once it is finished.
pub(super) fn made(plan: &Plan, made: &Made, style: &Style) -> String {
    let mut text = String::new();
    let rows = made.volumes.iter().map(|one| {
        let device = one.device.as_deref().map_or_else(|| "-".to_owned(), plain);
        vec![cell(one.volume.to_string()), cell(device), cell(one.snapshot.to_string())]
    });
    text.push_str(&table(style, &["volume", "device", "from"], rows.collect()));
    if let Some(image) = &made.image {
        text.push_str(&format!("image {}\n", plain(image)));
    }
    if !made.replaced.is_empty() {
        let kept = made.replaced.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let line = format!("Kept, with Backup=Hold: {kept}. They cost as before until they are deleted.");
        text.push_str(&format!("{}\n", style.wrapped(&line, 2)));
    }
    let next = words::next(plan, made);
    if !next.is_empty() {
        text.push_str(&format!("\n{}\n", style.wrapped(&next, 2)));
    }
    text
}

/// What stands in the way, or may; or that nothing does.
pub(super) fn problems(problems: &[Problem], style: &Style) -> String {
    if problems.is_empty() {
        return "\nKeys and permissions: nothing stands in the way.\n\n".into();
    }
    let mut text = String::from("\nKeys and permissions\n");
    for problem in problems {
        let tone = if problem.blocks() { Tone::Bad } else { Tone::Warn };
        let line = style.wrapped(&plain(&words::problem(problem)), 4);
        text.push_str(&format!("  {}\n", style.paint(&line, tone)));
    }
    text.push('\n');
    text
}

/// What an earlier restore has made.
pub(super) fn before(before: &Before, style: &Style) -> String {
    let when = before.finished.as_ref().map_or(String::new(), |at| format!(" on {}", plain(at)));
    let made: Vec<String> =
        before.volumes.iter().map(ToString::to_string).chain(before.images.iter().map(|image| plain(image))).collect();
    let line = format!(
        "The same was restored{when}, from the same snapshots, by plan {}: {}. Nothing was done now; --again restores once \
         more.",
        plain(&before.plan),
        made.join(", ")
    );
    format!("{}\n", style.wrapped(&line, 2))
}

/// Why it could not be finished, and what there is now.
pub(super) fn failure(failure: &Failure, plan: &Plan, made: Option<&Made>, style: &Style) -> String {
    let head = style.paint(&format!("NOT FINISHED {}", failure.name), Tone::Bad);
    let mut words = vec![plain(&failure.cause)];
    words.extend(made.map(|made| words::so_far(plan, made)));
    words.push(format!("What was made so far stays. {} goes on from there.", same_command()));
    let paragraphs: String = words.iter().map(|one| format!("  {}\n\n", style.wrapped(one, 2))).collect();
    format!("\n{head}\n{}\n", paragraphs.trim_end())
}
