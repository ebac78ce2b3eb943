use std::cell::Cell;

use chrono::TimeDelta;
use domain::{
    fake::{Account, ClaimFault, FakeEc2, Fault, home},
    fleet::{
        InstanceAs,
        SnapshotState::{Completed, Error},
    },
    hooks::{HookPlan, OnHookError},
    labels::VolumeAs,
    outcome::Outcome::{Declined, Done, Fail, Later, Retry},
    settings::Settings,
    tags::tags,
};

use super::*;

const RUN: &str = "20261122T030000Z";

fn volume(id: &str) -> VolumeId {
    id.parse().unwrap()
}

/// An account with the instance `i-1`, called db, with two volumes.
fn account() -> Account {
    let now = "2026-11-22T03:10:00Z".parse().unwrap();
    let account = Account::new(&["eu-west-1", "us-east-1"], now);
    account.add_instance("i-1", &[("Name", "db")], &["vol-1", "vol-2"]);
    account
}

/// The task that discover would plan for an instance, with its first volume as the root.
fn task(id: &str, devices: &[(&str, &str)]) -> SnapshotTask {
    let instance = InstancePlan {
        instance: id.parse().unwrap(),
        name: "db".into(),
        volumes: devices
            .iter()
            .map(|(device, id)| Attachment { device: (*device).into(), volume: volume(id) })
            .collect(),
        excluded: vec![],
        root: Some(volume("vol-1")),
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: vec![],
        keep_forever: None,
        hook: None,
        no_hook: None,
        volumes_as: vec![],
        instance_as: InstanceAs::default(),
    };
    SnapshotTask { run_id: RUN.into(), instance, frozen_by: None, why: None }
}

fn db() -> SnapshotTask {
    task("i-1", &[("/dev/sda1", "vol-1"), ("/dev/sdb", "vol-2")])
}

async fn handled(account: &Account, tasks: &[SnapshotTask]) -> Vec<Outcome> {
    account.invoke(&Settings::read(|_| None).unwrap(), async |context| handle(context, tasks.to_vec()).await).await
}

fn begun(outcome: &Outcome) -> Begun {
    let Done(result) = outcome else { panic!("{outcome:?}") };
    serde_json::from_value(result.clone()).unwrap()
}

