use std::cell::Cell;

use chrono::TimeDelta;
use domain::{
    error::ErrorName,
    fake::{Account, ClaimFault, FakeEc2, Fault, home, region},
    fleet::SnapshotState::{Completed, Error, Pending},
    outcome::Outcome::{Done, Fail, Later, Retry},
    ports::Stored,
    settings::Settings,
    tags::tags,
};

use super::*;

fn east() -> Region {
    region("us-east-1")
}

fn west() -> Region {
    region("us-west-2")
}

fn account() -> Account {
    let now = "2026-11-22T03:10:00Z".parse().unwrap();
    Account::new(&["eu-west-1", "us-east-1", "us-west-2"], now)
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

fn settings() -> Settings {
    let keys = "us-west-2=arn:aws:kms:us-west-2:111122223333:key/abc";
    Settings::read(|name| (name == "DESTINATION_KMS_KEYS").then(|| keys.into())).unwrap()
}

async fn handled(account: &Account, tasks: &[CopyTask]) -> Vec<Outcome> {
    account.invoke(&settings(), async |context| handle(context, tasks.to_vec(), |_, _| ()).await).await
}

/// The copies to wait for, from the result of a task that is done.
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
    assert!(matches!(outcomes[1], Later(15..=22)), "the next look decides: {outcomes:?}");
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
    ec2.copy_limit.set(20); // The worker keeps the limit, not EC2.
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
async fn a_copy_that_would_be_due_today_is_not_made_and_not_forgotten() {
    let ec2 = account();
    let asked = owed(&ec2, &east());
    for now in ["2026-11-30T00:00:00Z", "2026-11-29T00:00:00Z"] {
        ec2.now.set(now.parse().unwrap());
        let outcome = &handled(&ec2, &[asked.clone()]).await[0];
        let Fail(failure) = outcome else { panic!("{now}: {outcome:?}") };
        assert_eq!(failure.name, ErrorName::MessageExpired);
        let CopyTask::Copy { snapshot, .. } = &asked else { panic!() };
        for part in [snapshot.as_str(), "us-east-1", "2026-11-29"] {
            assert!(failure.cause.contains(part), "{failure}");
        }
    }
    ec2.now.set("2026-11-28T23:59:59Z".parse().unwrap());
    assert!(matches!(handled(&ec2, &[asked.clone()]).await[0], Done(_)));
    ec2.now.set("2026-11-29T00:00:00Z".parse().unwrap());
    assert!(matches!(handled(&ec2, &[asked]).await[0], Done(_)), "a copy that exists is adopted");
}

#[tokio::test]
async fn a_retag_sets_keep_forever_as_often_as_it_is_delivered_and_waits_for_nothing() {
    let ec2 = account();
    let copy = ec2.add_snapshot(&east(), None, Completed, Tags::new());
    let retag = CopyTask::Retag { region: east(), snapshot: copy.clone(), keep_forever: "audit".into() };
    ec2.fail_next("CreateTags", Fault::Refused("ConcurrentTagAccess"));
    ec2.fail_next("CreateTags", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[retag.clone(), retag.clone(), retag.clone()]).await;
    assert!(matches!(outcomes[0], Later(10..)) && matches!(outcomes[1], Retry(_)), "{outcomes:?}");
    assert!(matches!(outcomes[2], Later(60..)), "the region does not answer: {outcomes:?}");
    assert!(begun(&handled(&ec2, &[retag]).await[0]).snapshots.is_empty());
    assert_eq!(ec2.held(&east())[0].tags, tags([("KeepForever", "audit")]));
    assert_eq!(ec2.count("DescribeSnapshots"), 0);
}

/// Lets the deliveries run in turn, one call each.
fn pace(account: &Account) {
    account.ec2.paced.set(true);
    account.claims.paced.set(true);
}

fn in_flight(account: &Account, region: &Region) -> usize {
    account.held(region).iter().filter(|copy| copy.state == Pending).count()
}

#[tokio::test]
async fn the_same_message_in_two_functions_at_once_makes_one_copy() {
    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    let tasks = [owed(&ec2, &east())];
    ec2.pass(100);
    pace(&ec2);
    let outcomes = join_all([handled(&ec2, &tasks), handled(&ec2, &tasks), handled(&ec2, &tasks)]).await;
    assert_eq!(ec2.count("CopySnapshot"), 1, "{outcomes:?}");
    let copy = ec2.held(&east())[0].id.clone();
    for outcome in outcomes.iter().flatten().filter(|outcome| !matches!(outcome, Later(15..=22))) {
        assert_eq!(begun(outcome).snapshots, [copy.clone()]);
    }
    ec2.pass(15);
    assert_eq!(begun(&handled(&ec2, &tasks).await[0]).snapshots, [copy.clone()], "by its id, before EC2 shows it");
    ec2.pass(85);
    assert_eq!(begun(&handled(&ec2, &tasks).await[0]).snapshots, [copy], "by the look");
}

/// Messages of two executions, and messages put back by hand, for the same sources, in any batches, while EC2 shows new
/// copies late and answers are lost: one copy each, and never more than five at once, although EC2 allows twenty.
#[tokio::test]
async fn overlapping_batches_make_one_copy_each_and_share_the_five() {
    for seed in 0..60_u64 {
        let mut state = seed;
        // A linear congruential generator (Knuth).
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let ec2 = account();
        pace(&ec2);
        ec2.copy_limit.set(20);
        ec2.describe_lag.set(TimeDelta::seconds(45));
        let sources: Vec<SnapshotId> = (0..12).map(|_| source(&ec2)).collect();
        ec2.pass(45);
        // Two messages for each, and a third for some.
        let mut waiting: Vec<CopyTask> =
            sources.iter().chain(&sources).chain(&sources[8..]).map(|source| task(source, &east())).collect();
        let mut rounds = 0;
        while !waiting.is_empty() {
            rounds += 1;
            assert!(rounds < 400, "seed {seed}: {} are left", waiting.len());
            match random(12) {
                0 => ec2.fail_next("CopySnapshot", Fault::AnswerLost),
                1 => ec2.fail_next("CopySnapshot", Fault::Refused("InternalError")),
                2 => ec2.fail_next("CopySnapshot", Fault::Refused("RequestLimitExceeded")),
                3 => ec2.claims.fail_next("create", ClaimFault::Conflict),
                4 => ec2.claims.fail_next("create", ClaimFault::Repeated),
                5 => ec2.claims.fail_next("replace", ClaimFault::AnswerLost),
                6 => ec2.claims.fail_next("replace", ClaimFault::Repeated),
                7 => ec2.claims.fail_next("list", ClaimFault::Unavailable),
                _ => {}
            }
            let batches: Vec<Vec<CopyTask>> = (0..3)
                .map(|_| {
                    let size = usize::try_from(random(8)).unwrap().min(waiting.len());
                    (0..size)
                        .map(|_| {
                            let which = usize::try_from(random(waiting.len() as u64)).unwrap();
                            waiting.swap_remove(which)
                        })
                        .collect()
                })
                .collect();
            let outcomes = join_all(batches.iter().map(|batch| handled(&ec2, batch))).await;
            for (task, outcome) in batches.iter().flatten().zip(outcomes.iter().flatten()) {
                assert!(!matches!(outcome, Fail(_)), "{outcome:?}");
                if !matches!(outcome, Done(_)) {
                    waiting.push(task.clone());
                }
            }
            assert!(in_flight(&ec2, &east()) <= 5, "seed {seed}: {:?}", ec2.held(&east()));
            ec2.pass(i64::try_from(random(40)).unwrap());
            if random(3) == 0
                && let Some(copy) =
                    ec2.snapshots.borrow_mut().get_mut(&east()).and_then(|held| {
                        held.iter_mut().find(|copy| copy.state == Pending && copy.started < ec2.now.get())
                    })
            {
                copy.state = Completed;
            }
        }
        let mut copied: Vec<String> =
            ec2.held(&east()).iter().map(|copy| copy.tags["SourceSnapshotId"].clone()).collect();
        copied.sort();
        assert_eq!(copied, sources.iter().map(ToString::to_string).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn of_two_batches_that_claim_the_same_slots_neither_leaves_a_claim_open() {
    let ec2 = account();
    ec2.copy_limit.set(20);
    let tasks: Vec<_> = (0..10).map(|_| owed(&ec2, &east())).collect();
    pace(&ec2);
    join_all([handled(&ec2, &tasks[..5]), handled(&ec2, &tasks[5..])]).await;
    assert!(in_flight(&ec2, &east()) <= 5);
    let open = |stored: &Stored| stored.body.contains("\"open\"");
    assert!(!ec2.claims.objects.borrow().values().any(open), "{:?}", ec2.claims.objects.borrow());
    assert!(handled(&ec2, &tasks).await.iter().filter(|o| matches!(o, Done(_))).count() == 5);
}

#[tokio::test]
async fn what_is_claimed_and_not_shown_takes_a_slot_once() {
    let ec2 = account();
    ec2.copy_limit.set(20);
    ec2.describe_lag.set(TimeDelta::seconds(100));
    let tasks: Vec<_> = (0..7).map(|_| owed(&ec2, &east())).collect();
    ec2.pass(100);
    let first = handled(&ec2, &tasks[..3]).await;
    assert!(first.iter().all(|o| matches!(o, Done(_))), "{first:?}");
    let next = handled(&ec2, &tasks[3..]).await;
    assert_eq!(next.iter().filter(|o| matches!(o, Done(_))).count(), 2, "three are claimed: {next:?}");
    assert!(next[2..].iter().all(|o| matches!(o, Later(15..=22))), "{next:?}");
    ec2.pass(100);
    assert!(handled(&ec2, &tasks[5..]).await.iter().all(|o| matches!(o, Later(_))), "EC2 shows the five");
    ec2.snapshots.borrow_mut().get_mut(&east()).unwrap()[0].state = Completed;
    let last = handled(&ec2, &tasks[5..]).await;
    assert_eq!(last.iter().filter(|o| matches!(o, Done(_))).count(), 1, "and counts none of them twice: {last:?}");
}

#[tokio::test]
async fn a_claim_takes_a_slot_until_it_is_free_or_old() {
    let lost = [Fault::Refused("InternalError"), Fault::Refused("RequestLimitExceeded")];
    for (fault, seconds, free) in [(0, 0, 4), (0, 179, 4), (0, 180, 5), (1, 0, 5)] {
        let ec2 = account();
        ec2.fail_next("CopySnapshot", lost[fault].clone());
        handled(&ec2, &[owed(&ec2, &east())]).await;
        ec2.pass(seconds);
        let tasks: Vec<_> = (0..6).map(|_| owed(&ec2, &east())).collect();
        handled(&ec2, &tasks).await;
        assert_eq!(in_flight(&ec2, &east()), free, "{:?} after {seconds} s", lost[fault]);
    }
}

#[tokio::test]
async fn a_copy_that_was_deleted_at_once_takes_a_slot_no_longer_than_a_takeover() {
    for (seconds, copied) in [(179, 4), (180, 5)] {
        let ec2 = account();
        handled(&ec2, &[owed(&ec2, &east())]).await;
        ec2.snapshots.borrow_mut().get_mut(&east()).unwrap().clear();
        ec2.pass(seconds);
        let tasks: Vec<_> = (0..6).map(|_| owed(&ec2, &east())).collect();
        handled(&ec2, &tasks).await;
        assert_eq!(in_flight(&ec2, &east()), copied, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_lost_copy_is_made_when_its_claim_is_taken_over() {
    let ec2 = account();
    let tasks = [owed(&ec2, &east())];
    ec2.fail_next("CopySnapshot", Fault::Refused("InternalError"));
    assert!(matches!(handled(&ec2, &tasks).await[0], Retry(_)));
    for (seconds, done) in [(60, false), (119, false), (1, true)] {
        ec2.pass(seconds);
        assert_eq!(matches!(handled(&ec2, &tasks).await[0], Done(_)), done);
    }
    assert_eq!(ec2.held(&east()).len(), 1);
}

#[tokio::test]
async fn a_copy_that_broke_or_was_deleted_is_made_anew_although_its_claim_names_it() {
    let ec2 = account();
    let tasks = [owed(&ec2, &east())];
    handled(&ec2, &tasks).await;
    ec2.snapshots.borrow_mut().get_mut(&east()).unwrap()[0].state = Error;
    assert!(matches!(handled(&ec2, &tasks).await[0], Done(_)));
    assert_eq!(ec2.count("CopySnapshot"), 2);
    ec2.snapshots.borrow_mut().get_mut(&east()).unwrap().clear();
    ec2.pass(599);
    handled(&ec2, &tasks).await;
    assert_eq!(ec2.count("CopySnapshot"), 2, "it may only be described late");
    ec2.pass(1);
    assert!(matches!(handled(&ec2, &tasks).await[0], Done(_)));
    assert_eq!((ec2.count("CopySnapshot"), in_flight(&ec2, &east())), (3, 1));
}

#[tokio::test]
async fn a_copy_whose_type_was_changed_by_hand_is_the_copy_and_takes_a_slot() {
    let ec2 = account();
    ec2.copy_limit.set(20);
    let sources: Vec<_> = (0..5).map(|_| source(&ec2)).collect();
    for source in &sources {
        let mut changed = tags_of_copy(source);
        changed.insert("Type".into(), "Manual".into());
        ec2.add_snapshot(&east(), None, Pending, changed);
    }
    let outcomes = handled(&ec2, &[task(&sources[0], &east()), owed(&ec2, &east())]).await;
    assert!(matches!(outcomes[0], Done(_)) && matches!(outcomes[1], Later(_)), "{outcomes:?}");
    assert_eq!(ec2.count("CopySnapshot"), 0);
}

#[tokio::test]
async fn a_completed_copy_satisfies_whatever_else_there_is() {
    let ec2 = account();
    let source = source(&ec2);
    ec2.add_snapshot(&east(), None, Error, tags_of_copy(&source));
    let older = ec2.add_snapshot(&east(), None, Completed, tags_of_copy(&source));
    ec2.pass(60);
    ec2.add_snapshot(&east(), None, Completed, tags_of_copy(&source));
    assert_eq!(begun(&handled(&ec2, &[task(&source, &east())]).await[0]).snapshots, [older]);
}

#[tokio::test]
async fn a_completed_copy_satisfies_although_an_older_one_is_stuck() {
    let ec2 = account();
    let source = source(&ec2);
    let stuck = ec2.add_snapshot(&east(), None, Pending, tags_of_copy(&source));
    ec2.pass(24 * 3600 + 1);
    assert_eq!(begun(&handled(&ec2, &[task(&source, &east())]).await[0]).snapshots, [stuck]);
    let completed = ec2.add_snapshot(&east(), None, Completed, tags_of_copy(&source));
    assert_eq!(begun(&handled(&ec2, &[task(&source, &east())]).await[0]).snapshots, [completed]);
}

#[tokio::test]
async fn copies_that_are_pending_for_longer_than_a_day_take_no_slot() {
    for (seconds, done) in [(24 * 3600, 0), (24 * 3600 + 1, 5)] {
        let ec2 = account();
        ec2.copy_limit.set(20);
        for _ in 0..5 {
            ec2.add_snapshot(&east(), None, Pending, tags([("BackupFromRegion", "eu-west-1"), ("Type", "Automated")]));
        }
        ec2.pass(seconds);
        let tasks: Vec<_> = (0..6).map(|_| owed(&ec2, &east())).collect();
        let outcomes = handled(&ec2, &tasks).await;
        assert_eq!(outcomes.iter().filter(|o| matches!(o, Done(_))).count(), done, "{outcomes:?}");
    }
}

#[tokio::test]
async fn without_the_bucket_nothing_is_copied_and_a_claim_that_cannot_be_closed_is_no_failure() {
    for call in ["list", "create", "stored"] {
        let ec2 = account();
        let tasks = [owed(&ec2, &east())];
        if call == "stored" {
            // The claim exists, but cannot be read.
            ec2.claims.fail_next("create", ClaimFault::Repeated);
        }
        ec2.claims.fail_next(call, ClaimFault::Unavailable);
        let outcomes = handled(&ec2, &tasks).await;
        assert!(matches!(&outcomes[0], Retry(f) if f.name == ErrorName::StorageFailed), "{call}: {outcomes:?}");
        assert_eq!(ec2.count("CopySnapshot"), 0, "{call}");
    }
    // The second list, after the claim: the claim is given back.
    let ec2 = account();
    let tasks = [owed(&ec2, &east())];
    ec2.claims.fail_next("list", ClaimFault::Spared);
    ec2.claims.fail_next("list", ClaimFault::Unavailable);
    assert!(matches!(handled(&ec2, &tasks).await[0], Retry(_)));
    assert_eq!(ec2.count("CopySnapshot"), 0);
    ec2.claims.fail_next("replace", ClaimFault::Spared);
    ec2.claims.fail_next("replace", ClaimFault::Unavailable);
    let first = handled(&ec2, &tasks).await;
    assert!(matches!(first[0], Done(_)), "{first:?}");
    assert_eq!(handled(&ec2, &tasks).await, first);
    assert_eq!(ec2.count("CopySnapshot"), 1);
}

#[tokio::test]
async fn where_there_is_no_slot_the_bucket_is_left_alone() {
    let ec2 = account();
    for _ in 0..5 {
        ec2.add_snapshot(&east(), None, Pending, tags([("BackupFromRegion", "eu-west-1"), ("Type", "Automated")]));
    }
    handled(&ec2, &[owed(&ec2, &east())]).await;
    assert!(ec2.claims.calls.borrow().is_empty());
}

#[tokio::test]
async fn all_destinations_are_looked_at_at_once_and_one_that_hangs_is_left_alone() {
    let ec2 = account();
    let tasks: Vec<_> = [east(), west(), east(), west()].iter().map(|to| owed(&ec2, to)).collect();
    let copy = ec2.add_snapshot(&east(), None, Completed, Tags::new());
    let retag = CopyTask::Retag { region: east(), snapshot: copy, keep_forever: String::new() };
    ec2.fail_next("CreateTags", Fault::Refused("InternalError"));
    let asked = [&[retag.clone(), retag][..], &tasks].concat();
    let outcomes = handled(&ec2, &asked).await;
    assert!(matches!(outcomes[0], Retry(_)) && matches!(outcomes[1], Later(60..)), "{outcomes:?}");
    assert!(matches!(outcomes[2], Later(60..)) && matches!(outcomes[4], Later(60..)), "{outcomes:?}");
    assert!(matches!(outcomes[3], Done(_)) && matches!(outcomes[5], Done(_)), "{outcomes:?}");
    assert!(ec2.calls.borrow().iter().all(|call| *call != ("DescribeSnapshots", east())));

    let ec2 = account();
    pace(&ec2);
    handled(&ec2, &tasks).await;
    let looks: Vec<_> = ec2.calls.borrow().iter().map(|(_, region)| region.clone()).take(2).collect();
    assert_eq!(looks, [east(), west()], "the second region is asked before the first has answered all");
}

#[tokio::test]
async fn a_batch_begins_nothing_whose_answer_could_miss_the_functions_end() {
    let ec2 = account();
    let tasks: Vec<_> = (0..5).map(|_| owed(&ec2, &east())).collect();
    // At every reading, the clock has moved three seconds.
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        ec2.now.get() + TimeDelta::seconds(3 * looks.get())
    };
    let outcomes =
        ec2.invoke_at(&settings(), &clock, async |context| handle(context, tasks.clone(), |_, _| ()).await).await;
    let copied = ec2.count("CopySnapshot");
    assert!(copied < 5 && outcomes.iter().filter(|o| matches!(o, Later(60..))).count() == 5 - copied, "{outcomes:?}");
    ec2.pass(60);
    assert!(handled(&ec2, &tasks).await.iter().all(|o| matches!(o, Done(_))), "their claims were given back");
    assert_eq!(ec2.count("CopySnapshot"), 5);
}

#[tokio::test]
async fn where_the_first_look_took_long_there_is_no_second_one() {
    let account = account();
    let tasks = [owed(&account, &east())];
    let asked = Cell::new(0);
    let clock = || {
        asked.set(asked.get() + 1);
        account.now.get() + TimeDelta::seconds(if asked.get() > 1 { 21 } else { 0 })
    };
    let outcomes =
        account.invoke_at(&settings(), &clock, async |context| handle(context, tasks.to_vec(), |_, _| ()).await).await;
    assert!(matches!(outcomes[0], Later(60..)), "{outcomes:?}");
    assert_eq!((account.count("DescribeSnapshots"), account.count("CopySnapshot")), (1, 0));
}

#[tokio::test]
async fn the_copies_in_flight_are_counted_with_those_that_the_batch_begins() {
    let account = account();
    let tasks: Vec<CopyTask> = (0..4).map(|_| owed(&account, &east())).collect();
    let counted = std::cell::RefCell::new(vec![]);
    let measured = async |tasks: Vec<CopyTask>| {
        let measure = |region: &Region, in_flight| counted.borrow_mut().push((region.clone(), in_flight));
        account.invoke(&settings(), async |context| handle(context, tasks.clone(), measure).await).await
    };
    measured(tasks[..3].to_vec()).await;
    measured(tasks[3..].to_vec()).await;
    // A slot that is waited for.
    let more: Vec<CopyTask> = (0..3).map(|_| owed(&account, &east())).collect();
    measured(more).await;
    account.complete_all();
    measured(tasks[..1].to_vec()).await;
    assert_eq!(*counted.borrow(), [(east(), 3), (east(), 4), (east(), 5), (east(), 0)]);
}
