use super::*;

#[tokio::test]
async fn the_later_list_of_the_fleet_decides_what_is_still_owed() {
    let gone = night().await;
    gone.ec2.instances.borrow_mut().clear();
    gone.ec2.snapshots.borrow_mut().clear();
    assert!(!gone.report().await.unwrap().complete, "of the first list it is owed");
    gone.list_fleet("fleet-again.json");
    let answer = gone.report().await.unwrap();
    assert!(answer.complete, "{answer:?}");
    assert_eq!(gone.notes(), ["i-1 (web): the instance was terminated after it was discovered"]);

    let untagged = night().await;
    untagged.ec2.instances.borrow_mut()[0].tags.remove("Backup");
    untagged.ec2.snapshots.borrow_mut().clear();
    untagged.list_fleet("fleet-again.json");
    assert!(untagged.report().await.unwrap().complete);
    assert_eq!(untagged.notes(), ["i-1 (web): it lost its Backup tag after it was discovered"]);
}

#[tokio::test]
async fn a_fleet_that_loses_its_tags_is_a_problem_of_every_run_whatever_its_phases() {
    let none = Phases { snapshot: false, copy: false, expire: false };
    for phases in [
        Phases { snapshot: true, ..none },
        Phases { copy: true, ..none },
        Phases { expire: true, ..none },
        Phases { snapshot: true, copy: true, expire: true },
    ] {
        let mut night = night().await;
        for n in 10..50 {
            let (instance, volume) = (format!("i-{n}"), format!("vol-{n}"));
            night.ec2.add_instance(&instance, &[("Name", "db")], &[&volume]);
            for (created, delete) in [("2026-11-20", "2026-11-27"), ("2026-11-21", "2026-11-28")] {
                let labels = [("Type", "Automated"), ("CreatedOn", created), ("DeleteOn", delete)];
                night.ec2.add_snapshot(&home(), volume.parse().ok().as_ref(), Completed, tags(labels));
            }
        }
        night.list_fleet("fleet.json");
        night.event.run.phases = phases;
        let answer = night.report().await.unwrap();
        assert!(!answer.complete);
        let begin =
            "40 volumes have backups, and no tag says whether they are backed up: i-10 (db), vol-10, last backup snap-";
        assert!(answer.cause.starts_with(begin), "{answer:?}");
        assert!(answer.cause.contains("; and 35 more, see report.json. Set Backup=Yes (back it up), Backup=No "));
        let summary = night.summary();
        assert_eq!(summary.problems.len(), 40);
        let day = summary.problems[0].created_on.unwrap().to_string();
        assert_eq!((summary.problems[0].kind, day.as_str()), (ProblemKind::Unprotected, "2026-11-21"));
    }
}

#[tokio::test]
async fn a_volume_that_is_gone_is_listed_until_its_last_backup_goes() {
    let night = night().await;
    let labels = [("Type", "Automated"), ("CreatedOn", "2026-11-21"), ("DeleteOn", "2026-11-28"), ("Name", "old")];
    let last = night.ec2.add_snapshot(&home(), "vol-9".parse().ok().as_ref(), Completed, tags(labels));
    assert!(night.report().await.unwrap().complete, "it is no problem");
    let line = format!("vol-9 (old): its last backup {last} expires on 2026-11-28");
    assert!(night.written("summary.txt").contains(&line), "{}", night.written("summary.txt"));
}

