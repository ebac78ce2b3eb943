use domain::{
    contract::Expiring,
    error::LOST_ANSWER,
    expiry::Expire,
    fake::{FakeEc2, Fault, home, region},
    fleet::SnapshotState::{Completed, Error},
    outcome::Outcome::{Done, Fail, Later, Retry},
    tags::tags,
};

use super::*;

fn account() -> FakeEc2 {
    FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T03:10:00Z".parse().unwrap())
}

const DUE: [(&str, &str); 3] = [("CreatedOn", "2026-11-15"), ("DeleteOn", "2026-11-22"), ("Type", "Automated")];

/// Snapshots in the home region that are due today.
fn due(ec2: &FakeEc2, count: usize) -> Vec<SnapshotId> {
    let volume = "vol-1".parse().unwrap();
    (0..count).map(|_| ec2.add_snapshot(&home(), Some(&volume), Completed, tags(DUE))).collect()
}

/// A source in the home region, and its copy in us-east-1 that is due today.
fn copy_of(ec2: &FakeEc2, source: &[(&str, &str)]) -> SnapshotId {
    let source = ec2.add_snapshot(&home(), None, Completed, tags(source.iter().copied()));
    let mut own = tags(DUE);
    own.extend(tags([
        ("BackupFromRegion", "eu-west-1"),
        ("SourceSnapshotId", source.as_str()),
        ("SourceVolumeId", "vol-1"),
    ]));
    ec2.add_snapshot(&region("us-east-1"), None, Completed, own)
}

/// A batch of these snapshots that was planned today.
fn batch(place: &Region, ids: &[SnapshotId]) -> ExpireTask {
    let why = Expire::Due("2026-11-22".parse().unwrap());
    let snapshots = ids.iter().map(|id| Expiring { id: id.clone(), volume: None, why }).collect();
    ExpireTask { region: place.clone(), planned: "2026-11-22".parse().unwrap(), snapshots }
}

async fn handled(ec2: &FakeEc2, tasks: &[ExpireTask]) -> Vec<Outcome> {
    within(ec2, tasks, || true).await
}

async fn within(ec2: &FakeEc2, tasks: &[ExpireTask], has_time: impl Fn() -> bool) -> Vec<Outcome> {
    let settings = Settings::read(|_| None).unwrap();
    handle(ec2, &home(), &settings, tasks.to_vec(), ec2.now.get(), has_time).await
}

fn expired(outcome: &Outcome) -> Expired {
    let Done(result) = outcome else { panic!("{outcome:?}") };
    serde_json::from_value(result.clone()).unwrap()
}

/// Puts a tag on one snapshot.
fn tag(ec2: &FakeEc2, id: &SnapshotId, key: &str, value: &str) {
    ec2.change(|snapshot| {
        if snapshot.id == *id {
            snapshot.tags.insert(key.into(), value.into());
        }
    });
}

#[tokio::test]
async fn delivered_twice_a_batch_is_deleted_once() {
    let ec2 = account();
    let ids = due(&ec2, 2);
    for _ in ["once", "twice"] {
        let done = expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]);
        assert_eq!(done, Expired { deleted: ids.clone(), kept: BTreeMap::new() });
    }
    assert!(ec2.held(&home()).is_empty());
    assert_eq!(ec2.count("DeleteSnapshot"), 2);
}

#[tokio::test]
async fn what_changed_since_it_was_planned_is_kept_with_the_reason() {
    let ec2 = account();
    let ids = due(&ec2, 6);
    tag(&ec2, &ids[0], "KeepForever", "");
    tag(&ec2, &ids[1], "DeleteOn", "2026-11-23");
    tag(&ec2, &ids[2], "DeleteOn", "never");
    tag(&ec2, &ids[3], "Type", "Manual");
    tag(&ec2, &ids[4], "BackupFromRegion", "ap-south-1");
    let done = expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]);
    let reasons: Vec<_> = ids[..5].iter().map(|id| done.kept[id].as_str()).collect();
    assert_eq!(
        reasons,
        [
            "kept: KeepForever",
            "kept: not due until 2026-11-23",
            "kept: no readable DeleteOn",
            "kept: not Type=Automated",
            "kept: another home region's",
        ]
    );
    assert_eq!(done.deleted, ids[5..]);
    assert_eq!(ec2.held(&home()).len(), 5);
}

