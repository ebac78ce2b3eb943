//! The plan of the snapshots: one per instance that asks for a backup, and a rejection for everything that cannot be
//! used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    copies::MIN_COPY_DAYS,
    fleet::{Attachment, Fleet, Instance, InstanceAs, Regions, Volume},
    hooks::{self, HookDocuments, HookPlan},
    ids::{InstanceId, Region, VolumeId},
    labels::{Details, VolumeAs, details_of},
    protection::{by_id, having},
    retention::RetentionDays,
    tags::{self, Backup, InstanceTags, TagProblem, backup_word},
};

impl Regions {
    /// What is allowed instead of this region; `None` if snapshots can be copied there.
    pub(crate) fn refuses(&self, region: &Region) -> Option<String> {
        if *region == self.home {
            Some("a region other than the instance's own".into())
        } else if self.enabled.contains(region) {
            None
        } else if self.disabled.contains(region) {
            Some("a region that is enabled for this account (this one exists, but is not enabled)".into())
        } else {
            let names: Vec<&str> = self.enabled.iter().filter(|r| **r != self.home).map(Region::as_str).collect();
            Some(format!("an enabled region of EC2: {}", names.join(", ")))
        }
    }
}

/// A line of the instances manifest: an instance to snapshot, and the values for the tags of its snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstancePlan {
    pub instance: InstanceId,
    /// The instance's name, or its id.
    pub name: String,
    /// The volumes to snapshot.
    pub volumes: Vec<Attachment>,
    /// The attached volumes that are not snapshotted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<VolumeId>,
    /// The boot volume, if it is EBS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<VolumeId>,
    pub retention: RetentionDays,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_cross_region: Option<RetentionDays>,
    /// The instance's `BackupCrossRegion` as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_cross_region: Option<String>,
    /// The usable regions in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_regions: Vec<Region>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_forever: Option<String>,
    /// The hook that is to be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookPlan>,
    /// Why none is, though the instance asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_hook: Option<String>,
    /// How the volumes to snapshot are provisioned; nothing in a line of an earlier version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_as: Vec<VolumeAs>,
    /// What the instance was launched as.
    #[serde(default, skip_serializing_if = "InstanceAs::is_unknown")]
    pub instance_as: InstanceAs,
}

impl InstancePlan {
    /// What a restore needs to know of the set, as far as its tags have room for it.
    pub fn details(&self) -> Details {
        details_of(&self.volumes, &self.volumes_as, &self.instance_as)
    }
}

