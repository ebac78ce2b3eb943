use super::*;
use domain::{coverage::State, ports::StateTime, report::ListIn};

/// The run of the next night.
pub(super) fn next(night: &mut Night, execution: &str) {
    let run = &mut night.event.run;
    let files = night.storage.0.borrow().clone();
    let before = run.key("");
    run.id = "20261123T030000Z".into();
    run.scheduled = "2026-11-23T03:00:00Z".parse().unwrap();
    run.started = run.scheduled;
    run.execution = format!("arn:aws:states:eu-west-1:1:execution:backup:{execution}");
    let own = ["fleet.json", "instances.jsonl", "copies-us-east-1.jsonl", "expire-eu-west-1.jsonl"];
    for name in own {
        night.storage.0.borrow_mut().insert(night.event.run.key(name), files[&format!("{before}{name}")].clone());
    }
    night.ec2.change(|s| _ = s.tags.insert("BackupRun".into(), "20261123T030000Z".into()));
}

fn sent(night: &Night) -> Vec<String> {
    let subjects = night.services.sent.borrow().iter().map(|(subject, _)| subject.clone()).collect();
    night.services.sent.borrow_mut().clear();
    subjects
}

#[tokio::test]
async fn one_message_says_that_it_is_not_complete_and_one_that_it_is_well_again() {
    let mut night = night().await;
    let copies = night.ec2.snapshots.borrow_mut().remove(&east()).unwrap();
    assert!(!night.report().await.unwrap().complete);
    assert_eq!(sent(&night), ["EBS backup 20261122T030000Z in eu-west-1: INCOMPLETE, 1 problem"]);
    assert_eq!(night.summary().changes.unwrap().since, Since::First);

    night.ec2.snapshots.borrow_mut().insert(east(), copies);
    next(&mut night, "e2");
    for expected in [&["EBS backup 20261123T030000Z in eu-west-1: complete again"][..], &[]] {
        assert!(night.report().await.unwrap().complete);
        assert_eq!(sent(&night), expected, "a second report of the same run says it no more");
        let Since::Report { run, complete, .. } = night.summary().changes.unwrap().since else { panic!() };
        assert_eq!((run.as_str(), complete), (RUN, false), "and is compared with the same");
    }
    next(&mut night, "e3");
    assert!(night.report().await.unwrap().complete);
    assert_eq!(sent(&night), Vec::<String>::new());
}

#[tokio::test]
async fn volumes_that_came_and_went_are_told_against_the_last_report() {
    let mut night = night().await;
    night.report().await.unwrap();
    night.ec2.instances.borrow_mut().clear();
    night.ec2.add_instance("i-2", &[("Name", "new")], &["vol-1", "vol-2"]);
    next(&mut night, "e2");
    night.list_fleet("fleet.json");
    let plans = night.manifest("instances.jsonl", vec![]).await;
    night.event.fleet.as_mut().unwrap().manifest = plans;
    night.report().await.unwrap();
    let changes = night.summary().changes.unwrap();
    assert_eq!(changes.listed.as_deref(), Some(RUN));
    assert_eq!((changes.instances.went[0].to_string(), changes.instances.went.len()), ("i-1 (web)".into(), 1));
    assert_eq!(changes.instances.came_unprotected[0].to_string(), "i-2 (new)");
    assert_eq!(changes.volumes.lost[0].id.as_str(), "vol-1");
    assert_eq!(changes.volumes.came_unprotected[0].id.as_str(), "vol-2");

    // Without its report the last run is known, and not what it saw.
    next(&mut night, "e3");
    night.list_fleet("fleet.json");
    night.storage.0.borrow_mut().insert("runs/20261123T030000Z/e2/report.json".into(), "{}".into());
    let plans = night.manifest("instances.jsonl", vec![]).await;
    night.event.fleet.as_mut().unwrap().manifest = plans;
    night.report().await.unwrap();
    let changes = night.summary().changes.unwrap();
    assert!(changes.not_compared.unwrap().contains("cannot be read") && changes.volumes.is_empty());
    assert!(matches!(changes.since, Since::Report { .. }));
}

