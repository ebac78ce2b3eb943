//! `status`: is everything covered, and how old is it?

mod last_run;
mod text;

use std::{cell::RefCell, collections::BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    cost,
    coverage::{
        DrillRules, NewestBackups, ProofCounts, ProofRules, Remembered, State, allowed_age, coverage, proof_counts,
    },
    drill::report::last_reads,
    fleet::{Fleet, Snapshot},
    ids::{Region, SnapshotId, VolumeId},
    operations::Operations,
    policy::{self, Rejection},
    ports::{Ec2, SnapshotFilter, Storage},
    protection::{self, instances_without_word, volumes_without_word, without_word},
    report::{LATEST, LastKnown, LastReport, Named},
    survey,
    tags::backup_word,
};
use serde::Serialize;

use crate::{
    commands::Commands,
    context::{Context, Unreadable, each_region},
    show::View,
    table::Style,
    trouble::{Code, Trouble},
};

pub use domain::{
    cost::{Cost, InstanceCost},
    coverage::{CoveredVolume as Volume, InRegion},
};
pub use last_run::LastRun;

/// The answer of `status`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The stack.
    pub stack: String,
    /// Its region.
    pub home: Region,
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// `ScheduleExpression`.
    pub schedule: String,
    /// Whether the schedule is on.
    pub scheduled: bool,
    /// Hours that the newest backup may be old; none where the schedule does not say it.
    pub allowed_hours: Option<i64>,
    /// What is expected of drills.
    pub drills: DrillRules,
    /// Every volume that is to be backed up, the worst first.
    pub volumes: Vec<Volume>,
    /// Why it is not known what the last report knew of proofs that are gone with their snapshots.
    pub forgotten_proofs: Option<String>,
    /// Volumes that have backups, and of which no tag says whether they are backed up.
    pub unprotected: Vec<Unprotected>,
    /// Volumes that are attached to nothing.
    pub detached: Vec<Detached>,
    /// Tags that cannot be used.
    pub rejected: Vec<Rejection>,
    /// Living instances with the tag, and without.
    pub instances: Instances,
    /// The last run, and the last one that was complete.
    pub runs: LastRun,
    /// What there is of each instance costs so much at least.
    pub cost: Cost,
    /// Regions that did not answer.
    pub unreadable: Vec<Unreadable>,
    /// How commands are named.
    #[serde(skip)]
    pub commands: Commands,
}

/// A volume that has backups, and of which no tag says whether it is backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unprotected {
    /// The volume.
    pub volume: VolumeId,
    /// The instances that have it.
    pub instances: Vec<Named>,
    /// What is written in place of a word.
    pub instead: Vec<String>,
    /// Its last backup.
    pub last: SnapshotId,
    /// The day of that.
    pub created_on: NaiveDate,
}

impl From<protection::Unprotected> for Unprotected {
    fn from(found: protection::Unprotected) -> Self {
        Self {
            volume: found.volume,
            instances: found.instances.into_iter().map(|(id, name)| Named { id, name }).collect(),
            instead: found.instead.iter().map(ToString::to_string).collect(),
            last: found.last,
            created_on: found.created_on,
        }
    }
}

/// A volume that is attached to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detached {
    /// The volume.
    pub volume: VolumeId,
    /// Its own word, as it is read.
    pub word: Option<String>,
    /// Its newest completed backup in the home region.
    pub last: Option<SnapshotId>,
    /// When that was taken.
    pub taken: Option<DateTime<Utc>>,
}

/// Living instances, by their tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instances {
    /// Those of which volumes are to be backed up.
    pub protected: usize,
    /// Those without the tag `Backup`, or with something in it that is no word.
    pub without_word: usize,
}

impl Status {
    /// Whether nothing says when backups are too old: neither the schedule nor `MaxHoursWithoutRun`.
    pub fn is_unjudged(&self) -> bool {
        !self.volumes.is_empty() && self.allowed_hours.is_none() && self.runs.max_hours.is_none()
    }

    /// The volumes by what is proven of them.
    pub fn proofs(&self) -> ProofCounts {
        proof_counts(&self.volumes)
    }

    /// Volumes of which a backup is missing or overdue.
    pub fn behind(&self) -> usize {
        self.volumes.iter().filter(|volume| volume.state <= State::Overdue).count()
    }
}

