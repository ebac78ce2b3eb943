use domain::{
    error::ErrorName,
    fake::{FakeEc2, Fault},
    fleet::SnapshotState::{Completed, Error, Pending},
    outcome::Outcome::{Done, Fail, Later, Retry},
    tags::tags,
};

use super::*;

fn region(code: &str) -> Region {
    code.parse().unwrap()
}

fn home() -> Region {
    region("eu-west-1")
}

fn east() -> Region {
    region("us-east-1")
}

fn west() -> Region {
    region("us-west-2")
}

fn account() -> FakeEc2 {
    FakeEc2::new(&["eu-west-1", "us-east-1", "us-west-2"], "2026-11-22T03:10:00Z".parse().unwrap())
}

fn tags_of_copy(source: &SnapshotId) -> Tags {
    tags([
        ("BackupFromRegion", "eu-west-1"),
        ("BackupRun", "20261122T030000Z"),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("Name", "db"),
        ("SourceSnapshotId", source.as_str()),
        ("Type", "Automated"),
    ])
}

/// A completed snapshot in the home region.
fn source(ec2: &FakeEc2) -> SnapshotId {
    ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, Tags::new())
}

fn task(source: &SnapshotId, to: &Region) -> CopyTask {
    CopyTask::Copy {
        region: to.clone(),
        snapshot: source.clone(),
        description: "db - i-1".into(),
        tags: tags_of_copy(source),
    }
}

/// A task for a new source.
fn owed(ec2: &FakeEc2, to: &Region) -> CopyTask {
    task(&source(ec2), to)
}

async fn handled(ec2: &FakeEc2, tasks: &[CopyTask]) -> Vec<Outcome> {
    let keys = "us-west-2=arn:aws:kms:us-west-2:111122223333:key/abc";
    let settings = Settings::read(|name| (name == "DESTINATION_KMS_KEYS").then(|| keys.into())).unwrap();
    handle(ec2, &home(), &settings, tasks.to_vec(), ec2.now.get()).await
}

/// What is waited for after a task that is done.
fn begun(outcome: &Outcome) -> Begun {
    let Done(result) = outcome else { panic!("{outcome:?}") };
    serde_json::from_value(result.clone()).unwrap()
}

#[tokio::test]
async fn a_copy_carries_exactly_the_tasks_tags_and_description_and_its_regions_key() {
    let ec2 = account();
    let source = source(&ec2);
    let outcomes = handled(&ec2, &[task(&source, &east()), task(&source, &west())]).await;
    let made = ec2.held(&east());
    assert_eq!(made.len(), 1);
    assert_eq!((&made[0].tags, made[0].description.as_str()), (&tags_of_copy(&source), "db - i-1"));
    let expected = Begun { region: east(), snapshots: vec![made[0].id.clone()], started: ec2.now.get() };
    assert_eq!(begun(&outcomes[0]), expected);
    assert_eq!(*ec2.copy_keys.borrow(), [None, Some("arn:aws:kms:us-west-2:111122223333:key/abc".into())]);
}

#[tokio::test]
async fn delivered_twice_a_task_makes_one_copy() {
    let ec2 = account();
    let task = owed(&ec2, &east());
    let first = handled(&ec2, std::slice::from_ref(&task)).await;
    assert_eq!(handled(&ec2, std::slice::from_ref(&task)).await, first, "a pending copy is adopted");
    ec2.complete_all();
    assert_eq!(handled(&ec2, &[task]).await, first, "and a completed one");
    assert_eq!(ec2.count("CopySnapshot"), 1);
}

#[tokio::test]
async fn delivered_twice_in_one_batch_a_task_makes_one_copy() {
    let ec2 = account();
    let source = source(&ec2);
    let mut of_another_run = task(&source, &east());
    if let CopyTask::Copy { tags, .. } = &mut of_another_run {
        tags.insert("BackupRun".into(), "20261122T040000Z".into());
    }
    let outcomes = handled(&ec2, &[task(&source, &east()), of_another_run.clone()]).await;
    assert_eq!(ec2.count("CopySnapshot"), 1);
    assert!(matches!(outcomes[1], Later(60..)), "the next look decides: {outcomes:?}");
    assert_eq!(handled(&ec2, &[of_another_run]).await, outcomes[..1]);
}

