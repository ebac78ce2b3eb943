use super::{Copies, Expiry, Instance, Judgement, Plan, counts};
use crate::{
    context::unreadable_lines,
    show::{counted, gib, moment, name, plain},
    table::{Style, Tone, cell, table, toned},
};

/// Snapshots that are named one by one, per region; the JSON has all of them.
const MAX_NAMED: usize = 20;

pub(super) fn text(plan: &Plan, style: &Style) -> String {
    let mut text = format!("{} in {}, {}\nwhat a run would do now\n", plan.stack, plan.home, moment(plan.now));
    let volumes = plan.instances.iter().map(|i| i.volumes.len()).sum();
    let (instances, volumes) =
        (counted(plan.instances.len(), "instance", "instances"), counted(volumes, "volume", "volumes"));
    text.push_str(&format!("\nSnapshots: {volumes} of {instances}\n"));
    text.push_str(&snapshots(plan, style));
    if !plan.rejected.is_empty() {
        text.push_str("\nTags and settings that cannot be used\n");
        for rejected in &plan.rejected {
            text.push_str(&format!("  {}\n", style.wrapped(&plain(&rejected.to_string()), 4)));
        }
    }
    if !plan.unprotected.is_empty() {
        text.push_str(&format!(
            "\n{}\n",
            style.paint("Unprotected: they have backups, and no tag says whether they are backed up", Tone::Bad)
        ));
        for one in &plan.unprotected {
            text.push_str(&format!("  {}, last backup {} of {}\n", one.volume, one.last, one.created_on));
        }
    }
    text.push_str(&format!("\nCopies: {}\n", if plan.copies.is_empty() { "none" } else { "per region" }));
    text.push_str(&copies(plan, style));
    for region in &plan.copies {
        text.push_str(&problems(region, style));
    }
    let goes: usize = plan.expiries.iter().map(|expiry| expiry.expires.len()).sum();
    text.push_str(&format!("\nExpiry: {} would be deleted\n", counted(goes, "snapshot", "snapshots")));
    text.push_str(&expiries(plan, style));
    for expiry in &plan.expiries {
        text.push_str(&details(expiry, style));
    }
    text.push_str(&unreadable_lines(&plan.unreadable));
    text
}

fn snapshots(plan: &Plan, style: &Style) -> String {
    let wide = style.is_wide();
    let row = |one: &Instance| {
        let volumes = one.volumes.iter().map(|a| format!("{} {}", plain(&a.device), a.volume)).collect::<Vec<_>>();
        let left_out = match one.excluded.len() {
            0 => String::new(),
            count => format!(", {count} left out"),
        };
        let kept =
            if one.keep_forever { "for ever".to_owned() } else { counted(one.retention_days as usize, "day", "days") };
        let hook = one.hook.as_ref().map_or(String::new(), |hook| format!(", hook {}", plain(hook)));
        let to = one.destinations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let volumes = match wide {
            true => format!("{}{left_out}{hook}", volumes.join(", ")),
            false => format!("{}{left_out}{hook}", volumes.len()),
        };
        vec![cell(name(&one.name)), cell(one.instance.to_string()), cell(volumes), cell(kept), cell(to)]
    };
    let heads = ["name", "instance", "volumes", "kept", "copied to"];
    table(style, &heads, plan.instances.iter().map(row).collect())
}

fn copies(plan: &Plan, style: &Style) -> String {
    let row = |one: &Copies| {
        let count = |list: usize, tone| toned(list.to_string(), if list == 0 { Tone::Plain } else { tone });
        vec![
            cell(one.region.to_string()),
            count(one.owed.len(), Tone::Warn),
            cell(one.of_new_snapshots.to_string()),
            count(one.stuck.len(), Tone::Bad),
            count(one.forgotten.len(), Tone::Bad),
            count(one.doubtful.len(), Tone::Warn),
        ]
    };
    let heads = ["region", "owed", "of new snapshots", "stuck", "forgotten", "in doubt"];
    table(style, &heads, plan.copies.iter().map(row).collect())
}

fn problems(one: &Copies, style: &Style) -> String {
    let mut text = String::new();
    for (what, list) in [
        ("owed a copy", &one.owed),
        ("pending for longer than a day", &one.stuck),
        ("left the look-back without a copy", &one.forgotten),
    ] {
        if !list.is_empty() {
            let names = list.iter().take(MAX_NAMED).map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let more = match list.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let line = format!("{}: {what}: {names}{more}", one.region);
            text.push_str(&format!("  {}\n", style.wrapped(&line, 4)));
        }
    }
    for doubt in &one.doubtful {
        text.push_str(&format!("  {}\n", style.wrapped(&format!("{}: {}", doubt.snapshot, plain(&doubt.reason)), 4)));
    }
    text
}

fn expiries(plan: &Plan, style: &Style) -> String {
    let row = |one: &Expiry| {
        let goes = one.expires.len();
        let at_most = if one.bytes > 0 { gib(one.bytes) } else { String::new() };
        vec![
            cell(one.region.to_string()),
            toned(goes.to_string(), if goes > 0 { Tone::Warn } else { Tone::Plain }),
            cell(at_most),
            cell(one.left.len().to_string()),
            cell(one.kept.to_string()),
        ]
    };
    let heads = ["region", "would go", "full size", "due, and kept", "not due"];
    table(style, &heads, plan.expiries.iter().map(row).collect())
}

fn details(one: &Expiry, style: &Style) -> String {
    let mut text = String::new();
    if let Some(stopped) = &one.stopped {
        text.push_str(&format!("  {}\n", style.paint(&style.wrapped(&plain(stopped), 4), Tone::Bad)));
    }
    let line = |judged: &Judgement| {
        let volume = judged.volume.as_ref().map_or(String::new(), |volume| format!(" of {volume}"));
        let size = judged.bytes.map_or(String::new(), |bytes| format!(", {}", gib(bytes)));
        format!("{}: {}{volume}: {}{size}", one.region, judged.snapshot, plain(&judged.verdict))
    };
    for judged in one.expires.iter().take(MAX_NAMED) {
        text.push_str(&format!("  {}\n", style.wrapped(&line(judged), 4)));
    }
    if one.expires.len() > MAX_NAMED {
        let more = one.expires.len() - MAX_NAMED;
        text.push_str(&format!("  {}: and {more} more, which --output json names\n", one.region));
    }
    // Why what is due stays: once per reason, since a region may keep thousands.
    for (verdict, count) in counts(one.left.iter().map(|judged| judged.verdict.as_str())) {
        text.push_str(&format!("  {}\n", style.wrapped(&format!("{}: {count} {}", one.region, plain(verdict)), 4)));
    }
    text
}
