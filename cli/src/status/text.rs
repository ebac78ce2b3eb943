use chrono::TimeDelta;
use domain::coverage::{ProofState, State};

use super::{InRegion, Status, Volume, last_run::Ended};
use crate::{
    context::unreadable_lines,
    show::{age, ago, counted, gib, moment, name, plain},
    table::{Cell, Style, Tone, cell, table, toned},
};

/// Instances whose cost is shown.
const MAX_COSTS: usize = 10;
/// Bad backups that are told one by one, and volumes that are not proven; the JSON has all of them.
const MAX_UNPROVEN: usize = 20;

pub(super) fn text(status: &Status, style: &Style) -> String {
    let mut text = format!("{} in {}, {}\n", status.stack, status.home, moment(status.now));
    text.push_str(&verdict(status, style));
    text.push_str(&runs(status, style));
    text.push_str(&unreadable_lines(&status.unreadable));
    section(&mut text, "", volumes(status, style));
    section(&mut text, "Bad: a drill could not read them", bad(status, style));
    section(&mut text, "Not proven for too long", unproven(status, style));
    section(
        &mut text,
        "Unprotected: they have backups, and no tag says whether they are backed up",
        unprotected(status, style),
    );
    section(&mut text, "Detached volumes", detached(status, style));
    if !status.rejected.is_empty() {
        text.push_str("\nTags and settings that cannot be used\n");
        for rejected in &status.rejected {
            text.push_str(&format!("  {}\n", style.wrapped(&plain(&rejected.to_string()), 4)));
        }
    }
    section(&mut text, "Cost a month, at least", cost(status, style));
    text
}

fn section(text: &mut String, head: &str, table: String) {
    if !table.is_empty() {
        text.push('\n');
        if !head.is_empty() {
            text.push_str(&format!("{head}\n"));
        }
        text.push_str(&table);
    }
}

fn verdict(status: &Status, style: &Style) -> String {
    let (all, behind) = (status.volumes.len(), status.behind());
    let of = format!("of {}", counted(status.instances.protected, "instance", "instances"));
    let line = match (all, behind) {
        (0, _) if status.rejected.is_empty() => {
            "nothing asks for a backup: no instance is tagged Backup=Yes".to_owned()
        }
        (0, _) => "nothing can be backed up: see the tags and settings below".to_owned(),
        (_, 0) if status.allowed_hours.is_none() => {
            let unless = if status.is_unjudged() { ", nor does MaxHoursWithoutRun" } else { "" };
            let volumes = counted(all, "volume", "volumes");
            format!("NOT JUDGED: {volumes} {of}: the schedule does not say how old a backup may be{unless}")
        }
        (_, 0) if !status.rejected.is_empty() => {
            let wrong = counted(status.rejected.len(), "tag or setting", "tags and settings");
            format!("covered: {} {of}, but {wrong} cannot be used: see below", counted(all, "volume", "volumes"))
        }
        (_, 0) if !status.proofs().is_well() => {
            format!("covered: {} {of}, but not all is proven: see below", counted(all, "volume", "volumes"))
        }
        (_, 0) => format!("covered: {} {of}", counted(all, "volume", "volumes")),
        _ => format!("NOT COVERED: {behind} of {} {of}", counted(all, "volume", "volumes")),
    };
    let tone = match (all, behind, status.unreadable.is_empty()) {
        (0, ..) => Tone::Warn,
        _ if !status.proofs().is_well() => Tone::Bad,
        (_, 0, _) if !status.rejected.is_empty() || status.allowed_hours.is_none() => Tone::Warn,
        (_, 0, true) => Tone::Good,
        _ => Tone::Bad,
    };
    let mut text = format!("{}\n", style.paint(&line, tone));
    if behind > 0 {
        let (executions, plan) = (status.commands.line("executions"), status.commands.line("plan"));
        let next = format!("{executions} says what the last run owes and why, {plan} what the next one would do.");
        text.push_str(&format!("{}\n", style.wrapped(&next, 0)));
    }
    if let Some(hours) = status.allowed_hours {
        let why = format!("A backup may be {hours} h old: the longest pause of {}, and RunHours.", status.schedule);
        text.push_str(&format!("{}\n", style.wrapped(&why, 0)));
    }
    text.push_str(&proofs(status, style));
    if !status.scheduled {
        text.push_str("The schedule is DISABLED.\n");
    }
    if status.instances.without_word > 0 {
        let many = counted(status.instances.without_word, "instance has", "instances have");
        text.push_str(&format!("{many} no tag Backup with an allowed value.\n"));
    }
    text
}

