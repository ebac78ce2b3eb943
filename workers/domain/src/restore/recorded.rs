//! What the tags of snapshots and copies tell of the volumes and the instance that they are of.

use crate::{
    fleet::Tags,
    ids::VolumeId,
    restore::performance::{Performance, VolumeType},
    tags::{INSTANCE_AS, VOLUMES},
};

/// How a volume was provisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    pub volume: VolumeId,
    /// None where its type is not known.
    pub performance: Option<Performance>,
    /// Whether it was to go with its instance.
    pub delete_on_termination: bool,
}

/// What is known of the instance that a restore needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchedAs {
    pub zone: Option<String>,
    pub architecture: Option<String>,
    pub boot_mode: Option<String>,
}

/// The volume, as `Volumes` tells it.
pub fn provisioned(tags: &Tags, volume: &VolumeId) -> Option<Provisioned> {
    values(tags, VOLUMES).flat_map(|value| value.split(' ')).filter_map(read).find(|found| found.volume == *volume)
}

/// A word of `Volumes`: `id:type:IOPS:throughput:GiB:d`, of which parts may be empty, and the last ones left out.
fn read(word: &str) -> Option<Provisioned> {
    let parts: Vec<&str> = word.split(':').collect();
    let part = |at: usize| parts.get(at).copied().filter(|part| !part.is_empty());
    let number = |at| part(at)?.parse().ok();
    let volume_type: Option<VolumeType> = part(1).and_then(|text| text.parse().ok());
    Some(Provisioned {
        volume: part(0)?.parse().ok()?,
        performance: volume_type
            .map(|volume_type| Performance { volume_type, iops: number(2), throughput: number(3) }.as_ordered()),
        delete_on_termination: part(5) == Some("d"),
    })
}

/// The instance, as `InstanceAs` tells it.
pub fn launched_as(tags: &Tags) -> LaunchedAs {
    let mut known = LaunchedAs::default();
    for word in values(tags, INSTANCE_AS).flat_map(|value| value.split(' ')) {
        let Some((name, value)) = word.split_once('=') else { continue };
        let place = match name {
            "zone" => &mut known.zone,
            "arch" => &mut known.architecture,
            "boot" => &mut known.boot_mode,
            _ => continue,
        };
        *place = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    known
}

/// The values of a tag that is continued in `KEY.2`, `KEY.3`, ….
pub fn values<'a>(tags: &'a Tags, key: &'a str) -> impl Iterator<Item = &'a String> {
    (1..).map_while(move |number| match number {
        1 => tags.get(key),
        _ => tags.get(&format!("{key}.{number}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags;

    #[test]
    fn what_is_recorded_is_read_and_what_ec2_would_refuse_is_left_out() {
        let own = tags([("Volumes", "vol-1a:gp3:4000:250:20:d vol-2b:st1::500:4096"), ("Volumes.2", "vol-3c")]);
        let found = |id: &str| provisioned(&own, &id.parse().unwrap());
        let first = found("vol-1a").unwrap();
        let gp3 = Performance { volume_type: VolumeType::Gp3, iops: Some(4_000), throughput: Some(250) };
        assert_eq!((first.performance, first.delete_on_termination), (Some(gp3), true));
        let st1 = Performance { volume_type: VolumeType::St1, iops: None, throughput: None };
        assert_eq!(found("vol-2b").unwrap().performance, Some(st1));
        assert_eq!(found("vol-3c").unwrap().performance, None);
        assert_eq!(found("vol-4d"), None);
    }

    #[test]
    fn the_instance_is_read_wherever_its_words_stand() {
        let own = tags([("InstanceAs", "image=ami-1a zone=eu-west-1a"), ("InstanceAs.2", "arch=arm64 boot=")]);
        let known = launched_as(&own);
        assert_eq!((known.zone.as_deref(), known.architecture.as_deref()), (Some("eu-west-1a"), Some("arm64")));
        assert_eq!(known.boot_mode, None);
    }
}
