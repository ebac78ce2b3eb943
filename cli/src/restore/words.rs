//! What a restore says: before, while, and after.

use domain::restore::{
    check::{KEY_ACTIONS, Problem},
    plan::{Moment, Note, PassedOver, Plan},
    progress::{Event, Made, Waiting},
    request::Action,
};

use crate::{
    commands::quoted,
    show::{counted, moment, plain},
};

/// A set's moment.
pub(super) fn when(of: &Moment) -> String {
    match of {
        Moment::One(at) => moment(*at),
        Moment::Between { first, last } => format!("{} to {}", moment(*first), moment(*last)),
        Moment::Day(day) => day.to_string(),
    }
}

/// What a person should know before it is done; what is the same of several snapshots is said once.
pub(super) fn notes(plan: &Plan) -> Vec<String> {
    let unknown = |note: &Note| match note {
        Note::TypeUnknown { snapshot } => Some(snapshot.to_string()),
        _ => None,
    };
    let untyped: Vec<String> = plan.notes.iter().filter_map(unknown).collect();
    let mut words: Vec<String> =
        plan.notes.iter().filter(|note| unknown(note).is_none()).map(|own| note(own, plan)).collect();
    if !untyped.is_empty() {
        let which = untyped.join(", ");
        words.push(format!(
            "Which type the volume had is not said by {which}: it becomes gp3, unless --type says another one."
        ));
    }
    words
}

fn note(note: &Note, plan: &Plan) -> String {
    let chosen = &plan.chosen;
    match note {
        Note::NotOneMoment => {
            "The snapshots are not of one moment: what is spread over several volumes may not fit together.".into()
        }
        Note::Lacking => {
            let known: Vec<String> = chosen.lacking.iter().flatten().map(ToString::to_string).collect();
            let unknown = chosen.lacking.len() - known.len();
            let named = if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) };
            let more = if unknown == 0 { String::new() } else { format!(" ({unknown} of them cannot be named)") };
            let count = counted(chosen.lacking.len(), "volume", "volumes");
            format!("The set lacks {count}, of which there is no completed snapshot here{named}{more}.")
        }
        Note::PassedOver { moment: of, why } => {
            let why = match why {
                PassedOver::Incomplete => "not all its snapshots are completed here",
                PassedOver::KnownBad => "a drill has found one of its snapshots to be bad",
            };
            format!("The set of {} is newer, and passed over: {why}.", when(of))
        }
        Note::KnownBad { snapshot, on } => {
            format!("{snapshot} was found to be bad by the drill of {on}: VerifiedAs says failed.")
        }
        Note::TypeUnknown { snapshot } => format!("Which type the volume had is not said by {snapshot}."),
        Note::GoesOn { newer: None } => "An earlier try of this restore goes on.".into(),
        Note::GoesOn { newer: Some(of) } => {
            format!(
                "An earlier try of this restore goes on, from its own snapshots. There are newer ones of {}: \
                 --instead-of with the id of this plan begins anew.",
                when(of)
            )
        }
        Note::LeavesOther => {
            format!(
                "What the restore has made that this one is made instead of stays, and is yours to delete: {}.",
                plain(&plan.left.join(", "))
            )
        }
        Note::FirstReadIsSlow => {
            let fast = if plan.image.is_some() { "" } else { " --fast loads them before." };
            format!(
                "The volumes can be used at once, and are slow until each block was read once: blocks come from the \
                 snapshot at their first read.{fast}"
            )
        }
        Note::Staged { at_once } => {
            format!(
                "A region initialises 5,000 MiB/s at a time: {} are made at once, and the others after them.",
                counted(*at_once, "volume", "volumes")
            )
        }
        Note::Stops { instance } => {
            format!(
                "{instance} is stopped: what is on its instance store is lost, and a public address that is not an \
                 Elastic IP changes."
            )
        }
        Note::AutoScaling { group } => {
            format!(
                "The instance belongs to the Auto Scaling group {group}, which may replace it meanwhile: put it into \
                 standby first."
            )
        }
        Note::Reboots { instance } => format!("{instance} is rebooted."),
        Note::LosesBilling { known } => {
            let known =
                if known.is_empty() { String::new() } else { format!(" This instance has: {}.", known.join(", ")) };
            format!(
                "An image that is registered from snapshots has no billing codes. Windows, RHEL, SLES and systems of the \
                 Marketplace lose theirs, and may not start, or not be licensed.{known}"
            )
        }
        Note::ImageHoldsSnapshots => {
            "The image holds its snapshots: they cannot be deleted, and cost, until it is deregistered.".into()
        }
        Note::OtherVolumeAtDevice { device, volume } => {
            format!("{volume}, which is at {device} now, is not the volume that the snapshot is of.")
        }
        Note::Stays { device, volume } => {
            format!("{volume} at {device} is not replaced: it stays, with its present data.")
        }
    }
}

/// What has happened, as a line.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Found { snapshot, volume } => format!("{volume} was made by an earlier try, from {snapshot}"),
        Event::Created { snapshot, volume } => format!("{volume} is being made from {snapshot}"),
        Event::Surplus { snapshot, volume } => {
            format!("{volume} is one more from {snapshot}: it is left alone, and yours to delete")
        }
        Event::Held { volumes } => {
            let named = volumes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{named}: kept, with Backup=Hold")
        }
        Event::Stopping { instance } => format!("{instance} is being stopped"),
        Event::Detaching { volume, device } => format!("{volume} is being detached from {device}"),
        Event::Attaching { volume, device } => format!("{volume} is being attached at {device}"),
        Event::Starting { instance } => format!("{instance} is being started"),
        Event::ReplacingRoot { instance, task } => format!("the root volume of {instance} is being replaced ({task})"),
        Event::Registered { image } => format!("image {image} is being registered"),
        Event::Left { resources } => format!("{}: left alone, and yours to delete", plain(&resources.join(", "))),
        Event::Finished { .. } => "what was made is tagged as finished".into(),
    }
}