/// A tag, an instance or a setting that cannot be used. Everything else goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The instance, volume, snapshot, region or setting that is rejected.
    pub subject: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Rejection {
    pub fn new(subject: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), problem: problem.to_string() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// The states in which an instance's volumes are snapshotted. One that is being started has its volumes, and is not left
/// out for that moment: should EC2 refuse it, that is told.
const STATES: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// How many volumes are snapshotted, and then copied to a region.
pub fn volumes_to(plans: &[InstancePlan], region: &Region) -> usize {
    plans.iter().filter(|plan| plan.copy_regions.contains(region)).map(|plan| plan.volumes.len()).sum()
}

/// Why no hook is run in a stopped instance: nothing runs there that could be frozen, or could write.
const STOPPED: &str = "the instance is stopped: no script can run in it, and nothing writes";

/// Plans the snapshots of every instance that asks for a backup; `documents` are those that may be run as hooks.
///
/// A volume that several instances share is snapshotted once, with the first of them by id.
pub fn plan(
    fleet: &Fleet,
    default_retention: RetentionDays,
    documents: &HookDocuments,
) -> (Vec<InstancePlan>, Vec<Rejection>) {
    let volumes: BTreeMap<&VolumeId, &Volume> = fleet.volumes.iter().map(|volume| (&volume.id, volume)).collect();
    let own_word = |id: &VolumeId| volumes.get(id).and_then(|volume| backup_word(&volume.tags).0);
    let (mut plans, mut rejections) = (Vec::<InstancePlan>::new(), rejected_of_volumes(fleet));
    // The plan that a volume is in.
    let mut taken = BTreeMap::<VolumeId, usize>::new();
    for instance in by_id(fleet).into_values() {
        let (read, mut problems) = InstanceTags::read(&instance.tags);
        let subject = named(instance);
        let mut reject = |problem: &dyn fmt::Display| rejections.push(Rejection::new(&subject, problem));
        if !read.is_wanted() {
            // Without a backup only the `Backup` tag itself is checked.
            if instance.is_living() {
                backup_word(&instance.tags).1.iter().for_each(|problem| reject(problem));
            }
            continue;
        }
        if !STATES.contains(&instance.state.as_str()) {
            reject(&format!("the instance is {}: allowed is {}", instance.state, STATES.join(", ")));
            continue;
        }
        let copy_regions = usable(&read.copy_regions, &fleet.regions, &mut problems);
        problems.extend(short_copies(&read, default_retention).filter(|_| !copy_regions.is_empty()));
        let (mut hook, of_hook) = hooks::read(&instance.tags, documents);
        problems.extend(of_hook);
        let no_hook = hook.take_if(|_| instance.state == "stopped").map(|_| STOPPED.to_owned());
        problems.iter().for_each(|problem| reject(problem));

        let (wanted, excluded): (Vec<_>, Vec<_>) =
            instance.volumes.iter().cloned().partition(|a| matches!(own_word(&a.volume), None | Some(Backup::Yes)));
        if wanted.is_empty() {
            reject(&match excluded.len() {
                0 => "the instance has no EBS volume: only EBS volumes can be snapshotted".to_owned(),
                n => format!("all {n} volumes of the instance carry Backup=No or Backup=Hold"),
            });
            continue;
        }
        let (own, shared): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|a| !taken.contains_key(&a.volume));
        taken.extend(own.iter().map(|a| (a.volume.clone(), plans.len())));
        let plan = InstancePlan {
            root: root_of(instance),
            volumes_as: own.iter().filter_map(|a| provisioned(volumes.get(&a.volume)?, instance)).collect(),
            instance_as: instance.launched_as.clone(),
            instance: instance.id.clone(),
            name: read.name.unwrap_or_else(|| instance.id.to_string()),
            volumes: own,
            excluded: excluded.into_iter().chain(shared).map(|a| a.volume).collect(),
            retention: read.retention.unwrap_or(default_retention),
            retention_cross_region: read.retention_cross_region,
            backup_cross_region: read.backup_cross_region,
            copy_regions,
            keep_forever: read.keep_forever,
            hook,
            no_hook,
        };
        for volume in &plan.excluded {
            let first = taken.get(volume).and_then(|at| plans.get(*at));
            first.and_then(|first| overruled(volume, first, &plan)).iter().for_each(|problem| reject(problem));
        }
        // Else other instances share all its volumes, and are planned with them.
        if !plan.volumes.is_empty() {
            plans.push(plan);
        }
    }
    (plans, rejections)
}

/// The tags of an instance that do not count for a volume which it shares with the first one; none where they are alike.
fn overruled(volume: &VolumeId, first: &InstancePlan, other: &InstancePlan) -> Option<String> {
    let copies = |plan: &InstancePlan| plan.copy_regions.iter().cloned().collect::<BTreeSet<_>>();
    let differ = [
        (tags::RETENTION, first.retention != other.retention),
        (tags::BACKUP_CROSS_REGION, copies(first) != copies(other)),
        (tags::RETENTION_CROSS_REGION, first.retention_cross_region != other.retention_cross_region),
        (tags::KEEP_FOREVER, first.keep_forever.is_some() != other.keep_forever.is_some()),
    ];
    let differ: Vec<&str> = differ.iter().filter(|(_, differs)| *differs).map(|(tag, _)| *tag).collect();
    (!differ.is_empty()).then(|| {
        format!(
            "{volume} is snapshotted with {}, which shares it, and as that says: allowed is the same {} on both",
            first.instance,
            differ.join(", ")
        )
    })
}

/// The name of an instance in reports: its id, with its name if it has one.
pub fn named(instance: &Instance) -> String {
    match InstanceTags::read(&instance.tags).0.name {
        Some(name) => format!("{} ({name})", instance.id),
        None => instance.id.to_string(),
    }
}

/// The tags of volumes that cannot be used.
fn rejected_of_volumes(fleet: &Fleet) -> Vec<Rejection> {
    let instances = by_id(fleet);
    let mut rejections = Vec::new();
    for volume in &fleet.volumes {
        let (word, problems) = backup_word(&volume.tags);
        rejections.extend(problems.iter().map(|problem| Rejection::new(&volume.id, problem)));
        let asked = |instance: &&Instance| InstanceTags::read(&instance.tags).0.is_wanted();
        if word == Some(Backup::Yes) && !having(volume, &instances).iter().any(asked) {
            let problem = "Backup=Yes on a volume: allowed is No or Hold; tag its instance to back it up";
            rejections.push(Rejection::new(&volume.id, problem));
        }
    }
    rejections
}

