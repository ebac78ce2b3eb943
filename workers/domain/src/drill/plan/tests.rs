use std::slice;

use chrono::NaiveTime;
use proptest::prelude::*;

use super::*;
use crate::{
    coverage::{LastRead, Proven},
    drill::parameters::Parameters,
    expiry::tests::{HOME, day, snapshot},
    fake::{in_state, region, with, without},
    fleet::StoredAs,
};

const NOW: &str = "2026-11-22T05:00:00Z";

fn drill(sample: Sample, level: Level) -> Drill {
    let defaults = Parameters { level, sample, max_blocks: 1_000_000, max_dump_gib: 2 };
    let now = NOW.parse().unwrap();
    Drill::read(&serde_json::json!({}), "arn:aws:states:eu-west-1:1:execution:drill:e1", now, now, &defaults).unwrap()
}

/// `vol-1` is backed up here and in us-east-1; `vol-2` exists.
fn scope() -> Scope {
    let one = |volume: &str, regions: &[&str]| Protected {
        volume: volume.parse().unwrap(),
        instance: None,
        name: None,
        regions: regions.iter().map(|code| region(code)).collect(),
    };
    let shares = [HOME, "us-east-1"].map(|code| (region(code), 1_000_000)).into();
    Scope { volumes: vec![one("vol-1", &[HOME, "us-east-1"]), one("vol-2", &[])], shares }
}

/// Of 10 GiB.
fn sized(snapshot: Snapshot) -> Snapshot {
    let stored = StoredAs { gib: Some(10), kms_key: Some("key".into()), archived: false };
    Snapshot { full_size: Some(10 << 30), stored, ..snapshot }
}

fn copy(id: &str, of: &str, ago: i64) -> Snapshot {
    let made = Snapshot { volume: Some("vol-ffff".parse().unwrap()), ..sized(snapshot(id, ago)) };
    with(with(with(made, "BackupFromRegion", HOME), "SourceVolumeId", "vol-1"), "SourceSnapshotId", of)
}

fn archived(snapshot: Snapshot) -> Snapshot {
    Snapshot { stored: StoredAs { archived: true, ..snapshot.stored }, ..snapshot }
}

fn proven(snapshot: Snapshot, found: &str) -> Snapshot {
    with(with(snapshot, "VerifiedOn", "2026-11-15"), "VerifiedAs", found)
}

fn planned_of(drill: &Drill, place: &str, held: &[Snapshot], sources: &[Snapshot], share: u64) -> Planned {
    planned_after(drill, place, held, sources, share, &LastReads::new())
}

fn planned_after(
    drill: &Drill,
    place: &str,
    held: &[Snapshot],
    sources: &[Snapshot],
    share: u64,
    last_reads: &LastReads,
) -> Planned {
    let (home, place, scope) = (region(HOME), region(place), scope());
    let mut planning = Planning::new(drill, &home, &place, &scope, last_reads, 7);
    sources.iter().for_each(|source| planning.note_source(source));
    held.iter().for_each(|one| planning.note(one));
    planning.plan(share, NOW.parse().unwrap())
}

fn ids(planned: &Planned) -> Vec<&str> {
    planned.tasks.iter().map(|task| task.snapshot.as_str()).collect()
}

const ALL: u64 = 1_000_000;

#[test]
fn the_newest_completed_backup_of_a_volume_is_read_and_nothing_else() {
    let newest = drill(Sample::Newest, Level::Probe);
    let held = [
        sized(snapshot("snap-1", 3)),
        sized(snapshot("snap-2", 2)),
        in_state(snapshot("snap-3", 1), SnapshotState::Pending),
        in_state(snapshot("snap-4", 1), SnapshotState::Other),
        archived(snapshot("snap-5", 1)),
        without(snapshot("snap-6", 1), "Type"),
        Snapshot { volume: "vol-3".parse().ok(), ..snapshot("snap-7", 1) },
    ];
    let planned = planned_of(&newest, HOME, &held, &[], ALL);
    assert_eq!(ids(&planned), ["snap-2"]);
    let task = &planned.tasks[0];
    assert_eq!((task.volume.as_str(), task.volume_gib, task.full_size), ("vol-1", 10, Some(10 << 30)));
    assert_eq!((task.level, task.kms_key.as_deref(), task.source.is_none()), (Level::Probe, Some("key"), true));
    assert_eq!(task.record_key(), "drills/20261122T050000Z/e1/results/eu-west-1-snap-2.json");
    assert!(planned.without.is_empty() && planned.left_out.is_empty(), "nobody asks for backups of vol-2");
}

