//! The report of a drill for people: `summary.txt`, the message, and the execution's cause.

use super::{Backup, DrillReport, DrilledRegion, End, REPORT, SUMMARY};
use crate::{
    error::cut,
    report::{NotifyOn, console_link},
    words::{counted, moment, plain},
};

/// Characters in an execution's cause, at most.
const MAX_CAUSE: usize = 1_000;
/// Characters in a subject, at most (`Publish` documentation: less than 100, and ASCII).
const MAX_SUBJECT: usize = 99;
/// Lines of a kind that a message has.
const MAX_LINES: usize = 10;
/// Lines of a kind in the summary; `report.json` has all.
const MAX_LISTED: usize = 200;

impl DrillReport {
    /// The first line: which drill, and how it ended.
    pub fn headline(&self) -> String {
        let state = if self.complete { "proven" } else { "NOT PROVEN" };
        format!("EBS drill {} in {}: {state}, {}", self.drill.id, self.home, self.counts())
    }

    fn counts(&self) -> String {
        let mut all = vec![format!("{} proven", self.count(End::Proven))];
        for (end, word) in [(End::Failed, "failed"), (End::Unanswered, "unanswered"), (End::Vanished, "vanished")] {
            all.extend(Some(self.count(end)).filter(|count| *count > 0).map(|count| format!("{count} {word}")));
        }
        let of_regions = |count: fn(&DrilledRegion) -> usize| self.regions.iter().map(count).sum();
        let others: [(usize, &str); 3] = [
            (self.short().count(), "less than asked for"),
            (of_regions(|region| region.left_out.len()), "left out"),
            (of_regions(|region| region.without.len()), "without a backup"),
        ];
        all.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
        let regions = self.regions.iter().filter(|region| region.failure.is_some()).count();
        all.extend(
            Some(regions)
                .filter(|count| *count > 0)
                .map(|count| format!("{} not read", counted(count, "region", "regions"))),
        );
        all.join(", ")
    }

    /// The summary for people: `summary.txt` in the report bucket.
    pub fn text(&self) -> String {
        self.lines(MAX_LISTED).iter().fold(String::new(), |text, line| text + &one_line(line) + "\n")
    }

    fn lines(&self, most: usize) -> Vec<String> {
        let mut all = vec![self.headline()];
        all.extend(list("Problems", self.problems.iter().cloned(), most));
        let unread = self.regions.iter().filter_map(|one| Some(format!("{}: {}", one.region, one.failure.as_ref()?)));
        all.extend(list("Regions that could not be planned or read", unread, most));
        let of = |end: End| self.backups.iter().filter(move |one| one.end == end);
        all.extend(list("Failed", of(End::Failed).map(failed), most));
        all.extend(list("Unanswered: nothing says what became of them", of(End::Unanswered).map(missed), most));
        all.extend(list("Vanished before they were read", of(End::Vanished).map(missed), most));
        all.extend(list("Proven, and less than was asked for", self.short().map(short), most));
        let notes = self.backups.iter().filter(|one| !one.notes.is_empty());
        all.extend(list(
            "Notes, which are no failures",
            notes.map(|one| format!("{}: {}", named(one), one.notes.join("; "))),
            most,
        ));
        let left_out = self.regions.iter().flat_map(|region| {
            region.left_out.iter().map(move |one| {
                let last =
                    one.last_proven.map_or_else(|| "never proven".to_owned(), |day| format!("last proven {day}"));
                format!("{} in {}, of {}: {} blocks, {last}", one.snapshot, region.region, one.volume, one.blocks)
            })
        });
        all.extend(list("Left out, since DrillMaxBlocks is used up; the next drill begins with them", left_out, most));
        let without = self.regions.iter().flat_map(|region| {
            region.without.iter().map(move |one| format!("{} in {}: {}", one.volume, region.region, one.why))
        });
        all.extend(list("Nothing to read", without, most));
        all.extend(list("Proven", of(End::Proven).filter(|one| !one.is_short()).map(proven), most));
        all.push(String::new());
        all.push(self.taken());
        all
    }

    /// What it took, against what was expected.
    fn taken(&self) -> String {
        let unknown = self.backups.iter().filter(|one| one.used.is_none()).count();
        let unknown = match unknown {
            0 => String::new(),
            count => format!("; what {} took is not known", counted(count, "backup", "backups")),
        };
        format!(
            "Read {} blocks with {} lists, {:.4} USD; expected were {}, {}, {:.4} USD{unknown}. Prices of {}: {}.",
            self.used.blocks,
            self.used.list_calls,
            self.usd,
            self.predicted.blocks,
            self.predicted.list_calls,
            self.usd_predicted,
            self.prices_as_of,
            self.prices_source
        )
    }

