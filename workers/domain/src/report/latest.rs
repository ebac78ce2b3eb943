//! The pointer to the last report, `latest.json` in the report bucket.
//!
//! The report of every full run that acted writes it after its own files, and reads it at its begin. It is moved forward
//! only: a report that comes late, of an older run, leaves it where it is.
#![warn(missing_docs)]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::changes::{Listed, Since};
use crate::{
    coverage::{CoveredVolume, Remembered, remembered},
    run::Run,
};

/// The key of the pointer in the report bucket. No lifecycle rule removes it.
pub const LATEST: &str = "latest.json";
/// The version of the pointer, and of the reports that it points at.
pub const VERSION: u32 = 1;

/// The pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// [`VERSION`].
    pub version: u32,
    /// The last report.
    pub last: Pointed,
    /// The one before it, of another execution: a report that is made once more is compared with the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Pointed>,
}

/// A report that is pointed at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointed {
    /// The run's id.
    pub run: String,
    /// The id as a time.
    pub scheduled: DateTime<Utc>,
    /// The execution.
    pub execution: String,
    /// When it was started.
    pub started: DateTime<Utc>,
    /// When the report was made.
    pub reported: DateTime<Utc>,
    /// Whether nothing was owed.
    pub complete: bool,
    /// The last list of what exists: this report's, or an earlier one's where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListIn>,
}

/// Where a list of what exists is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListIn {
    /// The run that has it.
    pub run: String,
    /// The key of its `report.json`.
    pub key: String,
}

impl Pointed {
    /// Which of two reports is the newer one: that of the later run; of one run, that of the later execution.
    fn order(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.scheduled, self.started)
    }

    fn is_of(&self, run: &Run) -> bool {
        self.execution == run.execution
    }
}

/// What is known of the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastReport {
    /// There was none.
    #[default]
    Nothing,
    /// It cannot be known; why.
    Unknown(String),
    /// The pointer.
    Pointer(Box<Latest>),
}

/// The last report, as one run sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// What it is compared with.
    pub since: Since,
    /// Where the list to compare with is.
    pub list: Option<ListIn>,
    /// Whether this execution has already reported.
    pub again: bool,
}

impl LastReport {
    /// Reads what the bucket holds.
    pub fn read(body: Option<&str>) -> Self {
        /// Enough of any version.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Some(body) = body else { return Self::Nothing };
        match serde_json::from_str::<Versioned>(body) {
            Ok(Versioned { version }) if version != VERSION => {
                Self::Unknown(format!("{LATEST} has the version {version}, and this one reads {VERSION}"))
            }
            Ok(_) => match serde_json::from_str(body) {
                Ok(latest) => Self::Pointer(Box::new(latest)),
                Err(error) => Self::Unknown(format!("{LATEST} cannot be read: {error}")),
            },
            Err(error) => Self::Unknown(format!("{LATEST} cannot be read: {error}")),
        }
    }

    /// The last report before this execution's own.
    pub fn before(&self, run: &Run) -> Before {
        let of = |pointed: Option<&Pointed>, again| match pointed {
            None => Before { since: Since::First, list: None, again },
            Some(last) => Before {
                since: Since::Report {
                    run: last.run.clone(),
                    execution: last.execution.clone(),
                    reported: last.reported,
                    complete: last.complete,
                },
                list: last.list.clone(),
                again,
            },
        };
        match self {
            Self::Nothing => of(None, false),
            Self::Unknown(why) => Before { since: Since::Unknown { why: why.clone() }, list: None, again: false },
            Self::Pointer(latest) if latest.last.is_of(run) => of(latest.before.as_ref(), true),
            Self::Pointer(latest) if latest.last.order() > (run.scheduled, run.started) => {
                let why = format!("the run {} is later than this one, and has already reported", latest.last.run);
                Before { since: Since::Unknown { why }, list: None, again: false }
            }
            Self::Pointer(latest) => of(Some(&latest.last), false),
        }
    }

    /// The pointer after a report, unless it points at a later one.
    pub fn after(&self, mut own: Pointed) -> Option<Latest> {
        let before = match self {
            Self::Pointer(latest) if latest.last.execution == own.execution => latest.before.clone(),
            Self::Pointer(latest) if latest.last.order() > own.order() => return None,
            Self::Pointer(latest) => Some(latest.last.clone()),
            Self::Nothing | Self::Unknown(_) => None,
        };
        own.list = own.list.or_else(|| before.as_ref()?.list.clone());
        Some(Latest { version: VERSION, last: own, before })
    }
}

/// What a `report.json` knew, for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastKnown {
    /// What existed.
    pub listed: Listed,
    /// What was proven of its backups.
    pub proofs: Remembered,
}

