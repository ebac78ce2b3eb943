//! What the backups cost at least: one full size per volume and region, at a dated price.
#![warn(missing_docs)]

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use crate::{
    coverage::VolumeCoverage,
    ids::{InstanceId, Region},
};

/// The price of a GiB, as dated data.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    as_of: String,
    source: String,
    usd_per_gib_month: f64,
}

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| unreachable!("prices.json: {error}"))
});

/// What there is costs so much a month, at least: what changed between the backups of a volume comes on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// One per protected instance, the most expensive first.
    pub instances: Vec<InstanceCost>,
    /// One per region in which they have backups.
    pub regions: Vec<RegionCost>,
    /// Bytes of one full backup per volume and region.
    pub bytes: u64,
    /// US dollars a month, at least.
    pub usd_a_month: f64,
    /// Backups of which EC2 tells no size: they are not counted.
    pub unknown: usize,
    /// The month of the prices.
    pub prices_as_of: String,
    /// Where they are from.
    pub prices_source: String,
}

/// The backups of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceCost {
    /// The instance.
    pub instance: InstanceId,
    /// Its name, else its id.
    pub name: String,
    /// Bytes of one full backup per volume and region.
    pub bytes: u64,
    /// US dollars a month, at least.
    pub usd_a_month: f64,
}

/// The backups in a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionCost {
    /// The region.
    pub region: Region,
    /// Bytes of one full backup per volume.
    pub bytes: u64,
    /// US dollars a month, at least.
    pub usd_a_month: f64,
}

/// Of the newest backups of all volumes.
pub fn of(covered: &[VolumeCoverage]) -> Cost {
    let mut by_instance: BTreeMap<&InstanceId, InstanceCost> = BTreeMap::new();
    let mut by_region: BTreeMap<&Region, u64> = BTreeMap::new();
    let mut unknown = 0;
    for volume in covered {
        let own = by_instance.entry(&volume.instance).or_insert_with(|| InstanceCost {
            instance: volume.instance.clone(),
            name: volume.name.clone(),
            bytes: 0,
            usd_a_month: 0.0,
        });
        for (region, newest) in volume.regions.iter().filter_map(|one| Some((&one.region, one.newest.as_ref()?))) {
            match newest.full_size {
                Some(size) => {
                    own.bytes += size;
                    *by_region.entry(region).or_default() += size;
                }
                None => unknown += 1,
            }
        }
    }
    let bytes = by_region.values().sum();
    let mut instances: Vec<InstanceCost> = by_instance.into_values().collect();
    instances.iter_mut().for_each(|own| own.usd_a_month = usd(own.bytes));
    instances.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.name, &a.instance).cmp(&(&b.name, &b.instance))));
    let of_region =
        |(region, bytes): (&Region, u64)| RegionCost { region: region.clone(), bytes, usd_a_month: usd(bytes) };
    Cost {
        instances,
        regions: by_region.into_iter().map(of_region).collect(),
        bytes,
        usd_a_month: usd(bytes),
        unknown,
        prices_as_of: PRICES.as_of.clone(),
        prices_source: PRICES.source.clone(),
    }
}

#[allow(clippy::cast_precision_loss)] // Cents of a lower bound.
fn usd(bytes: u64) -> f64 {
    let exact = bytes as f64 / f64::from(1u32 << 30) * PRICES.usd_per_gib_month;
    (exact * 100.0).round() / 100.0
}
