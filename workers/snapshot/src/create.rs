use chrono::{DateTime, Utc};
use domain::{
    claims::Made,
    creating::Context,
    error::{Ec2Error, ErrorName, Reaction},
    fleet::{Attachment, Tags},
    ids::VolumeId,
    labels::description,
    policy::InstancePlan,
    ports::{Claims, CreateSet, Ec2},
};

/// Data volumes that one `CreateSnapshots` can leave out (its documentation).
const MAX_EXCLUDED: usize = 40;

/// The result for an instance's missing volumes.
#[derive(Debug, Default)]
pub(crate) struct Created {
    pub(crate) made: Vec<Made>,
    /// The volumes that EC2 refused, each with its own error.
    pub(crate) refused: Vec<(VolumeId, Ec2Error)>,
    /// The error after which the rest was not tried.
    pub(crate) stopped: Option<Ec2Error>,
    /// Whether there was no time to try the rest.
    pub(crate) is_cut_short: bool,
}

impl Created {
    /// Whether EC2 may have made more than `made`.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.stopped.as_ref().is_some_and(|error| error.reaction() == Reaction::MayHaveHappened)
    }
}

/// Makes one `CreateSnapshots` if that call can exclude the right volumes, or else one `CreateSnapshot` per volume.
pub(crate) async fn create<E: Ec2, C: Claims>(
    context: &Context<'_, E, C>,
    plan: &InstancePlan,
    missing: &[&Attachment],
    nothing_yet: bool,
    tags: &Tags,
    looked: DateTime<Utc>,
) -> Created {
    let description = description(&plan.name, &plan.instance);
    let (root, data): (Vec<_>, Vec<_>) = plan.excluded.iter().cloned().partition(|v| Some(v) == plan.root.as_ref());
    if nothing_yet && data.len() <= MAX_EXCLUDED {
        let set = CreateSet {
            instance: &plan.instance,
            exclude_root: !root.is_empty(),
            exclude: &data,
            description: &description,
            tags,
        };
        let at = context.now();
        match context.ec2.create_set(&set).await {
            Ok(created) => {
                let made = created.into_iter().map(|c| Made { id: c.id, volume: Some(c.volume), at }).collect();
                return Created { made, ..Created::default() };
            }
            // An excluded volume was detached after it was discovered, and must not be named any more;
            // or EC2 refuses the whole call because of one volume.
            Err(error)
                if error.code == "InvalidParameterValue" && !data.is_empty()
                    || is_of_one_volume(&error) && missing.len() > 1 =>
            {
                let instance = plan.instance.as_str();
                tracing::warn!(instance, error = %error.name(), cause = %error, "one snapshot per volume instead");
            }
            Err(error) if is_of_one_volume(&error) => {
                let refused = missing.iter().map(|a| (a.volume.clone(), error.clone())).collect();
                return Created { refused, ..Created::default() };
            }
            Err(error) => return Created { stopped: Some(error), ..Created::default() },
        }
    }
    one_by_one(context, plan, missing, &description, tags, looked).await
}

async fn one_by_one<E: Ec2, C: Claims>(
    context: &Context<'_, E, C>,
    plan: &InstancePlan,
    missing: &[&Attachment],
    description: &str,
    tags: &Tags,
    looked: DateTime<Utc>,
) -> Created {
    let mut created = Created::default();
    for attachment in missing {
        if context.is_late(looked) {
            created.is_cut_short = true;
            break;
        }
        let (volume, at) = (attachment.volume.clone(), context.now());
        match context.ec2.create_one(attachment, description, tags).await {
            Ok(id) => created.made.push(Made { id, volume: Some(volume), at }),
            // An unknown error may be about this volume only.
            Err(error) if is_of_one_volume(&error) || error.reaction() == Reaction::Never(ErrorName::Ec2Refused) => {
                let (instance, name) = (plan.instance.as_str(), error.name());
                tracing::warn!(instance, %volume, outcome = "refused", error = %name, cause = %error, "EC2 refused to snapshot the volume");
                created.refused.push((volume, error));
            }
            Err(error) => {
                created.stopped = Some(error);
                break;
            }
        }
    }
    created
}

/// Whether EC2 refuses because of the limits or the state of one volume (EC2 API reference, "Error codes").
fn is_of_one_volume(error: &Ec2Error) -> bool {
    let own =
        ["SnapshotCreationPerVolumeRateExceeded", "ConcurrentSnapshotLimitExceeded", "IncorrectState", "InvalidState"];
    own.contains(&error.code.as_str()) || error.reaction() == Reaction::Never(ErrorName::VolumeNotFound)
}
