//! Which of the details have room on a snapshot, beside the tags that the system itself goes by.
//!
//! 50 tags are enough for some 85 volumes with everything. What a larger set leaves out, in this order:
//!
//! 1. the sizes, since each snapshot tells its own;
//! 2. IOPS and throughput;
//! 3. the last volumes of the set, as many as have no room;
//! 4. `InstanceAs`.

use std::fmt;

use super::{
    continued::{tags_of, values},
    details::{VolumeAs, instance_tags, volumes_tags},
};
use crate::{
    fleet::{InstanceAs, Tags},
    tags::VOLUMES,
};

/// The tags with the details of a set, and what there was no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub tags: Tags,
    pub left_out: Vec<LeftOut>,
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    Sizes,
    Performance,
    /// All that is known of so many volumes.
    Volumes(usize),
    Instance,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes => f.write_str("the sizes of its volumes"),
            Self::Performance => f.write_str("their IOPS and throughput"),
            Self::Volumes(1) => f.write_str("the type of 1 volume"),
            Self::Volumes(count) => write!(f, "the types of {count} volumes"),
            Self::Instance => f.write_str("what its instance was launched as"),
        }
    }
}

impl Details {
    /// Those that fit into so many tags.
    pub(super) fn fitting(volumes: &[VolumeAs], instance: &InstanceAs, room: usize) -> Self {
        let mut fitting = Self { tags: instance_tags(instance), left_out: Vec::new() };
        if fitting.tags.len() > room {
            fitting = Self { tags: Tags::new(), left_out: vec![LeftOut::Instance] };
        }
        let room = room - fitting.tags.len();
        let (volumes, left_out) = fitting_volumes(volumes, room);
        fitting.tags.extend(volumes);
        fitting.left_out.splice(..0, left_out);
        fitting
    }

    /// What there was no room for, in words; none where all of it had.
    pub fn left_out_text(&self) -> Option<String> {
        let left_out: Vec<String> = self.left_out.iter().map(LeftOut::to_string).collect();
        (!left_out.is_empty()).then(|| left_out.join("; "))
    }
}

fn fitting_volumes(volumes: &[VolumeAs], room: usize) -> (Tags, Vec<LeftOut>) {
    let mut volumes = volumes.to_vec();
    let mut left_out = Vec::new();
    let mut written = volumes_tags(&volumes);
    if written.len() > room && volumes.iter().any(|volume| volume.gib.is_some()) {
        volumes.iter_mut().for_each(|volume| volume.gib = None);
        left_out.push(LeftOut::Sizes);
        written = volumes_tags(&volumes);
    }
    if written.len() > room && volumes.iter().any(|volume| volume.iops.or(volume.throughput).is_some()) {
        volumes.iter_mut().for_each(|volume| (volume.iops, volume.throughput) = (None, None));
        left_out.push(LeftOut::Performance);
        written = volumes_tags(&volumes);
    }
    if written.len() > room {
        let kept: Vec<String> =
            values(&written, VOLUMES).take(room).flat_map(|value| value.split(' ')).map(str::to_owned).collect();
        left_out.push(LeftOut::Volumes(volumes.len() - kept.len()));
        written = tags_of(VOLUMES, kept);
    }
    (written, left_out)
}

#[cfg(test)]
mod tests;
