//! The types of volumes, and what EC2 allows of each.
//!
//! Sources: the EC2 API reference, `CreateVolume` (ranges of IOPS, throughput and size); the EBS user guide, "Amazon EBS
//! volume types" (what IOPS a size allows, and what throughput IOPS allow).
#![warn(missing_docs)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type of volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum VolumeType {
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
    Standard,
}

impl VolumeType {
    /// Every type.
    pub const ALL: [Self; 7] = [Self::Gp2, Self::Gp3, Self::Io1, Self::Io2, Self::St1, Self::Sc1, Self::Standard];

    /// As EC2 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gp2 => "gp2",
            Self::Gp3 => "gp3",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::St1 => "st1",
            Self::Sc1 => "sc1",
            Self::Standard => "standard",
        }
    }

    /// The sizes that it can have, in GiB.
    fn sizes(self) -> (u32, u32) {
        match self {
            Self::Gp2 => (1, 16_384),
            Self::Gp3 => (1, 65_536),
            Self::Io1 => (4, 16_384),
            Self::Io2 => (4, 65_536),
            Self::St1 | Self::Sc1 => (125, 16_384),
            Self::Standard => (1, 1_024),
        }
    }

    /// The IOPS that can be asked for, and how many each GiB allows.
    fn iops(self) -> Option<Iops> {
        match self {
            Self::Gp3 => Some(Iops { least: 3_000, most: 80_000, per_gib: 500 }),
            Self::Io1 => Some(Iops { least: 100, most: 64_000, per_gib: 50 }),
            Self::Io2 => Some(Iops { least: 100, most: 256_000, per_gib: 1_000 }),
            Self::Gp2 | Self::St1 | Self::Sc1 | Self::Standard => None,
        }
    }

    /// Whether EC2 demands that IOPS are said.
    fn needs_iops(self) -> bool {
        matches!(self, Self::Io1 | Self::Io2)
    }

    /// Whether an instance can boot from it.
    pub fn can_boot(self) -> bool {
        !matches!(self, Self::St1 | Self::Sc1)
    }
}

struct Iops {
    least: u32,
    most: u32,
    per_gib: u32,
}

/// MiB/s of gp3, at least and at most.
const THROUGHPUT: (u32, u32) = (125, 2_000);
/// So many IOPS of gp3 allow one MiB/s.
const IOPS_PER_MIBS: u32 = 4;
/// The IOPS that gp3 has where nothing is said.
pub const GP3_IOPS: u32 = 3_000;
/// The MiB/s that gp3 has where nothing is said.
pub const GP3_THROUGHPUT: u32 = 125;

impl fmt::Display for VolumeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for VolumeType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| {
            format!("{text:?} is not a type of volume: allowed is gp3, gp2, io1, io2, st1, sc1 or standard")
        })
    }
}

/// What a volume is, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Performance {
    /// Its type.
    #[serde(rename = "type")]
    pub volume_type: VolumeType,
    /// Provisioned IOPS; none where the type takes none, or EC2's default is meant.
    pub iops: Option<u32>,
    /// Provisioned MiB/s; the same.
    pub throughput: Option<u32>,
}

impl Default for Performance {
    /// What a volume gets of which nothing is known: EC2's own default would be gp2.
    fn default() -> Self {
        Self { volume_type: VolumeType::Gp3, iops: None, throughput: None }
    }
}

/// What is to be different from what was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Overrides {
    pub volume_type: Option<VolumeType>,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
}

impl Performance {
    /// Without what its type does not take: EC2 tells the IOPS of a gp2 volume, too, and refuses them in `CreateVolume`.
    pub fn as_ordered(self) -> Self {
        Self {
            volume_type: self.volume_type,
            iops: self.iops.filter(|_| self.volume_type.iops().is_some()),
            throughput: self.throughput.filter(|_| self.volume_type == VolumeType::Gp3),
        }
    }

    /// With overrides. Another type begins with its own defaults, except that a type that needs IOPS keeps them.
    pub fn with(self, overrides: Overrides) -> Self {
        let was = self.as_ordered();
        let volume_type = overrides.volume_type.unwrap_or(was.volume_type);
        let same = volume_type == was.volume_type;
        let iops = was.iops.filter(|_| same || volume_type.needs_iops());
        let throughput = was.throughput.filter(|_| same);
        Self { volume_type, iops: overrides.iops.or(iops), throughput: overrides.throughput.or(throughput) }
    }

