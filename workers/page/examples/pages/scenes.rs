//! Reports as runs write them, for the tests and for whoever looks at the page.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use domain::{
    contract::KeptDue,
    cost,
    coverage::{
        Bad, CoveredVolume, DrillRules, InRegion, Newest, ProofState, Proofs, Proven, RegionCoverage, State,
        VolumeCoverage,
    },
    expiry::Expire,
    fleet::{Snapshot, SnapshotState, Tags},
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    policy::Rejection,
    ports::{StateTime, WorkQueue},
    proof::Level,
    report::{
        Busy, ChangedVolume, Changes, ConsistencyReport, CopiesReport, CoverageReport, DeadLettersReport, ExpiryReport,
        GoneVolume, InstanceReport, Moves, Named, Problem, ProblemKind, RegionBusy, ReportedFailure, Since, Summary,
        Swept, VolumeReport,
    },
    run::{AllowMassExpire, Phases, Run},
};

pub(crate) const HOME: &str = "eu-west-1";
const NAMES: [&str; 12] = [
    "shop-db-1",
    "shop-db-2",
    "web-1",
    "web-2",
    "web-3",
    "queue-1",
    "search-1",
    "search-2",
    "mail",
    "wiki",
    "build",
    "ldap",
];

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
}

pub(crate) fn at(minute: i64, second: i64) -> DateTime<Utc> {
    parsed::<DateTime<Utc>>("2026-11-22T03:00:00Z") + TimeDelta::seconds(minute * 60 + second)
}

pub(crate) fn day(text: &str) -> NaiveDate {
    parsed(text)
}

pub(crate) fn region(code: &str) -> Region {
    parsed(code)
}

pub(crate) fn instance(number: usize) -> InstanceId {
    parsed(&format!("i-{:017x}", 0x0a1b_2c3d_0000 + number * 7919))
}

pub(crate) fn volume(number: usize) -> VolumeId {
    parsed(&format!("vol-{:017x}", 0x0b2c_3d4e_0000 + number * 104_729))
}

pub(crate) fn snapshot(number: usize) -> SnapshotId {
    parsed(&format!("snap-{:017x}", 0x0c3d_4e5f_0000 + number * 1_299_709))
}

fn named(number: usize) -> Named {
    Named { id: instance(number), name: Some(NAMES[number % NAMES.len()].into()) }
}

fn empty() -> Summary {
    let run = Run {
        id: "20261122T030000Z".into(),
        scheduled: at(0, 0),
        execution: "arn:aws:states:eu-west-1:111122223333:execution:ebs-snapshots-backup:3f2a9c1e-0000".into(),
        started: at(0, 4),
        deadline: at(20 * 60, 4),
        dry_run: false,
        phases: Phases { snapshot: true, copy: true, expire: true },
        allow_mass_expire: AllowMassExpire::Everywhere(false),
        duplicate_of: None,
    };
    Summary::new(run, region(HOME), at(47, 20), "ebs-snapshots-reportbucket-1x2y3z")
}

/// What the drill of the last week found: all is well.
fn proofs(number: usize, at_region: usize, newest: &Newest) -> Proofs {
    let on = newest.taken.date_naive() - Days::new(6);
    let level = match at_region {
        0 if number.is_multiple_of(4) => Level::Dump,
        0 => Level::Probe,
        _ => Level::Copy,
    };
    let last = Proven { snapshot: newest.snapshot.clone(), on, level };
    Proofs { state: Some(ProofState::Proven), last: Some(last), unproven_since: Some(on), bad: None }
}

/// One volume is bad here, one was not read for too long, and one never.
fn spoil_proofs(summary: &mut Summary) {
    let (today, ended) = (summary.ended.date_naive(), summary.ended);
    let volumes = summary.coverage.as_mut().map(|coverage| &mut coverage.volumes).into_iter().flatten();
    let here = volumes.filter_map(|volume| volume.regions.first_mut()).filter(|here| here.proofs.last.is_some());
    for (number, InRegion { proofs, .. }) in here.enumerate() {
        let since = |ago: u64| Some(today - Days::new(ago));
        match number {
            3 => {
                let bad = Bad { snapshot: snapshot(999), taken: ended, on: today, is_newest: true };
                (proofs.state, proofs.bad) = (Some(ProofState::Bad), Some(bad));
            }
            5 => {
                let on = today - Days::new(41);
                (proofs.state, proofs.unproven_since) = (Some(ProofState::Overdue), since(41));
                proofs.last.iter_mut().for_each(|last| last.on = on);
            }
            7 => *proofs = Proofs { state: Some(ProofState::Never), unproven_since: since(2), ..Proofs::default() },
            _ => {}
        }
    }
}

