use super::*;
use crate::{
    drill::{
        Finding,
        parameters::{Parameters, Sample},
    },
    expiry::tests::snapshot,
    fake::{region, with},
    ports::{FailedItem, MapRun},
    report::NotifyOn,
};

const HOME: &str = "eu-west-1";
const EAST: &str = "us-east-1";
const NOW: &str = "2026-11-22T06:00:00Z";

fn drill() -> Drill {
    let defaults = Parameters { level: Level::Probe, sample: Sample::Newest, max_blocks: 1_000_000, max_dump_gib: 2 };
    let started = "2026-11-22T05:00:00Z".parse().unwrap();
    Drill::read(&serde_json::json!({}), "arn:aws:states:eu-west-1:1:execution:s-drill:e1", started, started, &defaults)
        .unwrap()
}

fn task(place: &str, id: &str, volume: &str) -> VerifyTask {
    VerifyTask {
        drill_id: drill().id,
        folder: drill().folder(),
        region: region(place),
        snapshot: id.parse().unwrap(),
        volume: volume.parse().unwrap(),
        taken: "2026-11-22T03:00:00Z".parse().unwrap(),
        level: Level::Probe,
        lowered: None,
        source: None,
        volume_gib: 8,
        full_size: Some(8 << 30),
        kms_key: None,
        dump: None,
        max_blocks: 100,
        cursor: None,
    }
}

fn verified(task: &VerifyTask, level: Option<Level>, failure: Option<(ErrorName, &str)>) -> Verified {
    let took = predicted(task);
    Verified {
        region: task.region.clone(),
        snapshot: task.snapshot.clone(),
        volume: task.volume.clone(),
        taken: task.taken,
        at: NOW.parse().unwrap(),
        asked: task.level,
        level,
        failure: failure.map(|(error, cause)| Finding { error, cause: cause.into() }),
        marked: failure.is_some_and(|(error, _)| error == ErrorName::SnapshotCorrupt),
        found: vec!["ext4".into()],
        notes: Vec::new(),
        missing: Vec::new(),
        list_calls: took.list_calls,
        blocks_read: took.blocks,
        blocks_listed: 16_384,
    }
}

/// A region's plan, and what became of each of its tasks; none where nothing did.
fn end(place: &str, tasks: Vec<VerifyTask>) -> RegionEnd {
    RegionEnd { region: region(place), tasks, not_read: NotRead::default(), failure: None }
}

fn protected() -> Vec<Protected> {
    let one = |volume: &str| Protected {
        volume: volume.parse().unwrap(),
        instance: "i-1".parse().ok(),
        name: Some("web".into()),
        regions: [region(HOME)].into(),
    };
    ["vol-1", "vol-2", "vol-3"].map(one).into()
}

fn report(regions: Vec<RegionEnd>, records: Vec<(&VerifyTask, Record)>) -> DrillReport {
    report_with(regions, records, &Failed::default())
}

fn report_with(regions: Vec<RegionEnd>, records: Vec<(&VerifyTask, Record)>, failed: &Failed) -> DrillReport {
    let records = records.into_iter().map(|(task, record)| (task.record_key(), record)).collect();
    DrillReport::of(Looked {
        drill: &drill(),
        home: &region(HOME),
        now: NOW.parse().unwrap(),
        bucket: "reports",
        protected: &protected(),
        regions,
        records: &records,
        failed,
        problems: Vec::new(),
    })
}

fn ends(report: &DrillReport) -> Vec<(&str, End)> {
    report.backups.iter().map(|one| (one.snapshot.as_str(), one.end)).collect()
}

