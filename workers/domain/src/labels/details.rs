//! What a restore needs besides the data: how each volume was provisioned, and as what its instance was launched.
//!
//! `Volumes`, `Volumes.2`, … have a word for each volume of the set, `id:type:IOPS:throughput:GiB:d`. `d` says that the
//! volume is deleted with its instance; what EC2 does not tell is empty, and nothing follows the last part that it does:
//!
//! ```
//! use domain::{labels::volumes_of, tags::tags};
//! let found = volumes_of(&tags([("Volumes", "vol-1a:gp3:3000:125:20:d vol-2b:st1::500:4096")]));
//! assert_eq!((found[0].kind.as_deref(), found[0].gib, found[0].delete_on_termination), (Some("gp3"), Some(20), true));
//! assert_eq!((found[1].iops, found[1].throughput, found[1].delete_on_termination), (None, Some(500), false));
//! ```
//!
//! `InstanceAs`, `InstanceAs.2`, … have a word for each thing that is known of the instance:
//!
//! ```
//! use domain::{labels::instance_as, tags::tags};
//! let read = instance_as(&tags([
//!     ("InstanceAs", "image=ami-1a type=m5.large zone=eu-west-1a arch=x86_64 boot=uefi subnet=subnet-1a groups=sg-1a,sg-2b"),
//!     ("InstanceAs.2", "groups=,sg-3c key=night=20shift"),
//! ]))
//! .unwrap();
//! assert_eq!(read.instance_type.as_deref(), Some("m5.large"));
//! assert_eq!(read.security_groups, ["sg-1a", "sg-2b", "sg-3c"]);
//! assert_eq!(read.key_name.as_deref(), Some("night shift"));
//! ```
//!
//! A name of a key pair may hold anything (up to 255 ASCII characters: API reference, `CreateKeyPair`). A character that
//! would not read back, or that is none of those which every AWS service takes in tags, is written as `=` and two digits,
//! as in quoted-printable mail. A word that is too long for its tag goes on in another one of the same name. Words that
//! are not understood are passed over, since later versions may write more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::continued::{tags_of, values};
use crate::{
    fleet::{InstanceAs, Tags, Volume},
    ids::VolumeId,
    tags::{INSTANCE_AS, MAX_VALUE, VOLUMES},
};

/// How a volume was provisioned when its snapshot was begun, as far as EC2 told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeAs {
    pub volume: VolumeId,
    /// Its type, such as `gp3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// MiB a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gib: Option<u32>,
    /// Whether it is deleted with the instance; not where EC2 does not tell it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_on_termination: bool,
}

impl VolumeAs {
    pub fn of(volume: &Volume, delete_on_termination: bool) -> Self {
        let Volume { id, kind, iops, throughput, gib, .. } = volume;
        let kind = kind.as_deref().map(str::to_owned);
        Self { volume: id.clone(), kind, iops: *iops, throughput: *throughput, gib: *gib, delete_on_termination }
    }

    fn word(&self) -> String {
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let parts = [
            self.volume.to_string(),
            self.kind.as_deref().map(escaped).unwrap_or_default(),
            number(self.iops),
            number(self.throughput),
            number(self.gib),
            if self.delete_on_termination { "d".into() } else { String::new() },
        ];
        parts.join(":").trim_end_matches(':').to_owned()
    }

    fn read(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let volume = parts.next()?.parse().ok()?;
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let kind = part().and_then(plain);
        let mut number = || part()?.parse().ok();
        let (iops, throughput, gib) = (number(), number(), number());
        Some(Self { volume, kind, iops, throughput, gib, delete_on_termination: part() == Some("d") })
    }
}

/// `Volumes`, `Volumes.2`, …
pub fn volumes_tags(volumes: &[VolumeAs]) -> Tags {
    tags_of(VOLUMES, volumes.iter().map(VolumeAs::word))
}