/// The volumes that have snapshots, live or not.
fn snapshotted(ec2: &FakeEc2) -> Vec<String> {
    ec2.held(&home()).iter().map(|s| s.volume.as_ref().unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_set_carries_exactly_the_listed_tags() {
    let ec2 = account();
    let plain = tags([
        ("BackupRun", "20261122T030000Z"),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("Devices", "/dev/sda1=vol-1 /dev/sdb=vol-2"),
        ("Name", "db"),
        ("SourceInstanceId", "i-1"),
        ("Type", "Automated"),
    ]);
    let outcomes = handled(&ec2, &[db()]).await;
    let made = ec2.held(&home());
    assert_eq!(made.iter().map(|s| &s.tags).collect::<Vec<_>>(), [&plain, &plain]);
    assert_eq!(made[0].description, "db - i-1");
    let ids = made.iter().map(|s| s.id.clone()).collect();
    assert_eq!(begun(&outcomes[0]), Begun { region: home(), snapshots: ids, started: ec2.now.get() });

    let ec2 = account();
    let mut asked = db();
    asked.instance.retention_cross_region = Some(30.try_into().unwrap());
    asked.instance.backup_cross_region = Some("us-east-1, mars".into());
    asked.instance.keep_forever = Some(String::new());
    handled(&ec2, &[asked]).await;
    let mut full = plain;
    full.extend(tags([("BackupCrossRegion", "us-east-1, mars"), ("KeepForever", ""), ("RetentionCrossRegion", "30")]));
    assert_eq!(ec2.held(&home())[0].tags, full);
}

#[tokio::test]
async fn what_a_restore_needs_is_on_each_snapshot_also_where_each_has_a_call_of_its_own() {
    for (excluded, sets) in [(0, 1), (41, 0)] {
        let ec2 = account();
        let mut task = db();
        task.instance.excluded = (0..excluded).map(|i| volume(&format!("vol-e{i:02}"))).collect();
        let known = |id: &str, delete_on_termination| VolumeAs {
            volume: volume(id),
            kind: Some("gp3".into()),
            iops: Some(3000),
            throughput: Some(125),
            gib: Some(20),
            delete_on_termination,
        };
        task.instance.volumes_as = vec![known("vol-1", true), known("vol-2", false)];
        task.instance.instance_as = InstanceAs { zone: Some("eu-west-1a".into()), ..InstanceAs::default() };
        handled(&ec2, &[task]).await;
        assert_eq!(ec2.count("CreateSnapshots"), sets);
        let made = ec2.held(&home());
        assert_eq!(made.len(), 2);
        for snapshot in made {
            assert_eq!(snapshot.tags["Volumes"], "vol-1:gp3:3000:125:20:d vol-2:gp3:3000:125:20");
            assert_eq!(snapshot.tags["InstanceAs"], "zone=eu-west-1a");
        }
    }
}

#[tokio::test]
async fn what_is_excluded_is_left_out_of_the_one_call() {
    for (kept, excluded) in [(("/dev/sdb", "vol-2"), "vol-1"), (("/dev/sda1", "vol-1"), "vol-2")] {
        let ec2 = account();
        let mut task = task("i-1", &[kept]);
        task.instance.excluded = vec![volume(excluded)];
        handled(&ec2, &[task]).await;
        assert_eq!(snapshotted(&ec2), [kept.1]);
        assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (1, 0));
    }
}

#[tokio::test]
async fn more_than_forty_excluded_volumes_mean_one_call_per_volume() {
    for (excluded, sets, ones) in [(40, 1, 0), (41, 0, 2)] {
        let ec2 = account();
        let mut task = db();
        task.instance.excluded = (0..excluded).map(|i| volume(&format!("vol-{i:03x}"))).collect();
        handled(&ec2, &[task]).await;
        assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (sets, ones));
        assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2"]);
        assert!(ec2.held(&home()).iter().all(|s| s.tags["Devices"] == "/dev/sda1=vol-1 /dev/sdb=vol-2"));
    }
}

#[tokio::test]
async fn an_excluded_volume_that_was_detached_since_means_one_call_per_volume() {
    let ec2 = account();
    let mut task = task("i-1", &[("/dev/sda1", "vol-1")]);
    task.instance.excluded = vec![volume("vol-2")];
    ec2.fail_next("CreateSnapshots", Fault::Refused("InvalidParameterValue"));
    assert_eq!(begun(&handled(&ec2, &[task]).await[0]).snapshots.len(), 1);
    assert_eq!(snapshotted(&ec2), ["vol-1"]);
}

#[tokio::test]
async fn delivered_twice_a_task_makes_one_set() {
    let ec2 = account();
    let first = handled(&ec2, &[db()]).await;
    assert_eq!(handled(&ec2, &[db()]).await, first);
    ec2.complete_all();
    assert_eq!(handled(&ec2, &[db()]).await, first);
    assert_eq!((ec2.count("CreateSnapshots"), ec2.held(&home()).len()), (1, 2));
}

#[tokio::test]
async fn delivered_twice_in_one_batch_a_task_makes_one_set() {
    let ec2 = account();
    let outcomes = handled(&ec2, &[db(), db()]).await;
    assert_eq!(ec2.count("CreateSnapshots"), 1);
    assert!(matches!(outcomes[1], Later(15..=22)), "the next look decides: {outcomes:?}");
    assert_eq!(handled(&ec2, &[db()]).await, outcomes[..1]);
}

#[tokio::test]
async fn after_a_lost_answer_the_next_delivery_adopts_the_set() {
    let ec2 = account();
    ec2.fail_next("CreateSnapshots", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[db()]).await;
    assert!(matches!(&outcomes[0], Retry(failure) if failure.name == ErrorName::Ec2Unavailable), "{outcomes:?}");
    assert_eq!(begun(&handled(&ec2, &[db()]).await[0]).snapshots.len(), 2);
    assert_eq!(ec2.held(&home()).len(), 2);
}

