use domain::{
    contract::{FleetFound, Phases},
    expiry::Expire,
    fake::{FakeConsole, FakeEc2, FakeStorage, Fault},
    fleet::SnapshotState::{Completed, Error, Pending},
    policy::{Rejection, plan},
    ports::{DeadLetter, FailedItem},
    tags::{copy_tags, tags},
};

use super::*;

const RUN: &str = "20261122T030000Z";

fn home() -> Region {
    "eu-west-1".parse().unwrap()
}

fn east() -> Region {
    "us-east-1".parse().unwrap()
}

/// What a night left behind.
struct Night {
    ec2: FakeEc2,
    storage: FakeStorage,
    console: FakeConsole,
    event: ReportEvent,
}

/// A night after which all is there: the snapshot of `vol-1` of `i-1`, its copy, and `snap-99` is gone.
async fn night() -> Night {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T04:00:00Z".parse().unwrap());
    let storage = FakeStorage::default();
    let run = Run {
        id: RUN.into(),
        execution: "arn:aws:states:eu-west-1:1:execution:backup:e1".into(),
        started: "2026-11-22T03:00:00Z".parse().unwrap(),
        dry_run: false,
        phases: Phases { snapshot: true, copy: true, expire: true },
        allow_mass_expire: false,
    };
    ec2.add_instance("i-1", &[("Backup", "Yes"), ("BackupCrossRegion", "us-east-1")], &["vol-1"]);
    let (plans, _) = plan(&ec2.instances.borrow(), &BTreeMap::new(), &ec2.regions, 7.try_into().unwrap());
    let manifest = storage.write_manifest(run.key("instances.jsonl"), vec![json!(plans[0]).to_string()]).await.unwrap();

    let labels = tags([
        ("BackupCrossRegion", "us-east-1"),
        ("BackupRun", RUN),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("SourceInstanceId", "i-1"),
        ("Type", "Automated"),
    ]);
    ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, labels);
    let source = ec2.held(&home()).remove(0);
    let today = "2026-11-22".parse().unwrap();
    ec2.add_snapshot(&east(), None, Completed, copy_tags(&source, &home(), RUN, today, 7.try_into().unwrap()));

    let why = Expire::Due(today);
    let expiring = vec![Expiring { id: "snap-99".parse().unwrap(), volume: None, why }];
    let batch = json!(ExpireTask { region: home(), planned: today, snapshots: expiring }).to_string();
    let expired = storage.write_manifest(run.key("expire-eu-west-1.jsonl"), vec![batch]).await.unwrap();
    let event = ReportEvent {
        fleet: Some(FleetFound { manifest, copy_regions: vec![east()], expire_regions: vec![home()] }),
        fleet_failure: None,
        snapshot_failure: None,
        copy_failure: None,
        expiry_failure: None,
        copies: vec![RegionEnd { region: east(), manifest: None, failure: None }],
        expiries: vec![RegionEnd { region: home(), manifest: Some(expired), failure: None }],
        run,
    };
    Night { ec2, storage, console: FakeConsole::default(), event }
}

impl Night {
    async fn report(&self) -> Result<Answer, Failure> {
        let settings = &Settings::read(|_| None).unwrap();
        let Self { ec2, storage, console, event } = self;
        let context = Context { ec2, storage, console, settings, home: &home(), now: ec2.now.get() };
        let answer = handle(event.clone(), &context).await;
        assert!(ec2.calls.borrow().iter().all(|(action, _)| action.starts_with("Describe")), "{:?}", ec2.calls);
        answer
    }

    fn written(&self, name: &str) -> String {
        self.storage.0.borrow()[&format!("runs/{RUN}/e1/{name}")].clone()
    }

    fn summary(&self) -> Summary {
        serde_json::from_str(&self.written("summary.json")).unwrap()
    }
}

fn timed_out() -> StateError {
    StateError { error: "States.Timeout".into(), cause: "too slow".into() }
}

#[tokio::test]
async fn a_night_after_which_all_is_there_is_complete_and_says_so_as_often_as_it_is_asked() {
    let night = night().await;
    let expected = Answer {
        complete: true,
        cause: String::new(),
        summary: "s3://reports/runs/20261122T030000Z/e1/summary.txt".into(),
    };
    for _ in ["once", "twice"] {
        assert_eq!(night.report().await.unwrap(), expected);
        let text = night.written("summary.txt");
        assert!(text.starts_with("EBS backup 20261122T030000Z in eu-west-1: complete"), "{text}");
        let subject = text.lines().next().unwrap().to_owned();
        assert_eq!(*night.console.sent.borrow().last().unwrap(), (subject, text));
    }
    let summary = night.summary();
    assert_eq!((summary.volumes(), summary.copies[0].made, summary.copies[0].owed), ((1, 1), 1, 0));
    assert_eq!(summary.expiries[0].deleted[0].id.as_str(), "snap-99");
}