/// Looks at everything.
pub async fn look<E: Ec2, S: Storage, O: Operations>(context: &Context<'_, E, S, O>) -> Result<Status, Trouble> {
    let Context { ec2, operations, stack, now, progress, .. } = context;
    progress.say("instances and volumes");
    let fleet = survey::fleet(*ec2).await?;
    let (plans, mut rejected) = policy::plan(&fleet, stack.settings.default_retention, &stack.settings.hook_documents);
    // The same mistakes side by side.
    rejected.sort_by(|a, b| (&a.problem, &a.subject).cmp(&(&b.problem, &b.subject)));
    progress.say("executions");
    let runs = last_run::look(*operations, stack, *now).await?;
    progress.say(format!("snapshots in {}", stack.home));
    let newest = RefCell::new(NewestBackups::new(stack.home.clone()));
    newest.borrow_mut().note_region(&stack.home);
    // An account may have a hundred thousand: no more of them is kept than has to be told.
    let (wordless, mut of_wordless) = (volumes_without_word(&fleet), Vec::new());
    let mut note = |source: Snapshot| {
        newest.borrow_mut().note(&stack.home, &source);
        if source.volume.as_ref().is_some_and(|volume| wordless.contains(volume)) {
            of_wordless.push(source);
        }
    };
    ec2.each_snapshot(&stack.home, &SnapshotFilter::Automated, &mut note).await?;
    let destinations: BTreeSet<Region> = plans.iter().flat_map(|plan| plan.copy_regions.iter().cloned()).collect();
    let destinations: Vec<Region> = destinations.into_iter().collect();
    progress.say("copies");
    let (_, unreadable) = each_region(&destinations, progress, async |region: Region| {
        newest.borrow_mut().note_region(&region);
        let mut note = |copy| newest.borrow_mut().note(&region, &copy);
        ec2.each_snapshot(&region, &SnapshotFilter::CopiesFrom(stack.home.clone()), &mut note).await
    })
    .await;
    let newest = newest.into_inner();
    let allowed = allowed_age(&stack.schedule, &stack.settings, now.date_naive());
    let closed: BTreeSet<Region> = unreadable.iter().map(|one| one.region.clone()).collect();
    let drills = DrillRules::from(&stack.settings);
    let (remembered, forgotten_proofs) = match drills.on {
        // While they are off nothing is overdue, however long ago the last proof was.
        false => Default::default(),
        true => remembered(context).await,
    };
    let rules = ProofRules { drills, remembered: &remembered };
    let covered = coverage(&plans, &newest, &closed, allowed, rules, *now);
    Ok(Status {
        stack: stack.name.clone(),
        home: stack.home.clone(),
        now: *now,
        schedule: stack.schedule.clone(),
        scheduled: stack.is_scheduled,
        allowed_hours: allowed.map(|allowed| allowed.num_hours()),
        cost: cost::of(&covered),
        drills,
        forgotten_proofs,
        volumes: covered.into_iter().map(Volume::from).collect(),
        unprotected: without_word(&fleet, &of_wordless).0.into_iter().map(Unprotected::from).collect(),
        detached: detached(&fleet, &newest, &stack.home),
        rejected,
        instances: Instances { protected: plans.len(), without_word: instances_without_word(&fleet) },
        runs,
        unreadable,
        commands: stack.commands.clone(),
    })
}

/// What the last report and the drills knew of proofs, and why that is not all.
async fn remembered<E, S: Storage, O>(context: &Context<'_, E, S, O>) -> (Remembered, Option<String>) {
    let (mut known, mut why) = match of_last_report(context).await {
        Ok(known) => (known, None),
        Err(why) => (Remembered::default(), Some(why)),
    };
    match last_reads(context.storage).await {
        Ok(reads) => known.note_proven(&reads),
        Err(failure) => why = why.or(Some(failure.to_string())),
    }
    (known, why)
}

async fn of_last_report<E, S: Storage, O>(
    Context { storage, .. }: &Context<'_, E, S, O>,
) -> Result<Remembered, String> {
    let pointer = storage.read(LATEST).await.map_err(|failure| failure.to_string())?;
    let list = match LastReport::read(pointer.as_deref()) {
        LastReport::Nothing => None,
        LastReport::Unknown(why) => return Err(why),
        LastReport::Pointer(latest) => latest.last.list,
    };
    let Some(list) = list else { return Ok(Remembered::default()) };
    let report = storage.read(&list.key).await.map_err(|failure| failure.to_string())?;
    Ok(LastKnown::read(report.as_deref())?.proofs)
}

fn detached(fleet: &Fleet, newest: &NewestBackups, home: &Region) -> Vec<Detached> {
    let free = fleet.volumes.iter().filter(|volume| volume.attached_to.is_empty());
    free.map(|volume| {
        let last = newest.of(home, &volume.id);
        Detached {
            volume: volume.id.clone(),
            word: backup_word(&volume.tags).0.map(|word| format!("{word:?}")),
            last: last.map(|newest| newest.snapshot.clone()),
            taken: last.map(|newest| newest.taken),
        }
    })
    .collect()
}

impl View for Status {
    const COMMAND: &'static str = "status";

    fn code(&self) -> Code {
        match self.unreadable.is_empty() {
            true => {
                let is_behind = self.behind() > 0 || !self.unprotected.is_empty() || self.runs.overdue;
                Code::owed_if(is_behind || self.is_unjudged() || !self.proofs().is_well())
            }
            false => Code::Aws,
        }
    }

    fn text(&self, style: &Style) -> String {
        text::text(self, style)
    }
}

#[cfg(test)]
mod tests;