/// The coverage and the cost of `count` volumes, two per instance; `state` says of each region what it is.
pub(crate) fn cover(
    summary: &mut Summary,
    count: usize,
    regions: &[&str],
    name: impl Fn(usize) -> String,
    state: impl Fn(usize, usize) -> State,
) {
    let of = |number: usize| {
        let in_region = |(at_region, code): (usize, &&str)| {
            let state = state(number, at_region);
            let hours = if state == State::Overdue { 71 + number as i64 % 5 } else { 1 };
            let newest = (!matches!(state, State::Missing | State::Unreadable)).then(|| Newest {
                snapshot: snapshot(number * 5 + at_region),
                taken: summary.ended - TimeDelta::hours(hours),
                full_size: Some((20 + (number as u64 * 37) % 400) << 30),
            });
            let age = newest.as_ref().map(|newest| summary.ended - newest.taken);
            let proofs = newest.as_ref().map(|newest| proofs(number, at_region, newest)).unwrap_or_default();
            RegionCoverage { region: region(code), state, newest, age, proofs }
        };
        VolumeCoverage {
            instance: instance(number / 2),
            name: name(number / 2),
            volume: volume(number),
            device: ["/dev/sda1", "/dev/sdf"][number % 2].into(),
            regions: regions.iter().enumerate().map(in_region).collect(),
        }
    };
    let mut covered: Vec<VolumeCoverage> = (0..count).map(of).collect();
    covered.sort_by_key(|one| one.state());
    summary.cost = Some(cost::of(&covered));
    let volumes = covered.into_iter().map(CoveredVolume::from).collect();
    let drills = DrillRules { on: true, max_days: Some(30) };
    summary.coverage = Some(CoverageReport { allowed_hours: Some(44), drills, volumes });
    summary.instances = (0..count / 2)
        .map(|number| InstanceReport {
            instance: instance(number),
            name: name(number),
            volumes: [number * 2, number * 2 + 1]
                .map(|one| VolumeReport {
                    volume: volume(one),
                    device: "/dev/sda1".into(),
                    snapshot: Some(snapshot(one * 5)),
                    state: Some(SnapshotState::Completed),
                    begun: Some(at(1, 0)),
                    state_message: None,
                    copied_to: BTreeMap::new(),
                })
                .into(),
            consistency: None,
        })
        .collect();
}

fn taken(begun: DateTime<Utc>, seconds: i64) -> Snapshot {
    Snapshot {
        id: snapshot(1),
        volume: None,
        state: SnapshotState::Completed,
        started: begun,
        completed: Some(begun + TimeDelta::seconds(seconds)),
        description: String::new(),
        state_message: None,
        full_size: None,
        stored: Default::default(),
        tags: Tags::new(),
    }
}

/// Copies in so many slots, one after the other.
pub(crate) fn copied(code: &str, count: usize, slots: usize, seconds: i64, pending: bool) -> RegionBusy {
    let mut free = vec![at(11, 0); slots];
    let mut all: Vec<Snapshot> = (0..count)
        .map(|number| {
            let slot = number % slots;
            let lasts = seconds + (number as i64 * 41) % 120;
            let begun = free[slot];
            free[slot] = begun + TimeDelta::seconds(lasts + 4);
            taken(begun, lasts)
        })
        .collect();
    if let Some(last) = all.last_mut().filter(|_| pending) {
        (last.state, last.completed) = (SnapshotState::Pending, None);
    }
    let busy = Busy::of(&all, at(0, 0)).unwrap_or_else(|| panic!("there are some"));
    RegionBusy { region: region(code), slots: 5, busy }
}

fn times(summary: &mut Summary) {
    let snapshots: Vec<Snapshot> = (0..24).map(|n| taken(at(0, 20 + n * 3), 200 + (n * 53) % 400)).collect();
    summary.timeline.snapshots = Busy::of(&snapshots, at(0, 0));
    let state = |state: &str, entered, exited| StateTime { state: state.into(), entered, exited: Some(exited) };
    summary.timeline.note_states(&[
        state("SnapshotFleet", at(0, 12), at(10, 40)),
        state("CopyToRegions", at(10, 58), at(42, 10)),
        state("ExpireRegions", at(42, 31), at(46, 58)),
    ]);
}