#[tokio::test]
async fn what_a_restore_that_has_begun_since_needs_is_kept() {
    let ec2 = account();
    let ids = due(&ec2, 2);
    let needed = [(ids[0].clone(), "restore p-1, which is not finished".to_owned())];
    ec2.restoring.borrow_mut().insert(home(), needed.into());
    let done = expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]);
    assert_eq!(done.kept[&ids[0]], "kept: held by restore p-1, which is not finished");
    assert_eq!(done.deleted, ids[1..]);

    ec2.fail_next("DescribeVolumes", Fault::Refused("UnauthorizedOperation"));
    ec2.fail_next("DescribeVolumes", Fault::Refused("UnauthorizedOperation"));
    let more = due(&ec2, 1);
    let outcomes = handled(&ec2, &[batch(&home(), &more)]).await;
    assert!(matches!(outcomes[0], Outcome::Fail(_)), "what cannot be looked at deletes nothing: {outcomes:?}");
    assert!(ec2.held(&home()).iter().any(|one| one.id == more[0]));
}

#[tokio::test]
async fn a_copy_is_kept_while_its_source_carries_keep_forever() {
    let ec2 = account();
    let place = region("us-east-1");
    let kept = copy_of(&ec2, &[("KeepForever", ""), ("Type", "Automated")]);
    let gone = copy_of(&ec2, &[("Type", "Automated")]);
    let done = expired(&handled(&ec2, &[batch(&place, &[kept.clone(), gone.clone()])]).await[0]);
    assert_eq!(done.deleted, [gone]);
    assert_eq!(done.kept[&kept], "kept: its source carries KeepForever");
}

#[tokio::test]
async fn nothing_is_deleted_where_either_look_fails() {
    for looks_that_succeed in 0..2 {
        let ec2 = account();
        let copy = copy_of(&ec2, &[("Type", "Automated")]);
        for _ in 0..looks_that_succeed {
            ec2.fail_next("DescribeSnapshots", Fault::Spared);
        }
        ec2.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
        let outcomes = handled(&ec2, &[batch(&region("us-east-1"), &[copy])]).await;
        assert!(matches!(outcomes[0], Later(10..)), "{outcomes:?}");
        assert_eq!(ec2.count("DeleteSnapshot"), 0);
    }
}

#[tokio::test]
async fn the_last_backup_of_a_volume_that_exists_stays_whatever_was_planned() {
    // Attached to an instance without a word, detached, and given up; in the home region and in another one.
    for (attached, own, last_stays) in [(true, None, true), (false, None, true), (true, Some("No"), false)] {
        let ec2 = account();
        ec2.add_instance("i-1", &[("Name", "untagged by mistake")], if attached { &["vol-1"] } else { &[] });
        if !attached {
            ec2.detached.borrow_mut().push("vol-1".parse().unwrap());
        }
        if let Some(word) = own {
            ec2.volume_tags.borrow_mut().insert("vol-1".parse().unwrap(), tags([("Backup", word)]));
        }
        let ids = due(&ec2, 3);
        let copies = [copy_of(&ec2, &[("Type", "Automated")]), copy_of(&ec2, &[("Type", "Automated")])];
        let outcomes = handled(&ec2, &[batch(&home(), &ids), batch(&region("us-east-1"), &copies)]).await;
        for (outcome, planned) in outcomes.iter().zip([ids.len(), copies.len()]) {
            let done = expired(outcome);
            assert_eq!(done.deleted.len(), planned - usize::from(last_stays), "{attached} {own:?}: {done:?}");
            assert!(done.kept.values().all(|why| why == "kept: newest completed of a volume that exists"));
        }
    }
}

#[tokio::test]
async fn what_a_drill_found_bad_since_it_was_planned_lets_no_good_one_go() {
    let ec2 = account();
    ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
    let ids = due(&ec2, 2);
    ec2.now.set("2026-11-22T04:00:00Z".parse().unwrap());
    let own = [("CreatedOn", "2026-11-22"), ("DeleteOn", "2026-11-29"), ("Type", "Automated")];
    let newer = ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, tags(own));
    tag(&ec2, &newer, "VerifiedOn", "2026-11-22");
    tag(&ec2, &newer, "VerifiedAs", "failed");
    let done = expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]);
    assert_eq!((done.deleted, done.kept.len()), (ids[..1].to_vec(), 1));
    assert_eq!(done.kept[&ids[1]], "kept: newest completed that no drill found bad, of a volume that exists");
}