#[test]
fn all_is_proven_where_every_line_of_the_plan_has_a_record_that_says_so() {
    let (a, b) = (task(HOME, "snap-1", "vol-1"), task(EAST, "snap-2", "vol-1"));
    let good = |task: &VerifyTask| Ok(verified(task, Some(Level::Probe), None));
    let regions = vec![end(HOME, vec![a.clone()]), end(EAST, vec![b.clone()])];
    let report = report(regions, vec![(&a, good(&a)), (&b, good(&b))]);
    assert!(report.complete && report.cause().is_empty());
    assert_eq!(report.headline(), "EBS drill 20261122T050000Z in eu-west-1: proven, 2 proven");
    assert_eq!((report.used, report.usd.to_bits()), (report.predicted, report.usd_predicted.to_bits()));
    let lists = report.used.list_calls as f64 * 0.0006 / 1_000.0;
    assert!((report.usd - lists - report.used.blocks as f64 * 0.003 / 1_000.0).abs() < 1e-12);
    assert!(
        report.text().contains("snap-2 in us-east-1, vol-1 of i-1 (web), data of 2026-11-22 03:00 UTC: probe; ext4")
    );
    let told = [NotifyOn::Failure, NotifyOn::Always, NotifyOn::Never].map(|on| report.is_told(on));
    assert_eq!(told, [false, true, false]);
    let back: DrillReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(back, report);
}

#[test]
fn a_line_without_a_record_is_never_fine() {
    let all = [
        task(HOME, "snap-1", "vol-1"),
        task(HOME, "snap-2", "vol-2"),
        task(HOME, "snap-3", "vol-3"),
        task(HOME, "snap-4", "vol-1"),
    ];
    let other = verified(&all[2], Some(Level::Probe), None);
    let empty = verified(&all[3], None, None);
    let records = vec![(&all[1], Err("no JSON".to_owned())), (&all[0], Ok(other)), (&all[3], Ok(empty))];
    let report = report(vec![end(HOME, all.to_vec())], records);
    assert!(!report.complete && report.count(End::Unanswered) == 4, "{:?}", ends(&report));
    assert_eq!(report.not_known(), 4);
    let causes: BTreeSet<&str> = report.backups.iter().filter_map(|one| one.cause.as_deref()).collect();
    let expected = [
        "it has no record",
        "its record cannot be read: no JSON",
        "its record is of snap-3 in eu-west-1",
        "its record says neither what is proven nor what failed",
    ];
    assert_eq!(causes, expected.into());
    assert!(
        report.cause().contains("4 unanswered")
            && report.cause().contains("s3://reports/drills/20261122T050000Z/e1/report.json")
    );
}

#[test]
fn of_a_task_that_failed_without_a_record_step_functions_says_why() {
    let (a, b) = (task(HOME, "snap-1", "vol-1"), task(HOME, "snap-2", "vol-2"));
    let item = |task: &VerifyTask, error: &str| FailedItem {
        execution: "arn".into(),
        input: serde_json::json!({"task": task}).to_string(),
        error: error.into(),
        cause: "slow".into(),
    };
    let failures = vec![item(&a, "OutOfTime"), item(&b, "SnapshotNotFound")];
    let map_run = MapRun { label: "Verifications".into(), total: 2, failed: 2, failures, unreadable: None };
    let report = report_with(vec![end(HOME, vec![a, b])], Vec::new(), &Failed::of(&[map_run]));
    assert_eq!(ends(&report), [("snap-1", End::Unanswered), ("snap-2", End::Vanished)]);
    assert!(report.text().contains("data of 2026-11-22 03:00 UTC: OutOfTime: slow"), "{}", report.text());
}

#[test]
fn what_vanished_is_no_failure_where_another_backup_of_the_volume_is_proven() {
    let (gone, other) = (task(HOME, "snap-1", "vol-1"), task(HOME, "snap-2", "vol-1"));
    let records = || {
        let gone_record = verified(&gone, None, Some((ErrorName::SnapshotNotFound, "gone")));
        vec![(&gone, Ok(gone_record)), (&other, Ok(verified(&other, Some(Level::Probe), None)))]
    };
    assert!(report(vec![end(HOME, vec![gone.clone(), other.clone()])], records()).complete);
    let alone = report(vec![end(HOME, vec![gone.clone()])], records());
    assert!(!alone.complete && alone.count(End::Vanished) == 1);
}