#[tokio::test]
async fn what_an_interrupted_delivery_left_out_is_made_up_for_and_waited_for_from_now() {
    let ec2 = account();
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    ec2.fail_next("CreateSnapshot", Fault::Spared);
    ec2.fail_next("CreateSnapshot", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(handled(&ec2, std::slice::from_ref(&task)).await[0], Later(10..)));
    assert_eq!(snapshotted(&ec2), ["vol-1"]);

    ec2.now.set("2026-11-22T04:10:00Z".parse().unwrap());
    let begun = begun(&handled(&ec2, &[task]).await[0]);
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2"]);
    assert_eq!(begun.snapshots.len(), 2);
    assert_eq!(begun.started, ec2.now.get(), "a new snapshot has ten minutes until EC2 must describe it");
}

#[tokio::test]
async fn a_volume_that_is_gone_fails_an_instance_only_where_nothing_is_left() {
    let ec2 = account();
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    let gone = Fault::Refused("InvalidVolume.NotFound");
    for fault in [gone.clone(), gone.clone(), Fault::Spared, gone.clone(), gone] {
        ec2.fail_next("CreateSnapshot", fault);
    }
    let nothing_left = &handled(&ec2, std::slice::from_ref(&task)).await[0];
    let Fail(failure) = nothing_left else { panic!("{nothing_left:?}") };
    assert_eq!(failure.to_string(), "VolumeNotFound: i-1: vol-1, vol-2 do not exist any more");

    let first = handled(&ec2, std::slice::from_ref(&task)).await;
    assert_eq!(begun(&first[0]).snapshots.len(), 1);
    assert_eq!(handled(&ec2, &[task]).await, first, "delivered twice");
}

#[tokio::test]
async fn of_two_sets_the_oldest_live_one_counts_and_one_in_error_never() {
    let ec2 = account();
    let (one, two) = (volume("vol-1"), volume("vol-2"));
    let own = tags([("BackupRun", RUN), ("SourceInstanceId", "i-1"), ("Type", "Automated")]);
    ec2.add_snapshot(&home(), Some(&one), Error, own.clone());
    ec2.add_snapshot(&home(), Some(&one), Completed, own.clone());
    ec2.now.set("2026-11-22T03:05:00Z".parse().unwrap());
    let oldest = ec2.add_snapshot(&home(), Some(&one), Completed, own.clone());
    ec2.add_snapshot(&home(), Some(&two), Error, own);
    let begun = begun(&handled(&ec2, &[db()]).await[0]);
    assert_eq!(begun.snapshots[0], oldest);
    assert_eq!(begun.snapshots.len(), 2);
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-1", "vol-1", "vol-2", "vol-2"]);
    assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (0, 1));
}

#[tokio::test]
async fn another_runs_and_another_instances_snapshots_are_not_adopted() {
    let ec2 = account();
    for (run, instance) in [("20261121T030000Z", "i-1"), (RUN, "i-2")] {
        let own = tags([("BackupRun", run), ("SourceInstanceId", instance), ("Type", "Automated")]);
        ec2.add_snapshot(&home(), Some(&volume("vol-1")), Completed, own);
    }
    ec2.add_instance("i-2", &[], &["vol-3"]);
    handled(&ec2, &[db(), task("i-2", &[("/dev/sda1", "vol-3")])]).await;
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-1", "vol-1", "vol-2", "vol-3"]);
}

#[tokio::test]
async fn a_batch_is_looked_at_once_per_run_and_one_that_fails_leaves_the_others_alone() {
    let ec2 = account();
    let ids: Vec<_> = (2..10).map(|i| (format!("i-{i}"), format!("vol-{i}0"))).collect();
    let mut tasks = vec![task("i-dead", &[("/dev/sda1", "vol-dead")]), db()];
    for (instance, volume) in &ids {
        ec2.add_instance(instance, &[], &[volume]);
        tasks.push(task(instance, &[("/dev/sda1", volume)]));
    }
    tasks[9].run_id = "20261121T030000Z".into();
    let outcomes = handled(&ec2, &tasks).await;
    assert!(matches!(&outcomes[0], Fail(failure) if failure.name == ErrorName::InstanceNotFound), "{outcomes:?}");
    assert!(outcomes[1..].iter().all(|o| matches!(o, Done(_))), "{outcomes:?}");
    assert_eq!(ec2.count("DescribeSnapshots"), 2, "one per run");
}

