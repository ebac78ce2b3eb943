use std::collections::BTreeMap;

use domain::{
    contract::{ExpireTask, FleetFound, Manifest, SweepPlan},
    copies::CopyTask,
    fake::{FakeClaims, FakeEc2, FakeExecutionStates, FakeStorage, Fault, home, region},
    fleet::{SnapshotState::Completed, Tags},
    ids::{Region, SnapshotId},
    policy::{InstancePlan, Rejection},
    run::Run,
    settings::Settings,
    tags::tags,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

mod drill;

fn account() -> FakeEc2 {
    let mut ec2 = FakeEc2::new(&["eu-west-1", "us-east-1", "us-west-2"], "2026-11-22T03:00:30Z".parse().unwrap());
    ec2.regions.disabled.insert(region("ap-east-1"));
    ec2
}

fn run(input: Value) -> Run {
    Run::read(&input, "arn:aws:states:eu-west-1:1:execution:backup:e1", "2026-11-22T03:00:00Z".parse().unwrap(), 20)
        .unwrap()
}

/// A snapshot of `vol-1`.
fn snapshot(ec2: &FakeEc2, place: &Region, own: &[(&str, &str)]) -> SnapshotId {
    ec2.add_snapshot(place, Some(&"vol-1".parse().unwrap()), Completed, tags(own.iter().copied()))
}

/// Automated snapshots that are due, one per day.
fn due(ec2: &FakeEc2, place: &Region, count: u64) -> Vec<SnapshotId> {
    let first: chrono::NaiveDate = "2026-09-01".parse().unwrap();
    (0..count)
        .map(|i| {
            let day = (first + chrono::Days::new(i)).to_string();
            snapshot(ec2, place, &[("CreatedOn", &day), ("DeleteOn", "2026-11-22"), ("Type", "Automated")])
        })
        .collect()
}

/// Takes one step, and checks that it changed nothing in EC2. A stopped region becomes an error here.
async fn step(ec2: &FakeEc2, storage: &FakeStorage, event: DiscoverEvent) -> Result<Value, Failure> {
    let settings = Settings::read(|_| None).unwrap();
    let context = Context { ec2, storage, settings: &settings, home: &ec2.regions.home, now: ec2.now.get() };
    let (claims, executions) = (FakeClaims::new(ec2.now.get()), FakeExecutionStates::default());
    let starts = StartContext { claims: &claims, executions: &executions };
    let answer = handle(event, &context, &starts).await;
    assert!(ec2.calls.borrow().iter().all(|(action, _)| action.starts_with("Describe")), "{:?}", ec2.calls);
    let answer = answer?;
    match serde_json::from_value(answer.clone()) {
        Ok(SweepPlan::Manifest(manifest)) => Ok(json!(manifest)),
        Ok(SweepPlan::Stopped(stopped)) => {
            assert_eq!(stopped.error, ErrorName::MassExpire.as_str());
            Err(Failure::new(ErrorName::MassExpire, stopped.cause))
        }
        Err(_) => Ok(answer),
    }
}

/// Writes the fleet, as the steps before `DiscoverCopies` and `DiscoverExpired` do.
async fn listed(ec2: &FakeEc2, storage: &FakeStorage) {
    for name in [run_files::FLEET, run_files::FLEET_AGAIN] {
        crate::fleet::list(&run(json!({})), name, ec2, storage).await.unwrap();
    }
    ec2.calls.borrow_mut().clear();
}

/// The answer to a step that succeeds, with the fleet as it is now.
async fn found_now<T: DeserializeOwned>(ec2: &FakeEc2, storage: &FakeStorage, event: DiscoverEvent) -> T {
    listed(ec2, storage).await;
    found(ec2, storage, event).await
}

/// The answer to a step that succeeds.
async fn found<T: DeserializeOwned>(ec2: &FakeEc2, storage: &FakeStorage, event: DiscoverEvent) -> T {
    serde_json::from_value(step(ec2, storage, event).await.unwrap()).unwrap()
}

fn read_lines<T: DeserializeOwned>(storage: &FakeStorage, name: &str) -> Vec<T> {
    let key = format!("runs/20261122T030000Z/e1/{name}");
    storage.0.borrow()[&key].lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn codes(regions: &[Region]) -> Vec<&str> {
    regions.iter().map(Region::as_str).collect()
}

#[tokio::test]
async fn a_run_starts_with_everything_filled_in_or_not_at_all() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let start = |input| DiscoverEvent::StartRun {
        input,
        execution: "arn:aws:states:eu-west-1:1:execution:backup:e1".into(),
        started: "2026-11-22T03:00:00Z".parse().unwrap(),
    };
    let expected = json!({
        "id": "20261122T030000Z",
        "scheduled": "2026-11-22T03:00:00Z",
        "deadline": "2026-11-22T23:00:00Z",
        "execution": "arn:aws:states:eu-west-1:1:execution:backup:e1",
        "started": "2026-11-22T03:00:00Z",
        "dryRun": true,
        "phases": {"snapshot": false, "copy": true, "expire": false},
        "allowMassExpire": false,
    });
    let input = json!({"dryRun": true, "phases": ["copy"]});
    assert_eq!(step(&ec2, &storage, start(input)).await.unwrap(), expected);
    let refused = step(&ec2, &storage, start(json!({"dryrun": true}))).await.unwrap_err();
    assert_eq!(refused.name, ErrorName::InvalidInput);
    assert!(storage.0.borrow().is_empty() && ec2.calls.borrow().is_empty());
}

#[tokio::test]
async fn the_fleet_is_written_down_with_what_had_to_be_rejected() {
    let (ec2, storage) = (account(), FakeStorage::default());
    ec2.add_instance("i-1", &[("Backup", "yes"), ("Name", "db"), ("Retention", "7d")], &["vol-1", "vol-2"]);
    ec2.add_instance("i-2", &[("Backup", "No")], &["vol-3"]);
    ec2.add_instance("i-3", &[("Backup", "Yes")], &[]);
    ec2.volume_tags.borrow_mut().insert("vol-2".parse().unwrap(), tags([("Backup", "No")]));
    let event = || DiscoverEvent::DiscoverInstances { run: run(json!({})) };
    let fleet: FleetFound = found(&ec2, &storage, event()).await;
    let key = "runs/20261122T030000Z/e1/instances.jsonl".to_owned();
    assert_eq!(fleet.manifest, Manifest { bucket: "reports".into(), key, count: 1 });
    let plans: Vec<InstancePlan> = read_lines(&storage, "instances.jsonl");
    assert_eq!((plans[0].instance.as_str(), plans[0].name.as_str()), ("i-1", "db"));
    assert_eq!(plans[0].excluded, ["vol-2".parse().unwrap()]);
    let rejected: Vec<Rejection> = read_lines(&storage, "rejected.jsonl");
    let subjects: Vec<_> = rejected.iter().map(|r| (r.subject.as_str(), &r.problem[..10])).collect();
    assert_eq!(subjects, [("i-1 (db)", "Retention="), ("i-3", "the instan")]);
    assert_eq!(codes(&fleet.expire_regions), ["eu-west-1", "us-east-1", "us-west-2"]);

    let written = storage.0.borrow().clone();
    assert_eq!(found::<FleetFound>(&ec2, &storage, event()).await, fleet, "a second look says the same");
    assert_eq!(*storage.0.borrow(), written);
}

#[tokio::test]
async fn copies_go_where_instances_or_snapshots_say_and_never_to_a_disabled_region() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let fleet = async |input| found(&ec2, &storage, DiscoverEvent::DiscoverInstances { run: run(input) }).await;
    let none: FleetFound = fleet(json!({})).await;
    assert!(none.copy_regions.is_empty() && none.manifest.count == 0, "an empty account");

    let own = [("Backup", "Yes"), ("BackupCrossRegion", "us-east-1, eu-west-1, ap-east-1, us-nowhere-1")];
    ec2.add_instance("i-1", &own, &["vol-1"]);
    let found: FleetFound = fleet(json!({"phases": ["copy"]})).await;
    assert_eq!(codes(&found.copy_regions), ["us-east-1"], "from the tag of the living instance");
    // Its older snapshots were promised copies in more regions.
    snapshot(&ec2, &home(), &[("BackupCrossRegion", "us-west-2, ap-east-1, eu-west-1"), ("Type", "Automated")]);
    let found: FleetFound = fleet(json!({"phases": ["copy"]})).await;
    assert_eq!(codes(&found.copy_regions), ["us-east-1", "us-west-2"]);
    assert!(found.expire_regions.is_empty());
    let rejected: Vec<String> =
        read_lines::<Rejection>(&storage, "rejected.jsonl").iter().map(ToString::to_string).collect();
    let disabled = "ap-east-1: 1 snapshot is promised a copy there, and the region is not enabled";
    assert!(rejected.iter().any(|line| line == disabled), "{rejected:?}");
    // The tag of an instance still decides for its old snapshots, even if it is not snapshotted tonight.
    ec2.volume_tags.borrow_mut().insert("vol-1".parse().unwrap(), tags([("Backup", "No")]));
    let found: FleetFound = fleet(json!({"phases": ["copy"]})).await;
    assert_eq!((found.manifest.count, codes(&found.copy_regions)), (0, vec!["us-east-1", "us-west-2"]));
    let found: FleetFound = fleet(json!({"phases": ["snapshot", "expire"]})).await;
    assert!(found.copy_regions.is_empty());
}