#[test]
fn a_failure_is_told_with_what_was_found_and_where_the_last_good_one_is() {
    let (bad, good) = (task(HOME, "snap-1", "vol-1"), task(EAST, "snap-a", "vol-1"));
    let finding = (ErrorName::SnapshotCorrupt, "block 7: SHA-256 AAAA was expected, and BBBB found");
    let records =
        vec![(&bad, Ok(verified(&bad, None, Some(finding)))), (&good, Ok(verified(&good, Some(Level::Probe), None)))];
    let mut report = report(vec![end(HOME, vec![bad.clone()]), end(EAST, vec![good.clone()])], records);
    assert_eq!(ends(&report), [("snap-1", End::Failed), ("snap-a", End::Proven)]);
    assert!(!report.complete && report.failed_volumes() == [bad.volume.clone()].into());
    assert!(report.text().contains("no good one that is as old or older is known"));

    let copy = |id: &str, ago: i64| {
        let made = with(with(snapshot(id, ago), "BackupFromRegion", HOME), "SourceVolumeId", "vol-1");
        (region(EAST), with(made, "SourceSnapshotId", "snap-2"))
    };
    let failed = |snapshot| with(with(snapshot, "VerifiedOn", "2026-11-21"), "VerifiedAs", "failed");
    let here = |snapshot: Snapshot| (region(HOME), snapshot);
    let held = [here(snapshot("snap-1", 0)), here(failed(snapshot("snap-2", 1))), here(snapshot("snap-3", 2))];
    report.note_older(&held);
    let older = report.backups[0].older.clone().unwrap();
    assert_eq!((older.snapshot.as_str(), older.proof), ("snap-3", None), "neither itself nor one that has failed");
    report.note_older(&[held[0].clone(), held[2].clone(), copy("snap-a", 1)]);
    let older = report.backups[0].older.clone().unwrap();
    assert_eq!((older.snapshot.as_str(), older.region.as_str()), ("snap-a", EAST), "the newest, in whatever region");
    assert_eq!(older.proof.unwrap().level, Some(Level::Probe), "as this drill has proven");
    let text = report.text();
    assert!(
        text.contains(
            "SnapshotCorrupt: block 7: SHA-256 AAAA was expected, and BBBB found; it is marked VerifiedAs=failed"
        ),
        "{text}"
    );
    assert!(text.contains("is snap-a in us-east-1, data of 2026-11-21 00:00 UTC, proven 2026-11-22 (probe)"), "{text}");
    assert!(report.message().contains("A drill failed") && report.subject().len() < 100);
}

#[test]
fn a_region_that_could_not_be_planned_and_what_is_left_out_are_told() {
    let error = StateError { error: "RegionNotEnabled".into(), cause: "closed".into() };
    let left_out = LeftOut {
        volume: "vol-2".parse().unwrap(),
        snapshot: "snap-2".parse().unwrap(),
        blocks: 33,
        last_proven: None,
    };
    let without = Without { volume: "vol-3".parse().unwrap(), why: "it has no completed backup there".into() };
    let a = task(HOME, "snap-1", "vol-1");
    let read = RegionEnd {
        not_read: NotRead { left_out: vec![left_out.clone()], without: vec![without] },
        ..end(HOME, vec![a.clone()])
    };
    let good = || vec![(&a, Ok(verified(&a, Some(Level::Probe), None)))];
    let politely = report(vec![read.clone()], good());
    assert!(politely.complete, "what is left out is told, and no failure");
    assert!(politely.text().contains("snap-2 in eu-west-1, of vol-2: 33 blocks, never proven"));
    assert!(politely.text().contains("vol-3 in eu-west-1: it has no completed backup there"));
    let closed = RegionEnd { failure: Some(error), ..end(EAST, Vec::new()) };
    let told = report(vec![read.clone(), closed], good());
    assert!(!told.complete && told.text().contains("us-east-1: RegionNotEnabled: closed"));
    assert!(
        politely.headline().ends_with("proven, 1 proven, 1 left out, 1 without a backup"),
        "{}",
        politely.headline()
    );
    let nothing = report(vec![RegionEnd { tasks: Vec::new(), ..read }], Vec::new());
    assert!(
        !nothing.complete && nothing.cause().contains("no volume has a backup"),
        "a drill that reads nothing proves nothing"
    );
}