fn proofs(status: &Status, style: &Style) -> String {
    let counts = status.proofs();
    let Some(line) = counts.line(status.drills) else { return String::new() };
    let tone = if counts.is_well() { Tone::Plain } else { Tone::Bad };
    let mut text = format!("{}\n", style.paint(&style.wrapped(&format!("{line}."), 0), tone));
    if let Some(why) = &status.forgotten_proofs {
        let line = format!("Proofs of snapshots that are gone are not known: {}", plain(why));
        text.push_str(&format!("{}\n", style.paint(&style.wrapped(&line, 0), Tone::Warn)));
    }
    text
}

fn runs(status: &Status, style: &Style) -> String {
    let words = |run: &Ended| match run.ended {
        Some(ended) => format!("{} {}", run.status, ago(status.now - ended)),
        None => format!("{} for {}", run.status, age(status.now - run.started)),
    };
    let last = status.runs.last.as_ref().map_or("none".to_owned(), words);
    let complete = status.runs.complete.as_ref().and_then(|run| run.ended);
    let complete = complete.map_or("none".to_owned(), |ended| ago(status.now - ended));
    let limit = status.runs.max_hours.map_or(String::new(), |hours| format!(" (every {hours} h at least)"));
    let line = format!("Last run: {last}. Last complete run: {complete}{limit}.");
    let tone = if status.runs.overdue { Tone::Bad } else { Tone::Plain };
    let line = style.paint(&line, tone);
    if status.runs.overdue { format!("{line} OVERDUE\n") } else { format!("{line}\n") }
}

fn volumes(status: &Status, style: &Style) -> String {
    let wide = style.is_wide();
    let mut heads: Vec<&str> = match wide {
        true => vec!["name", "instance", "device", "volume", "here", "copies", "newest snapshot"],
        false => vec!["name", "volume", "here", "copies"],
    };
    // Where nobody reads them there is nothing to show of each.
    let shows_proofs = status.drills.on || status.proofs().read > 0;
    if shows_proofs {
        heads.push("proven");
    }
    let row = |volume: &Volume| {
        let (here, copies) = (&volume.regions[0], &volume.regions[1..]);
        let worst = copies.iter().map(|copy| copy.state).min().unwrap_or(State::Covered);
        let each = |copy: &InRegion| format!("{} {}", copy.region, how_old(copy));
        let copies = copies.iter().map(each).collect::<Vec<_>>().join(", ");
        let (here_cell, copies) = (toned(how_old(here), tone(here.state)), toned(copies, tone(worst)));
        let volume_cell = cell(volume.volume.to_string());
        let newest = here.snapshot.as_ref().map_or(String::new(), ToString::to_string);
        let mut row = match wide {
            true => vec![
                cell(name(&volume.name)),
                cell(volume.instance.to_string()),
                cell(plain(&volume.device)),
                volume_cell,
                here_cell,
                copies,
                cell(newest),
            ],
            false => vec![cell(name(&volume.name)), volume_cell, here_cell, copies],
        };
        if shows_proofs {
            row.push(proven(volume, status));
        }
        row
    };
    table(style, &heads, status.volumes.iter().map(row).collect())
}

/// When a volume was last proven, and how: in each region, or once where it is the same everywhere.
fn proven(volume: &Volume, status: &Status) -> Cell {
    let told: Vec<String> = volume.regions.iter().map(|region| how_proven(region, status)).collect();
    let (here, copies) = (&volume.regions[0], &volume.regions[1..]);
    let each = copies.iter().zip(&told[1..]).map(|(copy, told)| format!("{} {told}", copy.region));
    let text = std::iter::once(told[0].clone()).chain(each).filter(|told| !told.is_empty()).collect::<Vec<_>>();
    let worst = std::iter::once(here).chain(copies).filter_map(|region| region.proofs.state).min();
    let tone = match worst {
        Some(ProofState::Bad | ProofState::Overdue) => Tone::Bad,
        Some(ProofState::Never) | None => Tone::Plain,
        Some(ProofState::Proven) => Tone::Good,
    };
    toned(text.join(", "), tone)
}

fn how_proven(region: &InRegion, status: &Status) -> String {
    let proofs = &region.proofs;
    let ago = |days: i64| if days == 0 { "today".to_owned() } else { format!("{days} d") };
    let today = status.now.date_naive();
    match (proofs.state, &proofs.last) {
        (None, _) => String::new(),
        (Some(ProofState::Bad), _) => "BAD".into(),
        (Some(state), Some(last)) => {
            let overdue = if state == ProofState::Overdue { " OVERDUE" } else { "" };
            format!("{} {}{overdue}", ago((today - last.on).num_days()), last.level)
        }
        (Some(ProofState::Overdue), None) => "never OVERDUE".into(),
        (Some(_), None) => "never".into(),
    }
}