/// Why it is waited; and how far it is, in per cent, where that is known.
pub(super) fn waiting(why: &Waiting) -> (String, Option<u64>) {
    let only = |text: String| (text, None);
    match why {
        Waiting::Ec2 { action, code } => only(format!("{action}: {code}; looked after, and tried again")),
        Waiting::ToBeSeen(volume) => only(format!("{volume} is not shown by EC2 yet")),
        Waiting::Creating(volumes) => only(format!("creating {}", counted(volumes.len(), "volume", "volumes"))),
        Waiting::RateOfRegion => only("the region's rate of initialization is used up".into()),
        Waiting::Instance { instance, state, wanted } => only(format!("{instance} is {state}, waiting for {wanted}")),
        Waiting::Detaching(volumes) => only(format!("detaching {}", counted(volumes.len(), "volume", "volumes"))),
        Waiting::Attaching(volumes) => only(format!("attaching {}", counted(volumes.len(), "volume", "volumes"))),
        Waiting::RootTask { task, state } => only(format!("{task} is {state}")),
        Waiting::Image { image, state } => only(format!("{image} is {state}")),
        Waiting::Initializing(volumes) => {
            let known: Vec<u64> = volumes.iter().filter_map(|one| one.progress).map(u64::from).collect();
            let left = volumes.iter().filter_map(|one| one.seconds_left).max();
            let left = left.map_or(String::new(), |seconds| format!(", {} min left", seconds.div_ceil(60)));
            let done = known.iter().sum::<u64>().checked_div(known.len() as u64);
            (format!("initialising {}{left}", counted(volumes.len(), "volume", "volumes")), done)
        }
    }
}

/// What there is of a restore that could not be finished.
pub(super) fn so_far(plan: &Plan, made: &Made) -> String {
    let volumes: Vec<String> = made
        .volumes
        .iter()
        .map(|one| match &one.device {
            Some(device) if plan.action.instance().is_some() => format!("{} (for {})", one.volume, plain(device)),
            _ => one.volume.to_string(),
        })
        .chain(made.image.iter().map(|image| plain(image)))
        .collect();
    let made_now =
        if volumes.is_empty() { "Nothing was made yet".into() } else { format!("Made: {}", volumes.join(", ")) };
    let replaced = match made.replaced.as_slice() {
        [] => String::new(),
        old => format!(", for the place of {}", old.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let state = match (plan.action.instance(), &made.instance_state) {
        (Some(instance), Some(state)) => format!(" {instance} is {} now.", plain(state)),
        _ => String::new(),
    };
    format!("{made_now}{replaced}.{state}")
}

/// What there is to do now.
pub(super) fn next(plan: &Plan, made: &Made) -> String {
    match (&plan.action, &made.image) {
        (Action::RegisterImage, Some(image)) => format!(
            "Run next: `aws ec2 run-instances --region {} --image-id {} {}`",
            plan.region,
            safe(image),
            launch(plan)
        ),
        (Action::MakeVolumes, _) => {
            let volume = made.volumes.first().map_or_else(|| "ID".into(), |one| one.volume.to_string());
            format!(
                "They are attached to nothing. Run next: `aws ec2 attach-volume --region {} --volume-id {volume} \
                 --instance-id INSTANCE --device DEVICE`",
                plan.region
            )
        }
        (Action::Swap(instance), _) if made.instance_state.as_deref() == Some("stopped") => format!(
            "{instance} is stopped, as it was when the restore began. Run next: `aws ec2 start-instances --region {} \
             --instance-ids {instance}`",
            plan.region
        ),
        _ => String::new(),
    }
}

/// What an instance is launched with, as far as it is known what it was, and is of this region. It is pasted into a
/// shell, and comes from tags, which others may write.
fn launch(plan: &Plan) -> String {
    let was = &plan.chosen.launched_as;
    let is_here = plan.chosen.from_region.is_none();
    let here =
        |known: Option<&String>, word: &str| known.filter(|_| is_here).map_or_else(|| word.into(), |own| safe(own));
    let groups: Vec<String> = was.security_groups.iter().map(|group| here(Some(group), "GROUP")).collect();
    format!(
        "--instance-type {} --subnet-id {} --security-group-ids {}",
        was.instance_type.as_deref().map_or_else(|| "TYPE".into(), safe),
        here(was.subnet.as_ref(), "SUBNET"),
        if groups.is_empty() || !is_here { "GROUP".into() } else { groups.join(" ") }
    )
}

fn safe(word: &str) -> String {
    quoted(&plain(word))
}

/// What stands in the way, or may.
pub(super) fn problem(problem: &Problem) -> String {
    match problem {
        Problem::Key { key, state } => {
            format!("KeyNotAccessible: {key} is {state}. EBS needs {} with it.", KEY_ACTIONS.join(", "))
        }
        Problem::KeyNotTold { key, answer } => {
            format!("Whether {key} can be used is not told: {answer}. A volume vanishes if it cannot.")
        }
        Problem::Denied { action, message } => {
            format!("AccessDenied: ec2:{action}: {message}. The stack's policy RestorePolicyArn allows it.")
        }
        Problem::Shared { volume, instances } => {
            let others = instances.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!(
                "{volume} is attached to {others}, too: each would go on with other data. Detach it there first, or \
                 restore the volumes without --swap."
            )
        }
        Problem::RootNotEncrypted => problem_of_root(),
    }
}

fn problem_of_root() -> String {
    "The root volume is encrypted, and the snapshot is not: say --kms-key, with the key for the new volume.".into()
}
