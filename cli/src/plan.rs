//! `plan`: what a run would do now. It changes nothing.

mod text;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    copies::{self, CopyRules, LiveInstances, Source, Wanted, is_source},
    error::Failure,
    expiry::Verdict,
    fleet::Fleet,
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::{self, InstancePlan, Rejection, volumes_to},
    ports::{Ec2, SnapshotFilter, Storage},
    protection::{volumes_without_word, without_word},
    survey::{self, CopyRegions},
};
use futures::lock::Mutex;
use serde::Serialize;

use crate::{
    context::{Context, Unreadable, each_region},
    expiry::{judged, stopped},
    once::Once,
    show::View,
    status::Unprotected,
    table::Style,
    trouble::{Code, Trouble},
};

/// Snapshots of a region that are not judged at the same time as those of another one.
const MANY: usize = 10_000;

/// The answer of `plan`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The stack.
    pub stack: String,
    /// Its region.
    pub home: Region,
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The instances whose volumes would be snapshotted.
    pub instances: Vec<Instance>,
    /// Tags and settings that cannot be used.
    pub rejected: Vec<Rejection>,
    /// Volumes that have backups, and of which no tag says whether they are backed up.
    pub unprotected: Vec<Unprotected>,
    /// One per destination region.
    pub copies: Vec<Copies>,
    /// One per region that is swept, and holds something of this system.
    pub expiries: Vec<Expiry>,
    /// Regions that did not answer.
    pub unreadable: Vec<Unreadable>,
}

/// An instance whose volumes would be snapshotted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The instance.
    pub instance: InstanceId,
    /// Its name, else its id.
    pub name: String,
    /// What would be snapshotted.
    pub volumes: Vec<domain::fleet::Attachment>,
    /// What is attached and left out.
    pub excluded: Vec<VolumeId>,
    /// Days for which the snapshots are kept.
    pub retention_days: u32,
    /// Where they are copied to.
    pub destinations: Vec<Region>,
    /// Whether they are kept for ever.
    pub keep_forever: bool,
    /// The SSM document that makes it ready before, and goes on after.
    pub hook: Option<String>,
}

/// What would be copied to a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copies {
    /// The destination.
    pub region: Region,
    /// Snapshots that exist, and of which a copy is owed.
    pub owed: Vec<SnapshotId>,
    /// Copies of the snapshots that the run itself would make.
    pub of_new_snapshots: usize,
    /// Copies that are pending for longer than a day.
    pub stuck: Vec<SnapshotId>,
    /// Snapshots that left the look-back without their copy: no run makes it any more.
    pub forgotten: Vec<SnapshotId>,
    /// Snapshots of which it is not known whether there is a copy.
    pub doubtful: Vec<Doubtful>,
    /// Copies that would get `KeepForever`.
    pub keep_forever: Vec<SnapshotId>,
}

/// A snapshot of which it is not known whether there is a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubtful {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Why.
    pub reason: String,
}

/// What would be deleted in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expiry {
    /// The region.
    pub region: Region,
    /// Why nothing that is due would be deleted there, with the input that allows it.
    pub stopped: Option<String>,
    /// What would go.
    pub expires: Vec<Judgement>,
    /// What is due or broken, and stays.
    pub left: Vec<Judgement>,
    /// Others of this system, which are not due.
    pub kept: usize,
    /// Bytes of the full size of all that would go, where EC2 tells it; what is freed is at most as much.
    pub bytes: u64,
}

/// A snapshot, and what is decided of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The volume it is a backup of, as far as that is known.
    pub volume: Option<VolumeId>,
    /// Its day.
    pub created_on: Option<NaiveDate>,
    /// What is decided, and why.
    pub verdict: String,
    /// Bytes of its full size.
    pub bytes: Option<u64>,
}

/// Looks at everything that a run looks at.
pub async fn look<E: Ec2, S: Storage, O>(context: &Context<'_, E, S, O>) -> Result<Plan, Trouble> {
    let once = Once::new(context.ec2);
    let context = &context.with_ec2(&once);
    let Context { ec2, stack, now, progress, .. } = context;
    let (home, settings) = (&stack.home, &stack.settings);
    progress.say("instances and volumes");
    let fleet = survey::fleet(*ec2).await?;
    let (plans, mut rejected) = policy::plan(&fleet, settings.default_retention, &settings.hook_documents);
    progress.say(format!("snapshots in {home}"));
    // An account may have a hundred thousand: no more of them is kept than decides.
    let (wordless, mut sources, mut of_wordless) = (volumes_without_word(&fleet), Vec::new(), Vec::new());
    let mut wanted = CopyRegions::new(&fleet, &plans);
    ec2.each_snapshot(home, &SnapshotFilter::Automated, &mut |snapshot| {
        wanted.note(&snapshot);
        let source = Source::from(&snapshot);
        if is_source(&source.tags) {
            sources.push(source);
        }
        if snapshot.volume.as_ref().is_some_and(|volume| wordless.contains(volume)) {
            of_wordless.push(snapshot);
        }
    })
    .await?;
    let (destinations, elsewhere) = wanted.finish();
    let (left_out, _) = survey::left_out(*ec2, &fleet.regions, settings).await;
    rejected.extend(elsewhere.into_iter().chain(left_out));

    progress.say("copies");
    let living = LiveInstances::of(&fleet.instances, &fleet.regions);
    let run = now.format("%Y%m%dT%H%M%SZ").to_string();
    let rules = CopyRules::new(home, &run, settings, *now);
    let destinations: Vec<Region> = destinations.into_iter().collect();
    let (copies, mut unreadable) = each_region(&destinations, progress, async |region: Region| {
        let mut there = copies::Copies::default();
        let which = SnapshotFilter::CopiesFrom(home.clone());
        ec2.each_snapshot(&region, &which, &mut |copy| there.note(&copy, home)).await?;
        Ok::<_, Failure>(copies_to(region, &plans, &sources, &there, &living, &rules))
    })
    .await;
    drop(sources);

    progress.say("what has expired");
    let swept = survey::expire_regions(&fleet.regions, settings);
    // Verdicts take memory: of regions with many snapshots they are given one after the other.
    let turn = Mutex::new(());
    let (expiries, closed) = each_region(&swept, progress, async |region: Region| {
        let _turn = if once.count(&region).await? > MANY { Some(turn.lock().await) } else { None };
        sweep(&region, &fleet, context).await
    })
    .await;
    unreadable.extend(closed);
    unreadable.sort();
    unreadable.dedup_by(|a, b| a.region == b.region);
    let mut instances: Vec<Instance> = plans.into_iter().map(Instance::from).collect();
    instances.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
    Ok(Plan {
        stack: stack.name.clone(),
        home: home.clone(),
        now: *now,
        instances,
        rejected,
        unprotected: without_word(&fleet, &of_wordless).0.into_iter().map(Unprotected::from).collect(),
        copies: copies.into_iter().filter(|copies| !copies.is_empty()).collect(),
        expiries: expiries.into_iter().filter(|expiry| !expiry.is_empty()).collect(),
        unreadable,
    })
}

