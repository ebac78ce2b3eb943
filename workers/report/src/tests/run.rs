use super::*;

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
        assert!(night.written("report.html").contains("<h1>Complete</h1>"));
    }
    assert!(night.services.sent.borrow().is_empty(), "nobody is told that all is well");
    let summary = night.summary();
    assert_eq!((summary.volumes(), summary.copies[0].made, summary.copies[0].owed), ((1, 1), 1, 0));
    assert_eq!(summary.expiries[0].deleted[0].id.as_str(), "snap-99");
    // A report reads once: the home region's snapshots, the destination's copies, the snapshots planned for deletion.
    assert_eq!(night.ec2.count("DescribeSnapshots"), 2 * 3);
}

#[tokio::test]
async fn whatever_is_missing_makes_it_incomplete_and_is_named() {
    type Mishap = fn(&mut Night);
    let mishaps: [(&str, Mishap); 12] = [
        ("i-1 (web), vol-1: no completed snapshot of this run: no failure is known", |n| {
            n.ec2.snapshots.borrow_mut().clear();
        }),
        ("no completed snapshot of this run: snap-00000000000000001 is still pending", |n| {
            n.ec2.change(|s| s.state = Pending);
        }),
        ("i-1 (web), vol-1, snap-00000000000000001 of 2026-11-22: owed a copy in us-east-1", |n| {
            n.ec2.snapshots.borrow_mut().remove(&east());
        }),
        ("copy snap-00000000000000002: owed a copy in us-east-1: CopyFailed: the copy is in error: the disk", |n| {
            n.ec2.change(|s| {
                if s.tags.contains_key("BackupFromRegion") {
                    (s.state, s.state_message) = (Error, Some("the disk".into()));
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
            n.event.expiries = vec![RegionResult { region: home(), manifest: None, failure: Some(timed_out()) }];
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
        ("nothing was expired, since the fleet could not be listed again: States.Timeout: too slow", |n| {
            (n.event.expiries, n.event.fleet_again_failure) = (vec![], Some(timed_out()));
        }),
    ];
    for (named, mishap) in mishaps {
        let mut night = night().await;
        mishap(&mut night);
        let answer = night.report().await.unwrap();
        assert!(!answer.complete && answer.cause.contains(named), "{named}: {answer:?}");
        let problems = night.summary().problems;
        // A snapshot that is missing in the home region has no copy, either.
        assert!(problems.len() == 1 || named.contains("snapshot of this run"), "{problems:?}");
        assert!(night.written("summary.txt").contains(named));
        let sent = night.services.sent.borrow();
        assert!(sent.len() == 1 && sent[0].0.contains(": INCOMPLETE, ") && sent[0].1.contains(named), "{sent:?}");
    }
}

#[tokio::test]
async fn a_region_that_the_state_says_nothing_of_is_a_problem() {
    let says = |place: &str, phase: &str| {
        format!("{place}: {phase}: the run's state has neither a result nor a failure for it")
    };
    let of_copies = says("us-east-1", "copies");
    let of_expiry = says("eu-west-1", "expiry");
    type Loss = fn(&mut ReportEvent);
    let losses: [(&str, Loss); 4] = [
        (&of_copies, |event| event.copies.clear()),
        (&of_copies, |event| event.copies[0].manifest = None),
        (&of_expiry, |event| event.expiries.clear()),
        (&of_expiry, |event| event.expiries[0].manifest = None),
    ];
    for (named, loss) in losses {
        let mut night = night().await;
        loss(&mut night.event);
        let answer = night.report().await.unwrap();
        assert!(!answer.complete && answer.cause.starts_with(named), "{named}: {answer:?}");
    }
    // Without the phase, a region needs no result.
    let mut night = night().await;
    night.event.run.phases = Phases { snapshot: true, copy: false, expire: false };
    (night.event.copies, night.event.expiries) = (vec![], vec![]);
    assert!(night.report().await.unwrap().complete);
}

#[tokio::test]
async fn a_fleet_that_could_not_be_listed_once_more_is_a_problem_also_where_nothing_was_to_expire() {
    let mut night = night().await;
    night.event.run.phases = Phases { snapshot: true, copy: false, expire: false };
    (night.event.copies, night.event.expiries) = (vec![], vec![]);
    night.event.fleet_again_failure = Some(timed_out());
    let answer = night.report().await.unwrap();
    let begin = "the fleet could not be listed again: States.Timeout: too slow. ";
    assert!(!answer.complete && answer.cause.starts_with(begin), "{answer:?}");
}

#[tokio::test]
async fn without_any_word_of_the_fleet_it_is_incomplete() {
    let mut night = night().await;
    night.event.fleet = None;
    let answer = night.report().await.unwrap();
    assert!(!answer.complete && answer.cause.starts_with("the fleet was not listed. "), "{answer:?}");
}

#[tokio::test]
async fn a_region_that_cannot_be_looked_at_is_named_and_the_rest_is_reported() {
    // The looks: the home region's snapshots, the destination, the snapshots that were planned for deletion.
    for (look, named) in [(1, "us-east-1"), (2, "eu-west-1")] {
        let night = night().await;
        for _ in 0..look {
            night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
        }
        night.ec2.fail_next("DescribeSnapshots", Fault::Refused("InternalError"));
        let answer = night.report().await.unwrap();
        assert!(!answer.complete && answer.cause.starts_with(&format!("{named}: cannot be read: ")), "{answer:?}");
        assert_eq!(night.summary().volumes(), (1, 1));
    }
    // A region that failed in the run and still fails is one problem.
    let mut night = night().await;
    night.event.copies[0].failure = Some(timed_out());
    night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
    night.ec2.fail_next("DescribeSnapshots", Fault::Refused("InternalError"));
    assert!(!night.report().await.unwrap().complete);
    assert_eq!(night.summary().problems.len(), 1);
}

#[tokio::test]
async fn without_the_home_region_there_is_no_report_and_the_state_machine_tries_again() {
    let night = night().await;
    night.ec2.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
    assert_eq!(night.report().await.unwrap_err().name, ErrorName::Ec2Unavailable);
    assert!(night.services.sent.borrow().is_empty());
    assert!(night.report().await.unwrap().complete);
}

#[tokio::test]
async fn a_manifest_that_is_not_all_there_is_not_taken_for_less_work() {
    for name in ["instances.jsonl", "copies-us-east-1.jsonl", "expire-eu-west-1.jsonl", "fleet.json"] {
        for body in [None, Some("\n"), Some("{")] {
            let night = night().await;
            let key = night.event.run.key(name);
            assert!(night.storage.0.borrow_mut().remove(&key).is_some());
            night.storage.0.borrow_mut().extend(body.map(|body| (key, body.to_owned())));
            assert_eq!(night.report().await.unwrap_err().name, ErrorName::StorageFailed, "{name} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_is_no_failure() {
    let mut night = night().await;
    night.event.run.dry_run = true;
    night.ec2.snapshots.borrow_mut().remove(&east());
    night.ec2.change(|s| _ = s.tags.insert("BackupRun".into(), "20261121T030000Z".into()));
    let due = night.ec2.add_snapshot(&east(), None, Completed, Tags::new());
    let expired = night.manifest("expire-us-east-1.jsonl", vec![batch(&east(), &[due.as_str()])]).await;
    night.event.expiries.push(RegionResult { region: east(), manifest: Some(expired), failure: Some(timed_out()) });
    night.ec2.detached.borrow_mut().push("vol-9".parse().unwrap());
    let labels = [("Type", "Automated"), ("CreatedOn", "2026-11-21"), ("DeleteOn", "2026-11-28")];
    night.ec2.add_snapshot(&home(), "vol-9".parse().ok().as_ref(), Completed, tags(labels));
    night.list_fleet("fleet.json");

    let answer = night.report().await.unwrap();
    assert!(answer.complete && answer.cause.is_empty(), "{answer:?}");
    assert!(night.services.sent.borrow().is_empty());
    assert!(!night.storage.0.borrow().contains_key(LATEST), "the next run is not compared with it");
    let text = night.written("summary.txt");
    assert!(text.contains("\n\nWould snapshot 1 volume, copy 2 to us-east-1, delete 1.\n"), "{text}");
    assert!(text.contains("\nA run would report:\n  vol-9, last backup "), "{text}");
    assert!(text.contains("\n  us-east-1: expiry: States.Timeout: too slow. "), "{text}");
    night.report_to(NotifyOn::Always).await.unwrap();
    let (subject, message) = night.services.sent.borrow()[0].clone();
    assert!(subject.ends_with(": dry run"), "{subject}");
    assert!(
        message.starts_with("The backup dry run 20261122T030000Z in eu-west-1 has ended: Would snapshot 1 "),
        "{message}"
    );
    let summary = night.summary();
    assert_eq!((summary.volumes(), summary.copies[0].owed, summary.copies[0].of_new_snapshots), ((1, 0), 1, 1));

    night.event.run.phases = Phases { snapshot: false, copy: true, expire: false };
    night.report().await.unwrap();
    let text = night.written("summary.txt");
    assert!(text.contains("\nWould copy 1 to us-east-1.\n"), "of the phases that were asked for: {text}");
}

#[tokio::test]
async fn a_run_of_one_phase_is_judged_by_that_phase() {
    let mut night = night().await;
    night.event.run.phases = Phases { snapshot: false, copy: true, expire: false };
    night.event.expiries.clear();
    night.ec2.change(|s| _ = s.tags.insert("BackupRun".into(), "20261121T030000Z".into()));
    assert!(night.report().await.unwrap().complete);
    assert_eq!(night.summary().copies[0].made, 0, "the copy is another run's");
    assert!(night.metrics().await[0].get("Complete").is_none(), "it is not what the schedule is for");
}

#[tokio::test]
async fn a_topic_that_is_down_changes_nothing() {
    let mut night = night().await;
    night.services.topic_is_down = true;
    assert!(night.report_to(NotifyOn::Always).await.unwrap().complete);
    assert!(night.summary().is_complete());
}

#[tokio::test]
async fn where_the_map_runs_cannot_be_asked_the_rest_is_reported_and_it_is_incomplete() {
    let mut night = night().await;
    night.services.executions_are_down = true;
    let answer = night.report().await.unwrap();
    assert!(!answer.complete && answer.cause.starts_with("the failures of the tasks could not be read"), "{answer:?}");
    assert_eq!(night.summary().volumes(), (1, 1));
}

#[tokio::test]
async fn rejected_tags_stand_in_the_subject() {
    let night = night().await;
    let rejected = [
        json!({"subject": "i-1 (web)", "problem": "Retention=\"7d\": allowed is a whole number"}),
        json!({"subject": "i-1 (web)", "problem": "back-up=\"Yes\": allowed is the key Backup"}),
        json!({"subject": "i-2", "problem": "the instance has no EBS volume"}),
    ];
    night.manifest("rejected.jsonl", rejected.into()).await;
    assert!(night.report_to(NotifyOn::Always).await.unwrap().complete);
    assert!(night.services.sent.borrow()[0].0.ends_with(": complete, 2 tags cannot be used"));
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
    let wait = json!({"region": "us-west-2", "snapshots": ["snap-1"], "started": "2026-11-21T03:00:00Z"});
    let left = [letter(WorkQueue::Wait, wait, None), letter(WorkQueue::Copy, json!("snap"), Some("BadMessage"))];
    let mut all = left.to_vec();
    all.push(letter(WorkQueue::Copy, copy_of(source.as_str()), Some("AccessDenied")));
    *night.services.letters.borrow_mut() = all.clone();
    night.event.run.dry_run = true;
    night.report().await.unwrap();
    assert_eq!(*night.services.letters.borrow(), all, "a dry run touches none");

    night.event.run.dry_run = false;
    assert!(night.report().await.unwrap().complete, "dead letters do not make a run incomplete");
    assert_eq!(*night.services.letters.borrow(), left);
    assert_eq!(*night.services.put_back.borrow(), left);
    let text = night.written("summary.txt");
    for line in
        ["Wait: 0 settled and deleted, 1 left, 1 WorkerCrashed", "Copy: 1 settled and deleted, 1 left, 1 BadMessage"]
    {
        assert!(text.contains(line), "{text}");
    }
}