fn bad(status: &Status, style: &Style) -> String {
    let told = status
        .volumes
        .iter()
        .flat_map(|volume| volume.regions.iter().filter_map(move |region| Some((volume, region, region.bad_told()?))));
    let lines: Vec<String> = told
        .map(|(volume, region, told)| format!("{} {} in {}: {told}", name(&volume.name), volume.volume, region.region))
        .collect();
    listed(&lines, style)
}

fn unproven(status: &Status, style: &Style) -> String {
    let today = status.now.date_naive();
    let mut lines = Vec::new();
    for volume in &status.volumes {
        let overdue = volume.regions.iter().filter(|region| region.proofs.state == Some(ProofState::Overdue));
        for region in overdue {
            let days = region.proofs.days(today).map_or_else(String::new, |days| format!(" for {days} days"));
            let what = match &region.proofs.last {
                Some(last) => format!("not proven{days}, since {} as {}", last.on, last.level),
                None => format!("never proven{days}"),
            };
            lines.push(format!("{} {} in {}: {what}", name(&volume.name), volume.volume, region.region));
        }
    }
    listed(&lines, style)
}

/// Lines, as many as somebody reads.
fn listed(lines: &[String], style: &Style) -> String {
    let mut text: String =
        lines.iter().take(MAX_UNPROVEN).map(|line| format!("  {}\n", style.wrapped(line, 4))).collect();
    match lines.len().saturating_sub(MAX_UNPROVEN) {
        0 => {}
        more => text.push_str(&format!("  and {more} more, which --output json names\n")),
    }
    text
}

fn how_old(region: &InRegion) -> String {
    let age = region.age_minutes.map(|minutes| age(TimeDelta::minutes(minutes)));
    match (region.state, age) {
        (State::Unreadable, _) => "unreadable".into(),
        (State::Overdue, Some(age)) => format!("{age} OVERDUE"),
        (_, Some(age)) => age,
        (_, None) => "NONE".into(),
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Missing | State::Overdue => Tone::Bad,
        State::Unreadable => Tone::Warn,
        State::Unjudged => Tone::Plain,
        State::Covered => Tone::Good,
    }
}

fn unprotected(status: &Status, style: &Style) -> String {
    let rows = status.unprotected.iter().map(|one| -> Vec<Cell> {
        let instances = one.instances.iter().map(|i| plain(&i.to_string())).collect::<Vec<_>>().join(", ");
        let what = match one.instead.is_empty() {
            true => "say Backup=Yes, Hold or No".to_owned(),
            false => plain(&one.instead.join("; ")),
        };
        vec![toned(one.volume.to_string(), Tone::Bad), cell(instances), cell(one.created_on.to_string()), cell(what)]
    });
    table(style, &["volume", "instance", "last backup", "what is written"], rows.collect())
}

fn detached(status: &Status, style: &Style) -> String {
    let rows = status.detached.iter().map(|one| {
        let word = one.word.as_ref().map_or("no word".to_owned(), |word| format!("Backup={word}"));
        let last = one.taken.map_or("none".to_owned(), |taken| age(status.now - taken));
        vec![cell(one.volume.to_string()), cell(word), cell(last)]
    });
    table(style, &["volume", "tag", "last backup"], rows.collect())
}

fn cost(status: &Status, style: &Style) -> String {
    let cost = &status.cost;
    if cost.bytes == 0 {
        return String::new();
    }
    let row = |name: String, bytes, usd: f64| vec![cell(name), cell(gib(bytes)), cell(format!("{usd:.2} USD"))];
    let shown = cost.instances.iter().filter(|one| one.bytes > 0).take(MAX_COSTS);
    let mut rows: Vec<Vec<Cell>> = shown.map(|one| row(name(&one.name), one.bytes, one.usd_a_month)).collect();
    let hidden = cost.instances.iter().filter(|one| one.bytes > 0).count().saturating_sub(MAX_COSTS);
    if hidden > 0 {
        rows.push(vec![cell(format!("and {hidden} more")), cell(""), cell("")]);
    }
    rows.push(row("all".into(), cost.bytes, cost.usd_a_month));
    let mut text = table(style, &["name", "full size", "at least"], rows);
    let unknown = match cost.unknown {
        0 => String::new(),
        count => format!(" EC2 tells no size of {}.", counted(count, "backup", "backups")),
    };
    let why = format!(
        "One full size per volume and region, at the price of {}; what changed between backups comes on top.{unknown}",
        cost.prices_as_of
    );
    text.push_str(&format!("{}\n", style.wrapped(&why, 0)));
    text
}