/// The problem of a retention that is shorter than [`MIN_COPY_DAYS`].
fn short_copies(read: &InstanceTags, default_retention: RetentionDays) -> impl Iterator<Item = TagProblem> {
    let (tag, days) = match read.retention_cross_region {
        Some(days) => (tags::RETENTION_CROSS_REGION, days),
        None => (tags::RETENTION, read.retention.unwrap_or(default_retention)),
    };
    let allowed = format!("{MIN_COPY_DAYS} days or more if copies are asked for: they are kept for {MIN_COPY_DAYS}");
    let problem = TagProblem { tag: tag.into(), value: days.to_string(), allowed };
    (u32::from(days) < MIN_COPY_DAYS).then_some(problem).into_iter()
}

fn usable(asked: &[Region], regions: &Regions, problems: &mut Vec<TagProblem>) -> Vec<Region> {
    let mut refused = |region: &Region| match regions.refuses(region) {
        None => true,
        Some(allowed) => {
            problems.push(TagProblem { tag: tags::BACKUP_CROSS_REGION.into(), value: region.to_string(), allowed });
            false
        }
    };
    asked.iter().filter(|region| refused(region)).cloned().collect()
}

/// How a volume of an instance is provisioned; none where nothing is known of it.
fn provisioned(volume: &Volume, instance: &Instance) -> Option<VolumeAs> {
    let known = VolumeAs::of(volume, instance.deleted_with_it.contains(&volume.id));
    (known != VolumeAs::of(&Volume::new(volume.id.clone()), false)).then_some(known)
}

