use super::*;

fn values<const N: usize>(line: &Value, names: [&str; N]) -> [Option<f64>; N] {
    names.map(|name| line.get(name).map(|value| value.as_f64().unwrap()))
}

#[tokio::test]
async fn a_complete_run_prints_what_it_did_and_the_age_of_what_there_is() {
    let night = night().await;
    let lines = night.metrics().await;
    let made = ["Complete", "SnapshotsMade", "SnapshotsCompleted", "SnapshotsFailed", "CopiesMade", "CopiesOwed"];
    assert_eq!(values(&lines[0], made), [1.0, 1.0, 1.0, 0.0, 1.0, 0.0].map(Some));
    let rest = ["InstancesProtected", "InstancesUnprotected", "SnapshotsExpired", "HooksFailed", "RunSeconds"];
    assert_eq!(values(&lines[0], rest), [1.0, 0.0, 1.0, 0.0, 3600.0].map(Some));
    // The snapshot was begun with the run, and the copy has its age.
    let ages: Vec<_> =
        lines.iter().map(|line| (line["BackupRegion"].as_str(), line["BackupAgeHours"].as_f64())).collect();
    let age = lines[0]["BackupAgeHours"].as_f64();
    assert!(age.is_some_and(|age| age < 24.0), "{age:?}");
    assert_eq!(ages, [(None, age), (Some("eu-west-1"), age), (Some("us-east-1"), age)]);
    assert_eq!(lines[0]["run"], RUN);
}

#[tokio::test]
async fn what_is_owed_is_counted_and_is_not_complete() {
    let night = night().await;
    night.ec2.add_instance("i-2", &[("Name", "forgotten")], &["vol-2"]);
    night.list_fleet("fleet.json");
    night.ec2.snapshots.borrow_mut().clear();
    let lines = night.metrics().await;
    assert_eq!(lines.len(), 1, "there is nothing that has an age");
    let names = ["SnapshotsMade", "SnapshotsFailed", "CopiesMade", "BackupsMissing", "InstancesUnprotected"];
    assert_eq!(values(&lines[0], names), [0.0, 1.0, 0.0, 2.0, 1.0].map(Some));
    assert_eq!(values(&lines[0], ["Complete", "BackupAgeHours"]), [None, None], "0 would be a young backup");
    let named = lines[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"].to_string();
    assert!(!named.contains("\"Complete\""), "{named}");
}

#[tokio::test]
async fn the_oldest_of_the_newest_backups_counts_and_the_copy_is_as_old_as_its_data() {
    let night = night().await;
    night.ec2.add_instance("i-2", &[("Backup", "Yes"), ("BackupCrossRegion", "us-east-1")], &["vol-2"]);
    let old = tags([("Type", "Automated"), ("CreatedOn", "2026-11-20"), ("DeleteOn", "2026-11-27")]);
    night.ec2.add_snapshot(&home(), Some(&"vol-2".parse().unwrap()), Completed, old);
    night.ec2.change(|s| {
        if s.volume.as_ref().is_some_and(|volume| volume.as_str() == "vol-2") {
            s.started = "2026-11-20T03:00:00Z".parse().unwrap();
        }
    });
    let (plans, _) = plan(&night.ec2.fleet(), 7.try_into().unwrap(), &HookDocuments::default());
    let mut night = night;
    let plans = night.manifest("instances.jsonl", plans.iter().map(|plan| json!(plan)).collect()).await;
    night.event.fleet.as_mut().unwrap().manifest = plans;
    let lines = night.metrics().await;
    assert_eq!(lines[0]["BackupAgeHours"], 49.0, "the worst of all: {}", lines[0]);
    assert_eq!((&lines[1]["BackupAgeHours"], &lines[1]["BackupRegion"]), (&json!(49.0), &json!("eu-west-1")));
    assert_eq!(lines[0]["BackupsMissing"], 1.0, "vol-2 in us-east-1");
    assert!(lines[2]["BackupAgeHours"].as_f64().unwrap() < 24.0, "of what is there: {}", lines[2]);
}

#[tokio::test]
async fn a_region_that_cannot_be_read_leaves_the_worst_age_unsaid() {
    let night = night().await;
    // The first look is that of the home region.
    night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
    night.ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation"));
    let lines = night.metrics().await;
    assert_eq!(values(&lines[0], ["BackupAgeHours", "BackupsMissing"]), [None, None]);
}

#[tokio::test]
async fn a_phase_that_was_not_run_has_no_numbers() {
    let mut night = night().await;
    night.event.run.phases = Phases { snapshot: true, copy: false, expire: false };
    let lines = night.metrics().await;
    assert_eq!(values(&lines[0], ["CopiesMade", "CopiesOwed", "SnapshotsExpired", "Complete"]), [None; 4]);
    // How old the copies are is known of every run.
    let regions: Vec<_> = lines[1..].iter().map(|line| line["BackupRegion"].clone()).collect();
    assert_eq!((json!(regions), &lines[0]["SnapshotsMade"]), (json!(["eu-west-1", "us-east-1"]), &json!(1.0)));

    night.event.fleet = None;
    let lines = night.metrics().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(values(&lines[0], ["RunSeconds", "InstancesProtected", "SnapshotsMade"]), [Some(3600.0), None, None]);
}

#[tokio::test]
async fn a_hook_that_failed_is_counted_and_one_that_was_not_to_be_run_is_not() {
    for (state, failed) in [("running", 1.0), ("stopped", 0.0)] {
        let mut night = night().await;
        let own = [("Backup", "Yes"), ("BackupHook", "mysql")];
        night.ec2.add_instance("i-1", &own, &["vol-1"]);
        let mut fleet = night.ec2.fleet();
        fleet.instances.iter_mut().for_each(|one| one.state = state.into());
        fleet.instances.retain(|one| one.tags.contains_key("BackupHook"));
        let (plans, _) = plan(&fleet, 7.try_into().unwrap(), &HookDocuments::default());
        assert_eq!(plans.len(), 1);
        let plans = night.manifest("instances.jsonl", plans.iter().map(|plan| json!(plan)).collect()).await;
        night.event.fleet.as_mut().unwrap().manifest = plans;
        assert_eq!(night.metrics().await[0]["HooksFailed"], failed, "{state}");
    }
}

#[tokio::test]
async fn what_the_floor_keeps_is_counted() {
    let night = night().await;
    let kept = |id: &str, verdict: &str| json!({"id": id, "verdict": verdict});
    let lines =
        [kept("snap-1", "kept: newest completed of a volume that exists"), kept("snap-2", "kept: held by image ami-1")];
    night.manifest("left-eu-west-1.jsonl", lines.into()).await;
    assert_eq!(night.metrics().await[0]["SnapshotsKeptByFloor"], 1.0);
}
