//! The problems that make a run incomplete: as data for programs, and as lines for people, the worst first.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    error::{ErrorName, cut},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
};

/// The kinds of problems; the first is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// The fleet is not known, or no snapshot could be begun.
    WholeRun,
    /// A post-script failed: the instance may still be frozen.
    StillFrozen,
    /// A volume exists and has backups, but no word.
    Unprotected,
    /// A planned volume has no completed snapshot of the run.
    NoSnapshot,
    /// The newest backup of a volume in a region was read by a drill, and is bad.
    Bad,
    /// A copy is owed.
    NoCopy,
    /// A copy is pending for longer than a day.
    StuckCopy,
    /// A snapshot left the look-back without its copy.
    Forgotten,
    /// A copy in the run's manifest was not made before its retention ran out.
    RanOut,
    /// `KeepForever` was set on a snapshot and has not reached its copy.
    NoKeepForever,
    /// The copy phase failed in a region, or its result is missing.
    Copies,
    /// The expiry failed or was stopped in a region, or its result is missing.
    Expiry,
    /// The snapshots of a region cannot be read.
    Unreadable,
    /// A due or broken snapshot could not be deleted.
    NotDeleted,
    Other,
}

impl ProblemKind {
    /// Whether it is about a region as a whole.
    fn is_of_region(self) -> bool {
        matches!(self, Self::Copies | Self::Expiry | Self::Unreadable)
    }

    /// The problem as text: of one that is named before this text, or of `count` that are named after it.
    fn what(self, count: usize, region: Option<&Region>) -> String {
        let one = count == 1;
        let place = region.map_or("", Region::as_str);
        match self {
            Self::WholeRun | Self::Other => String::new(),
            Self::Copies | Self::Expiry | Self::Unreadable if region.is_none() => String::new(),
            Self::Copies if one => "copies".into(),
            Self::Copies => format!("{count} regions: copies"),
            Self::Expiry if one => "expiry".into(),
            Self::Expiry => format!("{count} regions: expiry"),
            Self::Unreadable if one => "cannot be read".into(),
            Self::Unreadable => format!("{count} regions cannot be read"),
            Self::StillFrozen if one => "it may still be frozen".into(),
            Self::StillFrozen => format!("{count} instances may still be frozen"),
            Self::Unprotected if one => "it has backups, and no tag says whether it is backed up".into(),
            Self::Unprotected => format!("{count} volumes have backups, and no tag says whether they are backed up"),
            Self::NoSnapshot if one => "no completed snapshot of this run".into(),
            Self::NoSnapshot => format!("{count} volumes have no completed snapshot of this run"),
            Self::Bad if one => format!("its newest backup in {place} is bad"),
            Self::Bad => format!("the newest backups of {count} volumes in {place} are bad"),
            Self::NoCopy if one => format!("owed a copy in {place}"),
            Self::NoCopy => format!("{count} copies are owed in {place}"),
            Self::StuckCopy if one => format!("its copy in {place} is stuck"),
            Self::StuckCopy => format!("{count} copies in {place} are stuck"),
            Self::Forgotten if one => format!("left the look-back without a copy in {place}"),
            Self::Forgotten => format!("{count} snapshots left the look-back without a copy in {place}"),
            Self::RanOut if one => format!("promised copy in {place} was not made before its retention ran out"),
            Self::RanOut => {
                format!("{count} promised copies in {place} were not made before their retention ran out")
            }
            Self::NoKeepForever if one => format!("its KeepForever has not reached its copy in {place}"),
            Self::NoKeepForever => format!("KeepForever has not reached {count} copies in {place}"),
            Self::NotDeleted if one => format!("could not be deleted in {place}"),
            Self::NotDeleted => format!("{count} snapshots could not be deleted in {place}"),
        }
    }
}

/// The id and the name of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    pub id: InstanceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if name != self.id.as_str() => write!(f, "{} ({})", self.id, cut(name, MAX_NAME)),
            _ => self.id.fmt(f),
        }
    }
}

/// One thing that is owed, unprotected or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub kind: ProblemKind,
    /// Several if they share a volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// The snapshot in the home region, or the one that could not be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// The day of that snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_on: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// A copy that exists, and is pending, stuck, broken or without `KeepForever`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<SnapshotId>,
    /// When that copy was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// One of [`ErrorName`], or an error of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Empty if it is not known; at most `MAX_REASON` characters.
    pub reason: String,
    pub what_to_do: String,
}