#[tokio::test]
async fn snapshots_of_the_run_that_are_older_than_the_execution_are_shown_as_such() {
    let night = night().await;
    night.ec2.change(|s| s.started = "2026-11-22T01:02:03Z".parse().unwrap());
    assert!(night.report().await.unwrap().complete);
    let text = night.written("summary.txt");
    let line = "vol-1 /dev/sda1: snap-00000000000000001, begun on 2026-11-22 01:02 UTC, before this execution";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_second_snapshot_of_a_volume_is_a_note() {
    let night = night().await;
    let first = night.ec2.held(&home()).remove(0);
    let volume = "vol-1".parse().ok();
    let second = night.ec2.add_snapshot(&home(), volume.as_ref(), Completed, first.tags);
    assert!(night.report().await.unwrap().complete);
    let note =
        format!("{second}: a second snapshot of its volume in this run: not copied, and expires on its own date");
    assert_eq!(night.notes(), [note]);
}

#[tokio::test]
async fn why_a_snapshot_is_missing_comes_from_the_map_run() {
    let mut night = night().await;
    night.ec2.snapshots.borrow_mut().clear();
    let input = json!({"runId": RUN, "instance": {"instance": "i-1", "name": "web"}});
    night.services.map_runs = vec![map_run("Snapshots", input, "SnapshotLimitExceeded", "CreateSnapshots: no more")];
    let answer = night.report().await.unwrap();
    let begin = "i-1 (web), vol-1: no completed snapshot of this run: SnapshotLimitExceeded: CreateSnapshots: no more. \
                 Raise the account's quota of snapshots. To make it now, start {\"scheduledTime\": \"2026-11-22T03:00:00Z\", ";
    assert!(answer.cause.starts_with(begin), "{answer:?}");
    let text = night.written("summary.txt");
    assert!(text.contains("\n  Snapshots: SnapshotLimitExceeded: CreateSnapshots: no more: i-1 (web)\n"), "{text}");
}

#[tokio::test]
async fn a_night_with_a_hook_that_less_came_of_is_complete_and_says_so() {
    let mut night = night().await;
    night.ec2.instances.borrow_mut()[0].tags.insert("BackupHook".into(), "mine".into());
    let (plans, _) = plan(&night.ec2.fleet(), 7.try_into().unwrap(), &HookDocuments::default());
    let (none, hooked) = (vec![], plans.iter().map(|plan| json!(plan)).collect());
    night.event.fleet.as_mut().unwrap().manifest = night.manifest("instances.jsonl", none).await;
    let manifest = night.manifest("hooked.jsonl", hooked).await;
    night.ec2.change(|snapshot| {
        snapshot.tags.insert("Consistency".into(), "crash".into());
        snapshot.tags.insert("ConsistencyReason".into(), "HookNotManaged: no agent".into());
    });
    for listed in [Some(manifest), None] {
        night.event.fleet.as_mut().unwrap().hooked = listed;
        let answer = night.report().await.unwrap();
        assert!(answer.complete, "{answer:?}");
        assert_eq!(
            night.notes(),
            ["i-1 (web): crash-consistent, though a hook was asked for: HookNotManaged: no agent"]
        );
        assert!(night.written("summary.txt").contains("Application-consistent: 0 of 1 instance"));
    }
    night.ec2.change(|snapshot| _ = snapshot.tags.insert("ConsistencyReason".into(), "PostHookFailed: busy".into()));
    let answer = night.report().await.unwrap();
    assert!(answer.cause.starts_with("i-1 (web): it may still be frozen: PostHookFailed: busy"), "{answer:?}");
}

#[tokio::test]
async fn a_map_over_instances_that_could_not_run_concerns_the_whole_run() {
    let mut night = night().await;
    night.event.snapshots = vec![Default::default(), domain::contract::PhaseEnd { failure: Some(timed_out()) }];
    let answer = night.report().await.unwrap();
    assert!(answer.cause.starts_with("the snapshots could not be begun: States.Timeout: too slow"), "{answer:?}");
}

#[tokio::test]
async fn what_the_tags_of_a_set_have_no_room_for_is_a_note() {
    let mut night = night().await;
    let mut large = plan(&night.ec2.fleet(), 7.try_into().unwrap(), &HookDocuments::default()).0.remove(0);
    let known = |i: usize| json!({"volume": format!("vol-{i:017x}"), "kind": "gp3"});
    large.volumes_as = serde_json::from_value((0..300).map(known).collect()).unwrap();
    night.event.fleet.as_mut().unwrap().manifest = night.manifest("instances.jsonl", vec![json!(large)]).await;
    assert!(night.report().await.unwrap().complete, "it is no problem");
    assert_eq!(night.notes(), ["i-1 (web): its snapshots have no room, among 50 tags, for the types of 21 volumes"]);
}
