use super::*;
use crate::{
    fleet::{Attachment, InstanceAs, Snapshot, SnapshotState, Tags},
    proof::Level,
    tags,
};

mod proofs;

/// Nobody expects drills, and nobody remembers any.
fn no_drills() -> ProofRules<'static> {
    static NOTHING: std::sync::LazyLock<Remembered> = std::sync::LazyLock::new(Remembered::default);
    ProofRules { drills: DrillRules::default(), remembered: &NOTHING }
}

fn region(code: &str) -> Region {
    code.parse().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn snapshot(id: &str, volume: &str, started: &str, more: &[(&str, &str)]) -> Snapshot {
    let mut own: Tags = tags::tags([("Type", "Automated"), ("CreatedOn", &started[..10]), ("DeleteOn", "2026-12-31")]);
    own.extend(tags::tags(more.iter().copied()));
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some(volume.parse().unwrap()),
        state: SnapshotState::Completed,
        started: at(started),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: Some(1 << 30),
        stored: Default::default(),
        tags: own,
    }
}

fn plan(volumes: &[&str], to: &[&str]) -> InstancePlan {
    let attached =
        |(at, volume): (usize, &&str)| Attachment { device: format!("/dev/sd{at}"), volume: volume.parse().unwrap() };
    InstancePlan {
        instance: "i-1".parse().unwrap(),
        name: "db".into(),
        volumes: volumes.iter().enumerate().map(attached).collect(),
        excluded: vec![],
        root: None,
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: to.iter().map(|code| region(code)).collect(),
        keep_forever: None,
        hook: None,
        no_hook: None,
        volumes_as: vec![],
        instance_as: InstanceAs::default(),
    }
}

fn states(all: &[VolumeCoverage]) -> Vec<(&str, Vec<State>)> {
    all.iter().map(|one| (one.volume.as_str(), one.regions.iter().map(|r| r.state).collect())).collect()
}

const NOW: &str = "2026-11-22T12:00:00Z";

#[test]
fn what_is_missing_comes_first_then_what_is_overdue() {
    let mut newest = NewestBackups::new(region("eu-west-1"));
    newest.note(&region("eu-west-1"), &snapshot("snap-1", "vol-1", "2026-11-22T03:00:00Z", &[]));
    newest.note(&region("eu-west-1"), &snapshot("snap-2", "vol-2", "2026-11-20T03:00:00Z", &[]));
    let all = coverage(
        &[plan(&["vol-1", "vol-2", "vol-3"], &[])],
        &newest,
        &BTreeSet::new(),
        Some(TimeDelta::hours(44)),
        no_drills(),
        at(NOW),
    );
    let expected = [("vol-3", vec![State::Missing]), ("vol-2", vec![State::Overdue]), ("vol-1", vec![State::Covered])];
    assert_eq!(states(&all), expected);
    assert!(all[0].is_behind() && all[1].is_behind() && !all[2].is_behind());
}

#[test]
fn a_copy_is_as_old_as_its_source_however_late_it_was_made() {
    let (home, there) = (region("eu-west-1"), region("us-east-1"));
    let mut newest = NewestBackups::new(home.clone());
    newest.note(&home, &snapshot("snap-1", "vol-1", "2026-11-20T03:00:00Z", &[]));
    let copied = [
        ("BackupFromRegion", "eu-west-1"),
        ("SourceSnapshotId", "snap-1"),
        ("SourceVolumeId", "vol-1"),
        ("CreatedOn", "2026-11-20"),
    ];
    newest.note(&there, &snapshot("snap-c", "vol-ffffffff", "2026-11-22T11:00:00Z", &copied));
    let all = coverage(&[plan(&["vol-1"], &["us-east-1"])], &newest, &BTreeSet::new(), None, no_drills(), at(NOW));
    assert_eq!(all[0].regions[1].age.unwrap().num_hours(), 57);
    assert_eq!(all[0].state(), State::Unjudged, "no schedule says how old it may be");

    // Its source is gone: the begin of its day counts.
    let mut newest = NewestBackups::new(home);
    newest.note(&there, &snapshot("snap-c", "vol-ffffffff", "2026-11-22T11:00:00Z", &copied));
    assert_eq!(newest.of(&there, &"vol-1".parse().unwrap()).unwrap().taken, at("2026-11-20T00:00:00Z"));
}

#[test]
fn what_others_made_or_what_is_not_completed_covers_nothing() {
    let (home, there) = (region("eu-west-1"), region("us-east-1"));
    let mut newest = NewestBackups::new(home.clone());
    let other = |change: &dyn Fn(&mut Snapshot)| {
        let mut one = snapshot("snap-1", "vol-1", "2026-11-22T03:00:00Z", &[]);
        change(&mut one);
        one
    };
    newest.note(&home, &other(&|s| s.state = SnapshotState::Pending));
    newest.note(&home, &other(&|s| s.state = SnapshotState::Error));
    newest.note(&home, &other(&|s| _ = s.tags.insert("Type".into(), "Manual".into())));
    newest.note(&there, &other(&|s| _ = s.tags.insert("BackupFromRegion".into(), "ap-east-1".into())));
    let all = coverage(&[plan(&["vol-1"], &["us-east-1"])], &newest, &BTreeSet::new(), None, no_drills(), at(NOW));
    assert_eq!(all[0].regions.iter().map(|r| r.state).collect::<Vec<_>>(), [State::Missing, State::Missing]);
}

#[test]
fn a_region_that_could_not_be_read_is_neither_covered_nor_missing() {
    let newest = NewestBackups::new(region("eu-west-1"));
    let unreadable = BTreeSet::from([region("us-east-1")]);
    let all = coverage(&[plan(&["vol-1"], &["us-east-1"])], &newest, &unreadable, None, no_drills(), at(NOW));
    assert_eq!(all[0].regions[1].state, State::Unreadable);
}

#[test]
fn a_backup_may_be_as_old_as_the_schedule_pauses_and_a_run_takes() {
    let settings = Settings::read(|_| None).unwrap();
    let today = "2026-11-22".parse().unwrap();
    assert_eq!(allowed_age("cron(0 3 * * ? *)", &settings, today), Some(TimeDelta::hours(44)));
    assert_eq!(allowed_age("at(2026-11-22T03:00:00)", &settings, today), None);
}