/// Characters in a reason, at most: messages of AWS can be very long.
pub const MAX_REASON: usize = 1_000;
/// Characters of an instance's name in a line, at most; `report.json` has the whole name.
const MAX_NAME: usize = 40;
/// Characters in a line, at most, so that a line fits into the execution's cause. Only names can make it longer.
const MAX_LINE: usize = 700;
/// A reason has at least this many characters, however long the rest of the line is.
const MIN_REASON: usize = 60;
/// If many have the same problem, the line names this many.
const MAX_NAMES: usize = 5;

impl Problem {
    /// A problem without subject: the caller fills in instances, volume, snapshot and so on.
    pub fn new(kind: ProblemKind, reason: impl fmt::Display, what_to_do: impl fmt::Display) -> Self {
        Self {
            kind,
            instances: Vec::new(),
            volume: None,
            snapshot: None,
            created_on: None,
            region: None,
            copy: None,
            since: None,
            error: None,
            reason: cut(&reason.to_string(), MAX_REASON),
            what_to_do: what_to_do.to_string(),
        }
    }

    /// A problem of a region as a whole.
    pub fn of_region(
        kind: ProblemKind,
        region: &Region,
        error: &str,
        reason: impl fmt::Display,
        to_do: impl fmt::Display,
    ) -> Self {
        Self { region: Some(region.clone()), error: Some(error.into()), ..Self::new(kind, reason, to_do) }
    }

    /// Whether it is a task that was not done by the deadline: the next run makes it.
    fn is_out_of_time(&self) -> bool {
        let is_task = matches!(self.kind, ProblemKind::NoSnapshot | ProblemKind::NoCopy | ProblemKind::NoKeepForever);
        is_task && self.error.as_deref() == Some(ErrorName::OutOfTime.as_str())
    }

    /// The subject as text.
    fn who(&self) -> String {
        if self.kind.is_of_region() {
            return self.region.as_ref().map_or_else(String::new, Region::to_string);
        }
        let mut parts: Vec<String> = self.instances.iter().map(Named::to_string).collect();
        parts.extend(self.volume.iter().map(VolumeId::to_string));
        let day = self.created_on.map_or_else(String::new, |day| format!(" of {day}"));
        let last = if self.kind == ProblemKind::Unprotected { "last backup " } else { "" };
        parts.extend(self.snapshot.iter().map(|snapshot| format!("{last}{snapshot}{day}")));
        let since = self.since.map_or_else(String::new, |since| format!(" pending since {}", at(since)));
        parts.extend(self.copy.iter().map(|copy| format!("copy {copy}{since}")));
        if self.is_out_of_time() {
            parts.extend(self.region.iter().map(|region| format!("to {region}")));
        }
        parts.join(", ")
    }

    /// Problems with the same key share a line.
    fn group(&self) -> (String, String, String) {
        if self.is_out_of_time() {
            return (ErrorName::OutOfTime.to_string(), String::new(), String::new());
        }
        // The text of a stopped expiry has an input for its own region.
        let by_itself = !self.kind.is_of_region() || self.error.as_deref() == Some(ErrorName::MassExpire.as_str());
        let region = self.region.as_ref().filter(|_| by_itself).map(Region::to_string);
        let error = self.error.clone().unwrap_or_default();
        let reason = format!("{error} {} {}", in_general(&self.reason), self.what_to_do);
        (format!("{:?}", self.kind), region.unwrap_or_default(), reason)
    }
}

/// A reason without the words that differ from item to item: ids, days, and encoded messages.
pub(super) fn in_general(reason: &str) -> String {
    let stays = |word: &&str| word.len() <= 40 && !word.bytes().any(|b| b.is_ascii_digit());
    reason.split_whitespace().filter(stays).collect::<Vec<_>>().join(" ")
}

/// A time for people, to the minute.
pub(super) fn at(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A time for the `scheduledTime` of an input.
pub(super) fn input_time(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The first [`MAX_NAMES`] names, and how many more the file `whole` has.
pub(super) fn some_of(names: &[String], whole: &str) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let first = names[..names.len() - more].join("; ");
    if more == 0 { first } else { format!("{first}; and {more} more, see {whole}") }
}

/// Problems with the same reason, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who has it, what is wrong, and why.
    pub what: String,
    /// Empty where there is nothing to do.
    pub to_do: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, to_do } = self;
        if to_do.is_empty() { f.write_str(what) } else { write!(f, "{what}. {to_do}") }
    }
}