#[tokio::test]
async fn too_soon_throttled_and_forbidden_each_have_their_outcome() {
    for (code, at_least) in [("PendingSnapshotLimitExceeded", 60), ("RequestLimitExceeded", 10)] {
        let ec2 = account();
        ec2.fail_next("CreateSnapshots", Fault::Refused(code));
        let outcome = &handled(&ec2, &[db()]).await[0];
        assert!(matches!(outcome, Later(seconds) if *seconds >= at_least), "{code}: {outcome:?}");
        assert_eq!(ec2.count("CreateSnapshot"), 0, "{code} is not about one volume");
        assert!(matches!(handled(&ec2, &[db()]).await[0], Done(_)), "{code} sets the claim free");
    }
    let ec2 = account();
    let alone = task("i-1", &[("/dev/sda1", "vol-1")]);
    ec2.fail_next("CreateSnapshots", Fault::Refused("SnapshotCreationPerVolumeRateExceeded"));
    assert!(matches!(handled(&ec2, &[alone]).await[0], Later(15..=22)));
    assert_eq!(ec2.count("CreateSnapshot"), 0, "there is no other volume to begin");
    for (code, name) in [
        ("UnauthorizedOperation", ErrorName::AccessDenied),
        ("SnapshotLimitExceeded", ErrorName::SnapshotLimitExceeded),
        ("InvalidParameterValue", ErrorName::Ec2Refused),
    ] {
        let ec2 = account();
        ec2.fail_next("CreateSnapshots", Fault::Refused(code));
        let outcome = &handled(&ec2, &[db()]).await[0];
        assert!(matches!(outcome, Fail(failure) if failure.name == name), "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_looked_at_is_not_acted_on() {
    let ec2 = account();
    ec2.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(handled(&ec2, &[db()]).await[0], Later(10..)));
    assert!(ec2.held(&home()).is_empty());
}

/// Lets the deliveries run in turn, one call each.
fn pace(account: &Account) {
    account.ec2.paced.set(true);
    account.claims.paced.set(true);
}

#[tokio::test]
async fn the_same_message_in_two_functions_at_once_makes_one_set() {
    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    pace(&ec2);
    let tasks = [db()];
    let outcomes = join_all([handled(&ec2, &tasks), handled(&ec2, &tasks)]).await;
    assert_eq!(ec2.count("CreateSnapshots"), 1, "{outcomes:?}");
    assert!(
        outcomes[1] == outcomes[0] || matches!(outcomes[1][0], Later(15..=22)),
        "adopted or waited for: {outcomes:?}"
    );
    ec2.pass(15);
    let adopted = handled(&ec2, &[db()]).await;
    assert_eq!(begun(&adopted[0]).snapshots, begun(&outcomes[0][0]).snapshots, "by the ids, before EC2 shows them");
    ec2.pass(85);
    assert_eq!(handled(&ec2, &[db()]).await, outcomes[0], "by the look");
    assert_eq!(ec2.held(&home()).len(), 2);
}

#[tokio::test]
async fn a_claim_costs_one_write_before_the_call_and_one_after_it() {
    let ec2 = account();
    handled(&ec2, &[db()]).await;
    let calls: Vec<_> = ec2.claims.calls.borrow().iter().map(|(call, _)| *call).collect();
    assert_eq!(calls, ["create", "replace"]);
    assert!(ec2.claims.objects.borrow().contains_key("claims/snapshot/20261122T030000Z/i-1"));
    assert_eq!((ec2.count("DescribeSnapshots"), ec2.count("CreateSnapshots")), (1, 1));
    ec2.claims.calls.borrow_mut().clear();
    handled(&ec2, &[db()]).await;
    assert!(ec2.claims.calls.borrow().is_empty(), "what EC2 shows needs no claim");
}

#[tokio::test]
async fn what_was_lost_on_the_way_is_made_when_its_claim_is_taken_over() {
    for made in [true, false] {
        let ec2 = account();
        ec2.describe_lag.set(TimeDelta::seconds(100));
        let fault = if made { Fault::AnswerLost } else { Fault::Refused("InternalError") };
        ec2.fail_next("CreateSnapshots", fault);
        assert!(matches!(handled(&ec2, &[db()]).await[0], Retry(_)));
        ec2.pass(60);
        assert!(matches!(handled(&ec2, &[db()]).await[0], Later(15..=22)), "EC2 shows nothing, but may have acted");
        ec2.pass(119);
        let outcome = handled(&ec2, &[db()]).await;
        assert_eq!(matches!(outcome[0], Done(_)), made, "{outcome:?}");
        ec2.pass(1);
        assert!(matches!(handled(&ec2, &[db()]).await[0], Done(_)));
        assert_eq!(ec2.held(&home()).len(), 2);
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_between_its_claim_and_its_call_holds_nothing_up_for_longer_than_a_takeover() {
    let ec2 = account();
    pace(&ec2);
    {
        let tasks = [db()];
        let mut killed = Box::pin(handled(&ec2, &tasks));
        while ec2.claims.count("create") == 0 {
            assert!(futures::poll!(&mut killed).is_pending());
        }
    }
    for (seconds, done) in [(0, false), (179, false), (1, true)] {
        ec2.pass(seconds);
        assert_eq!(matches!(handled(&ec2, &[db()]).await[0], Done(_)), done);
    }
    assert_eq!(ec2.count("CreateSnapshots"), 1);
}

#[tokio::test]
async fn one_volume_at_its_limit_does_not_keep_the_others_from_being_begun() {
    for code in ["ConcurrentSnapshotLimitExceeded", "SnapshotCreationPerVolumeRateExceeded", "IncorrectState"] {
        let ec2 = account();
        ec2.describe_lag.set(TimeDelta::seconds(100));
        ec2.fail_next("CreateSnapshots", Fault::Refused(code));
        ec2.fail_next("CreateSnapshot", Fault::Refused(code));
        let outcome = &handled(&ec2, &[db()]).await[0];
        assert_eq!(snapshotted(&ec2), ["vol-2"], "{code}");
        assert!(matches!(outcome, Later(60..)), "never sooner than RetrySeconds after a partly begun set: {outcome:?}");
        ec2.pass(60);
        let rest = begun(&handled(&ec2, &[db()]).await[0]);
        assert_eq!(snapshotted(&ec2), ["vol-2", "vol-1"], "{code}: a snapshot that EC2 does not show yet has an id");
        assert_eq!((rest.snapshots.len(), rest.started), (2, ec2.now.get()));
    }
}

#[tokio::test]
async fn a_volume_that_is_refused_for_good_fails_its_instance_after_the_others_were_begun() {
    let ec2 = account();
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    ec2.fail_next("CreateSnapshot", Fault::Refused("SomethingNew"));
    let outcome = &handled(&ec2, &[task]).await[0];
    assert!(matches!(outcome, Fail(failure) if failure.name == ErrorName::Ec2Refused), "{outcome:?}");
    assert_eq!(snapshotted(&ec2), ["vol-2"]);
}

#[tokio::test]
async fn what_was_made_before_an_answer_was_lost_is_known() {
    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    let mut task = db();
    task.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    ec2.fail_next("CreateSnapshot", Fault::Spared);
    ec2.fail_next("CreateSnapshot", Fault::Refused("InternalError"));
    assert!(matches!(handled(&ec2, std::slice::from_ref(&task)).await[0], Retry(_)));
    ec2.pass(60);
    assert!(matches!(handled(&ec2, std::slice::from_ref(&task)).await[0], Later(_)), "the second may have been made");
    ec2.pass(120);
    assert_eq!(begun(&handled(&ec2, &[task]).await[0]).snapshots.len(), 2);
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2"]);
}

#[tokio::test]
async fn without_the_bucket_nothing_is_made_and_a_claim_that_cannot_be_closed_is_no_failure() {
    let ec2 = account();
    ec2.add_instance("i-2", &[], &["vol-3"]);
    ec2.claims.fail_next("create", ClaimFault::Unavailable);
    let outcomes = handled(&ec2, &[db(), task("i-2", &[("/dev/sda1", "vol-3")])]).await;
    assert!(matches!(&outcomes[0], Retry(failure) if failure.name == ErrorName::StorageFailed), "{outcomes:?}");
    assert!(matches!(outcomes[1], Later(60..)), "{outcomes:?}");
    assert!(ec2.held(&home()).is_empty());

    ec2.claims.fail_next("replace", ClaimFault::Unavailable);
    let first = handled(&ec2, &[db()]).await;
    assert_eq!(begun(&first[0]).snapshots.len(), 2);
    assert_eq!(handled(&ec2, &[db()]).await, first);
}

#[tokio::test]
async fn a_set_that_broke_within_the_run_is_made_anew() {
    let ec2 = account();
    handled(&ec2, &[db()]).await;
    ec2.change(|snapshot| snapshot.state = Error);
    assert!(matches!(handled(&ec2, &[db()]).await[0], Done(_)));
    assert_eq!(ec2.held(&home()).iter().filter(|s| s.is_live()).count(), 2);
}

#[tokio::test]
async fn a_batch_begins_nothing_whose_answer_could_miss_the_functions_end() {
    let ec2 = account();
    ec2.add_instance("i-2", &[], &["vol-3", "vol-4"]);
    let mut second = task("i-2", &[("/dev/sda1", "vol-3"), ("/dev/sdb", "vol-4")]);
    second.instance.excluded = (0..41).map(|i| volume(&format!("vol-{i:03x}"))).collect();
    // At every second reading, the clock has moved five seconds.
    let looks = Cell::new(1);
    let clock = || {
        looks.set(looks.get() + 1);
        ec2.now.get() + TimeDelta::seconds(5 * (looks.get() / 2))
    };
    let outcomes = ec2
        .invoke_at(&Settings::read(|_| None).unwrap(), &clock, async |context| {
            handle(context, vec![db(), second.clone()]).await
        })
        .await;
    assert!(matches!(outcomes[0], Done(_)) && matches!(outcomes[1], Later(60..)), "{outcomes:?}");
    let before = snapshotted(&ec2);
    assert!((2..4).contains(&before.len()), "{before:?}");
    assert!(matches!(handled(&ec2, &[second]).await[0], Done(_)));
    assert_eq!(snapshotted(&ec2), ["vol-1", "vol-2", "vol-3", "vol-4"]);
}

#[tokio::test]
async fn the_description_is_one_that_ec2_takes() {
    let ec2 = account();
    let mut task = db();
    task.instance.name = "Zürich-DB".into();
    handled(&ec2, &[task]).await;
    let made = &ec2.held(&home())[0];
    assert_eq!((made.description.as_str(), made.tags["Name"].as_str()), ("Z?rich-DB - i-1", "Zürich-DB"));
}

const EXECUTION: &str = "6f1c2a30-0000-4000-8000-000000000001";

/// The task of a hooked instance: frozen, or not for this reason.
fn hooked(why: Option<&str>) -> SnapshotTask {
    let hook = HookPlan { document: "d".into(), timeout_seconds: 60, on_error: OnHookError::Snapshot };
    let mut task = db();
    task.instance.hook = Some(hook);
    task.frozen_by = why.is_none().then(|| EXECUTION.to_owned());
    task.why = why.map(|cause| StateError { error: "PreHookFailed".into(), cause: cause.into() });
    task
}

#[tokio::test]
async fn a_set_of_which_more_is_asked_is_begun_as_crash_consistent_with_what_is_known() {
    let with = |task: SnapshotTask| async move {
        let ec2 = account();
        assert!(matches!(handled(&ec2, &[task]).await[0], Done(_)));
        let of = |key: &str| ec2.held(&home())[0].tags.get(key).cloned().unwrap_or_default();
        [of("Consistency"), of("HookExecution"), of("ConsistencyReason")]
    };
    assert_eq!(with(hooked(None)).await, ["crash", EXECUTION, ""]);
    assert_eq!(with(hooked(Some("exit code 201"))).await, ["crash", "", "PreHookFailed: exit code 201"]);
    let mut stopped = db();
    stopped.instance.no_hook = Some("the instance is stopped".into());
    assert_eq!(with(stopped).await, ["crash", "", "the instance is stopped"]);
    assert_eq!(with(db()).await, ["", "", ""], "nothing is said where nothing is asked");
}

#[tokio::test]
async fn a_frozen_instance_is_tried_once_and_never_waits() {
    for (fault, name) in [
        (Fault::Refused("RequestLimitExceeded"), ErrorName::SnapshotNotNow),
        (Fault::Refused("PendingSnapshotLimitExceeded"), ErrorName::SnapshotNotNow),
        (Fault::AnswerLost, ErrorName::SnapshotNotNow),
        (Fault::Refused("UnauthorizedOperation"), ErrorName::AccessDenied),
    ] {
        let ec2 = account();
        ec2.fail_next("CreateSnapshots", fault.clone());
        let outcome = &handled(&ec2, &[hooked(None)]).await[0];
        assert!(matches!(outcome, Declined(failure) if failure.name == name), "{fault:?}: {outcome:?}");
        assert_eq!((ec2.count("CreateSnapshots"), ec2.count("CreateSnapshot")), (1, 0));
    }
    let ec2 = account();
    ec2.claims.fail_next("create", ClaimFault::Unavailable);
    assert!(matches!(&handled(&ec2, &[hooked(None)]).await[0], Declined(f) if f.name == ErrorName::SnapshotNotNow));
}

#[tokio::test]
async fn a_frozen_instance_is_first_in_its_batch() {
    let ec2 = account();
    ec2.add_instance("i-2", &[], &["vol-3"]);
    ec2.fail_next("CreateSnapshots", Fault::Spared);
    ec2.fail_next("CreateSnapshots", Fault::AnswerLost);
    let outcomes = handled(&ec2, &[task("i-2", &[("/dev/sda1", "vol-3")]), hooked(None)]).await;
    assert!(matches!(outcomes[0], Retry(_)), "the second call: {outcomes:?}");
    assert!(matches!(outcomes[1], Done(_)), "the first: {outcomes:?}");
}

#[tokio::test]
async fn delivered_twice_a_frozen_instance_has_one_set_and_the_second_is_of_the_same_freeze() {
    let ec2 = account();
    let first = handled(&ec2, &[hooked(None)]).await;
    assert_eq!(handled(&ec2, &[hooked(None)]).await, first);
    assert_eq!(ec2.count("CreateSnapshots"), 1);

    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    let outcomes = handled(&ec2, &[hooked(None), hooked(None)]).await;
    assert!(matches!(outcomes.as_slice(), [Done(_), Later(1)]), "in one batch: {outcomes:?}");

    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    pace(&ec2);
    let (tasks, second) = ([hooked(None)], [hooked(None)]);
    let outcomes = join_all([handled(&ec2, &tasks), handled(&ec2, &second)]).await;
    assert_eq!(ec2.count("CreateSnapshots"), 1, "{outcomes:?}");
    assert!(outcomes.iter().flatten().all(|o| matches!(o, Done(_) | Later(1))), "nobody thaws for it: {outcomes:?}");
}

#[tokio::test]
async fn a_frozen_instance_does_not_wait_for_what_an_earlier_try_may_have_made() {
    let ec2 = account();
    ec2.describe_lag.set(TimeDelta::seconds(100));
    ec2.fail_next("CreateSnapshots", Fault::AnswerLost);
    assert!(matches!(handled(&ec2, &[hooked(None)]).await[0], Declined(_)));
    let mut next = hooked(None);
    next.frozen_by = Some("6f1c2a30-0000-4000-8000-000000000002".into());
    ec2.pass(5);
    assert!(matches!(&handled(&ec2, &[next]).await[0], Declined(f) if f.name == ErrorName::SnapshotNotNow));
    ec2.pass(100);
    let unfrozen = handled(&ec2, &[hooked(Some("not now"))]).await;
    assert_eq!((begun(&unfrozen[0]).snapshots.len(), ec2.count("CreateSnapshots")), (2, 1), "adopted as it is");
    assert_eq!(ec2.held(&home())[0].tags["HookExecution"], EXECUTION, "and of the freeze that it was begun in");
}