#[test]
fn a_volume_without_a_backup_that_can_be_read_is_told_where_tags_ask_for_one() {
    let newest = drill(Sample::Newest, Level::Probe);
    let why = |held: &[Snapshot], place| planned_of(&newest, place, held, &[], ALL).without.pop().unwrap().why;
    assert_eq!(why(&[], HOME), "it has no completed backup there");
    assert_eq!(why(&[snapshot("snap-1", 1)], "us-east-1"), "it has no completed backup there", "another stack's");
    let tier = why(&[archived(snapshot("snap-1", 1))], HOME);
    assert_eq!(tier, "its only backups there are in the archive tier, where they cannot be read");
}

#[test]
fn one_that_has_failed_is_read_again_and_the_newest_good_one_beside_it() {
    let newest = drill(Sample::Newest, Level::Probe);
    let held = [
        sized(snapshot("snap-1", 3)),
        sized(snapshot("snap-2", 2)),
        proven(sized(snapshot("snap-3", 1)), "failed"),
        proven(sized(snapshot("snap-4", 0)), "failed"),
    ];
    assert_eq!(ids(&planned_of(&newest, HOME, &held, &[], ALL)), ["snap-2", "snap-4"]);
}

#[test]
fn a_copy_is_compared_with_its_source_where_that_exists() {
    let level = |asked, source: Option<Snapshot>| {
        let held = [copy("snap-a", "snap-1", 1)];
        let task =
            planned_of(&drill(Sample::Newest, asked), "us-east-1", &held, source.as_slice(), ALL).tasks.remove(0);
        (task.level, task.source.map(|source| (source.region.to_string(), source.snapshot.to_string())), task.taken)
    };
    let source = || Some(snapshot("snap-1", 4));
    let named = Some((HOME.to_owned(), "snap-1".to_owned()));
    assert_eq!(level(Level::Copy, source()), (Level::Copy, named.clone(), source().unwrap().started));
    assert_eq!(level(Level::Dump, source()), (Level::Copy, named, source().unwrap().started), "it has no dump");
    let midnight = day(1).and_time(NaiveTime::MIN).and_utc();
    assert_eq!(level(Level::Copy, None), (Level::Probe, None, midnight), "the source is gone");
    assert_eq!(level(Level::Copy, source().map(archived)), (Level::Probe, None, midnight));
    assert_eq!(level(Level::List, source()).0, Level::List);
}

#[test]
fn a_dump_is_read_on_the_volume_that_has_it() {
    let dumped = |volume: &str| {
        let own = with(sized(snapshot("snap-1", 1)), "DumpVolume", volume);
        with(with(own, "DumpPath", "/d/all.sql.gz"), "DumpSha256", "9f86")
    };
    let task = |held, level| planned_of(&drill(Sample::Newest, level), HOME, &[held], &[], ALL).tasks.remove(0);
    let own = task(dumped("vol-1"), Level::Dump);
    let place = own.dump.clone().unwrap();
    assert_eq!((own.level, place.path.as_str(), place.max_gib), (Level::Dump, "/d/all.sql.gz", 2));
    assert_eq!(predicted(&own).blocks - predicted(&VerifyTask { level: Level::Probe, ..own.clone() }).blocks, 4_096);
    assert!(own.max_blocks > at_least(&own));
    let other = task(dumped("vol-2"), Level::Dump);
    assert_eq!((other.level, other.dump), (Level::Probe, None));
    assert_eq!(task(dumped("vol-1"), Level::Probe).dump, None);
}

