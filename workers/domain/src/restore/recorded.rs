//! What the tags of snapshots and copies tell of the volumes that they are of.

use crate::{
    fleet::Tags,
    ids::VolumeId,
    labels::volumes_of,
    restore::performance::{Performance, VolumeType},
};

/// How a volume was provisioned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// None where its type is not known.
    pub performance: Option<Performance>,
    /// Whether it was to go with its instance.
    pub delete_on_termination: bool,
}

/// The volume, as `Volumes` tells it.
pub fn provisioned(tags: &Tags, volume: &VolumeId) -> Option<Provisioned> {
    let found = volumes_of(tags).into_iter().find(|found| found.volume == *volume)?;
    let volume_type: Option<VolumeType> = found.kind.as_deref().and_then(|kind| kind.parse().ok());
    let performance =
        |volume_type| Performance { volume_type, iops: found.iops, throughput: found.throughput }.as_ordered();
    Some(Provisioned { performance: volume_type.map(performance), delete_on_termination: found.delete_on_termination })
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
}
