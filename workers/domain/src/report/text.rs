//! The report as text: the whole text for the bucket, and a shorter one for an execution's cause.
//!
//! Problems come first, then the counts and links, then the details. If a cause is too long, whole lines are left out, and
//! it says how many.

use super::{
    expiries::{ExpiryReport, Swept},
    failures::ReportedFailure,
    problem::{at, input_time, lines, some_of},
    snapshots::InstanceReport,
    summary::{DeadLettersReport, Summary},
};
use crate::{
    contract::KeptDue,
    coverage::State,
    error::cut,
    expiry::Expire,
    fleet::SnapshotState,
    hooks::script::Level,
    words::{counted, plain},
};

/// Characters in an execution's cause, at most: it becomes part of other texts, and nobody reads more in a console.
const MAX_CAUSE: usize = 1_000;

impl Summary {
    /// The first line: which run, and how it ended.
    pub fn headline(&self) -> String {
        let state = match (self.run.dry_run, self.is_complete()) {
            (true, true) => "dry run",
            (true, false) => "dry run INCOMPLETE",
            (false, true) => "complete",
            (false, false) => "INCOMPLETE",
        };
        let tags = match self.rejected_tags() {
            0 => String::new(),
            count => format!(", {} cannot be used", counted(count, "tag", "tags")),
        };
        format!("EBS backup {} in {}: {state}{tags}", self.run.id, self.home)
    }

    /// The summary for people: `summary.txt` in the report bucket.
    pub fn text(&self) -> String {
        let mut all = self.problem_block(&lines(&self.problems, self.run.deadline));
        all.extend(self.middle());
        all.extend(self.details());
        self.joined(&all)
    }

    /// The execution's cause: the first problems, and the address of the report; empty for a complete run.
    pub fn cause(&self) -> String {
        if self.is_complete() {
            return String::new();
        }
        let all: Vec<String> =
            lines(&self.problems, self.run.deadline).iter().map(|line| plain(&one_line(line))).collect();
        let whole = |shown: usize| {
            let more = match all.len() - shown {
                0 => String::new(),
                left => format!("… {}. ", counted(left, "more line", "more lines")),
            };
            format!("{more}Report: {}, or summary.txt beside it", self.file("report.html"))
        };
        // No more lines than characters: there may be thousands.
        for shown in (1..=all.len().min(MAX_CAUSE)).rev() {
            let cause = format!("{}\n{}", all[..shown].join("\n"), whole(shown));
            if cause.chars().count() <= MAX_CAUSE {
                return cause;
            }
        }
        let tail = whole(1);
        let room = MAX_CAUSE.saturating_sub(tail.chars().count() + 1);
        format!("{}\n{tail}", cut(all.first().map_or("", String::as_str), room))
    }

    fn joined(&self, all: &[String]) -> String {
        let mut text = self.headline();
        for line in all {
            text.push('\n');
            text.push_str(&plain(&one_line(line)));
        }
        text.push('\n');
        text
    }

    fn problem_block(&self, problems: &[String]) -> Vec<String> {
        let title = match (self.run.dry_run, self.is_complete()) {
            (true, true) => "A run would report",
            _ => "Incomplete, because",
        };
        let would = self.run.dry_run.then(|| [String::new(), self.would()]).into_iter().flatten();
        would.chain(list(title, problems.iter().cloned())).collect()
    }

    /// What a run with these phases would do.
    pub fn would(&self) -> String {
        let mut acts = Vec::new();
        if self.run.phases.snapshot {
            acts.push(format!("snapshot {}", counted(self.volumes().0, "volume", "volumes")));
        }
        let copies = self.copies.iter().map(|end| (&end.region, end.owed + end.of_new_snapshots));
        acts.extend(copies.filter(|(_, count)| *count > 0).map(|(region, count)| format!("copy {count} to {region}")));
        match self.expiries.iter().map(|end| end.left.len()).sum() {
            0 => {}
            count => acts.push(format!("delete {count}")),
        }
        if acts.is_empty() { "Would do nothing.".into() } else { format!("Would {}.", acts.join(", ")) }
    }

