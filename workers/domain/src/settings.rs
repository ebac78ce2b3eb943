//! The stack's parameters, from environment variables, checked once at start.
#![warn(missing_docs)]

use std::collections::BTreeMap;

use crate::{
    drill::parameters::{Parameters, Sample},
    hooks::{HookDocuments, documents},
    ids::Region,
    proof::Level,
    retention::RetentionDays,
};

/// The parameters of `template.yaml` that the workers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `DefaultRetentionDays`: for instances without a usable `Retention`.
    pub default_retention: RetentionDays,
    /// `CopyConcurrency`: the most copies in flight per destination region; 1 to 20.
    pub copy_concurrency: u32,
    /// `PollSeconds`: the shortest pause between two looks at a pending snapshot; 1 to 900.
    pub poll_seconds: u32,
    /// `RetrySeconds`: the pause before the first retry, in seconds; 1 to 900.
    pub retry_seconds: u32,
    /// `RunHours`: the hours in which a run begins and waits for snapshots and copies; 1 to 30.
    pub run_hours: u32,
    /// `MinimumKept`: completed snapshots per volume and region that are never deleted; 0 to 1,000.
    pub minimum_kept: u32,
    /// `MaxExpirePercent`: the share of a region's backups that may go at once; 1 to 100.
    pub max_expire_percent: u32,
    /// `CopyLookbackDays`: the age in days up to which an uncopied snapshot is still copied; 1 to 365.
    pub copy_lookback_days: u32,
    /// `MaxDaysUnverified`: days that a volume's backups may go without being read by a drill; 0 to 3,650, 0 is off.
    pub max_days_unverified: u32,
    /// `DrillState`: whether drills are on.
    pub drills_are_on: bool,
    /// The parameters of drills.
    pub drill: Parameters,
    /// `ExpireRegions`: the regions to sweep. Empty: all enabled regions.
    pub expire_regions: Vec<Region>,
    /// `DestinationKmsKeys`: the key that all copies to a region are encrypted with.
    pub destination_kms_keys: BTreeMap<Region, String>,
    /// The documents that may be run as hooks: those of the stack, and `AllowedHookDocuments`.
    pub hook_documents: HookDocuments,
}

/// A parameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?}: allowed is {allowed}")]
pub struct SettingsProblem {
    name: &'static str,
    value: String,
    allowed: String,
}

impl Settings {
    /// Reads the settings through `get`, which returns the value of an environment variable.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsProblem> {
        let number = |name: &'static str, default: u32, allowed: std::ops::RangeInclusive<u32>| match get(name) {
            None => Ok(default),
            Some(value) => value.parse().ok().filter(|n| allowed.contains(n)).ok_or_else(|| SettingsProblem {
                name,
                value,
                allowed: format!("a whole number from {} to {}", allowed.start(), allowed.end()),
            }),
        };
        let days = number("DEFAULT_RETENTION_DAYS", 7, 1..=36500)?;
        Ok(Self {
            default_retention: days.try_into().map_err(|_| SettingsProblem {
                name: "DEFAULT_RETENTION_DAYS",
                value: days.to_string(),
                allowed: crate::retention::ALLOWED.into(),
            })?,
            copy_concurrency: number("COPY_CONCURRENCY", 5, 1..=20)?,
            poll_seconds: number("POLL_SECONDS", 15, 1..=900)?,
            retry_seconds: number("RETRY_SECONDS", 60, 1..=900)?,
            run_hours: number("RUN_HOURS", 20, 1..=30)?,
            minimum_kept: number("MINIMUM_KEPT", 1, 0..=1000)?,
            max_expire_percent: number("MAX_EXPIRE_PERCENT", 50, 1..=100)?,
            copy_lookback_days: number("COPY_LOOKBACK_DAYS", 7, 1..=365)?,
            max_days_unverified: number("MAX_DAYS_UNVERIFIED", 30, 0..=3650)?,
            drills_are_on: state("DRILL_STATE", get("DRILL_STATE"))?,
            drill: Parameters {
                level: word("DRILL_LEVEL", get("DRILL_LEVEL"), Level::Probe, Level::ALLOWED)?,
                sample: word("DRILL_SAMPLE", get("DRILL_SAMPLE"), Sample::Newest, Sample::ALLOWED)?,
                max_blocks: number("DRILL_MAX_BLOCKS", 1_000_000, 1_000..=1_000_000_000)?.into(),
                max_dump_gib: number("DRILL_MAX_DUMP_GIB", 10, 1..=1000)?,
            },
            expire_regions: regions(&get("EXPIRE_REGIONS").unwrap_or_default())?,
            destination_kms_keys: keys(&get("DESTINATION_KMS_KEYS").unwrap_or_default())?,
            hook_documents: hook_documents(
                &get("ALLOWED_HOOK_DOCUMENTS").unwrap_or_default(),
                get("STACK_NAME").as_deref(),
            )?,
        })
    }
}