#[tokio::test]
async fn after_a_lost_answer_the_next_delivery_adopts_the_copy() {
    let ec2 = account();
    let task = owed(&ec2, &east());
    ec2.fail_next("CopySnapshot", Fault::AnswerLost);
    let outcomes = handled(&ec2, std::slice::from_ref(&task)).await;
    assert!(matches!(&outcomes[0], Retry(failure) if failure.name == ErrorName::Ec2Unavailable), "{outcomes:?}");
    let again = handled(&ec2, &[task]).await;
    assert_eq!(begun(&again[0]).snapshots, [ec2.held(&east())[0].id.clone()]);
    assert_eq!(ec2.count("CopySnapshot"), 1);
}

#[tokio::test]
async fn a_copy_in_error_counts_as_absent() {
    let ec2 = account();
    let source = source(&ec2);
    let broken = ec2.add_snapshot(&east(), None, Error, tags_of_copy(&source));
    let outcomes = handled(&ec2, &[task(&source, &east())]).await;
    assert!(!begun(&outcomes[0]).snapshots.contains(&broken));
    assert_eq!(ec2.count("CopySnapshot"), 1);
}

#[tokio::test]
async fn another_home_regions_copy_of_the_same_source_id_is_not_adopted() {
    let ec2 = account();
    let source = source(&ec2);
    let mut foreign = tags_of_copy(&source);
    foreign.insert("BackupFromRegion".into(), "ap-south-1".into());
    let foreign = ec2.add_snapshot(&east(), None, Completed, foreign);
    let outcomes = handled(&ec2, &[task(&source, &east())]).await;
    assert!(!begun(&outcomes[0]).snapshots.contains(&foreign));
    assert_eq!(ec2.count("CopySnapshot"), 1);
}

#[tokio::test]
async fn a_batch_fills_the_free_slots_of_each_region_and_no_more() {
    let ec2 = account();
    ec2.copy_limit.set(20); // It is the worker that keeps the limit, not EC2.
    for from in ["eu-west-1", "ap-south-1"] {
        ec2.add_snapshot(&east(), None, Pending, tags([("BackupFromRegion", from), ("Type", "Automated")]));
    }
    ec2.add_snapshot(&east(), None, Completed, tags_of_copy(&"snap-99".parse().unwrap()));
    let mut tasks: Vec<_> = (0..10).map(|_| owed(&ec2, &east())).collect();
    tasks.extend((0..5).map(|_| owed(&ec2, &west())));
    let outcomes = handled(&ec2, &tasks).await;
    assert!(outcomes[..3].iter().all(|o| matches!(o, Done(_))), "two of the five slots were taken: {outcomes:?}");
    assert!(outcomes[3..10].iter().all(|o| matches!(o, Later(15..=22))), "{outcomes:?}");
    assert!(outcomes[10..].iter().all(|o| matches!(o, Done(_))), "the other region goes on: {outcomes:?}");
    assert_eq!(ec2.count("CopySnapshot"), 8);
    assert_eq!(ec2.count("DescribeSnapshots"), 4, "two looks per region, whatever the batch's size");
    handled(&ec2, &tasks[9..10]).await;
    assert_eq!(ec2.count("DescribeSnapshots"), 5, "and one where there is no free slot");

    ec2.complete_all();
    let outcomes = handled(&ec2, &tasks[..10]).await;
    assert!(outcomes[..8].iter().all(|o| matches!(o, Done(_))), "three adopted, five more: {outcomes:?}");
    assert!(outcomes[8..].iter().all(|o| matches!(o, Later(_))), "{outcomes:?}");
}

#[tokio::test]
async fn a_region_that_does_not_answer_is_left_alone_for_the_rest_of_the_batch() {
    let ec2 = account();
    ec2.fail_next("CopySnapshot", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[owed(&ec2, &east()), owed(&ec2, &east()), owed(&ec2, &west())]).await;
    assert!(matches!(outcomes[0], Retry(_)) && matches!(outcomes[1], Later(60..)), "{outcomes:?}");
    assert!(matches!(outcomes[2], Done(_)), "{outcomes:?}");
    assert_eq!((ec2.held(&east()).len(), ec2.held(&west()).len()), (1, 1));
}

