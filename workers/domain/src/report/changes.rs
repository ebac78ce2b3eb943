//! What is different from the last report: instances and volumes that came and went, that gained and lost protection.
#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{names::Names, problem::Named};
use crate::{
    fleet::Fleet,
    ids::{InstanceId, VolumeId},
    policy::InstancePlan,
};

/// All that exists in the home region, and whether it is backed up: what the next report compares with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Living instances.
    pub instances: Vec<ListedInstance>,
    /// Volumes, attached or not.
    pub volumes: Vec<ListedVolume>,
}

/// An instance that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ListedInstance {
    pub id: InstanceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the run was to snapshot it.
    pub protected: bool,
}

/// A volume that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ListedVolume {
    pub id: VolumeId,
    /// The instances that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceId>,
    /// Whether the run was to snapshot it.
    pub protected: bool,
}

impl Listed {
    /// Of a fleet, and of what was planned to be snapshotted of it.
    pub fn of(fleet: &Fleet, plans: &[InstancePlan], names: &Names<'_>) -> Self {
        let planned: BTreeSet<&InstanceId> = plans.iter().map(|plan| &plan.instance).collect();
        let volumes: BTreeSet<&VolumeId> = plans.iter().flat_map(|plan| &plan.volumes).map(|at| &at.volume).collect();
        let living = fleet.instances.iter().filter(|instance| instance.is_living());
        let instance = |id: &InstanceId| ListedInstance {
            id: id.clone(),
            name: names.of(id).and_then(|named| named.name),
            protected: planned.contains(id),
        };
        let volume = |id: &VolumeId| ListedVolume {
            id: id.clone(),
            instances: names.having(id).into_iter().map(|named| named.id).collect(),
            protected: volumes.contains(id),
        };
        Self {
            instances: living.map(|one| instance(&one.id)).collect(),
            volumes: fleet.volumes.iter().map(|one| volume(&one.id)).collect(),
        }
    }
}

/// What a report is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Since {
    /// It is the first one.
    First,
    /// The last one is not known; why.
    #[allow(missing_docs)]
    Unknown { why: String },
    /// The last full run that acted and reported.
    #[allow(missing_docs)]
    Report { run: String, execution: String, reported: DateTime<Utc>, complete: bool },
}

/// What is different from the last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// What it is compared with.
    pub since: Since,
    /// The run whose list the instances and volumes are compared with; none where there is none, and nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<String>,
    /// Why they are not compared, where there is a list.
    #[serde(default, rename = "notCompared", skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
    /// Living instances.
    pub instances: Moves<Named>,
    /// Volumes, with the instances that have or had them.
    pub volumes: Moves<ChangedVolume>,
}

/// A volume that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ChangedVolume {
    pub id: VolumeId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Named>,
}

/// What came, went, and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves<T> {
    /// It was not there, and is backed up.
    pub came: Vec<T>,
    /// It was not there, and is not backed up.
    #[serde(rename = "cameUnprotected")]
    pub came_unprotected: Vec<T>,
    /// It was there, and is not any more.
    pub went: Vec<T>,
    /// It is backed up, and was not.
    pub gained: Vec<T>,
    /// It is there, is not backed up, and was.
    pub lost: Vec<T>,
}

impl<T> Default for Moves<T> {
    fn default() -> Self {
        Self { came: vec![], came_unprotected: vec![], went: vec![], gained: vec![], lost: vec![] }
    }
}

impl<T> Moves<T> {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        [&self.came, &self.came_unprotected, &self.went, &self.gained, &self.lost].iter().all(|list| list.is_empty())
    }

    /// `before` and `now` say of each whether it is backed up.
    fn between<K: Ord>(before: &BTreeMap<K, bool>, now: &BTreeMap<K, bool>, show: impl Fn(&K) -> T) -> Self {
        let mut moves = Self::default();
        for (id, protected) in now {
            match (before.get(id), protected) {
                (None, true) => moves.came.push(show(id)),
                (None, false) => moves.came_unprotected.push(show(id)),
                (Some(false), true) => moves.gained.push(show(id)),
                (Some(true), false) => moves.lost.push(show(id)),
                _ => {}
            }
        }
        moves.went = before.keys().filter(|id| !now.contains_key(id)).map(show).collect();
        moves
    }
}

/// What is different between two lists.
pub fn moves(before: &Listed, now: &Listed) -> (Moves<Named>, Moves<ChangedVolume>) {
    let mut names: BTreeMap<&InstanceId, &Option<String>> = BTreeMap::new();
    let mut having: BTreeMap<&VolumeId, &Vec<InstanceId>> = BTreeMap::new();
    // What is there now comes last: its name is the one that is known.
    for listed in [before, now] {
        names.extend(listed.instances.iter().map(|one| (&one.id, &one.name)));
        having.extend(listed.volumes.iter().map(|one| (&one.id, &one.instances)));
    }
    let named = |id: &InstanceId| Named { id: id.clone(), name: names.get(id).and_then(|name| name.as_ref()).cloned() };
    let instances = |listed: &Listed| listed.instances.iter().map(|one| (one.id.clone(), one.protected)).collect();
    let volumes = |listed: &Listed| listed.volumes.iter().map(|one| (one.id.clone(), one.protected)).collect();
    let changed = |id: &VolumeId| ChangedVolume {
        id: id.clone(),
        instances: having.get(id).into_iter().flat_map(|all| all.iter()).map(named).collect(),
    };
    (
        Moves::between(&instances(before), &instances(now), named),
        Moves::between(&volumes(before), &volumes(now), changed),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instances and a volume of each, of the same number.
    fn listed(all: &[(&str, bool)]) -> Listed {
        Listed {
            instances: all
                .iter()
                .map(|(id, protected)| ListedInstance {
                    id: format!("i-{id}").parse().unwrap(),
                    name: Some(format!("web-{id}")),
                    protected: *protected,
                })
                .collect(),
            volumes: all
                .iter()
                .map(|(id, protected)| ListedVolume {
                    id: format!("vol-{id}").parse().unwrap(),
                    instances: vec![format!("i-{id}").parse().unwrap()],
                    protected: *protected,
                })
                .collect(),
        }
    }

    #[test]
    fn each_change_is_told_once_and_what_stays_is_not() {
        let before = listed(&[("1", true), ("2", false), ("3", true), ("4", true), ("5", false)]);
        let now = listed(&[("1", true), ("2", true), ("3", false), ("5", false), ("6", true), ("7", false)]);
        let (instances, volumes) = moves(&before, &now);
        let ids = |all: &[Named]| all.iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&instances.came), ["i-6"]);
        assert_eq!(ids(&instances.came_unprotected), ["i-7"]);
        assert_eq!(ids(&instances.went), ["i-4"]);
        assert_eq!(ids(&instances.gained), ["i-2"]);
        assert_eq!(ids(&instances.lost), ["i-3"]);
        assert_eq!(instances.went[0].name.as_deref(), Some("web-4"), "what is gone has the name that it had");
        assert_eq!(volumes.went[0].instances[0].to_string(), "i-4 (web-4)");
        let (instances, volumes) = moves(&now, &now);
        assert!(instances.is_empty() && volumes.is_empty());
    }
}