pub(crate) fn swept(number: usize, why: Expire, reason: Option<&str>) -> Swept {
    Swept {
        id: snapshot(9_000 + number),
        volume: Some(volume(number)),
        instances: vec![named(number / 2)],
        why,
        reason: reason.map(str::to_owned),
    }
}

pub(crate) fn kept(number: usize, verdict: &str) -> KeptDue {
    KeptDue { id: snapshot(8_000 + number), volume: Some(volume(number)), verdict: verdict.into() }
}

fn copies(code: &str, made: usize, owed: usize) -> CopiesReport {
    CopiesReport { region: region(code), made, owed, of_new_snapshots: 0, forgotten: vec![], surplus: vec![] }
}

fn name(number: usize) -> String {
    NAMES[number % NAMES.len()].into()
}

/// A night after which all is well.
pub fn complete() -> Summary {
    let mut summary = empty();
    cover(&mut summary, 24, &[HOME, "us-east-1", "eu-central-1"], name, |_, _| State::Covered);
    times(&mut summary);
    summary.timeline.copies = vec![copied("us-east-1", 24, 5, 290, false), copied("eu-central-1", 12, 5, 170, false)];
    summary.copies = vec![copies("us-east-1", 24, 0), copies("eu-central-1", 12, 0)];
    let due = Expire::Due(day("2026-11-22"));
    let gone = |count: usize| (0..count).map(|number| swept(number, due, None)).collect();
    let end = |code: &str, deleted, kept| ExpiryReport { region: region(code), deleted, left: vec![], kept };
    summary.expiries = vec![
        end(
            HOME,
            gone(24),
            vec![
                kept(1, "kept: newest completed of a volume that exists"),
                kept(2, "kept: held by image ami-0123456789abcdef0"),
            ],
        ),
        end("us-east-1", gone(22), vec![kept(3, "kept: newest completed of a volume that exists")]),
    ];
    summary.timeline.note_untold(46);
    summary.gone = vec![GoneVolume {
        volume: volume(77),
        name: Some("old-wiki".into()),
        last: snapshot(770),
        delete_on: day("2026-11-29"),
    }];
    let since = Since::Report {
        run: "20261121T030000Z".into(),
        execution: "before".into(),
        reported: at(0, 0) - TimeDelta::hours(23),
        complete: false,
    };
    let mut instances = Moves { came: vec![named(7)], ..Moves::default() };
    instances.went.push(Named { id: instance(99), name: Some("old-wiki".into()) });
    let volumes = Moves { came: vec![ChangedVolume { id: volume(14), instances: vec![named(7)] }], ..Moves::default() };
    let listed = Some("20261121T030000Z".into());
    summary.changes = Some(Changes { since, listed, not_compared: None, instances, volumes });
    summary
}

