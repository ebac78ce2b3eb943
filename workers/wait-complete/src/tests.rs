use domain::{
    fake::{FakeEc2, Fault, home, region},
    fleet::{
        SnapshotState::{self, Completed, Error, Pending},
        Tags,
    },
    outcome::Outcome::{Done, Fail, Later},
    tags::tags,
};

use super::*;

fn account() -> FakeEc2 {
    FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T03:10:00Z".parse().unwrap())
}

fn held(ec2: &FakeEc2, state: SnapshotState) -> SnapshotId {
    ec2.add_snapshot(&home(), None, state, Tags::new())
}

/// The task to wait for these snapshots, begun at three o'clock.
fn task(place: &Region, ids: &[SnapshotId]) -> WaitTask {
    let started = "2026-11-22T03:00:00Z".parse().unwrap();
    WaitTask { region: place.clone(), snapshots: ids.to_vec(), started }
}

async fn handled(ec2: &FakeEc2, tasks: &[WaitTask]) -> Vec<Outcome> {
    handle(ec2, 15, tasks.to_vec(), ec2.now.get()).await
}

/// The outcome for these snapshots at a time of the day.
async fn at(time: &str, ec2: &FakeEc2, ids: &[SnapshotId]) -> Outcome {
    ec2.now.set(format!("2026-11-{time}Z").parse().unwrap());
    handled(ec2, &[task(&home(), ids)]).await.remove(0)
}

#[tokio::test]
async fn one_look_per_region_serves_a_batch() {
    let ec2 = account();
    let done = held(&ec2, Completed);
    let copied = ec2.add_snapshot(&region("us-east-1"), None, Completed, Tags::new());
    let mut tasks: Vec<_> = (0..9).map(|_| task(&home(), &[done.clone(), held(&ec2, Pending)])).collect();
    tasks.push(task(&region("us-east-1"), &[copied]));
    let outcomes = handled(&ec2, &tasks).await;
    assert_eq!(outcomes[..9], vec![Later(60); 9]);
    assert_eq!(outcomes[9], Done(json!({})));
    let looks = [("DescribeSnapshots", home()), ("DescribeSnapshots", region("us-east-1"))];
    assert_eq!(*ec2.calls.borrow(), looks, "and nothing but looks");
}

#[tokio::test]
async fn all_of_a_set_are_waited_for_and_looking_twice_changes_nothing() {
    let ec2 = account();
    let set = [held(&ec2, Completed), held(&ec2, Pending)];
    let waiting = handled(&ec2, &[task(&home(), &set), task(&home(), &set)]).await;
    assert_eq!(waiting, [Later(60), Later(60)]);
    ec2.complete_all();
    assert_eq!(handled(&ec2, &[task(&home(), &set), task(&home(), &set)]).await, vec![Done(json!({})); 2]);
}

#[tokio::test]
async fn the_pause_is_a_tenth_of_the_wait_within_its_bounds() {
    let ec2 = account();
    let id = [held(&ec2, Pending)];
    for (time, pause) in [("22T03:00:15", 15), ("22T03:10:00", 60), ("22T04:40:00", 600), ("23T03:00:00", 900)] {
        assert_eq!(at(time, &ec2, &id).await, Later(pause), "{time}");
    }
}

#[tokio::test]
async fn one_in_error_fails_with_what_ec2_says_of_it() {
    let ec2 = account();
    let broken = held(&ec2, Error);
    let copy = || ec2.add_snapshot(&home(), None, Error, tags([("BackupFromRegion", "us-east-1")]));
    let (locked_out, lost) = (copy(), copy());
    for (id, message) in [(&broken, "Internal error"), (&locked_out, "Given key ID is not accessible")] {
        ec2.change(|s| {
            if s.id == *id {
                s.state_message = Some(message.into());
            }
        });
    }
    let others = [held(&ec2, Pending), broken.clone()];
    let expected = [
        (others.as_slice(), ErrorName::SnapshotFailed, "Internal error"),
        (std::slice::from_ref(&locked_out), ErrorName::KeyNotAccessible, "Given key ID is not accessible"),
        (std::slice::from_ref(&lost), ErrorName::CopyFailed, "EC2 gives no reason"),
    ];
    let tasks: Vec<_> = expected.iter().map(|(ids, ..)| task(&home(), ids)).collect();
    for (outcome, (ids, name, message)) in handled(&ec2, &tasks).await.iter().zip(expected) {
        let cause = format!("{} in eu-west-1 is in error: {message}", ids[ids.len() - 1]);
        assert_eq!(*outcome, Fail(Failure::new(name, cause)));
    }
}

#[tokio::test]
async fn an_id_that_is_not_described_has_ten_minutes() {
    let ec2 = account();
    let ids = [held(&ec2, Completed), "snap-99".parse().unwrap()];
    assert_eq!(at("22T03:00:15", &ec2, &ids).await, Later(15));
    assert!(matches!(at("22T03:09:59", &ec2, &ids).await, Later(_)));
    let gone = at("22T03:10:00", &ec2, &ids).await;
    assert!(matches!(&gone, Fail(f) if f.name == ErrorName::SnapshotNotFound && f.cause.contains("snap-99")));
}

#[tokio::test]
async fn what_was_begun_together_but_is_not_described_together_does_not_hide_a_failure() {
    let ec2 = account();
    let ids = ["snap-99".parse().unwrap(), held(&ec2, Error)];
    assert!(matches!(at("22T03:00:01", &ec2, &ids).await, Fail(f) if f.name == ErrorName::SnapshotFailed));
}

#[tokio::test]
async fn nothing_to_wait_for_is_done_without_a_look() {
    let ec2 = account();
    assert_eq!(handled(&ec2, &[task(&home(), &[])]).await, [Done(json!({}))]);
    assert!(ec2.calls.borrow().is_empty());
}

#[tokio::test]
async fn a_region_that_cannot_be_looked_at_leaves_the_other_alone() {
    type Expected = fn(&Outcome) -> bool;
    let expected: [(_, Expected); 3] = [
        ("RequestLimitExceeded", |o| matches!(o, Later(10..))),
        ("InternalError", |o| matches!(o, Outcome::Retry(_))),
        ("AuthFailure", |o| matches!(o, Fail(f) if f.name == ErrorName::RegionNotEnabled)),
    ];
    for (code, as_expected) in expected {
        let ec2 = account();
        let copied = ec2.add_snapshot(&region("us-east-1"), None, Completed, Tags::new());
        ec2.fail_next("DescribeSnapshots", Fault::Refused(code));
        let tasks = [task(&home(), &[held(&ec2, Pending)]), task(&region("us-east-1"), &[copied])];
        let outcomes = handled(&ec2, &tasks).await;
        assert!(as_expected(&outcomes[0]), "{code}: {outcomes:?}");
        assert_eq!(outcomes[1], Done(json!({})));
    }
}