#[tokio::test]
async fn what_passes_is_waited_for_and_does_not_touch_the_rest_of_the_batch() {
    for (code, at_least) in [("ResourceLimitExceeded", 60), ("RequestLimitExceeded", 10), ("IncorrectState", 60)] {
        let ec2 = account();
        ec2.fail_next("CopySnapshot", Fault::Refused(code));
        let outcomes = handled(&ec2, &[owed(&ec2, &east()), owed(&ec2, &west())]).await;
        assert!(matches!(outcomes[0], Later(seconds) if seconds >= at_least), "{code}: {outcomes:?}");
        assert!(matches!(outcomes[1], Done(_)), "{code}: {outcomes:?}");
    }
}

#[tokio::test]
async fn what_cannot_work_fails_by_itself_with_its_name() {
    let never = [
        ("InvalidSnapshot.NotFound", ErrorName::SnapshotNotFound),
        ("OptInRequired", ErrorName::RegionNotEnabled),
        ("CustomerKeyHasBeenRevoked", ErrorName::KeyNotAccessible),
        ("UnauthorizedOperation", ErrorName::AccessDenied),
    ];
    for (code, name) in never {
        let ec2 = account();
        ec2.fail_next("CopySnapshot", Fault::Refused(code));
        let outcomes = handled(&ec2, &[owed(&ec2, &east()), owed(&ec2, &east())]).await;
        assert!(matches!(&outcomes[0], Fail(failure) if failure.name == name), "{code}: {outcomes:?}");
        assert!(matches!(outcomes[1], Done(_)), "{code}: {outcomes:?}");
    }
}

#[tokio::test]
async fn a_region_that_cannot_be_looked_at_gets_no_copy_and_the_other_goes_on() {
    for (code, fails) in [("RequestLimitExceeded", false), ("AuthFailure", true)] {
        let ec2 = account();
        let outcomes = {
            ec2.fail_next("DescribeSnapshots", Fault::Refused(code));
            handled(&ec2, &[owed(&ec2, &east()), owed(&ec2, &east()), owed(&ec2, &west())]).await
        };
        assert!(outcomes[..2].iter().all(|o| if fails { matches!(o, Fail(_)) } else { matches!(o, Later(_)) }));
        assert!(matches!(outcomes[2], Done(_)), "{outcomes:?}");
        assert_eq!(*ec2.calls.borrow().last().unwrap(), ("CopySnapshot", west()));
        assert_eq!(ec2.count("CopySnapshot"), 1);
    }
}

#[tokio::test]
async fn a_copy_that_would_be_due_today_is_not_made() {
    let ec2 = account();
    for (now, made) in [("2026-11-30T00:00:00Z", 0), ("2026-11-29T00:00:00Z", 0), ("2026-11-28T23:59:59Z", 1)] {
        ec2.now.set(now.parse().unwrap());
        let outcomes = handled(&ec2, &[owed(&ec2, &east())]).await;
        assert_eq!(begun(&outcomes[0]).snapshots.len(), made, "{now}");
        assert_eq!(ec2.count("CopySnapshot"), made, "{now}");
    }
}

#[tokio::test]
async fn a_retag_sets_keep_forever_as_often_as_it_is_delivered_and_waits_for_nothing() {
    let ec2 = account();
    let copy = ec2.add_snapshot(&east(), None, Completed, Tags::new());
    let retag = CopyTask::Retag { region: east(), snapshot: copy.clone(), keep_forever: "audit".into() };
    ec2.fail_next("CreateTags", Fault::Refused("ConcurrentTagAccess"));
    ec2.fail_next("CreateTags", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[retag.clone(), retag.clone(), retag]).await;
    assert!(matches!(outcomes[0], Later(10..)) && matches!(outcomes[1], Retry(_)), "{outcomes:?}");
    assert!(begun(&outcomes[2]).snapshots.is_empty());
    assert_eq!(ec2.held(&east())[0].tags, tags([("KeepForever", "audit")]));
    assert_eq!(ec2.count("DescribeSnapshots"), 0);
}