#[tokio::test]
async fn a_newer_backup_outside_of_the_batch_lets_the_batch_go() {
    let ec2 = account();
    ec2.add_instance("i-1", &[("Backup", "Yes")], &["vol-1"]);
    let ids = due(&ec2, 2);
    ec2.now.set("2026-11-22T04:00:00Z".parse().unwrap());
    let own = [("CreatedOn", "2026-11-22"), ("DeleteOn", "2026-11-29"), ("Type", "Automated")];
    ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, tags(own));
    assert_eq!(expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]).deleted, ids);
    assert_eq!(ec2.count("DescribeInstances"), 1);
}

#[tokio::test]
async fn one_that_can_never_be_deleted_does_not_stop_the_others() {
    for (code, name) in [
        ("InvalidSnapshot.InUse", ErrorName::SnapshotHeld),
        ("InvalidParameterValue", ErrorName::Ec2Refused),
        ("SnapshotLocked", ErrorName::SnapshotHeld),
        ("SomethingNew", ErrorName::Ec2Refused),
    ] {
        let ec2 = account();
        let ids = due(&ec2, 20);
        ec2.fail_next("DeleteSnapshot", Fault::Refused(code));
        ec2.fail_next("DeleteSnapshot", Fault::Refused("InvalidSnapshot.NotFound"));
        let outcome = &handled(&ec2, &[batch(&home(), &ids)]).await[0];
        let Fail(failure) = outcome else { panic!("{outcome:?}") };
        assert!(failure.name == name && failure.cause.starts_with(&format!("{}: {code}: ", ids[0])), "{failure}");
        assert_eq!(ec2.count("DeleteSnapshot"), 20);
        assert_eq!(ec2.held(&home()).len(), 2, "the one that is refused, and the one that EC2 says is gone");
    }
}

#[tokio::test]
async fn one_whose_deletion_fails_each_time_does_not_keep_its_neighbours() {
    for code in ["ServerInternal", "IncorrectState"] {
        let ec2 = account();
        let ids = due(&ec2, 20);
        ec2.fail_next("DeleteSnapshot", Fault::Refused(code));
        let outcome = &handled(&ec2, &[batch(&home(), &ids)]).await[0];
        let Retry(failure) = outcome else { panic!("{code}: {outcome:?}") };
        assert!(failure.cause.starts_with(&format!("{}: {code}", ids[0])), "{failure}");
        assert_eq!(ec2.held(&home()).iter().map(|s| &s.id).collect::<Vec<_>>(), [&ids[0]]);
    }
}

#[tokio::test]
async fn what_does_not_fit_into_the_functions_time_is_given_back() {
    let ec2 = account();
    let ids = due(&ec2, 3);
    let task = batch(&home(), &ids);
    let deleted = || ec2.count("DeleteSnapshot");
    // One task is begun, and one snapshot deleted.
    let asked = std::cell::Cell::new(0);
    let has_time = || asked.replace(asked.get() + 1) == 0;
    let outcomes = within(&ec2, &[task.clone(), task.clone()], has_time).await;
    assert!(outcomes.iter().all(|o| matches!(o, Later(15..))), "{outcomes:?}");
    assert_eq!(deleted(), 1);
    assert_eq!(expired(&handled(&ec2, &[task]).await[0]).deleted, ids, "the next invocation continues");
}

