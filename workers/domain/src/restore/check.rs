//! Looks at keys and permissions before anything is made.
#![warn(missing_docs)]

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    error::{Ec2Error, ErrorName, Failure},
    ids::{InstanceId, VolumeId},
    restore::{
        orders::{hold_tags, image_order, volume_order},
        plan::Plan,
        ports::{Attached, AttachmentState, Change, KeyState, Permission, Restoring},
        request::Action,
    },
};

/// What is needed of a key to make a volume with it, and to attach that (EBS user guide, "Requirements for Amazon EBS
/// encryption").
///
/// Which of them is missing cannot be asked: policies allow them through EC2 only (`kms:ViaService`), so that a call of
/// KMS itself would be refused though all is well.
pub const KEY_ACTIONS: [&str; 5] =
    ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"];

/// What stands in the way, or may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "problem")]
pub enum Problem {
    /// A key cannot be used: its state, or that it does not exist.
    #[allow(missing_docs)]
    Key { key: String, state: String },
    /// KMS does not tell the state of a key. It may be usable nevertheless.
    #[allow(missing_docs)]
    KeyNotTold { key: String, answer: String },
    /// A call would not be allowed.
    #[allow(missing_docs)]
    Denied { action: String, message: String },
    /// A volume that would be replaced is attached to other instances, too.
    #[allow(missing_docs)]
    Shared { volume: VolumeId, instances: Vec<InstanceId> },
    /// The root volume is encrypted, and the one that is to take its place is not: EC2 refuses that.
    RootNotEncrypted,
}

impl Problem {
    /// Whether the restore cannot succeed.
    pub fn blocks(&self) -> bool {
        !matches!(self, Self::KeyNotTold { .. })
    }

    /// As a failure.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Key { key, state } => Failure::new(ErrorName::KeyNotAccessible, format!("{key} is {state}")),
            Self::KeyNotTold { key, answer } => {
                Failure::new(ErrorName::KeyNotAccessible, format!("{key} could not be looked at: {answer}"))
            }
            Self::Denied { action, message } => Failure::new(ErrorName::AccessDenied, format!("{action}: {message}")),
            Self::Shared { volume, .. } => {
                Failure::new(ErrorName::InvalidInput, format!("{volume} is attached to other instances, too"))
            }
            Self::RootNotEncrypted => Failure::new(
                ErrorName::InvalidInput,
                "the root volume is encrypted, and this snapshot is not: say a key to encrypt the new volume with",
            ),
        }
    }
}

/// Looks at all keys of the plan, and at the permissions for what can be asked before anything exists.
///
/// # Errors
///
/// What EC2 or KMS answers to the looking itself.
pub async fn first(port: &impl Restoring, plan: &Plan) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    let keys: BTreeSet<&str> = plan.volumes.iter().flat_map(|volume| volume.keys()).collect();
    for key in keys {
        match port.key(&plan.region, key).await? {
            KeyState::Enabled => {}
            KeyState::Unusable(state) => problems.push(Problem::Key { key: key.into(), state }),
            KeyState::NotFound => {
                problems.push(Problem::Key { key: key.into(), state: format!("not in {}", plan.region) });
            }
            KeyState::NotTold(answer) => problems.push(Problem::KeyNotTold { key: key.into(), answer }),
        }
    }
    let replaced: Vec<VolumeId> = plan.volumes.iter().filter_map(|volume| volume.replaces.clone()).collect();
    let old = if replaced.is_empty() { Vec::new() } else { port.volumes(&plan.region, &replaced).await? };
    // Each instance would go on with a volume of its own.
    for volume in &old {
        let other =
            |at: &&Attached| Some(&at.instance) != plan.action.instance() && at.state != AttachmentState::Detached;
        let instances: Vec<InstanceId> = volume.attached.iter().filter(other).map(|at| at.instance.clone()).collect();
        if !instances.is_empty() {
            problems.push(Problem::Shared { volume: volume.id.clone(), instances });
        }
    }
    if let (Action::ReplaceRoot(_), [volume]) = (&plan.action, plan.volumes.as_slice())
        && old.iter().any(|old| old.encrypted)
        && !volume.encrypted
    {
        problems.push(Problem::RootNotEncrypted);
    }
    problems.extend(denied(port, plan, &ahead(plan)).await?);
    Ok(problems)
}

/// The changes that can be asked for before a volume exists. An earlier try may have made some of them.
fn ahead(plan: &Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    match &plan.image {
        Some(image) => changes.push(Change::RegisterImage(image_order(plan, image))),
        None => changes.extend(plan.volumes.iter().take(1).map(|v| Change::CreateVolume(volume_order(plan, v, 1)))),
    }
    let old: Vec<String> =
        plan.volumes.iter().filter_map(|volume| volume.replaces.as_ref()).map(|v| v.to_string()).collect();
    if !old.is_empty() {
        changes.push(Change::Tag { resources: old, tags: hold_tags(plan) });
    }
    if let Action::Swap(instance) = &plan.action {
        changes.extend([Change::Stop { instance: instance.clone() }, Change::Start { instance: instance.clone() }]);
        for volume in &plan.volumes {
            if let (Some(old), Some(device)) = (&volume.replaces, &volume.device) {
                let (volume, instance, device) = (old.clone(), instance.clone(), device.clone());
                changes.push(Change::Detach { volume, instance, device });
            }
            if let (true, Some(device)) = (volume.delete_on_termination, &volume.device) {
                let (instance, device) = (instance.clone(), device.clone());
                changes.push(Change::DeleteOnTermination { instance, device, on: true });
            }
        }
    }
    changes
}

/// Those of the changes that would be denied.
pub(super) async fn denied(port: &impl Restoring, plan: &Plan, changes: &[Change]) -> Result<Vec<Problem>, Ec2Error> {
    let mut problems = Vec::new();
    for change in changes {
        // What EC2 refuses for another reason, it may allow when its time has come.
        if let Permission::Denied(message) = port.allowed(&plan.region, change).await? {
            problems.push(Problem::Denied { action: change.action().into(), message });
        }
    }
    Ok(problems)
}