#[tokio::test]
async fn a_copy_is_no_reason_to_look_into_a_region() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let by_hand = [("BackupCrossRegion", "us-east-1")];
    let copy = [("BackupCrossRegion", "us-west-2"), ("BackupFromRegion", "us-east-1"), ("Type", "Automated")];
    snapshot(&ec2, &home(), &by_hand);
    snapshot(&ec2, &home(), &copy);
    let fleet: FleetFound = found(&ec2, &storage, DiscoverEvent::DiscoverInstances { run: run(json!({})) }).await;
    assert!(fleet.copy_regions.is_empty());
}

#[tokio::test]
async fn a_list_that_could_not_be_completed_is_an_error_and_nothing_is_written() {
    let instances = || DiscoverEvent::DiscoverInstances { run: run(json!({})) };
    let copies = || DiscoverEvent::DiscoverCopies { run: run(json!({})), region: region("us-east-1") };
    let again = || DiscoverEvent::ListFleetAgain { run: run(json!({})) };
    let expired = || DiscoverEvent::DiscoverExpired { run: run(json!({})), region: region("us-east-1") };
    type Event = fn() -> DiscoverEvent;
    let steps: [(Event, &[&str], &str); 4] = [
        (instances, &["DescribeRegions", "DescribeInstances", "DescribeVolumes", "DescribeSnapshots"], "instances"),
        (copies, &["DescribeSnapshots", "DescribeSnapshots"], "copies"),
        (again, &["DescribeRegions", "DescribeInstances", "DescribeVolumes"], "fleet-again"),
        (
            expired,
            &["DescribeSnapshots", "DescribeSnapshots", "DescribeImages", "DescribeLockedSnapshots", "DescribeVolumes"],
            "expire",
        ),
    ];
    for (event, looks, written) in steps {
        for (i, look) in looks.iter().enumerate() {
            for (code, name) in [
                ("RequestLimitExceeded", ErrorName::Ec2Unavailable),
                ("UnauthorizedOperation", ErrorName::AccessDenied),
            ] {
                let (ec2, storage) = (account(), FakeStorage::default());
                ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
                let labels = [
                    ("BackupFromRegion", "eu-west-1"),
                    ("CreatedOn", "2026-11-01"),
                    ("DeleteOn", "2026-11-08"),
                    ("SourceVolumeId", "vol-9"),
                    ("Type", "Automated"),
                ];
                snapshot(&ec2, &region("us-east-1"), &labels);
                if written != "fleet-again" {
                    listed(&ec2, &storage).await;
                }
                for _ in looks[..i].iter().filter(|earlier| *earlier == look) {
                    ec2.fail_next(look, Fault::Spared);
                }
                ec2.fail_next(look, Fault::Refused(code));
                let failure = step(&ec2, &storage, event()).await.unwrap_err();
                assert!(failure.name == name && failure.cause.starts_with(look), "{failure}");
                let key = format!("e1/{written}");
                assert!(!storage.0.borrow().keys().any(|written| written.contains(&key)), "{look}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_decided_from_a_fleet_that_was_not_written_down() {
    for event in [
        DiscoverEvent::DiscoverCopies { run: run(json!({})), region: region("us-east-1") },
        DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() },
    ] {
        let (ec2, storage) = (account(), FakeStorage::default());
        due(&ec2, &home(), 2);
        let failure = step(&ec2, &storage, event).await.unwrap_err();
        assert!(
            failure.name == ErrorName::StorageFailed && failure.cause.contains("there is no such file"),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn where_nothing_is_due_a_region_costs_one_look() {
    let (ec2, storage) = (account(), FakeStorage::default());
    ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
    let later = [("CreatedOn", "2026-11-21"), ("DeleteOn", "2026-11-28"), ("Type", "Automated")];
    snapshot(&ec2, &home(), &later);
    for place in [home(), region("us-east-1")] {
        let event = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: place.clone() };
        assert_eq!(found_now::<Manifest>(&ec2, &storage, event).await.count, 0);
        assert_eq!(*ec2.calls.borrow(), [("DescribeSnapshots", place)]);
    }
}

#[tokio::test]
async fn what_expire_regions_would_let_pile_up_is_said() {
    let (mut ec2, storage) = (account(), FakeStorage::default());
    ec2.regions.enabled.insert(region("eu-north-1"));
    snapshot(&ec2, &region("us-east-1"), &[("BackupFromRegion", "eu-west-1"), ("Type", "Automated")]);
    snapshot(&ec2, &region("us-west-2"), &[("BackupFromRegion", "eu-central-1"), ("Type", "Automated")]);
    ec2.fail_next("DescribeSnapshots", Fault::Spared); // The sources.
    ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation")); // eu-north-1.
    let given = |name: &str| (name == "EXPIRE_REGIONS").then(|| "eu-west-1, ap-east-1".to_owned());
    let settings = Settings::read(given).unwrap();
    let context = Context { ec2: &ec2, storage: &storage, settings: &settings, home: &home(), now: ec2.now.get() };
    let (claims, executions) = (FakeClaims::new(ec2.now.get()), FakeExecutionStates::default());
    let starts = StartContext { claims: &claims, executions: &executions };
    handle(DiscoverEvent::DiscoverInstances { run: run(json!({})) }, &context, &starts).await.unwrap();
    let rejected: Vec<String> =
        read_lines::<Rejection>(&storage, "rejected.jsonl").iter().map(ToString::to_string).collect();
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(rejected[0].starts_with("ExpireRegions: ap-east-1 is not an enabled region"), "{rejected:?}");
    assert!(rejected[1].starts_with("ExpireRegions: us-east-1 holds 1 of the copies"), "{rejected:?}");
}

#[tokio::test]
async fn what_a_destination_is_owed_is_written_down() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let labels = |day: &'static str| {
        [("BackupCrossRegion", "us-east-1"), ("CreatedOn", day), ("DeleteOn", "2026-11-29"), ("Type", "Automated")]
    };
    let copied = snapshot(&ec2, &home(), &labels("2026-11-21"));
    let owed = snapshot(&ec2, &home(), &labels("2026-11-22"));
    let mut of_copied: Tags = tags(labels("2026-11-21"));
    of_copied.extend(tags([("BackupFromRegion", "eu-west-1"), ("SourceSnapshotId", copied.as_str())]));
    ec2.add_snapshot(&region("us-east-1"), None, Completed, of_copied);
    let event = || DiscoverEvent::DiscoverCopies { run: run(json!({})), region: region("us-east-1") };
    let manifest: Manifest = found_now(&ec2, &storage, event()).await;
    assert_eq!((manifest.key.as_str(), manifest.count), ("runs/20261122T030000Z/e1/copies-us-east-1.jsonl", 1));
    let tasks: Vec<CopyTask> = read_lines(&storage, "copies-us-east-1.jsonl");
    let [CopyTask::Copy { snapshot, tags, .. }] = tasks.as_slice() else { panic!("{tasks:?}") };
    assert_eq!((snapshot, tags["BackupRun"].as_str()), (&owed, "20261122T030000Z"));

    let elsewhere = DiscoverEvent::DiscoverCopies { run: run(json!({})), region: region("us-west-2") };
    assert_eq!(found::<Manifest>(&ec2, &storage, elsewhere).await.count, 0);
}

#[tokio::test]
async fn every_snapshot_of_a_region_has_a_verdict_and_the_due_ones_travel_in_batches_of_twenty() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let east = region("us-east-1");
    ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
    let old = [("CreatedOn", "2026-01-01"), ("DeleteOn", "2026-01-08"), ("KeepForever", ""), ("Type", "Automated")];
    let kept = snapshot(&ec2, &home(), &old);
    let mine = due(&ec2, &home(), 46);
    let by_hand = snapshot(&ec2, &home(), &[]);
    let from_home = [("BackupFromRegion", "eu-west-1"), ("DeleteOn", "2026-11-01"), ("SourceVolumeId", "vol-9")];
    let copy = snapshot(&ec2, &east, &from_home);
    let mut labels = tags(from_home);
    labels.extend(tags([("SourceSnapshotId", kept.as_str()), ("Type", "Automated")]));
    let copy_of_kept = ec2.add_snapshot(&east, None, Completed, labels);

    let sweep =
        |place: Region| DiscoverEvent::DiscoverExpired { run: run(json!({"allowMassExpire": true})), region: place };
    let manifest: Manifest = found_now(&ec2, &storage, sweep(home())).await;
    assert_eq!((manifest.key.as_str(), manifest.count), ("runs/20261122T030000Z/e1/expire-eu-west-1.jsonl", 3));
    let batches: Vec<ExpireTask> = read_lines(&storage, "expire-eu-west-1.jsonl");
    assert_eq!(batches.iter().map(|b| b.snapshots.len()).collect::<Vec<_>>(), [20, 20, 5]);
    assert!(batches.iter().all(|b| b.planned.to_string() == "2026-11-22" && b.region == home()));
    let planned: Vec<_> = batches.iter().flat_map(|b| &b.snapshots).map(|s| s.id.clone()).collect();
    assert_eq!(planned, mine[..45], "the newest of a volume that exists stays");

    assert_eq!(found::<Manifest>(&ec2, &storage, sweep(east)).await.count, 0);
    let mut verdicts = BTreeMap::new();
    for place in ["eu-west-1", "us-east-1"] {
        for line in read_lines::<Value>(&storage, &format!("verdicts-{place}.jsonl")) {
            assert_eq!(line["region"], place);
            verdicts.insert(line["snapshot"].as_str().unwrap().to_owned(), line["verdict"].clone());
        }
    }
    assert_eq!(verdicts.len(), 50);
    for (id, verdict) in [
        (&mine[0], "expired: due since 2026-11-22"),
        (&mine[45], "kept: newest completed of a volume that exists"),
        (&by_hand, "kept: not Type=Automated"),
        (&kept, "kept: KeepForever"),
        (&copy, "kept: not Type=Automated"),
        (&copy_of_kept, "kept: its source carries KeepForever"),
    ] {
        assert_eq!(verdicts[id.as_str()], verdict);
    }
}

#[tokio::test]
async fn too_much_at_once_stops_the_region_until_an_execution_allows_it() {
    let (ec2, storage) = (account(), FakeStorage::default());
    due(&ec2, &home(), 20);
    listed(&ec2, &storage).await;
    let sweep = |input: Value| DiscoverEvent::DiscoverExpired { run: run(input), region: home() };
    let held = || storage.0.borrow().contains_key("holds/eu-west-1");
    let dry = step(&ec2, &storage, sweep(json!({"dryRun": true}))).await.unwrap_err();
    assert!(dry.name == ErrorName::MassExpire && !held(), "a dry run holds nothing: {dry}");

    let failure = step(&ec2, &storage, sweep(json!({}))).await.unwrap_err();
    assert!(failure.name == ErrorName::MassExpire && failure.cause.contains("20 of 20"), "{failure}");
    assert!(failure.cause.contains(r#"{"phases": ["expire"], "allowMassExpire": ["eu-west-1"]}"#), "{failure}");
    assert_eq!(read_lines::<Value>(&storage, "verdicts-eu-west-1.jsonl").len(), 20);
    assert!(!storage.0.borrow().keys().any(|key| key.contains("expire-")), "and no work is written down");

    // Some nights later less is due, but the hold stays.
    for _ in 0..18 {
        let newest = ec2.held(&home()).pop().unwrap().id;
        domain::ports::Ec2::delete(&ec2, &home(), &newest).await.unwrap();
    }
    ec2.calls.borrow_mut().clear();
    let elsewhere = json!({"allowMassExpire": ["us-east-1"]});
    for input in [json!({}), elsewhere, json!({"dryRun": true})] {
        let failure = step(&ec2, &storage, sweep(input)).await.unwrap_err();
        assert!(failure.cause.contains("stopped since 2026-11-22 03:00 UTC"), "{failure}");
    }
    let dry = json!({"dryRun": true, "allowMassExpire": ["eu-west-1"]});
    assert_eq!(found::<Manifest>(&ec2, &storage, sweep(dry)).await.count, 1);
    assert!(held(), "a dry run lets nothing go");
    assert_eq!(found::<Manifest>(&ec2, &storage, sweep(json!({"allowMassExpire": ["eu-west-1"]}))).await.count, 1);
    assert!(!held());
    assert_eq!(found::<Manifest>(&ec2, &storage, sweep(json!({}))).await.count, 1, "as before");

    storage.0.borrow_mut().insert("holds/eu-west-1".into(), "torn".into());
    let failure = step(&ec2, &storage, sweep(json!({}))).await.unwrap_err();
    assert!(failure.cause.contains("holds/eu-west-1 cannot be read"), "{failure}");
}

#[tokio::test]
async fn what_images_and_locks_hold_stays_with_their_names_and_outside_of_the_breaker() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let ids = due(&ec2, &home(), 25);
    let holders = ids[..24].iter().map(|id| (id.clone(), "image ami-1".to_owned())).collect();
    ec2.held_from_outside.borrow_mut().insert(home(), holders);
    let event = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
    assert_eq!(found_now::<Manifest>(&ec2, &storage, event).await.count, 1);
    let left: Vec<domain::contract::KeptDue> = read_lines(&storage, "left-eu-west-1.jsonl");
    assert_eq!(left.len(), 24);
    assert_eq!((&left[0].id, left[0].verdict.as_str()), (&ids[0], "kept: held by image ami-1"));
}

#[tokio::test]
async fn what_an_unfinished_restore_needs_stays_with_its_plan() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let ids = due(&ec2, &home(), 2);
    let needed = [(ids[0].clone(), "restore p-1, which is not finished".to_owned())];
    ec2.restoring.borrow_mut().insert(home(), needed.into());
    let event = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
    assert_eq!(found_now::<Manifest>(&ec2, &storage, event).await.count, 1);
    let left: Vec<domain::contract::KeptDue> = read_lines(&storage, "left-eu-west-1.jsonl");
    assert_eq!(
        (left[0].id.clone(), left[0].verdict.as_str()),
        (ids[0].clone(), "kept: held by restore p-1, which is not finished")
    );
}

#[tokio::test]
async fn a_volume_that_exists_keeps_its_newest_snapshot_unless_no_gives_it_up() {
    let silent = [("Name", "no longer backed up")];
    let no = [("Backup", "No")];
    for (own, attached, detached, planned) in [
        (&silent[..], &[][..], true, 1),
        (&silent, &["vol-1"], false, 1),
        (&no, &["vol-1"], false, 2),
        (&silent, &[], false, 2),
    ] {
        let (ec2, storage) = (account(), FakeStorage::default());
        ec2.add_instance("i-1", own, attached);
        ec2.detached.borrow_mut().extend(detached.then(|| "vol-1".parse().unwrap()));
        due(&ec2, &home(), 2);
        let event = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
        found_now::<Manifest>(&ec2, &storage, event).await;
        let batches: Vec<ExpireTask> = read_lines(&storage, "expire-eu-west-1.jsonl");
        assert_eq!(batches[0].snapshots.len(), planned);
    }
}

#[tokio::test]
async fn a_due_source_stays_while_its_copy_is_owed_or_cannot_be_looked_for() {
    let east = region("us-east-1");
    let labels = [
        ("BackupCrossRegion", "us-east-1"),
        ("CreatedOn", "2026-11-20"),
        ("DeleteOn", "2026-11-21"),
        ("RetentionCrossRegion", "30"),
        ("Type", "Automated"),
    ];
    let sweep = || DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
    for (copied, readable, expired) in [(false, true, 0), (true, true, 1), (true, false, 0)] {
        let (ec2, storage) = (account(), FakeStorage::default());
        let source = snapshot(&ec2, &home(), &labels);
        listed(&ec2, &storage).await;
        if copied {
            let mut of_source: Tags = tags(labels);
            of_source.extend(tags([("BackupFromRegion", "eu-west-1"), ("SourceSnapshotId", source.as_str())]));
            ec2.add_snapshot(&east, None, Completed, of_source);
        }
        if !readable {
            // The home region is described four times before: all, those kept for ever, the due ones, those alike.
            for _ in 0..4 {
                ec2.fail_next("DescribeSnapshots", Fault::Spared);
            }
            ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation"));
        }
        let manifest: Manifest = found(&ec2, &storage, sweep()).await;
        assert_eq!(manifest.count, expired, "copied {copied}, readable {readable}");
        let verdict = &read_lines::<Value>(&storage, "verdicts-eu-west-1.jsonl")[0]["verdict"];
        assert_eq!(verdict == "kept: a copy of it is owed, or in doubt", expired == 0, "{verdict}");
    }
}

#[tokio::test]
async fn a_copy_that_was_planned_before_midnight_and_not_made_keeps_its_source_for_the_report() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let labels = [
        ("BackupCrossRegion", "us-east-1"),
        ("CreatedOn", "2026-11-15"),
        ("DeleteOn", "2026-11-22"),
        ("Type", "Automated"),
    ];
    snapshot(&ec2, &home(), &labels);
    listed(&ec2, &storage).await;
    ec2.now.set("2026-11-21T23:50:00Z".parse().unwrap());
    let copies = DiscoverEvent::DiscoverCopies { run: run(json!({})), region: region("us-east-1") };
    assert_eq!(found::<Manifest>(&ec2, &storage, copies).await.count, 1);
    for (now, goes) in [("2026-11-22T00:10:00Z", 0), ("2026-11-23T00:10:00Z", 0)] {
        ec2.now.set(now.parse().unwrap());
        let expired = || DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
        assert_eq!(found::<Manifest>(&ec2, &storage, expired()).await.count, goes, "{now}");
    }
    // The run of the next night does not plan it any more.
    storage.0.borrow_mut().retain(|key, _| !key.contains("copies-"));
    let expired = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
    assert_eq!(found::<Manifest>(&ec2, &storage, expired).await.count, 1);
}

#[tokio::test]
async fn a_doubt_is_decided_by_all_that_look_alike() {
    let (ec2, storage) = (account(), FakeStorage::default());
    let labels = |delete_on: &'static str| {
        [
            ("BackupCrossRegion", "us-east-1"),
            ("CreatedOn", "2026-11-20"),
            ("DeleteOn", delete_on),
            ("RetentionCrossRegion", "30"),
            ("Type", "Automated"),
        ]
    };
    snapshot(&ec2, &home(), &labels("2026-11-22"));
    snapshot(&ec2, &home(), &labels("2026-12-22")); // The same day and description, and kept for longer by hand.
    let copy = [
        ("BackupFromRegion", "eu-west-1"),
        ("CreatedOn", "2026-11-20"),
        ("DeleteOn", "2026-12-20"),
        ("Type", "Automated"),
    ];
    ec2.add_snapshot(&region("us-east-1"), None, Completed, tags(copy));
    ec2.change(|s| s.description = "web - vol-1 (/dev/sda1)".into());
    let event = DiscoverEvent::DiscoverExpired { run: run(json!({})), region: home() };
    assert_eq!(found_now::<Manifest>(&ec2, &storage, event).await.count, 0, "one copy of two that look alike");
}

#[tokio::test]
async fn instances_with_a_hook_travel_apart() {
    let (ec2, storage) = (account(), FakeStorage::default());
    ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
    ec2.add_instance("i-2", &[("Backup", "Yes"), ("BackupHook", "mine")], &["vol-2"]);
    let answer = step(&ec2, &storage, DiscoverEvent::DiscoverInstances { run: run(json!({})) }).await.unwrap();
    let found: FleetFound = serde_json::from_value(answer).unwrap();
    assert_eq!((found.manifest.count, found.hooked.as_ref().unwrap().count), (1, 1));
    assert!(found.hooked.as_ref().unwrap().key.ends_with("hooked.jsonl"));
    let line = &storage.0.borrow()[&found.hooked.unwrap().key];
    let plan: InstancePlan = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((plan.instance.as_str(), plan.hook.unwrap().document.as_str()), ("i-2", "mine"));
    let rejected = storage.0.borrow()[&run(json!({})).key("rejected.jsonl")].clone();
    assert!(rejected.contains("BackupHook") && rejected.contains("AllowedHookDocuments"), "{rejected}");
}