fn root_of(instance: &Instance) -> Option<VolumeId> {
    let device = instance.root_device.as_ref()?;
    instance.volumes.iter().find(|a| a.device == *device).map(|a| a.volume.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags;

    fn instance(id: &str, own: &[(&str, &str)], volumes: &[(&str, &str)]) -> Instance {
        Instance {
            tags: tags(own.iter().copied()),
            root_device: Some("/dev/sda1".into()),
            volumes: volumes
                .iter()
                .map(|(device, volume)| Attachment { device: (*device).into(), volume: volume.parse().unwrap() })
                .collect(),
            ..Instance::new(id.parse().unwrap(), "running")
        }
    }

    fn documents() -> HookDocuments {
        HookDocuments::read("", Some("nightly")).unwrap()
    }

    fn planned(instances: &[Instance], left_out: &[&str]) -> (Vec<InstancePlan>, Vec<String>) {
        let regions = Regions {
            home: "eu-west-1".parse().unwrap(),
            enabled: ["eu-west-1", "us-east-1", "us-west-2"].map(|r| r.parse().unwrap()).into(),
            disabled: ["ap-east-1"].map(|r| r.parse().unwrap()).into(),
        };
        let attached = instances.iter().flat_map(|i| i.volumes.iter().map(|a| (a.volume.clone(), i.id.clone())));
        let mut by_volume: BTreeMap<VolumeId, Volume> = BTreeMap::new();
        for (id, instance) in attached {
            let word = left_out.iter().find(|left_out| **left_out == id.as_str()).map(|_| ("Backup", "no"));
            let new = Volume { tags: tags(word), ..Volume::new(id.clone()) };
            by_volume.entry(id).or_insert(new).attached_to.push(instance);
        }
        let fleet = Fleet { regions, instances: instances.to_vec(), volumes: by_volume.into_values().collect() };
        let (plans, rejections) = plan(&fleet, 7.try_into().unwrap(), &documents());
        (plans, rejections.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_bad_retention_becomes_the_default_and_is_reported() {
        let (plans, rejected) =
            planned(&[instance("i-1", &[("Backup", "Yes"), ("Retention", "7d")], &[("/dev/sda1", "vol-1")])], &[]);
        assert_eq!(u32::from(plans[0].retention), 7);
        assert_eq!(rejected, ["i-1: Retention=\"7d\": allowed is a whole number of days from 1 to 36500"]);
    }

    #[test]
    fn unknown_disabled_and_own_regions_are_reported_and_the_rest_goes_on() {
        let own = [("Backup", "Yes"), ("BackupCrossRegion", "eu-west-1, ap-east-1,us-nowhere-9, us-west-2")];
        let (plans, rejected) = planned(&[instance("i-1", &own, &[("/dev/sda1", "vol-1")])], &[]);
        assert_eq!(plans[0].copy_regions, ["us-west-2".parse().unwrap()]);
        assert_eq!(plans[0].backup_cross_region.as_deref(), Some(own[1].1), "the snapshot's tag stays as it was given");
        assert_eq!(rejected.len(), 3);
        assert!(rejected[0].contains("other than the instance's own"), "{rejected:?}");
        assert!(rejected[1].contains("this one exists, but is not enabled"), "{rejected:?}");
        assert!(rejected[2].contains("us-nowhere-9") && rejected[2].contains("us-east-1, us-west-2"), "{rejected:?}");
    }

    #[test]
    fn an_instance_without_a_volume_to_snapshot_is_rejected_and_the_others_go_on() {
        let yes = &[("Backup", "Yes")];
        let mut gone = instance("i-3", yes, &[("/dev/sda1", "vol-3")]);
        gone.state = "terminated".into();
        let fleet = [
            instance("i-1", yes, &[]),
            instance("i-2", yes, &[("/dev/sda1", "vol-2")]),
            gone,
            instance("i-4", yes, &[("/dev/sda1", "vol-4")]),
        ];
        let (plans, rejected) = planned(&fleet, &["vol-2"]);
        assert_eq!(plans.iter().map(|p| p.instance.as_str()).collect::<Vec<_>>(), ["i-4"]);
        assert!(rejected[0].contains("no EBS volume") && rejected[1].contains("Backup=No"), "{rejected:?}");
        assert!(rejected[2].contains("terminated") && rejected[2].contains("running, stopping, stopped"));
    }

    #[test]
    fn an_instance_that_is_being_started_or_stopped_is_snapshotted_as_any_other() {
        for state in ["pending", "stopping"] {
            let fleet =
                [Instance { state: state.into(), ..instance("i-1", &[("Backup", "Yes")], &[("/dev/sda1", "vol-1")]) }];
            let (plans, rejected) = planned(&fleet, &[]);
            assert!(plans.len() == 1 && rejected.is_empty(), "{state}: {rejected:?}");
        }
    }

    #[test]
    fn a_shared_volume_is_planned_once() {
        let yes = &[("Backup", "Yes")];
        let fleet = [
            instance("i-2", yes, &[("/dev/sda1", "vol-2"), ("/dev/sdf", "vol-9")]),
            instance("i-1", yes, &[("/dev/sda1", "vol-1"), ("/dev/sdf", "vol-9")]),
        ];
        let (plans, rejected) = planned(&fleet, &[]);
        assert_eq!(plans[0].volumes.len(), 2);
        assert_eq!(plans[1].volumes.iter().map(|a| a.volume.as_str()).collect::<Vec<_>>(), ["vol-2"]);
        assert_eq!(plans[1].excluded, ["vol-9".parse().unwrap()]);
        assert!(rejected.is_empty());
    }

    #[test]
    fn a_word_that_is_none_is_rejected_and_asks_for_nothing() {
        let disks = &[("/dev/sda1", "vol-1")];
        for own in [("Backup", "true"), ("backup", "Yes"), ("Back-Up", "no")] {
            let (plans, rejected) = planned(&[instance("i-1", &[own], disks)], &[]);
            assert!(plans.is_empty());
            assert_eq!(rejected.len(), 1, "{own:?}: {rejected:?}");
            assert!(rejected[0].starts_with("i-1: "), "{rejected:?}");
        }
        for own in [("Backup", "Hold"), ("Backup", "No"), ("backup", "daily")] {
            let (plans, rejected) = planned(&[instance("i-1", &[own], disks)], &[]);
            assert!(plans.is_empty() && rejected.is_empty(), "{own:?}: {rejected:?}");
        }
    }

    #[test]
    fn tags_that_do_not_count_for_a_shared_volume_are_told() {
        let yes = [("Backup", "Yes")];
        let other = [("Backup", "Yes"), ("Retention", "90"), ("KeepForever", ""), ("BackupCrossRegion", "us-east-1")];
        let both = |second: &[(&str, &str)]| {
            let disks: [(&str, &str); 2] = [("/dev/sda1", "vol-2"), ("/dev/sdf", "vol-1")];
            planned(&[instance("i-1", &yes, &disks[1..]), instance("i-2", second, &disks)], &[])
        };
        assert!(both(&yes).1.is_empty());
        let (plans, rejected) = both(&other);
        assert_eq!(plans.len(), 2);
        assert_eq!(
            rejected,
            ["i-2: vol-1 is snapshotted with i-1, which shares it, and as that says: allowed is the same Retention, \
              BackupCrossRegion, KeepForever on both"]
        );
    }

    #[test]
    fn copies_of_a_single_day_are_kept_for_two_and_that_is_said() {
        let disks = &[("/dev/sda1", "vol-1")];
        let rejected = |own: &[(&str, &str)]| planned(&[instance("i-1", own, disks)], &[]).1;
        let own = [("Backup", "Yes"), ("Retention", "1"), ("BackupCrossRegion", "us-east-1")];
        assert_eq!(
            rejected(&own),
            ["i-1: Retention=\"1\": allowed is 2 days or more if copies are asked for: they are kept for 2"]
        );
        assert!(rejected(&own[..2]).is_empty(), "no copies are asked for");
        let longer = [own[0], own[1], own[2], ("RetentionCrossRegion", "3")];
        assert!(rejected(&longer).is_empty());
    }

    #[test]
    fn a_hook_is_planned_with_what_its_tags_say_and_one_that_is_not_allowed_is_rejected_and_refused_later() {
        let disks = &[("/dev/sda1", "vol-1")];
        let asked = |hook: &str| planned(&[instance("i-1", &[("Backup", "Yes"), ("BackupHook", hook)], disks)], &[]);
        let (plans, rejected) = asked("MySQL");
        assert_eq!(plans[0].hook.as_ref().unwrap().document, "nightly-mysql");
        assert!(rejected.is_empty() && plans[0].no_hook.is_none());
        let (plans, rejected) = asked("AWS-RunShellScript");
        assert_eq!(plans[0].hook.as_ref().unwrap().document, "AWS-RunShellScript", "its pre-script is refused by name");
        assert!(rejected[0].starts_with("i-1: BackupHook=\"AWS-RunShellScript\": allowed is one of mariadb"));
    }

    #[test]
    fn nothing_is_run_in_a_stopped_instance() {
        let own = [("Backup", "Yes"), ("BackupHook", "mysql"), ("BackupHookOnError", "skip")];
        let mut stopped = instance("i-1", &own, &[("/dev/sda1", "vol-1")]);
        stopped.state = "stopped".into();
        let (plans, rejected) = planned(&[stopped], &[]);
        assert!(plans[0].hook.is_none() && rejected.is_empty());
        assert!(plans[0].no_hook.as_ref().unwrap().contains("is stopped"));
    }

    #[test]
    fn a_plan_knows_how_its_volumes_are_provisioned_and_what_the_instance_was_launched_as() {
        let mut db = instance("i-1", &[("Backup", "Yes")], &[("/dev/sda1", "vol-1"), ("/dev/sdf", "vol-2")]);
        db.launched_as.instance_type = Some("m5.large".into());
        db.deleted_with_it = vec!["vol-1".parse().unwrap()];
        let volume = |id: &str| Volume {
            kind: Some("gp3".into()),
            iops: Some(3000),
            throughput: Some(125),
            gib: Some(20),
            ..Volume::new(id.parse().unwrap())
        };
        let home: Region = "eu-west-1".parse().unwrap();
        let regions = Regions { home: home.clone(), enabled: [home].into(), disabled: [].into() };
        let fleet = Fleet { regions, instances: vec![db], volumes: vec![volume("vol-1"), volume("vol-2")] };
        let plan = plan(&fleet, 7.try_into().unwrap(), &documents()).0.remove(0);
        let expected = [
            ("InstanceAs".to_owned(), "type=m5.large".to_owned()),
            ("Volumes".to_owned(), "vol-1:gp3:3000:125:20:d vol-2:gp3:3000:125:20".to_owned()),
        ];
        assert_eq!(plan.details().tags, expected.into());
        let line = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<InstancePlan>(&line).unwrap(), plan);
    }

    #[test]
    fn a_line_of_an_earlier_version_is_read_without_details() {
        let line =
            r#"{"instance":"i-1","name":"db","volumes":[{"device":"/dev/sda1","volume":"vol-1"}],"retention":7}"#;
        let plan: InstancePlan = serde_json::from_str(line).unwrap();
        assert_eq!(plan.details(), Details::default());
        let (plans, _) = planned(&[instance("i-1", &[("Backup", "Yes")], &[("/dev/sda1", "vol-1")])], &[]);
        let written = serde_json::to_string(&plans[0]).unwrap();
        assert!(plans[0].volumes_as.is_empty() && !written.contains("volumesAs") && !written.contains("instanceAs"));
    }

    #[test]
    fn an_excluded_volume_and_the_root_are_known_to_the_plan() {
        let fleet = [instance("i-1", &[("Backup", "Yes")], &[("/dev/sda1", "vol-1"), ("/dev/sdf", "vol-2")])];
        let (plans, _) = planned(&fleet, &["vol-1"]);
        assert_eq!(plans[0].root, Some("vol-1".parse().unwrap()));
        assert_eq!(plans[0].excluded, ["vol-1".parse().unwrap()]);
        assert_eq!(plans[0].volumes[0].volume.as_str(), "vol-2");
    }
}
