use super::*;

/// A night that left `snap-99`, which was to be deleted.
async fn night_that_left_one() -> Night {
    let night = night().await;
    let left = night.ec2.add_snapshot(&home(), None, Completed, Tags::new());
    night.ec2.change(|s| s.id = if s.id == left { "snap-99".parse().unwrap() } else { s.id.clone() });
    night
}

#[tokio::test]
async fn what_is_left_of_the_due_is_a_problem_only_where_deleting_failed() {
    for (place, failed) in [(home(), true), (east(), false)] {
        let mut night = night_that_left_one().await;
        let input = json!({"task": batch(&place, &["snap-99"])});
        night.services.map_runs = vec![map_run("Expiries", input, "AccessDenied", "not allowed")];
        let answer = night.report().await.unwrap();
        assert_eq!(answer.complete, !failed);
        let problem = "snap-99: could not be deleted in eu-west-1: AccessDenied: not allowed. Grant the permission. ";
        assert_eq!(answer.cause.starts_with(problem), failed, "{answer:?}");
        let summary = night.summary();
        assert_eq!(summary.expiries[0].left[0].id.as_str(), "snap-99");
        assert_eq!((summary.failures[0].error.as_str(), summary.failures[0].tasks.len()), ("AccessDenied", 1));
    }
}

#[tokio::test]
async fn what_an_image_holds_is_told_in_ec2s_words_and_the_run_is_complete() {
    let mut night = night_that_left_one().await;
    let input = json!({"task": batch(&home(), &["snap-99"])});
    let cause = "snap-99: InvalidSnapshot.InUse: The snapshot snap-99 is currently in use by ami-1";
    night.services.map_runs = vec![map_run("Expiries", input, "SnapshotHeld", cause)];
    let answer = night.report().await.unwrap();
    assert!(answer.complete, "{answer:?}");
    let line = "    left: snap-99: due since 2026-11-22: SnapshotHeld: InvalidSnapshot.InUse: The snapshot snap-99 is \
                currently in use by ami-1\n";
    assert!(night.written("summary.txt").contains(line), "{}", night.written("summary.txt"));
}

#[tokio::test]
async fn what_is_due_or_broken_and_kept_is_named_and_is_no_problem() {
    let night = night().await;
    let verdict = "kept: it is in error, and carries KeepForever: only you can delete it";
    night.manifest("left-eu-west-1.jsonl", vec![json!({"id": "snap-98", "volume": "vol-1", "verdict": verdict})]).await;
    assert!(night.report().await.unwrap().complete);
    assert!(night.written("summary.txt").contains(&format!("    {verdict}: snap-98 of vol-1\n")));
    assert_eq!(night.summary().expiries[0].kept[0].id.as_str(), "snap-98");
}

#[tokio::test]
async fn what_was_deleted_before_a_region_failed_is_told_all_the_same() {
    let mut night = night_that_left_one().await;
    night.manifest("expire-eu-west-1.jsonl", vec![batch(&home(), &["snap-98", "snap-99"])]).await;
    night.event.expiries = vec![RegionResult { region: home(), manifest: None, failure: Some(timed_out()) }];
    assert!(!night.report().await.unwrap().complete);
    let end = &night.summary().expiries[0];
    assert_eq!((end.deleted[0].id.as_str(), end.left[0].id.as_str()), ("snap-98", "snap-99"));
}

#[tokio::test]
async fn a_region_that_is_stopped_says_how_to_let_it_go_on() {
    let mut night = night().await;
    let input = "{\"phases\": [\"expire\"], \"allowMassExpire\": [\"eu-west-1\"]}";
    let cause =
        json!({"errorType": "MassExpire", "errorMessage": format!("eu-west-1: 24 of 24 backups: start {input}")});
    let failure = StateError { error: "MassExpire".into(), cause: cause.to_string() };
    night.event.expiries = vec![RegionResult { region: home(), manifest: None, failure: Some(failure) }];
    let answer = night.report().await.unwrap();
    let line =
        format!("eu-west-1: expiry: MassExpire: eu-west-1: 24 of 24 backups: start {input}. Look into the verdicts");
    assert!(answer.cause.starts_with(&line), "{answer:?}");
}