#[test]
fn what_is_proven_less_than_was_asked_for_is_no_success() {
    let lowered = Lowered { from: Level::Dump, blocks: 4_096, share: 100 };
    let (cut, stopped) = (task(HOME, "snap-1", "vol-1"), task(HOME, "snap-2", "vol-2"));
    let cut = VerifyTask { lowered: Some(lowered), ..cut };
    let good = |task: &VerifyTask| verified(task, Some(Level::Probe), None);
    let missing = vec!["its tags could not be written: denied".to_owned()];
    let records = vec![(&cut, Ok(good(&cut))), (&stopped, Ok(Verified { missing: missing.clone(), ..good(&stopped) }))];
    let report = report(vec![end(HOME, vec![cut.clone(), stopped.clone()])], records);
    assert!(!report.complete && report.unproven().is_empty());
    assert!(report.headline().ends_with("NOT PROVEN, 2 proven, 2 less than asked for"), "{}", report.headline());
    let text = report.text();
    for words in [
        "probe, of dump that was asked for; ext4; dump would take 4096 blocks, and DrillMaxBlocks leaves 100 to eu-west-1",
        &missing[0],
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(report.cause().contains("DrillMaxBlocks"), "{}", report.cause());
}

#[test]
fn what_no_drill_could_prove_is_told_and_no_failure() {
    let dump = VerifyTask { level: Level::Dump, ..task(HOME, "snap-1", "vol-1") };
    let record = Verified { notes: vec!["its dump is on XFS".into()], ..verified(&dump, Some(Level::Probe), None) };
    let report = report(vec![end(HOME, vec![dump.clone()])], vec![(&dump, Ok(record))]);
    assert!(report.complete);
    assert!(report.headline().ends_with("proven, 1 proven, 1 less than asked for"), "{}", report.headline());
}

#[test]
fn what_was_proven_is_remembered_while_its_volume_is_protected() {
    let a = task(HOME, "snap-1", "vol-1");
    let report = report(vec![end(HOME, vec![a.clone()])], vec![(&a, Ok(verified(&a, Some(Level::Probe), None)))]);
    let proven = |id: &str, on: &str, level| Proven { snapshot: id.parse().unwrap(), on: on.parse().unwrap(), level };
    let read = |proven: Proven| LastRead { tried: proven.on, proven: Some(proven) };
    let old = || read(proven("snap-0", "2026-11-15", Level::Dump));
    let volumes = ["vol-1", "vol-2", "vol-9"].map(|volume| (volume.parse().unwrap(), old())).into();
    let after = report.last_reads(&[(region(HOME), volumes)].into(), &protected());
    let of = |volume: &str| after[&region(HOME)].get(&volume.parse::<VolumeId>().unwrap()).cloned();
    let new = read(proven("snap-1", "2026-11-22", Level::Probe));
    assert_eq!((of("vol-1"), of("vol-2"), of("vol-9")), (Some(new), Some(old()), Some(old())));
    let long_ago = [("vol-9".parse().unwrap(), read(proven("snap-0", "2025-10-01", Level::Dump)))].into();
    let after = report.last_reads(&[(region(HOME), long_ago)].into(), &protected());
    assert_eq!(after[&region(HOME)].len(), 1, "of a volume that is long gone nothing is kept");
}

#[test]
fn a_drill_over_thousands_is_told_in_a_cause_that_fits() {
    let tasks: Vec<VerifyTask> = (0..3_000).map(|i| task(HOME, &format!("snap-{i}"), "vol-1")).collect();
    let report = report(vec![end(HOME, tasks)], Vec::new());
    assert!(report.cause().chars().count() <= 1_000 && report.cause().ends_with("summary.txt beside it"));
    assert!(report.message().len() < 200_000 && report.text().contains("and 2800 more in report.json"));
}