/// The problems as lines, the worst first. Problems with the same reason share a line.
pub fn lines(problems: &[Problem], deadline: DateTime<Utc>) -> Vec<String> {
    told(problems, deadline).iter().map(Told::to_string).collect()
}

/// The same, with what to do apart.
pub fn told(problems: &[Problem], deadline: DateTime<Utc>) -> Vec<Told> {
    let mut sorted: Vec<(ProblemKind, Option<&Region>, String, &Problem)> =
        problems.iter().map(|p| (p.kind, p.region.as_ref(), p.who(), p)).collect();
    sorted.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
    let mut groups: Vec<Vec<(String, &Problem)>> = Vec::new();
    let mut index = BTreeMap::new();
    for (_, _, who, problem) in sorted {
        let at = *index.entry(problem.group()).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Vec::new());
        }
        groups[at].push((who, problem));
    }
    groups.iter().map(|group| line(group, deadline)).collect()
}

fn line(group: &[(String, &Problem)], deadline: DateTime<Utc>) -> Told {
    let (_, first) = &group[0];
    let names: Vec<String> = group.iter().map(|(who, _)| who.clone()).filter(|who| !who.is_empty()).collect();
    let to_do = first.what_to_do.clone();
    if first.is_out_of_time() {
        let tasks = if group.len() == 1 { "1 task was" } else { &format!("{} tasks were", group.len()) };
        let what = format!("{tasks} left at the deadline, {}: {}", at(deadline), some_of(&names, "report.json"));
        return Told { what, to_do };
    }
    let what = first.kind.what(group.len(), first.region.as_ref());
    let reason = match &first.error {
        Some(error) if !first.reason.contains(&format!("{error}: ")) => format!("{error}: {}", first.reason),
        _ => first.reason.clone(),
    };
    let (before, after) = match names.as_slice() {
        [] => (what, String::new()),
        [one] if what.is_empty() => (one.clone(), String::new()),
        [one] => (format!("{one}: {what}"), String::new()),
        many => (what, format!(": {}", some_of(many, "report.json"))),
    };
    let taken = before.chars().count() + after.chars().count() + to_do.chars().count() + 2;
    let reason = cut(reason.trim_end_matches('.'), MAX_LINE.saturating_sub(taken).max(MIN_REASON));
    let told: Vec<&str> = [before.as_str(), reason.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    Told { what: format!("{}{after}", told.join(": ")), to_do }
}

/// What to do about an error, followed by `otherwise`, which is to be done in any case.
pub fn advice(error: &str, otherwise: &str) -> String {
    let name = ErrorName::ALL.iter().find(|name| name.as_str() == error);
    let first = match name {
        Some(ErrorName::OutOfTime) => {
            return "The next run makes them; if it happens again, raise RunHours or CopyConcurrency".into();
        }
        Some(ErrorName::HookNotAllowed) => "Name an allowed document, or list this one in AllowedHookDocuments",
        Some(ErrorName::HookNotManaged | ErrorName::HookAgentGone) => "Look at the instance's SSM agent and its role",
        Some(ErrorName::HookTimedOut) => "See why the script takes so long, or raise BackupHookTimeout",
        Some(ErrorName::DataOnRootVolume) => "Move the data to a volume of its own, or use a dump",
        Some(ErrorName::PreHookFailed | ErrorName::HookNotReady) => "Mend what the script complains of",
        Some(ErrorName::SnapshotCorrupt) => "Keep the last good backup, and make a new one now",
        Some(ErrorName::SnapshotUnreadable) => "See whether EBS answers in that region",
        Some(ErrorName::AccessDenied) => "Grant the permission",
        Some(ErrorName::KeyNotAccessible) => "Correct the key's policy, or DestinationKmsKeys",
        Some(ErrorName::RegionNotEnabled) => "Enable the region, or remove it from the tag",
        Some(ErrorName::CopyNotSupported) => "Remove the region from the tag",
        Some(ErrorName::SnapshotLimitExceeded) => "Raise the account's quota of snapshots",
        Some(ErrorName::TagsRefused) => "Allow the tags that README lists",
        _ => return otherwise.to_owned(),
    };
    format!("{first}. {otherwise}")
}