impl LastKnown {
    /// Reads a `report.json`; an error says why it cannot be used.
    pub fn read(body: Option<&str>) -> Result<Self, String> {
        /// The parts of a report that the next one needs.
        #[derive(Deserialize)]
        struct Report {
            version: u32,
            listed: Option<Listed>,
            coverage: Option<Coverage>,
        }
        #[derive(Deserialize)]
        struct Coverage {
            volumes: Vec<CoveredVolume>,
        }
        let body = body.ok_or("its report is not there any more")?;
        let report: Report =
            serde_json::from_str(body).map_err(|error| format!("its report cannot be read: {error}"))?;
        if report.version != VERSION {
            return Err(format!("its report has the version {}, and this one reads {VERSION}", report.version));
        }
        let listed = report.listed.ok_or("its report has no list of what exists")?;
        Ok(Self { listed, proofs: report.coverage.map(|known| remembered(known.volumes)).unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{AllowMassExpire, Phases};

    fn run(day: u32, execution: &str, hour: u32) -> Run {
        let at = |hour: u32| format!("2026-11-{day:02}T{hour:02}:00:00Z").parse().unwrap();
        Run {
            id: format!("202611{day:02}T030000Z"),
            scheduled: at(3),
            execution: execution.into(),
            started: at(hour),
            deadline: at(23),
            dry_run: false,
            phases: Phases { snapshot: true, copy: true, expire: true },
            allow_mass_expire: AllowMassExpire::Everywhere(false),
            duplicate_of: None,
        }
    }

    fn pointed(run: &Run, complete: bool, listed: bool) -> Pointed {
        Pointed {
            run: run.id.clone(),
            scheduled: run.scheduled,
            execution: run.execution.clone(),
            started: run.started,
            reported: run.started,
            complete,
            list: listed.then(|| ListIn { run: run.id.clone(), key: run.key("report.json") }),
        }
    }

    fn known(latest: &Latest) -> LastReport {
        LastReport::read(Some(&serde_json::to_string(latest).unwrap()))
    }

    fn since(before: &Before) -> (&str, bool) {
        match &before.since {
            Since::Report { execution, complete, .. } => (execution, *complete),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_report_has_nothing_before_it_and_the_next_has_it() {
        let (monday, tuesday) = (run(23, "mon", 3), run(24, "tue", 3));
        assert_eq!(LastReport::Nothing.before(&monday).since, Since::First);
        let latest = LastReport::read(None).after(pointed(&monday, false, true)).unwrap();
        let before = known(&latest).before(&tuesday);
        assert_eq!((since(&before), before.again), (("mon", false), false));
        assert_eq!(before.list.unwrap().key, "runs/20261123T030000Z/mon/report.json");
    }

    #[test]
    fn a_report_that_is_made_once_more_is_compared_with_the_same() {
        let (monday, tuesday) = (run(23, "mon", 3), run(24, "tue", 3));
        let first = LastReport::Nothing.after(pointed(&monday, false, true)).unwrap();
        let second = known(&first).after(pointed(&tuesday, true, true)).unwrap();
        let again = known(&second).before(&tuesday);
        assert_eq!((since(&again), again.again), (("mon", false), true));
        assert_eq!(known(&second).after(pointed(&tuesday, true, true)).unwrap(), second);
        let first_again = known(&first).before(&monday);
        assert_eq!((first_again.since, first_again.again), (Since::First, true));
    }

    #[test]
    fn a_late_report_of_an_older_run_does_not_move_it_back() {
        let (monday, tuesday) = (run(23, "mon", 3), run(24, "tue", 3));
        let latest = LastReport::Nothing.after(pointed(&tuesday, true, true)).unwrap();
        assert_eq!(known(&latest).after(pointed(&monday, false, true)), None);
        let Since::Unknown { why } = known(&latest).before(&monday).since else { panic!() };
        assert!(why.contains("20261124T030000Z is later"), "{why}");
        // Of one run, the later execution counts.
        let (repair, late) = (run(24, "repair", 9), run(24, "early", 2));
        assert_eq!(known(&latest).after(pointed(&repair, true, true)).unwrap().last.execution, "repair");
        assert_eq!(known(&latest).after(pointed(&late, true, true)), None);
    }

    #[test]
    fn without_a_list_of_its_own_it_points_at_the_last_one() {
        let (monday, tuesday, wednesday) = (run(23, "mon", 3), run(24, "tue", 3), run(25, "wed", 3));
        let first = LastReport::Nothing.after(pointed(&monday, true, true)).unwrap();
        let second = known(&first).after(pointed(&tuesday, false, false)).unwrap();
        let before = known(&second).before(&wednesday);
        assert_eq!((since(&before), before.list.as_ref().unwrap().run.as_str()), (("tue", false), "20261123T030000Z"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_is_replaced() {
        let tuesday = run(24, "tue", 3);
        for (body, why) in [("{", "cannot be read"), (r#"{"version": 2, "last": []}"#, "the version 2"), ("[]", "read")]
        {
            let unknown = LastReport::read(Some(body));
            let Since::Unknown { why: said } = unknown.before(&tuesday).since else { panic!() };
            assert!(said.contains(why), "{said}");
            assert!(unknown.after(pointed(&tuesday, true, true)).is_some(), "else it would stay so for ever");
        }
    }

    #[test]
    fn a_list_of_another_version_is_not_compared_with() {
        assert!(LastKnown::read(None).unwrap_err().contains("not there"));
        assert!(LastKnown::read(Some(r#"{"version": 2, "listed": {"instances": [], "volumes": []}}"#)).is_err());
        assert!(LastKnown::read(Some(r#"{"version": 1}"#)).unwrap_err().contains("no list"));
        assert!(LastKnown::read(Some(r#"{"listed": {}}"#)).unwrap_err().contains("cannot be read"));
        let whole = r#"{"version": 1, "listed": {"instances": [], "volumes": []}, "more": 1}"#;
        assert_eq!(LastKnown::read(Some(whole)).unwrap(), LastKnown::default());
        // A report of before there were drills.
        let earlier = r#"{"version": 1, "listed": {"instances": [], "volumes": []}, "coverage": {"volumes": [{"instance": "i-1",
            "name": "web", "volume": "vol-1", "device": "sda", "state": "missing", "regions": [{"region": "eu-west-1",
            "state": "missing", "snapshot": null, "taken": null, "ageMinutes": null}]}]}}"#;
        assert_eq!(LastKnown::read(Some(earlier)).unwrap(), LastKnown::default());
    }
}