    /// What was done, in numbers.
    pub fn counts(&self) -> Vec<String> {
        let (run, mut all) = (&self.run, Vec::new());
        if let Some(coverage) = &self.coverage {
            let (count, behind) = (coverage.volumes.len(), coverage.behind());
            let unread = coverage.count(State::Unreadable);
            let unread = if unread == 0 { String::new() } else { format!(", {unread} could not be looked at") };
            all.push(format!(
                "Covered: {} of {}{unread}",
                count - behind - coverage.count(State::Unreadable),
                counted(count, "volume", "volumes")
            ));
            all.extend(coverage.proofs().line(coverage.drills));
        }
        if run.phases.snapshot && !run.dry_run {
            let (planned, completed) = self.volumes();
            let instances = counted(self.instances.len(), "instance", "instances");
            all.push(format!("Snapshots: {completed} of {} of {instances}", counted(planned, "volume", "volumes")));
            let hooked: Vec<_> = self.instances.iter().filter_map(|end| end.consistency.as_ref()).collect();
            if !hooked.is_empty() {
                let well = hooked.iter().filter(|known| known.level == Some(Level::Application)).count();
                let asked = counted(hooked.len(), "instance that asks", "instances that ask");
                all.push(format!("Application-consistent: {well} of {asked} for it"));
            }
        }
        if !self.copies.is_empty() && !run.dry_run {
            let (made, owed) = self.copies.iter().fold((0, 0), |(made, owed), c| (made + c.made, owed + c.owed));
            all.push(format!("Copies: {made} made by this run, {owed} owed"));
        }
        if !self.expiries.is_empty() {
            let ends = || self.expiries.iter();
            all.push(format!(
                "Expired: {}",
                expired(
                    run.dry_run,
                    ends().flat_map(|e| &e.deleted),
                    ends().flat_map(|e| &e.left),
                    ends().map(|e| e.kept.len()).sum()
                )
            ));
        }
        all.push(format!("Rejected: {}", self.rejected.len()));
        all
    }

    /// The counts, and the links.
    fn middle(&self) -> Vec<String> {
        let run = &self.run;
        let mut all = vec![String::new()];
        all.extend(self.counts());
        let phases = [(run.phases.snapshot, "snapshot"), (run.phases.copy, "copy"), (run.phases.expire, "expire")];
        let phases: Vec<&str> = phases.into_iter().filter_map(|(on, name)| on.then_some(name)).collect();
        let account = run.execution.split(':').nth(4).unwrap_or("not known");
        all.extend([
            String::new(),
            format!("Run: {}; to repeat it: {{\"scheduledTime\": \"{}\"}}", run.id, input_time(run.scheduled)),
            format!("Phases: {}", phases.join(", ")),
            format!("Account: {account}, home region {}", self.home),
            format!("Started: {}; reported: {}; deadline: {}", at(run.started), at(self.ended), at(run.deadline)),
            format!("Execution: {}", console_link(&run.execution).unwrap_or_else(|| run.execution.clone())),
            format!("Report: {}; report.json and summary.txt are in the same folder", self.file("report.html")),
        ]);
        all
    }

    fn details(&self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(list("Rejected", self.rejected.iter().map(ToString::to_string)));
        let failures = self.failures.iter().map(ReportedFailure::line).chain(self.unread.iter().cloned());
        all.extend(list("Failed tasks", failures));
        all.extend(list("Dead letters", self.dead_letters.iter().map(letters)));
        all.extend(list("Notes", self.notes.iter().map(ToString::to_string)));
        let gone = self.gone.iter().map(|gone| {
            let name = gone.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            format!("{}{name}: its last backup {} expires on {}", gone.volume, gone.last, gone.delete_on)
        });
        all.extend(list("Volumes that are gone", gone));
        let copies = self.copies.iter().map(|end| {
            let surplus = match end.surplus.len() {
                0 => String::new(),
                count => format!(", {count} surplus (they expire on their own date)"),
            };
            match self.run.dry_run {
                true => {
                    format!("{}: {} owed, {} of the new snapshots{surplus}", end.region, end.owed, end.of_new_snapshots)
                }
                false => format!("{}: {} made by this run, {} owed{surplus}", end.region, end.made, end.owed),
            }
        });
        all.extend(list("Copies", copies));
        let expiries = self.expiries.iter().flat_map(|end| self.expiry_lines(end));
        all.extend(list(if self.run.dry_run { "To be deleted" } else { "Expired" }, expiries));
        let snapshots = self.instances.iter().flat_map(|end| self.instance_lines(end));
        all.extend(list(if self.run.dry_run { "To be snapshotted" } else { "Snapshots" }, snapshots));
        all
    }

    fn expiry_lines(&self, end: &ExpiryReport) -> Vec<String> {
        let counts = expired(self.run.dry_run, &end.deleted, &end.left, end.kept.len());
        let mut all = vec![format!("{}: {counts}", end.region)];
        all.extend(end.deleted.iter().map(|swept| format!("  deleted: {}: {}", of_volume(swept), swept.due())));
        all.extend(end.left.iter().map(|swept| {
            let reason = swept.reason.as_ref().filter(|_| !self.run.dry_run);
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let what = if self.run.dry_run { "to be deleted" } else { "left" };
            format!("  {what}: {}: {}{reason}", of_volume(swept), swept.due())
        }));
        let mut verdicts: Vec<(&str, Vec<String>)> = Vec::new();
        for KeptDue { id, volume, verdict } in &end.kept {
            let name = volume.as_ref().map_or_else(|| id.to_string(), |volume| format!("{id} of {volume}"));
            match verdicts.iter_mut().find(|(known, _)| known == verdict) {
                Some((_, names)) => names.push(name),
                None => verdicts.push((verdict, vec![name])),
            }
        }
        let whole = format!("left-{}.jsonl", end.region);
        all.extend(verdicts.iter().map(|(verdict, names)| format!("  {verdict}: {}", some_of(names, &whole))));
        all
    }