#[test]
fn a_random_sample_is_one_of_the_look_back_and_another_one_in_other_drills() {
    let held: Vec<Snapshot> = (0..20).map(|ago| sized(snapshot(&format!("snap-{ago}"), ago))).collect();
    let mut seen = BTreeSet::new();
    for week in 0..60 {
        let drill = Drill { id: format!("drill-{week}"), ..drill(Sample::Random, Level::Probe) };
        let planned = planned_of(&drill, HOME, &held, &[], ALL);
        assert_eq!(planned, planned_of(&drill, HOME, &held, &[], ALL), "the same again");
        assert_eq!(planned.tasks.len(), 1);
        seen.insert(planned.tasks[0].snapshot.to_string());
    }
    let young: BTreeSet<String> = (0..7).map(|ago| format!("snap-{ago}")).collect();
    assert_eq!(seen, young, "begun seven days ago at 03:00 is too old at 05:00");
    let old = [sized(snapshot("snap-1", 30)), sized(snapshot("snap-2", 20))];
    let planned = planned_of(&drill(Sample::Random, Level::Probe), HOME, &old, &[], ALL);
    assert_eq!(ids(&planned), ["snap-2"], "the newest, where all are older");
}

/// A backup of each of two volumes.
fn of_two() -> [Snapshot; 2] {
    [sized(snapshot("snap-1", 1)), Snapshot { volume: "vol-2".parse().ok(), ..sized(snapshot("snap-2", 1)) }]
}

#[test]
fn what_was_proven_longest_ago_comes_first_and_the_rest_is_left_out_by_name() {
    let drill = drill(Sample::Newest, Level::Probe);
    let one = planned_of(&drill, HOME, &of_two()[..1], &[], ALL);
    let share = at_least(&one.tasks[0]);
    let first = |known: &[(&str, &str)]| {
        let proven = |on| Proven { snapshot: "snap-0".parse().unwrap(), on, level: Level::Probe };
        let of = |day: &str| {
            let on = day.parse().unwrap();
            LastRead { tried: on, proven: Some(proven(on)) }
        };
        let days = known.iter().map(|(volume, day)| (volume.parse().unwrap(), of(day))).collect();
        let planned = planned_after(&drill, HOME, &of_two(), &[], share, &[(region(HOME), days)].into());
        assert_eq!((planned.tasks.len(), planned.left_out.len()), (1, 1));
        (planned.tasks[0].snapshot.to_string(), planned.left_out[0].clone())
    };
    let (read, left_out) = first(&[("vol-1", "2026-11-08"), ("vol-2", "2026-11-01")]);
    assert_eq!((read.as_str(), left_out.snapshot.as_str(), left_out.blocks), ("snap-2", "snap-1", share));
    assert_eq!(left_out.last_proven, "2026-11-08".parse().ok());
    assert_eq!(first(&[("vol-2", "2026-11-01")]).0, "snap-1", "never proven comes first");
    assert_eq!(first(&[("vol-1", "2026-11-01")]).0, "snap-2");

    let tagged = [proven(sized(snapshot("snap-0", 8)), "probe"), of_two()[0].clone(), of_two()[1].clone()];
    let planned = planned_of(&drill, HOME, &tagged, &[], share);
    assert_eq!(ids(&planned), ["snap-2"], "the tag of an older backup says so, too");
}

#[test]
fn what_fails_each_time_is_not_in_the_way_of_what_was_left_out() {
    let drill = drill(Sample::Newest, Level::Probe);
    let share = at_least(&planned_of(&drill, HOME, &of_two()[..1], &[], ALL).tasks[0]);
    let failed = LastRead { tried: "2026-11-15".parse().unwrap(), proven: None };
    let known = [(region(HOME), [("vol-1".parse().unwrap(), failed)].into())].into();
    assert_eq!(ids(&planned_after(&drill, HOME, &of_two(), &[], share, &known)), ["snap-2"], "it was tried last week");
}