#[tokio::test]
async fn whatever_is_missing_makes_it_incomplete_and_is_named() {
    type Mishap = fn(&mut Night);
    let mishaps: [(&str, Mishap); 11] = [
        ("i-1 has no completed snapshot of vol-1", |n| n.ec2.snapshots.borrow_mut().clear()),
        ("i-1 has no completed snapshot of vol-1", |n| n.ec2.change(|s| s.state = Pending)),
        ("us-east-1 is owed 1 copy", |n| _ = n.ec2.snapshots.borrow_mut().remove(&east())),
        ("us-east-1 is owed 1 copy", |n| {
            n.ec2.change(|s| {
                if s.tags.contains_key("BackupFromRegion") {
                    s.state = Error;
                }
            });
        }),
        ("left the look-back without a copy in us-east-1", |n| {
            n.ec2.snapshots.borrow_mut().remove(&east());
            n.ec2.change(|s| {
                s.tags.extend(tags([("CreatedOn", "2026-11-12"), ("DeleteOn", "2026-12-12")]));
            });
        }),
        ("us-east-1: copies: States.Timeout: too slow", |n| n.event.copies[0].failure = Some(timed_out())),
        ("eu-west-1: expiry: States.Timeout: too slow", |n| {
            n.event.expiries = vec![RegionEnd { region: home(), manifest: None, failure: Some(timed_out()) }];
        }),
        ("the fleet could not be listed: States.Timeout: too slow", |n| {
            (n.event.fleet, n.event.fleet_failure) = (None, Some(timed_out()));
        }),
        ("the snapshots could not be begun: States.Timeout: too slow", |n| {
            n.event.snapshot_failure = Some(timed_out());
        }),
        ("the copies could not be run: States.Timeout: too slow", |n| {
            (n.event.copies, n.event.copy_failure) = (vec![], Some(timed_out()));
        }),
        ("the expiry could not be run: States.Timeout: too slow", |n| {
            (n.event.expiries, n.event.expiry_failure) = (vec![], Some(timed_out()));
        }),
    ];
    for (named, mishap) in mishaps {
        let mut night = night().await;
        mishap(&mut night);
        let answer = night.report().await.unwrap();
        assert!(!answer.complete && answer.cause.contains(named), "{named}: {answer:?}");
        assert!(night.written("summary.txt").contains(named));
        assert!(night.console.sent.borrow()[0].0.ends_with("INCOMPLETE"));
    }
}

#[tokio::test]
async fn a_region_that_cannot_be_looked_at_is_named_and_the_rest_is_reported() {
    // The looks: the home region's sources, the destination, the run's snapshots, what was to be deleted.
    for (look, named) in [(1, "us-east-1"), (3, "eu-west-1")] {
        let night = night().await;
        for _ in 0..look {
            night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
        }
        night.ec2.fail_next("DescribeSnapshots", Fault::Refused("InternalError"));
        let answer = night.report().await.unwrap();
        assert!(!answer.complete && answer.cause.starts_with(&format!("{named} cannot be looked at")), "{answer:?}");
        assert_eq!(night.summary().volumes(), (1, 1));
    }
}

#[tokio::test]
async fn without_the_home_region_there_is_no_report_and_the_state_machine_tries_again() {
    for look in ["DescribeInstances", "DescribeSnapshots"] {
        let night = night().await;
        night.ec2.fail_next(look, Fault::Refused("RequestLimitExceeded"));
        assert_eq!(night.report().await.unwrap_err().name, ErrorName::Ec2Unavailable);
        assert!(night.console.sent.borrow().is_empty());
        assert!(night.report().await.unwrap().complete);
    }
}

#[tokio::test]
async fn an_instance_gone_since_discovery_is_a_rejection_and_no_problem() {
    let night = night().await;
    night.ec2.instances.borrow_mut().clear();
    night.ec2.snapshots.borrow_mut().clear();
    assert!(night.report().await.unwrap().complete);
    let gone = Rejection::new("i-1", "the instance is gone since it was discovered");
    assert_eq!(night.summary().rejected, [gone]);
}

#[tokio::test]
async fn a_dry_run_is_complete_whatever_is_owed() {
    let mut night = night().await;
    night.event.run.dry_run = true;
    night.ec2.snapshots.borrow_mut().remove(&east());
    night.ec2.change(|s| _ = s.tags.insert("BackupRun".into(), "20261121T030000Z".into()));
    let answer = night.report().await.unwrap();
    assert!(answer.complete && answer.cause.is_empty());
    assert!(night.console.sent.borrow()[0].0.ends_with("dry run"));
    let summary = night.summary();
    assert_eq!((summary.volumes(), summary.copies[0].owed), ((1, 0), 1), "and says what would be done");
}