#[tokio::test]
async fn a_region_whose_look_uses_the_time_up_is_swept_one_by_one_and_nothing_more_is_tried() {
    let ec2 = account();
    let ids = due(&ec2, 3);
    let task = batch(&home(), &ids);
    for left in [2, 1, 0] {
        let asked = std::cell::Cell::new(0);
        within(&ec2, std::slice::from_ref(&task), || asked.replace(asked.get() + 1) == 0).await;
        assert_eq!(ec2.held(&home()).len(), left, "also where the first of the batch are gone already");
    }
    for (code, name) in
        [("ServiceUnavailable", ErrorName::Ec2Unavailable), ("InvalidSnapshot.InUse", ErrorName::SnapshotHeld)]
    {
        let ec2 = account();
        let ids = due(&ec2, 20);
        ec2.fail_next("DeleteSnapshot", Fault::Refused(code));
        let asked = std::cell::Cell::new(0);
        let outcomes = within(&ec2, &[batch(&home(), &ids)], || asked.replace(asked.get() + 1) == 0).await;
        assert_eq!(ec2.count("DeleteSnapshot"), 1, "{code}: no time is left");
        let (Retry(failure) | Fail(failure)) = &outcomes[0] else { panic!("{code}: {outcomes:?}") };
        assert_eq!(failure.name, name);
    }
}

#[tokio::test]
async fn a_region_that_does_not_answer_is_left_alone_for_the_rest_of_the_invocation() {
    let ec2 = account();
    let ids = due(&ec2, 2);
    ec2.fail_next("DescribeSnapshots", Fault::Refused(LOST_ANSWER));
    let outcomes = handled(&ec2, &[batch(&home(), &ids[..1]), batch(&home(), &ids[1..])]).await;
    assert!(matches!(outcomes[0], Retry(_)) && matches!(outcomes[1], Later(_)), "{outcomes:?}");
    assert_eq!(ec2.count("DescribeSnapshots"), 1);
}

#[tokio::test]
async fn a_batch_of_another_day_deletes_nothing() {
    for now in ["2026-11-21T23:59:59Z", "2026-11-23T00:00:00Z"] {
        let ec2 = account();
        let ids = due(&ec2, 2);
        ec2.now.set(now.parse().unwrap());
        let done = expired(&handled(&ec2, &[batch(&home(), &ids)]).await[0]);
        assert!(done.deleted.is_empty() && done.kept[&ids[0]].contains("2026-11-22"), "{done:?}");
        assert!(ec2.calls.borrow().is_empty());
    }
}

#[tokio::test]
async fn interrupted_in_the_middle_the_next_delivery_completes_it() {
    for (fault, later) in [(Fault::Refused("RequestLimitExceeded"), true), (Fault::AnswerLost, false)] {
        let ec2 = account();
        let ids = due(&ec2, 3);
        ec2.fail_next("DeleteSnapshot", Fault::Spared);
        ec2.fail_next("DeleteSnapshot", fault);
        let task = batch(&home(), &ids);
        let first = &handled(&ec2, std::slice::from_ref(&task)).await[0];
        assert!(if later { matches!(first, Later(10..)) } else { matches!(first, Retry(_)) }, "{first:?}");
        assert!(ec2.held(&home()).iter().any(|s| s.id == ids[2]), "it stopped there");
        assert_eq!(expired(&handled(&ec2, &[task]).await[0]).deleted, ids);
        assert!(ec2.held(&home()).is_empty());
    }
}

#[tokio::test]
async fn what_is_forbidden_fails_after_the_rest_is_done_and_leaves_the_other_tasks_alone() {
    let ec2 = account();
    let ids = due(&ec2, 4);
    ec2.fail_next("DeleteSnapshot", Fault::Refused("UnauthorizedOperation"));
    let outcomes = handled(&ec2, &[batch(&home(), &ids[..2]), batch(&home(), &ids[2..])]).await;
    assert!(matches!(&outcomes[0], Fail(failure) if failure.name == ErrorName::AccessDenied), "{outcomes:?}");
    assert_eq!(expired(&outcomes[1]).deleted, ids[2..]);
    assert_eq!(ec2.held(&home()).len(), 1);
}

#[tokio::test]
async fn a_broken_snapshot_is_deleted_before_its_date_and_an_empty_batch_is_done() {
    let ec2 = account();
    let broken = ec2.add_snapshot(&home(), None, Error, tags([("DeleteOn", "2026-12-24"), ("Type", "Automated")]));
    let outcomes = handled(&ec2, &[batch(&home(), std::slice::from_ref(&broken)), batch(&home(), &[])]).await;
    assert_eq!(expired(&outcomes[0]).deleted, [broken]);
    assert_eq!(expired(&outcomes[1]), Expired::default());
}