/// The volumes that [`volumes_tags`] wrote. A word that cannot be read is left out.
pub fn volumes_of(tags: &Tags) -> Vec<VolumeAs> {
    values(tags, VOLUMES).flat_map(|value| value.split(' ')).filter_map(VolumeAs::read).collect()
}

/// The word of a volume, as it was written.
pub(super) fn word_of<'a>(tags: &'a Tags, volume: &VolumeId) -> Option<&'a str> {
    let mut words = values(tags, VOLUMES).flat_map(|value| value.split(' '));
    words.find(|word| VolumeAs::read(word).is_some_and(|read| read.volume == *volume))
}

/// `InstanceAs`, `InstanceAs.2`, …; none where nothing is known.
pub fn instance_tags(instance: &InstanceAs) -> Tags {
    let single = [
        ("image", &instance.image),
        ("type", &instance.instance_type),
        ("zone", &instance.zone),
        ("arch", &instance.architecture),
        ("boot", &instance.boot_mode),
        ("subnet", &instance.subnet),
    ];
    let mut all: Vec<(&str, Vec<String>)> = single.into_iter().map(|(name, value)| (name, pieces(value))).collect();
    // A group's id is one piece: where the list is cut, each part of it has whole ids.
    let groups = instance.security_groups.iter().enumerate();
    all.push((
        "groups",
        groups.map(|(i, group)| if i == 0 { escaped(group) } else { ",".to_owned() + &escaped(group) }).collect(),
    ));
    all.push(("key", pieces(&instance.key_name)));
    tags_of(INSTANCE_AS, all.into_iter().flat_map(|(name, pieces)| words(name, pieces)))
}

/// What [`instance_tags`] wrote; none where it wrote nothing.
pub fn instance_as(tags: &Tags) -> Option<InstanceAs> {
    let mut read: BTreeMap<&str, String> = BTreeMap::new();
    for word in values(tags, INSTANCE_AS).flat_map(|value| value.split(' ')) {
        if let Some((name, part)) = word.split_once('=') {
            read.entry(name).or_default().push_str(part);
        }
    }
    let mut single = |name: &str| read.remove(name).as_deref().filter(|text| !text.is_empty()).and_then(plain);
    let instance = InstanceAs {
        image: single("image"),
        instance_type: single("type"),
        zone: single("zone"),
        architecture: single("arch"),
        boot_mode: single("boot"),
        subnet: single("subnet"),
        key_name: single("key"),
        security_groups: Vec::new(),
    };
    let groups = read.remove("groups").unwrap_or_default();
    let security_groups = groups.split(',').filter(|group| !group.is_empty()).filter_map(plain).collect();
    Some(InstanceAs { security_groups, ..instance }).filter(|read| !read.is_unknown())
}

/// `name=…`, once more each time that a tag is full.
fn words(name: &str, pieces: Vec<String>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in pieces {
        match words.last_mut() {
            Some(last) if last.len() + piece.len() <= MAX_VALUE => last.push_str(&piece),
            _ => words.push(format!("{name}={piece}")),
        }
    }
    words
}

/// The text in pieces that may be parted.
fn pieces(text: &Option<String>) -> Vec<String> {
    text.iter().flat_map(|text| text.bytes()).map(escaped_byte).collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(escaped_byte).collect()
}

/// A tag that EC2 did not take would cost the whole set its snapshots. In all services letters, digits, spaces and
/// `+ - = . _ : / @` are allowed (for one, "Tag restrictions" of AWS Batch); of these the space, `=` and `:` part words.
/// The comma between groups is one that EC2 takes in `BackupCrossRegion` too.
fn escaped_byte(byte: u8) -> String {
    match byte {
        b'+' | b'-' | b'.' | b'_' | b'/' | b'@' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    }
}

/// The text that was escaped; none if it was not written by [`escaped`].
fn plain(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'=', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                (digit(high)? << 4 | digit(low)?, after)
            }
            (b'=', _) => return None,
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