impl From<InstancePlan> for Instance {
    fn from(plan: InstancePlan) -> Self {
        Self {
            instance: plan.instance,
            name: plan.name,
            volumes: plan.volumes,
            excluded: plan.excluded,
            retention_days: plan.retention.into(),
            destinations: plan.copy_regions,
            keep_forever: plan.keep_forever.is_some(),
            hook: plan.hook.map(|hook| hook.document),
        }
    }
}

impl Copies {
    fn is_empty(&self) -> bool {
        let lists = [&self.owed, &self.stuck, &self.forgotten, &self.keep_forever];
        self.of_new_snapshots == 0 && self.doubtful.is_empty() && lists.iter().all(|list| list.is_empty())
    }

    fn is_owed(&self) -> bool {
        !(self.owed.is_empty() && self.stuck.is_empty() && self.forgotten.is_empty() && self.doubtful.is_empty())
    }
}

impl Expiry {
    fn is_empty(&self) -> bool {
        self.stopped.is_none() && self.expires.is_empty() && self.left.is_empty() && self.kept == 0
    }
}

fn copies_to(
    region: Region,
    plans: &[InstancePlan],
    sources: &[Source],
    there: &copies::Copies,
    living: &LiveInstances,
    rules: &CopyRules<'_>,
) -> Copies {
    let owed = copies::decide(sources, there, living, &region, rules);
    let mut found = Copies {
        of_new_snapshots: volumes_to(plans, &region),
        region,
        owed: Vec::new(),
        stuck: owed.stuck.into_iter().map(|stuck| stuck.copy).collect(),
        forgotten: owed.forgotten,
        doubtful: owed.doubtful.into_iter().map(|d| Doubtful { snapshot: d.source, reason: d.reason }).collect(),
        keep_forever: Vec::new(),
    };
    for wanted in owed.wanted {
        match wanted {
            Wanted::Copy { at, .. } => found.owed.push(sources[at].id.clone()),
            Wanted::Retag { copy, .. } => found.keep_forever.push(copy),
        }
    }
    found
}

async fn sweep<E: Ec2, S: Storage, O>(
    region: &Region,
    fleet: &Fleet,
    context: &Context<'_, E, S, O>,
) -> Result<Expiry, Failure> {
    let judged = judged(region, fleet, context).await?;
    let mut found = Expiry {
        region: region.clone(),
        stopped: stopped(region, &judged, context).await?,
        expires: Vec::new(),
        left: Vec::new(),
        kept: 0,
        bytes: 0,
    };
    for (candidate, verdict) in judged.each() {
        let judgement = || Judgement {
            snapshot: candidate.id.clone(),
            volume: candidate.volume.clone(),
            created_on: candidate.tags.created_on,
            verdict: verdict.to_string(),
            bytes: candidate.full_size,
        };
        match verdict {
            Verdict::Expire(_) => {
                found.bytes += candidate.full_size.unwrap_or(0);
                found.expires.push(judgement());
            }
            verdict if verdict.is_left() => found.left.push(judgement()),
            verdict if verdict.is_ours() => found.kept += 1,
            Verdict::Keep(_) => {}
        }
    }
    Ok(found)
}

impl View for Plan {
    const COMMAND: &'static str = "plan";

    fn code(&self) -> Code {
        if !self.unreadable.is_empty() {
            return Code::Aws;
        }
        let stopped = self.expiries.iter().any(|expiry| expiry.stopped.is_some());
        Code::owed_if(stopped || !self.unprotected.is_empty() || self.copies.iter().any(Copies::is_owed))
    }

    fn text(&self, style: &Style) -> String {
        text::text(self, style)
    }
}

/// How often each value comes, the most frequent first.
fn counts<'a>(values: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    counts
}

#[cfg(test)]
mod tests;