#[tokio::test]
async fn a_pointer_that_cannot_be_read_is_no_failure() {
    for body in [Some("{"), Some(r#"{"version": 99}"#), None] {
        let night = night().await;
        match body {
            Some(body) => _ = night.storage.0.borrow_mut().insert(LATEST.into(), body.into()),
            None => _ = night.storage.1.borrow_mut().insert(LATEST.into()),
        }
        assert!(night.report().await.unwrap().complete, "{body:?}");
        assert!(matches!(night.summary().changes.unwrap().since, Since::Unknown { .. }), "{body:?}");
        let written = night.storage.0.borrow().get(LATEST).cloned();
        match body {
            Some(body) => assert!(written.is_some_and(|now| now != body && now.contains(RUN))),
            // It may point at a later report.
            None => assert_eq!(written, None),
        }
    }
}

#[tokio::test]
async fn only_full_runs_that_acted_move_the_pointer_and_a_late_report_does_not_move_it_back() {
    let mut night = night().await;
    night.report().await.unwrap();
    let (event, first) = (night.event.clone(), night.storage.0.borrow()[LATEST].clone());
    night.event.run.phases.expire = false;
    night.event.expiries.clear();
    night.report().await.unwrap();
    assert_eq!(night.storage.0.borrow()[LATEST], first);
    night.event = event.clone();
    next(&mut night, "e2");
    night.report().await.unwrap();
    let second = night.storage.0.borrow()[LATEST].clone();
    assert!(second.contains("20261123T030000Z"));
    night.event = event;
    night.event.run.execution = "arn:aws:states:eu-west-1:1:execution:backup:e1".into();
    night.report().await.unwrap();
    assert_eq!(night.storage.0.borrow()[LATEST], second);
    let Since::Unknown { why } = night.summary().changes.unwrap().since else { panic!() };
    assert!(why.contains("20261123T030000Z is later"), "{why}");
}

#[tokio::test]
async fn a_run_without_a_fleet_points_on_at_the_last_list() {
    let mut night = night().await;
    night.report().await.unwrap();
    next(&mut night, "e2");
    night.event.fleet = None;
    night.report().await.unwrap();
    let summary = night.summary();
    assert!(summary.coverage.is_none() && summary.listed.is_none() && summary.cost.is_none());
    let latest: Value = serde_json::from_str(&night.storage.0.borrow()[LATEST]).unwrap();
    let list: ListIn = serde_json::from_value(latest["last"]["list"].clone()).unwrap();
    assert_eq!((latest["last"]["complete"].clone(), list.run.as_str()), (json!(false), RUN));
}

#[tokio::test]
async fn coverage_and_cost_are_told_of_every_run_and_what_was_not_seen_is_not_known() {
    let mut night = night().await;
    night.ec2.change(|s| s.full_size = Some(10 << 30));
    night.report().await.unwrap();
    let summary = night.summary();
    let coverage = summary.coverage.unwrap();
    assert_eq!((coverage.allowed_hours, coverage.volumes.len(), coverage.behind()), (Some(44), 1, 0));
    assert_eq!(summary.cost.unwrap().usd_a_month, 1.0);

    // A run without the copy phase looks at the copies all the same.
    night.event.run.phases = Phases { snapshot: true, copy: false, expire: false };
    (night.event.copies, night.event.expiries) = (vec![], vec![]);
    night.report().await.unwrap();
    assert_eq!(night.summary().coverage.unwrap().volumes[0].state, State::Covered);
    night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
    night.ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation"));
    assert!(night.report().await.unwrap().complete, "the phase was not asked for");
    let regions = night.summary().coverage.unwrap().volumes.remove(0).regions;
    assert_eq!(regions.iter().map(|r| r.state).collect::<Vec<_>>(), [State::Covered, State::Unreadable]);
}

#[tokio::test]
async fn the_timeline_has_what_is_told_and_says_what_is_not() {
    let mut night = night().await;
    let at = |time: &str| format!("2026-11-22T{time}Z").parse().unwrap();
    night.ec2.change(|s| s.completed = Some(at("04:10:00")));
    let state = |name: &str, entered, exited| StateTime { state: name.into(), entered, exited: Some(exited) };
    night.services.state_times = vec![
        state("SnapshotFleet", at("03:00:10"), at("03:20:00")),
        state("ExpireRegions", at("04:20:00"), at("04:21:00")),
    ];
    night.report().await.unwrap();
    let timeline = night.summary().timeline;
    assert_eq!((timeline.phases.len(), timeline.snapshots.unwrap().most), (2, 1));
    assert_eq!((timeline.copies[0].slots, timeline.copies[0].busy.last), (5, Some(at("04:10:00"))));
    assert!(
        timeline.untold.len() == 1 && timeline.untold[0].contains("1 snapshot was deleted"),
        "{:?}",
        timeline.untold
    );

    night.services.executions_are_down = true;
    night.report().await.unwrap();
    let timeline = night.summary().timeline;
    assert!(timeline.phases.is_empty() && timeline.untold[0].contains("did not tell"), "{:?}", timeline.untold);
}