#[test]
fn what_is_more_than_the_share_of_its_region_by_itself_is_read_as_far_as_that_goes() {
    let dumped = [("DumpVolume", "vol-1"), ("DumpPath", "/d/all.sql.gz"), ("DumpSha256", "9f86")];
    let held = dumped.iter().fold(copy("snap-a", "snap-1", 1), |held, (key, value)| with(held, key, value));
    let asked = drill(Sample::Newest, Level::Dump);
    let task = |share| {
        let planned = planned_of(&asked, "us-east-1", slice::from_ref(&held), &[snapshot("snap-1", 4)], share);
        assert!(planned.left_out.is_empty(), "in no drill would it be read");
        planned.tasks.into_iter().next().unwrap()
    };
    let whole = task(ALL);
    assert_eq!((whole.level, whole.lowered), (Level::Dump, None));
    let blocks = predicted(&whole).blocks;
    for (share, level) in [(blocks + 8, Level::Dump), (blocks + 7, Level::Copy), (72, Level::Probe), (40, Level::List)]
    {
        let task = task(share);
        assert_eq!((task.level, task.dump.is_some()), (level, level == Level::Dump), "{share}");
        assert!(predicted(&task).blocks <= share);
        let lowered = (level != Level::Dump).then_some(Lowered { from: Level::Dump, blocks, share });
        assert_eq!(task.lowered, lowered);
    }
}

#[test]
fn the_shares_are_as_large_as_what_tags_ask_for() {
    let regions: BTreeSet<Region> = [HOME, "us-east-1"].map(region).into();
    let mut volumes = scope().volumes;
    let first = volumes[0].clone();
    volumes.extend((0..6).map(|i| Protected { volume: format!("vol-a{i}").parse().unwrap(), ..first.clone() }));
    volumes[2..].iter_mut().for_each(|one| _ = one.regions.remove(&region("us-east-1")));
    let shares = shares(1_000, &volumes, &regions);
    assert_eq!((shares[&region(HOME)], shares[&region("us-east-1")]), (800, 200));
}

proptest! {
    #[test]
    fn no_plan_takes_more_than_its_share_and_everything_is_read_or_told(
        share in 0u64..400, ages in prop::collection::vec((0i64..9, 1u8..3, 0u8..3), 0..9),
        sample in prop::sample::select(Sample::ALL.map(|(_, sample)| sample).to_vec()),
    ) {
        let held: Vec<Snapshot> = ages.iter().enumerate().map(|(i, (ago, volume, found))| {
            let own = sized(snapshot(&format!("snap-{i}"), *ago));
            let own = Snapshot { volume: format!("vol-{volume}").parse().ok(), ..own };
            match found { 0 => own, 1 => proven(own, "failed"), _ => proven(own, "probe") }
        }).collect();
        let drill = drill(sample, Level::Probe);
        let planned = planned_of(&drill, HOME, &held, &[], share);
        prop_assert!(planned.tasks.iter().map(|task| task.max_blocks).sum::<u64>() <= share);
        prop_assert!(planned.tasks.iter().all(|task| task.max_blocks >= predicted(task).blocks));
        let whole = planned_of(&drill, HOME, &held, &[], u64::MAX);
        prop_assert_eq!(whole.left_out.len(), 0);
        let mut told: Vec<&str> = ids(&planned);
        told.extend(planned.left_out.iter().map(|one| one.snapshot.as_str()));
        let mut all = ids(&whole);
        told.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(told, all);
        let read: BTreeSet<&str> = whole.tasks.iter().map(|task| task.volume.as_str()).collect();
        let there: BTreeSet<&str> = held.iter().map(|one| one.volume.as_ref().unwrap().as_str()).collect();
        prop_assert_eq!(read, there, "something of every volume");
    }
}