    fn instance_lines(&self, end: &InstanceReport) -> Vec<String> {
        let mut all = vec![format!("{}{}", end.named(), consistency(end, self.run.dry_run))];
        for volume in &end.volumes {
            let mut line = format!("  {} {}", volume.volume, volume.device);
            if !self.run.dry_run {
                line += &match (&volume.snapshot, volume.state) {
                    (Some(id), Some(SnapshotState::Completed)) => format!(": {id}"),
                    (Some(id), Some(state)) => format!(": {id} is {state:?}"),
                    _ => ": no snapshot".into(),
                };
                // An earlier execution of the same run began it.
                if let Some(begun) = volume.begun.filter(|begun| *begun < self.run.started) {
                    line += &format!(", begun on {}, before this execution", at(begun));
                }
                for (region, copy) in &volume.copied_to {
                    line += &format!(", copied to {region} as {copy}");
                }
            }
            all.push(line);
        }
        all
    }
}

/// How an instance was snapshotted, where a hook was asked for.
fn consistency(end: &InstanceReport, dry_run: bool) -> String {
    let Some(known) = &end.consistency else { return String::new() };
    let hook = known.document.as_ref().map_or_else(String::new, |document| format!(" (hook {document})"));
    if dry_run {
        return hook;
    }
    let level = match known.level {
        Some(Level::Application) => ", application-consistent",
        Some(Level::Crash) => ", crash-consistent only",
        None => "",
    };
    let reason = known.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let dump = known.dump.as_ref().map_or_else(String::new, |dump| format!("; dump {dump}"));
    format!("{hook}{level}{reason}{dump}")
}

/// How many were deleted, and how many are left. Broken snapshots were never backups, and are counted apart.
fn expired<'a>(
    dry_run: bool,
    deleted: impl IntoIterator<Item = &'a Swept>,
    left: impl IntoIterator<Item = &'a Swept>,
    kept: usize,
) -> String {
    let split = |all: Vec<&Swept>| {
        let broken = all.iter().filter(|swept| swept.why == Expire::Broken).count();
        (all.len(), format!(" ({} due, {broken} broken)", all.len() - broken))
    };
    let ((deleted, of_deleted), (left, of_left)) =
        (split(deleted.into_iter().collect()), split(left.into_iter().collect()));
    let some = |count: usize, kinds: String| if count == 0 { String::new() } else { kinds };
    let first = match dry_run {
        true => format!("{left} to be deleted{}", some(left, of_left)),
        false => format!("{deleted} deleted{}, {left} left{}", some(deleted, of_deleted), some(left, of_left)),
    };
    if kept == 0 { first } else { format!("{first}, {kept} due or broken and kept") }
}

fn of_volume(swept: &Swept) -> String {
    let names = swept.instances.iter().map(ToString::to_string);
    let parts: Vec<String> =
        [swept.id.to_string()].into_iter().chain(swept.volume.iter().map(ToString::to_string)).chain(names).collect();
    parts.join(", ")
}

fn letters(DeadLettersReport { queue, settled, left }: &DeadLettersReport) -> String {
    let names: String = left.iter().map(|(error, count)| format!(", {count} {error}")).collect();
    format!("{queue:?}: {settled} settled and deleted, {} left{names}", left.values().sum::<usize>())
}

fn list(title: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = lines.into_iter().map(|line| format!("  {line}")).collect();
    if !all.is_empty() {
        all.splice(0..0, [String::new(), format!("{title}:")]);
    }
    all
}

/// A text of somebody else's may have several lines.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// The address of an execution in the Step Functions console; `None` in partitions whose console is not public.
///
/// Source: the console's own addresses, and "Endpoints and ARNs" of the GovCloud and China regions.
pub fn console_link(execution: &str) -> Option<String> {
    let mut parts = execution.split(':');
    let (partition, region) = (parts.nth(1)?, parts.nth(1)?);
    let host = match partition {
        "aws" => "aws.amazon.com",
        "aws-us-gov" => "amazonaws-us-gov.com",
        "aws-cn" => "amazonaws.cn",
        _ => return None,
    };
    let page = format!("states/home?region={region}#/v2/executions/details/{execution}");
    Some(format!("https://{region}.console.{host}/{page}"))
}
