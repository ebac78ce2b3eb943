//! The metrics: names, units and dimensions, and the log line from which CloudWatch reads them.
//!
//! No other place knows the format or a name. docs/operations.md has them as a table, and `make check` holds table, code,
//! alarms and dashboard to each other; the stories check each line that a function prints.
//!
//! Source: "Embedded metric format specification", Amazon CloudWatch user guide.
#![warn(missing_docs)]

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::ids::Region;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "EbsSnapshots";
/// The dimension of every metric: the home region, of which there is one stack.
pub const REGION: &str = "Region";
/// The dimension of what is measured for each region that holds backups.
pub const BACKUP_REGION: &str = "BackupRegion";

/// Units that CloudWatch knows (`MetricDatum`); it knows no hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Unit {
    Count,
    Seconds,
    None,
}

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of the stack: the dimension is [`REGION`].
    Home,
    /// Of one region that holds backups: the dimensions are [`REGION`] and [`BACKUP_REGION`].
    BackupRegion,
}

impl Scope {
    /// The names of its dimensions.
    pub fn dimensions(self) -> &'static [&'static str] {
        match self {
            Self::Home => &[REGION],
            Self::BackupRegion => &[REGION, BACKUP_REGION],
        }
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $unit:ident [$($scope:ident),+],)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $($(#[$doc])* $name,)*
        }

        impl Metric {
            /// Every metric.
            pub const ALL: &[Metric] = &[$(Self::$name,)*];

            /// The name in CloudWatch.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The unit.
            pub fn unit(self) -> Unit {
                match self {
                    $(Self::$name => Unit::$unit,)*
                }
            }

            /// For what it is printed.
            pub fn scopes(self) -> &'static [Scope] {
                match self {
                    $(Self::$name => &[$(Scope::$scope),+],)*
                }
            }
        }
    };
}

// `make check` reads these lines: tests/local/template_signals.py.
metrics! {
    /// 1 after a run of all phases that was complete, and no dry run; nothing else prints it.
    Complete: Count [Home],
    /// Instances of which volumes are to be backed up.
    InstancesProtected: Count [Home],
    /// Living instances whose tag `Backup` is none of the three words, or not there.
    InstancesUnprotected: Count [Home],
    /// Snapshots that the run has begun, whatever became of them.
    SnapshotsMade: Count [Home],
    /// Those of them that are completed.
    SnapshotsCompleted: Count [Home],
    /// Volumes that are owed a completed snapshot of the run.
    SnapshotsFailed: Count [Home],
    /// Completed copies of the run.
    CopiesMade: Count [Home],
    /// Copies that are owed at the end of the run.
    CopiesOwed: Count [Home],
    /// Those of them of which the run knows an error.
    CopiesFailed: Count [Home],
    /// Snapshots and copies that the run has deleted.
    SnapshotsExpired: Count [Home],
    /// Those that are due, and stay as the newest of a volume that exists.
    SnapshotsKeptByFloor: Count [Home],
    /// Tags, instances and settings that cannot be used.
    Rejected: Count [Home],
    /// Instances whose hook failed, so that their snapshots are only crash-consistent.
    HooksFailed: Count [Home],
    /// Age of the oldest newest completed backup of all protected volumes, in hours; for the home region alone, the worst.
    BackupAgeHours: None [Home, BackupRegion],
    /// Days since the backups of a protected volume were last proven, in the region where it is longest ago; counted from its
    /// first backup where they never were. Only while drills are on.
    ProofAgeDays: None [Home],
    /// Backups that are missing: a protected volume and a region without any completed one.
    BackupsMissing: Count [Home],
    /// From the start of the execution to its report.
    RunSeconds: Seconds [Home],
    /// Copies in flight to a region, whenever one is begun or has to wait.
    CopySlotsInUse: Count [BackupRegion],
    /// Requests that EC2 refused because there were too many, each attempt counted.
    Ec2Throttled: Count [Home],
    /// Backups that a drill has proven.
    DrillProven: Count [Home],
    /// Backups that it could not read, or found bad.
    DrillFailed: Count [Home],
    /// Backups of which it does not know that: without a record, gone, or left out.
    DrillUnproven: Count [Home],
    /// Blocks that it has read.
    DrillBlocks: Count [Home],
}

/// When something was measured, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Measurement<'a> {
    /// When it was measured.
    pub at: DateTime<Utc>,
    /// The stack's region.
    pub home: &'a Region,
    /// The region that holds the backups, where each has its own value.
    pub backup_region: Option<&'a Region>,
    /// The id of the run, where there is one: searched for in the logs, and no dimension.
    pub run_id: Option<&'a str>,
}

/// A log line from which CloudWatch reads these metrics.
pub fn line(measurement: &Measurement<'_>, values: &[(Metric, f64)]) -> String {
    let metrics: Vec<Value> = values
        .iter()
        .map(|(metric, _)| json!({"Name": metric.as_str(), "Unit": format!("{:?}", metric.unit())}))
        .collect();
    let scope = if measurement.backup_region.is_some() { Scope::BackupRegion } else { Scope::Home };
    let mut line = json!({
        "_aws": {
            "Timestamp": measurement.at.timestamp_millis(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [scope.dimensions()], "Metrics": metrics}],
        },
        REGION: measurement.home,
    });
    if let Some(region) = measurement.backup_region {
        line[BACKUP_REGION] = json!(region);
    }
    if let Some(run_id) = measurement.run_id {
        line["run"] = json!(run_id);
    }
    for (metric, value) in values {
        line[metric.as_str()] = json!(value);
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_each_value_its_unit_and_the_dimensions() {
        let (home, east): (Region, Region) = ("eu-west-1".parse().unwrap(), "us-east-1".parse().unwrap());
        let at = "2026-11-22T04:00:00Z".parse().unwrap();
        let measurement = Measurement { at, home: &home, backup_region: Some(&east), run_id: Some("r") };
        let values = [(Metric::BackupAgeHours, 25.5), (Metric::RunSeconds, 60.0)];
        let line: Value = serde_json::from_str(&line(&measurement, &values)).unwrap();
        let directive = json!([{"Namespace": "EbsSnapshots", "Dimensions": [["Region", "BackupRegion"]],
            "Metrics": [{"Name": "BackupAgeHours", "Unit": "None"}, {"Name": "RunSeconds", "Unit": "Seconds"}]}]);
        let expected = json!({"_aws": {"Timestamp": 1_795_320_000_000_i64, "CloudWatchMetrics": directive},
            "Region": "eu-west-1", "BackupRegion": "us-east-1", "run": "r", "BackupAgeHours": 25.5, "RunSeconds": 60.0});
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_of_the_home_region_alone_has_one_dimension() {
        let home = "eu-west-1".parse().unwrap();
        let measurement = Measurement { at: DateTime::UNIX_EPOCH, home: &home, backup_region: None, run_id: None };
        let line: Value = serde_json::from_str(&line(&measurement, &[(Metric::Complete, 1.0)])).unwrap();
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Region"]]));
        assert!(line.get("run").is_none() && line.get("BackupRegion").is_none(), "{line}");
    }
}
