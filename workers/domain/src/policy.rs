//! What the tagged fleet asks for: one plan per instance, and what had to be rejected, each by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    fleet::{Attachment, Instance, Regions, Volume},
    ids::{InstanceId, Region, VolumeId},
    retention::RetentionDays,
    tags::{self, InstanceTags, TagProblem},
};

impl Regions {
    /// Why snapshots cannot be copied there; `None` if they can.
    fn refuses(&self, region: &Region) -> Option<String> {
        if *region == self.home {
            Some("a region other than the instance's own".into())
        } else if self.enabled.contains(region) {
            None
        } else if self.disabled.contains(region) {
            Some("a region that is enabled for this account (this one exists, and is not)".into())
        } else {
            let names: Vec<&str> = self.enabled.iter().filter(|r| **r != self.home).map(Region::as_str).collect();
            Some(format!("an enabled region of EC2: {}", names.join(", ")))
        }
    }
}

/// One line of the instances manifest: what is to be snapshotted, and how it is labelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstancePlan {
    /// The instance.
    pub instance: InstanceId,
    /// Its name, else its id.
    pub name: String,
    /// The volumes to snapshot.
    pub volumes: Vec<Attachment>,
    /// The volumes that are attached and left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<VolumeId>,
    /// The boot volume, if it is EBS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<VolumeId>,
    /// How long the snapshots are kept.
    pub retention: RetentionDays,
    /// How long the copies are kept, where the instance says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_cross_region: Option<RetentionDays>,
    /// The instance's `BackupCrossRegion`, as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_cross_region: Option<String>,
    /// The usable regions in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_regions: Vec<Region>,
    /// The instance's `KeepForever`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_forever: Option<String>,
}

/// Something that cannot be done as it was asked for; everything else goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The instance or snapshot it is about.
    pub subject: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Rejection {
    /// A rejection of something that `subject` asks for.
    pub fn new(subject: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self { subject: subject.to_string(), problem: problem.to_string() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

/// The states in which an instance's volumes are snapshotted.
const STATES: [&str; 3] = ["running", "stopping", "stopped"];

/// Plans the snapshots of every instance that asks for a backup.
///
/// A volume that several instances share is snapshotted once, with the first of them by id.
pub fn plan(
    instances: &[Instance],
    volumes: &BTreeMap<VolumeId, Volume>,
    regions: &Regions,
    default_retention: RetentionDays,
) -> (Vec<InstancePlan>, Vec<Rejection>) {
    let mut by_id: Vec<&Instance> = instances.iter().collect();
    by_id.sort_by(|a, b| a.id.cmp(&b.id));
    let (mut plans, mut rejections, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for instance in by_id {
        let (read, mut problems) = InstanceTags::read(&instance.tags);
        if !read.wanted {
            continue;
        }
        let subject = match &read.name {
            Some(name) => format!("{} ({name})", instance.id),
            None => instance.id.to_string(),
        };
        let mut reject = |problem: &dyn fmt::Display| rejections.push(Rejection::new(&subject, problem));
        if !STATES.contains(&instance.state.as_str()) {
            reject(&format!("the instance is {}: allowed is {}", instance.state, STATES.join(", ")));
            continue;
        }
        let copy_regions = usable(&read.copy_regions, regions, &mut problems);
        problems.iter().for_each(|problem| reject(problem));

        let (excluded, wanted): (Vec<_>, Vec<_>) = instance.volumes.iter().cloned().partition(|a| {
            tags::leaves_out(volumes.get(&a.volume).and_then(|v| v.tags.get(tags::BACKUP).map(String::as_str)))
        });
        if wanted.is_empty() {
            reject(&match excluded.len() {
                0 => "the instance has no EBS volume: only EBS volumes can be snapshotted".to_owned(),
                n => format!("all {n} volumes of the instance carry Backup=No"),
            });
            continue;
        }
        let (own, shared): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|a| taken.insert(a.volume.clone()));
        if own.is_empty() {
            continue; // Every volume is snapshotted with an instance that shares it.
        }
        plans.push(InstancePlan {
            root: root_of(instance),
            instance: instance.id.clone(),
            name: read.name.unwrap_or_else(|| instance.id.to_string()),
            volumes: own,
            excluded: excluded.into_iter().chain(shared).map(|a| a.volume).collect(),
            retention: read.retention.unwrap_or(default_retention),
            retention_cross_region: read.retention_cross_region,
            backup_cross_region: read.backup_cross_region,
            copy_regions,
            keep_forever: read.keep_forever,
        });
    }
    (plans, rejections)
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
            id: id.parse().unwrap(),
            state: "running".into(),
            tags: tags(own.iter().copied()),
            root_device: Some("/dev/sda1".into()),
            volumes: volumes
                .iter()
                .map(|(device, volume)| Attachment { device: (*device).into(), volume: volume.parse().unwrap() })
                .collect(),
        }
    }

    fn planned(instances: &[Instance], left_out: &[&str]) -> (Vec<InstancePlan>, Vec<String>) {
        let regions = Regions {
            home: "eu-west-1".parse().unwrap(),
            enabled: ["eu-west-1", "us-east-1", "us-west-2"].map(|r| r.parse().unwrap()).into(),
            disabled: ["ap-east-1"].map(|r| r.parse().unwrap()).into(),
        };
        let volumes = left_out
            .iter()
            .map(|id| Volume { id: id.parse().unwrap(), tags: tags([("Backup", "no")]), attached_to: vec![] })
            .map(|volume| (volume.id.clone(), volume))
            .collect();
        let (plans, rejections) = plan(instances, &volumes, &regions, 7.try_into().unwrap());
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
        assert!(rejected[1].contains("this one exists, and is not"), "{rejected:?}");
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
    fn an_excluded_volume_and_the_root_are_known_to_the_plan() {
        let fleet = [instance("i-1", &[("Backup", "Yes")], &[("/dev/sda1", "vol-1"), ("/dev/sdf", "vol-2")])];
        let (plans, _) = planned(&fleet, &["vol-1"]);
        assert_eq!(plans[0].root, Some("vol-1".parse().unwrap()));
        assert_eq!(plans[0].excluded, ["vol-1".parse().unwrap()]);
        assert_eq!(plans[0].volumes[0].volume.as_str(), "vol-2");
    }
}