    /// The execution's cause: what failed first, and the address of the report; empty where all is proven.
    pub fn cause(&self) -> String {
        if self.complete {
            return String::new();
        }
        let end = format!("Report: {}, or {SUMMARY} beside it", self.file(REPORT));
        let text: Vec<String> =
            self.lines(MAX_LINES).iter().filter(|line| !line.is_empty()).map(|line| one_line(line)).collect();
        let room = MAX_CAUSE.saturating_sub(end.chars().count() + 1);
        format!("{}\n{end}", cut(&text.join("\n"), room))
    }

    /// Whether somebody is told.
    pub fn is_told(&self, notify_on: NotifyOn) -> bool {
        match notify_on {
            NotifyOn::Never => false,
            NotifyOn::Always => true,
            NotifyOn::Failure => !self.complete,
        }
    }

    /// The subject of a message.
    pub fn subject(&self) -> String {
        // SNS refuses a message for a subject that is too long, or has other letters.
        self.headline()
            .chars()
            .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
            .take(MAX_SUBJECT)
            .collect()
    }

    /// The text of a message.
    pub fn message(&self) -> String {
        let account = self.drill.execution.split(':').nth(4).unwrap_or("not known");
        let execution = &self.drill.execution;
        let mut all = self.lines(MAX_LINES);
        all.extend([
            String::new(),
            "What to do: \"A drill failed\" in docs/operations.md.".into(),
            format!("Account {account}, started {}, reported {}", moment(self.drill.started), moment(self.ended)),
            format!("Execution: {}", console_link(execution).unwrap_or_else(|| execution.clone())),
            format!("Report: {}", self.file(SUMMARY)),
        ]);
        all.iter().fold(String::new(), |text, line| text + &one_line(line) + "\n")
    }
}

/// Which backup: of whom and from when.
fn named(one: &Backup) -> String {
    let owner = match (&one.instance, &one.name) {
        (Some(instance), Some(name)) if name != instance.as_str() => format!(" of {instance} ({name})"),
        (Some(instance), _) => format!(" of {instance}"),
        (None, _) => String::new(),
    };
    format!("{} in {}, {}{owner}, data of {}", one.snapshot, one.region, one.volume, moment(one.taken))
}

fn why(one: &Backup) -> String {
    [&one.error, &one.cause].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ")
}

fn missed(one: &Backup) -> String {
    format!("{}: {}", named(one), why(one))
}

fn failed(one: &Backup) -> String {
    let marked =
        if one.marked { "; it is marked VerifiedAs=failed" } else { "; it is not marked: another drill may read it" };
    let older = match &one.older {
        None => "no good one that is as old or older is known".into(),
        Some(older) => {
            let proven = match older.proof.and_then(|proof| Some((proof.on, proof.level?))) {
                Some((on, level)) => format!("proven {on} ({level})"),
                None => "never proven".into(),
            };
            format!(
                "the newest good one that is not younger is {} in {}, data of {}, {proven}",
                older.snapshot,
                older.region,
                moment(older.taken)
            )
        }
    };
    format!("{}: {}{marked}; {older}", named(one), why(one))
}

fn short(one: &Backup) -> String {
    [vec![proven(one)], one.missing.clone()].concat().join("; ")
}

fn proven(one: &Backup) -> String {
    let level = match one.level {
        Some(level) if level < one.asked => format!("{level}, of {} that was asked for", one.asked),
        Some(level) => level.to_string(),
        None => String::new(),
    };
    let found = if one.found.is_empty() { String::new() } else { format!("; {}", one.found.join(", ")) };
    format!("{}: {level}{found}", named(one))
}

fn list(title: &str, lines: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let all: Vec<String> = lines.collect();
    if all.is_empty() {
        return Vec::new();
    }
    let more = all.len().saturating_sub(most);
    let mut shown = vec![String::new(), format!("{title}:")];
    shown.extend(all.into_iter().take(most).map(|line| format!("  {line}")));
    shown.extend((more > 0).then(|| format!("  and {more} more in report.json")));
    shown
}

/// A text of somebody else's may have several lines, or steer what shows it.
fn one_line(text: &str) -> String {
    plain(&text.replace(['\n', '\r', '\t'], " "))
}