/// A night with a bit of everything that goes wrong.
pub fn incomplete() -> Summary {
    let mut summary = complete();
    cover(&mut summary, 24, &[HOME, "us-east-1", "eu-central-1"], name, |volume, region| match (volume, region) {
        (5, 0) | (6 | 7, 1) => State::Missing,
        (8..=10, 1) => State::Overdue,
        (_, 2) => State::Unreadable,
        _ => State::Covered,
    });
    spoil_proofs(&mut summary);
    summary.instances[2].volumes[1].state = None;
    summary.instances[0].consistency = Some(ConsistencyReport {
        document: Some("ebs-snapshots-mariadb".into()),
        level: Some(domain::hooks::script::Level::Crash),
        reason: Some("HookTimedOut: the script took longer than 60 s".into()),
        dump: None,
    });
    let again = "The next run copies it, or start {\"phases\": [\"copy\"]}";
    let denied = "Correct the key's policy, or DestinationKmsKeys. ".to_owned() + again;
    let owed = |number: usize| Problem {
        instances: vec![named(number / 2)],
        volume: Some(volume(number)),
        snapshot: Some(snapshot(number * 5)),
        created_on: Some(day("2026-11-22")),
        region: Some(region("us-east-1")),
        error: Some("KeyNotAccessible".into()),
        ..Problem::new(ProblemKind::NoCopy, "the copy is in error: Given key ID is not accessible", &denied)
    };
    summary.problems = (6..=10).map(owed).collect();
    summary.problems.push(Problem {
        instances: vec![named(11)],
        volume: Some(volume(23)),
        snapshot: Some(snapshot(1)),
        created_on: Some(day("2026-11-19")),
        ..Problem::new(
            ProblemKind::Unprotected,
            "backup=\"Yes\": for EC2 it is another key: allowed is Backup",
            "Set Backup=Yes (back it up), Backup=No (let all its backups expire) or Backup=Hold (keep the last one, and do not report it)",
        )
    });
    summary.problems.push(Problem {
        instances: vec![named(2)],
        volume: Some(volume(5)),
        error: Some("SnapshotLimitExceeded".into()),
        ..Problem::new(
            ProblemKind::NoSnapshot,
            "The maximum number of snapshots has been reached",
            "Raise the account's quota of snapshots. To make it now, start {\"scheduledTime\": \"2026-11-22T03:00:00Z\", \"phases\": [\"snapshot\", \"copy\"]} within 24 hours of that time",
        )
    });
    summary.problems.push(Problem::of_region(
        ProblemKind::Unreadable,
        &region("eu-central-1"),
        "AccessDenied",
        "DescribeSnapshots: UnauthorizedOperation: an explicit deny in a service control policy",
        "The next run tries again",
    ));
    summary.copies = vec![copies("us-east-1", 19, 5)];
    summary.copies[0].surplus = vec![snapshot(4)];
    summary.timeline.copies = vec![copied("us-east-1", 20, 5, 290, true)];
    summary.expiries[0].left = vec![
        swept(3, Expire::Due(day("2026-11-20")), Some("SnapshotHeld: The snapshot is currently in use by ami-0aa")),
        swept(4, Expire::Broken, Some("it got KeepForever after it was planned")),
    ];
    summary.rejected = vec![
        Rejection::new(named(9), "Retention=\"7d\": allowed is a whole number of days from 1 to 36500"),
        Rejection::new(
            named(4),
            "BackupCrossRegion=\"mars-north-1\": allowed is an enabled region of EC2: eu-central-1, us-east-1",
        ),
    ];
    summary.failures = vec![
        ReportedFailure {
            label: "Copies".into(),
            error: "KeyNotAccessible".into(),
            cause: "the copy snap-0aa turned to error: Given key ID is not accessible".into(),
            tasks: (6..=10).map(|n| format!("{}, {} to us-east-1", named(n / 2), snapshot(n * 5))).collect(),
        },
        ReportedFailure {
            label: "Snapshots".into(),
            error: "SnapshotLimitExceeded".into(),
            cause: "The maximum number of snapshots has been reached".into(),
            tasks: vec![named(2).to_string()],
        },
    ];
    let left = [("KeyNotAccessible".to_owned(), 5)].into();
    summary.dead_letters = vec![DeadLettersReport { queue: WorkQueue::Copy, settled: 2, left }];
    summary.notes = vec![Rejection::new(
        named(0),
        "crash-consistent, though a hook was asked for: HookTimedOut: the script took longer than 60 s",
    )];
    if let Some(changes) = &mut summary.changes {
        if let Since::Report { complete, .. } = &mut changes.since {
            *complete = true;
        }
        changes.instances.lost = vec![named(11)];
        changes.volumes.lost = vec![ChangedVolume { id: volume(23), instances: vec![named(11)] }];
    }
    summary
}

/// What a run would do.
pub fn dry_run() -> Summary {
    let mut summary = incomplete();
    summary.run.dry_run = true;
    (summary.dead_letters, summary.failures) = (vec![], vec![]);
    (summary.timeline.snapshots, summary.timeline.copies, summary.timeline.phases) = (None, vec![], vec![]);
    for end in &mut summary.expiries {
        end.left = std::mem::take(&mut end.deleted);
    }
    summary.copies[0].of_new_snapshots = 24;
    summary
}

/// A run that could not list the fleet.
pub fn unlisted() -> Summary {
    let mut summary = empty();
    let reason =
        "the fleet could not be listed: AccessDenied: DescribeInstances: UnauthorizedOperation: You are not authorized";
    summary.problems = vec![Problem::new(ProblemKind::WholeRun, reason, "Repair the reason, and start the run again")];
    summary.changes = Some(Changes {
        since: Since::Unknown { why: "latest.json has the version 2, and this one reads 1".into() },
        listed: None,
        not_compared: None,
        instances: Moves::default(),
        volumes: Moves::default(),
    });
    summary
}

/// The first run of an account in which nothing is tagged.
pub fn first() -> Summary {
    let mut summary = empty();
    cover(&mut summary, 0, &[HOME], name, |_, _| State::Covered);
    summary.changes = Some(Changes {
        since: Since::First,
        listed: None,
        not_compared: None,
        instances: Moves::default(),
        volumes: Moves::default(),
    });
    summary
}