/// Whether something is on; it is off where nothing says so.
fn state(name: &'static str, value: Option<String>) -> Result<bool, SettingsProblem> {
    match value.as_deref() {
        Some("ENABLED") => Ok(true),
        Some("DISABLED") | None => Ok(false),
        Some(other) => Err(SettingsProblem { name, value: other.into(), allowed: "ENABLED or DISABLED".into() }),
    }
}

fn word<T: std::str::FromStr>(
    name: &'static str,
    value: Option<String>,
    default: T,
    allowed: &str,
) -> Result<T, SettingsProblem> {
    let Some(value) = value else { return Ok(default) };
    value.parse().map_err(|_| SettingsProblem { name, value, allowed: allowed.into() })
}

fn regions(list: &str) -> Result<Vec<Region>, SettingsProblem> {
    let (found, problems) = crate::tags::regions(list);
    match problems.into_iter().next() {
        None => Ok(found),
        Some(problem) => {
            Err(SettingsProblem { name: "EXPIRE_REGIONS", value: problem.value, allowed: problem.allowed })
        }
    }
}

fn hook_documents(list: &str, stack: Option<&str>) -> Result<HookDocuments, SettingsProblem> {
    HookDocuments::read(list, stack).map_err(|value| SettingsProblem {
        name: "ALLOWED_HOOK_DOCUMENTS",
        value,
        allowed: documents::ALLOWED.into(),
    })
}

fn keys(list: &str) -> Result<BTreeMap<Region, String>, SettingsProblem> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            entry
                .split_once('=')
                .and_then(|(region, key)| Some((region.trim().parse::<Region>().ok()?, key.trim())))
                // A copy can only be encrypted with a key of its own region.
                .filter(|(region, key)| key.starts_with("arn:") && key.contains(&format!(":kms:{region}:")))
                .map(|(region, key)| (region, key.to_owned()))
                .ok_or_else(|| SettingsProblem {
                    name: "DESTINATION_KMS_KEYS",
                    value: entry.to_owned(),
                    allowed: "region=key-arn, with a key of that region, separated by commas".into(),
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Settings, SettingsProblem> {
        Settings::read(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let settings = Settings::read(|_| None).unwrap();
        assert_eq!(u32::from(settings.default_retention), 7);
        assert_eq!((settings.copy_concurrency, settings.poll_seconds, settings.minimum_kept), (5, 15, 1));
        assert_eq!((settings.max_expire_percent, settings.copy_lookback_days), (50, 7));
        assert_eq!((settings.max_days_unverified, settings.drills_are_on), (30, false));
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        for (name, value) in [("COPY_CONCURRENCY", "0"), ("COPY_CONCURRENCY", "five"), ("MAX_EXPIRE_PERCENT", "101")] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value) && error.contains("from 1 to"), "{error}");
        }
    }

    #[test]
    fn drills_are_on_only_where_it_is_said() {
        assert!(with("DRILL_STATE", "ENABLED").unwrap().drills_are_on);
        assert!(!with("DRILL_STATE", "DISABLED").unwrap().drills_are_on);
        let error = with("DRILL_STATE", "on").unwrap_err().to_string();
        assert_eq!(error, "DRILL_STATE=\"on\": allowed is ENABLED or DISABLED");
    }

    #[test]
    fn a_word_of_the_drills_that_is_none_is_named_with_the_words() {
        assert_eq!(with("DRILL_LEVEL", "copy").unwrap().drill.level, Level::Copy);
        assert_eq!(with("DRILL_SAMPLE", "all").unwrap().drill.sample, Sample::All);
        for (name, value, allowed) in [
            ("DRILL_LEVEL", "all", "list, probe, copy or dump"),
            ("DRILL_SAMPLE", "probe", "newest, random or all"),
            ("DRILL_MAX_BLOCKS", "0", "from 1000 to"),
        ] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value) && error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn a_key_belongs_to_its_region() {
        let arn = "arn:aws:kms:us-east-1:111122223333:key/abc";
        let good = with("DESTINATION_KMS_KEYS", "us-east-1=arn:aws:kms:us-east-1:111122223333:key/abc, ").unwrap();
        assert_eq!(good.destination_kms_keys[&"us-east-1".parse().unwrap()], arn);
        for bad in ["us-east-1", "us-east-1=abc", "eu-west-1=arn:aws:kms:us-east-1:111122223333:key/abc"] {
            assert!(with("DESTINATION_KMS_KEYS", bad).unwrap_err().to_string().contains("region=key-arn"), "{bad}");
        }
    }
}