#[tokio::test]
async fn a_run_of_one_phase_is_judged_by_that_phase() {
    let mut night = night().await;
    night.event.run.phases = Phases { snapshot: false, copy: true, expire: false };
    night.event.expiries.clear();
    night.ec2.change(|s| _ = s.tags.insert("BackupRun".into(), "20261121T030000Z".into()));
    assert!(night.report().await.unwrap().complete);
    assert_eq!(night.summary().copies[0].made, 0, "the copy is another run's");
}

#[tokio::test]
async fn a_topic_that_is_down_changes_nothing() {
    let mut night = night().await;
    night.console.topic_is_down = true;
    assert!(night.report().await.unwrap().complete);
    assert!(night.summary().is_complete());
}

#[tokio::test]
async fn what_is_left_of_the_due_is_a_problem_only_where_deleting_failed() {
    for (place, failed) in [("eu-west-1", true), ("us-east-1", false)] {
        let mut night = night().await;
        night.ec2.change(|s| s.id = if s.volume.is_some() { "snap-99".parse().unwrap() } else { s.id.clone() });
        night.ec2.snapshots.borrow_mut().remove(&east());
        night.event.copies.clear();
        let failure = FailedItem {
            execution: "child".into(),
            input: json!({"task": {"region": place}}).to_string(),
            error: "AccessDenied".into(),
            cause: "not allowed".into(),
        };
        night.console.map_runs =
            vec![MapRun { label: "Expiries".into(), total: 3, failed: 1, failures: vec![failure] }];
        let answer = night.report().await.unwrap();
        assert_eq!(answer.complete, !failed);
        let problem = "eu-west-1: 1 of 1 due snapshots could not be deleted";
        assert_eq!(answer.cause, if failed { problem } else { "" });
        let summary = night.summary();
        assert_eq!(summary.expiries[0].left[0].id.as_str(), "snap-99");
        assert_eq!(summary.failures, ["Expiries: AccessDenied: not allowed"]);
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_all_there_is_not_taken_for_less_work() {
    for body in [None, Some("\n"), Some("{")] {
        let night = night().await;
        let key = night.event.run.key("instances.jsonl");
        assert!(night.storage.0.borrow_mut().remove(&key).is_some());
        night.storage.0.borrow_mut().extend(body.map(|body| (key, body.to_owned())));
        assert_eq!(night.report().await.unwrap_err().name, ErrorName::StorageFailed, "{body:?}");
    }
}

#[tokio::test]
async fn the_metrics_count_what_the_summary_says() {
    let night = night().await;
    night.ec2.snapshots.borrow_mut().clear();
    night.report().await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&metrics(&night.summary())).unwrap();
    let values = ["Complete", "Snapshots", "SnapshotsMissing", "CopiesMade", "Expired"].map(|name| line[name].clone());
    assert_eq!(values, [0, 0, 1, 0, 1]);
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().len(), 7);
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(cut("äöü", 3), "äöü");
    assert_eq!(cut("äöüx", 3), "äö…");
}

#[tokio::test]
async fn dead_letters_that_are_settled_are_deleted_and_the_others_are_counted_and_shown_again() {
    let mut night = night().await;
    let letter = |queue, task: Value, error: Option<&str>| DeadLetter {
        queue,
        handle: "r".into(),
        body: json!({"version": 1, "task": task}).to_string(),
        sent: "2026-11-21T04:00:00Z".parse().unwrap(),
        error: error.map(str::to_owned),
    };
    let source = night.ec2.held(&home())[0].id.clone();
    let copy = |to: &Region| json!({"action": "copy", "region": to, "snapshot": source, "description": "", "tags": {}});
    let wait = json!({"region": "us-west-2", "snapshots": ["snap-1"], "started": "2026-11-21T03:00:00Z"});
    let left = [letter(WorkQueue::Wait, wait, None), letter(WorkQueue::Copy, json!("snap"), Some("BadMessage"))];
    let mut all = left.to_vec();
    all.push(letter(WorkQueue::Copy, copy(&east()), Some("AccessDenied")));
    *night.console.letters.borrow_mut() = all.clone();
    night.event.run.dry_run = true;
    night.report().await.unwrap();
    assert_eq!(*night.console.letters.borrow(), all, "a dry run touches none");

    night.event.run.dry_run = false;
    assert!(night.report().await.unwrap().complete, "what lies there is no reason by itself");
    assert_eq!(*night.console.letters.borrow(), left);
    assert_eq!(*night.console.put_back.borrow(), left);
    let text = night.written("summary.txt");
    for line in [
        "Wait: 0 settled meanwhile and deleted, 1 left, 1 WorkerCrashed",
        "Copy: 1 settled meanwhile and deleted, 1 left, 1 BadMessage",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