    /// Whether EC2 would make a volume of so many GiB like this.
    ///
    /// # Errors
    ///
    /// What was given and what is allowed, as a sentence.
    pub fn check(self, gib: u32) -> Result<(), String> {
        let Self { volume_type, iops, throughput } = self;
        let (least, most) = volume_type.sizes();
        if !(least..=most).contains(&gib) {
            return Err(format!("{volume_type} of {gib} GiB: allowed is {least} to {most} GiB"));
        }
        match (volume_type.iops(), iops) {
            (None, Some(given)) => {
                return Err(format!("{given} IOPS: {volume_type} takes none; allowed is that with gp3, io1 and io2"));
            }
            (Some(allowed), None) if volume_type.needs_iops() => {
                let most = allowed.most.min(gib.saturating_mul(allowed.per_gib));
                return Err(format!("{volume_type} needs IOPS: allowed is {} to {most} for {gib} GiB", allowed.least));
            }
            (Some(allowed), Some(given)) => {
                // 3,000 are in every gp3 volume, however small.
                let most = allowed.most.min(gib.saturating_mul(allowed.per_gib)).max(allowed.least);
                if !(allowed.least..=most).contains(&given) {
                    let range = format!("{} to {most}", allowed.least);
                    return Err(format!("{given} IOPS: allowed for {volume_type} of {gib} GiB is {range}"));
                }
            }
            _ => {}
        }
        let Some(given) = throughput else { return Ok(()) };
        if volume_type != VolumeType::Gp3 {
            return Err(format!("{given} MiB/s: {volume_type} takes no throughput; allowed is that with gp3"));
        }
        let iops = iops.unwrap_or(GP3_IOPS);
        let most = THROUGHPUT.1.min(iops / IOPS_PER_MIBS);
        match (THROUGHPUT.0..=most).contains(&given) {
            true => Ok(()),
            false => {
                Err(format!("{given} MiB/s: allowed for gp3 with {iops} IOPS is {} to {most} MiB/s", THROUGHPUT.0))
            }
        }
    }
}

/// MiB/s of a volume's initialization, at least and at most.
pub const INITIALIZATION_RATE: (u32, u32) = (100, 300);
/// MiB/s of all initializations of a region at one time; past it EC2 refuses (EBS user guide, quotas).
pub const INITIALIZATION_RATE_OF_REGION: u32 = 5_000;

/// Whether a rate of initialization can be asked for.
///
/// # Errors
///
/// What was given and what is allowed, as a sentence.
pub fn check_rate(rate: u32) -> Result<(), String> {
    let (least, most) = INITIALIZATION_RATE;
    match (least..=most).contains(&rate) {
        true => Ok(()),
        false => Err(format!("a rate of initialization of {rate} MiB/s: allowed is {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn performance(volume_type: VolumeType, iops: Option<u32>, throughput: Option<u32>) -> Performance {
        Performance { volume_type, iops, throughput }
    }

    #[test]
    fn what_ec2_allows_is_allowed_and_the_next_value_is_not() {
        use VolumeType::*;
        for (gib, volume_type, iops, throughput, good) in [
            (1, Gp3, None, None, true),
            (1, Gp3, Some(3_000), Some(750), true),
            (1, Gp3, Some(2_999), None, false),
            (6, Gp3, Some(3_001), None, false),
            (7, Gp3, Some(3_500), None, true),
            (7, Gp3, Some(3_501), None, false),
            (1_000, Gp3, Some(80_000), Some(2_000), true),
            (1_000, Gp3, Some(80_001), None, false),
            (1_000, Gp3, Some(80_000), Some(2_001), false),
            (1_000, Gp3, None, Some(751), false),
            (1_000, Gp3, None, Some(124), false),
            (65_537, Gp3, None, None, false),
            (100, Gp2, Some(300), None, false),
            (100, Gp2, None, Some(125), false),
            (16_385, Gp2, None, None, false),
            (100, Io1, None, None, false),
            (100, Io1, Some(5_000), None, true),
            (100, Io1, Some(5_001), None, false),
            (100, Io2, Some(100_000), None, true),
            (1_000, Io2, Some(256_001), None, false),
            (3, Io2, Some(100), None, false),
            (124, St1, None, None, false),
            (125, Sc1, None, None, true),
            (1_025, Standard, None, None, false),
        ] {
            let result = performance(volume_type, iops, throughput).check(gib);
            assert_eq!(result.is_ok(), good, "{gib} GiB {volume_type} {iops:?} {throughput:?}: {result:?}");
            if let Err(error) = result {
                assert!(error.contains("allowed"), "{error}");
            }
        }
    }

    #[test]
    fn another_type_begins_with_its_own_defaults() {
        let was = performance(VolumeType::Io2, Some(20_000), None);
        let to = |volume_type| was.with(Overrides { volume_type: Some(volume_type), ..Overrides::default() });
        assert_eq!(to(VolumeType::Gp3), performance(VolumeType::Gp3, None, None));
        assert_eq!(to(VolumeType::Io1), performance(VolumeType::Io1, Some(20_000), None));
        assert_eq!(was.with(Overrides::default()), was);
        let gp2 = performance(VolumeType::Gp2, Some(300), Some(250));
        assert_eq!(gp2.with(Overrides::default()), performance(VolumeType::Gp2, None, None), "EC2 would refuse them");
    }
}
