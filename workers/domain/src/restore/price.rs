//! What restored volumes cost, at dated prices.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::restore::{
    performance::{INITIALIZATION_RATE_OF_REGION, VolumeType},
    plan::{PlannedVolume, Price},
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    as_of: String,
    source: String,
    initialization_usd_per_gib: f64,
    volumes: BTreeMap<VolumeType, VolumePrice>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct VolumePrice {
    usd_per_gib_month: f64,
    free_iops: u32,
    usd_per_iops_month: f64,
    free_throughput: u32,
    usd_per_mibs_month: f64,
}

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).unwrap_or_else(|error| unreachable!("prices.json: {error}"))
});

/// What the volumes of a plan cost.
pub fn of(volumes: &[PlannedVolume]) -> Price {
    let cents = |exact: f64| (exact * 100.0).round() / 100.0;
    Price {
        volumes_a_month: cents(volumes.iter().map(a_month).sum()),
        initialization: cents(volumes.iter().filter(|v| v.initialization_rate.is_some()).map(initialization).sum()),
        as_of: PRICES.as_of.clone(),
        source: PRICES.source.clone(),
    }
}

fn a_month(volume: &PlannedVolume) -> f64 {
    let performance = volume.performance;
    let Some(price) = PRICES.volumes.get(&performance.volume_type) else { return 0.0 };
    let beyond = |asked: Option<u32>, free: u32| f64::from(asked.unwrap_or(0).saturating_sub(free));
    f64::from(volume.gib) * price.usd_per_gib_month
        + beyond(performance.iops, price.free_iops) * price.usd_per_iops_month
        + beyond(performance.throughput, price.free_throughput) * price.usd_per_mibs_month
}

#[allow(clippy::cast_precision_loss)] // Cents.
fn initialization(volume: &PlannedVolume) -> f64 {
    volume.full_bytes as f64 / f64::from(1u32 << 30) * PRICES.initialization_usd_per_gib
}

/// Minutes in which so many bytes come at this rate, in MiB/s.
pub fn minutes(full_bytes: u64, rate: u32) -> u64 {
    full_bytes.div_ceil(1 << 20).div_ceil(u64::from(rate.max(1))).div_ceil(60)
}

/// How many volumes a region can initialise at a rate at one time.
pub fn at_once(rate: u32) -> usize {
    usize::try_from(INITIALIZATION_RATE_OF_REGION / rate.max(1)).unwrap_or(usize::MAX).max(1)
}
