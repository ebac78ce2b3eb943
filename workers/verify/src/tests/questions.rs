//! Delivered twice, crashed between two calls, throttled, given bad input.

use super::*;

#[tokio::test]
async fn delivered_twice_it_is_read_once_and_answered_alike() {
    let scene = Scene::new(Level::Probe, 0..50);
    let first = scene.verified().await;
    let calls = scene.blocks.calls.borrow().len();
    assert_eq!(scene.verified().await, first);
    assert_eq!(scene.blocks.calls.borrow().len(), calls, "the record is answered again");
    assert_eq!(scene.proof(), proven("probe"));
}

#[tokio::test]
async fn crashed_before_the_record_the_same_blocks_are_read_again() {
    let scene = Scene::new(Level::Probe, 0..100);
    scene.verified().await;
    let calls = scene.blocks.calls.take();
    scene.storage.0.borrow_mut().clear();
    scene.verified().await;
    assert_eq!(scene.blocks.calls.take(), calls);
}

#[tokio::test]
async fn crashed_between_the_record_and_the_tags_these_are_written_by_the_next_delivery() {
    let scene = Scene::new(Level::Probe, 0..50);
    scene.ec2.fail_next("CreateTags", Fault::Refused("InternalError"));
    assert!(matches!(scene.deliver(&scene.task).await, Retry(f) if f.name == ErrorName::Ec2Unavailable));
    assert_eq!(scene.proof(), None);
    let calls = scene.blocks.calls.borrow().len();
    scene.verified().await;
    assert_eq!((scene.proof(), scene.blocks.calls.borrow().len()), (proven("probe"), calls));
}

#[tokio::test]
async fn a_record_that_cannot_be_written_is_tried_again_and_nothing_is_answered() {
    let scene = Scene::new(Level::Probe, 0..50);
    scene.storage.1.borrow_mut().insert(scene.task.record_key());
    assert!(matches!(scene.deliver(&scene.task).await, Retry(f) if f.name == ErrorName::StorageFailed));
    assert_eq!(scene.proof(), None, "and nothing is marked");
}

#[tokio::test]
async fn throttled_at_any_call_it_goes_on_where_it_was_and_reads_nothing_twice() {
    let whole = Scene::new(Level::Probe, 0..7);
    whole.blocks.per_page.set(2);
    let expected = whole.verified().await;
    let reads = whole.blocks.count("GetSnapshotBlock");
    for (action, count) in [("ListSnapshotBlocks", 4), ("GetSnapshotBlock", reads)] {
        for nth in 0..count {
            let scene = Scene::new(Level::Probe, 0..7);
            scene.blocks.per_page.set(2);
            (0..nth).for_each(|_| scene.blocks.fail_next(action, BlockFault::Spared));
            scene.blocks.fail_next(action, BlockFault::Refused("RequestThrottledException", "ACCOUNT_THROTTLED"));
            let (outcome, deliveries) = scene.to_the_end().await;
            assert!(matches!(outcome, Done(_)) && deliveries == 2, "{action} {nth}: {outcome:?}");
            let verified = scene.record().unwrap();
            assert_eq!((verified.level, verified.blocks_listed), (expected.level, 7));
            // What was looked at in memory alone is read again at most: the begin of the volume.
            assert!(verified.blocks_read <= expected.blocks_read + 1, "{action} {nth}: {verified:?}");
        }
    }
}

#[tokio::test]
async fn throttled_by_ec2_it_waits() {
    let scene = Scene::new(Level::Probe, 0..5);
    scene.ec2.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(scene.deliver(&scene.task).await, Later(_)));
    scene.ec2.fail_next("CreateTags", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(scene.deliver(&scene.task).await, Later(_)));
    assert_eq!((scene.verified().await.level, scene.proof()), (Some(Level::Probe), proven("probe")));
}

#[tokio::test]
async fn without_time_nothing_is_begun_and_with_little_it_goes_on_in_another_message() {
    let scene = Scene::new(Level::Probe, 0..20);
    scene.time.set(0);
    assert_eq!(scene.deliver(&scene.task).await, Later(1));
    assert!(scene.ec2.calls.borrow().is_empty());
    let mut task = scene.task.clone();
    let mut deliveries = 0;
    let verified = loop {
        // For the beginning, and for one page or block more than the first one.
        scene.time.set(2);
        deliveries += 1;
        match scene.deliver(&task).await {
            Onward(next, _) => task = serde_json::from_value(next).unwrap(),
            Done(verified) => break serde_json::from_value::<Verified>(verified).unwrap(),
            outcome => panic!("{outcome:?}"),
        }
    };
    assert_eq!(verified.level, Some(Level::Probe));
    assert!(deliveries > 5, "{deliveries}");
    let whole = Scene::new(Level::Probe, 0..20);
    assert!(verified.blocks_read <= whole.verified().await.blocks_read + 1);
}

#[tokio::test]
async fn what_does_not_answer_is_tried_again_and_never_marked() {
    let scene = Scene::new(Level::Probe, 0..50);
    scene.blocks.down.borrow_mut().insert(home());
    let Onward(_, seconds) = scene.deliver(&scene.task).await else { panic!("it is tried again") };
    assert!(seconds >= 60 && scene.proof().is_none());
    // Meanwhile the record says why.
    let record = scene.record().unwrap();
    assert_eq!((record.level, record.marked), (None, false));
    assert_eq!(record.failure.unwrap().error, ErrorName::SnapshotUnreadable);
    let (outcome, tries) = scene.to_the_end().await;
    assert!(matches!(outcome, Fail(f) if f.name == ErrorName::SnapshotUnreadable) && tries == 5, "{tries}");
    assert_eq!(scene.proof(), None);
    scene.blocks.down.borrow_mut().clear();
    assert_eq!(scene.verified().await.level, Some(Level::Probe));
}

#[tokio::test]
async fn what_was_read_before_something_did_not_answer_is_not_read_again() {
    let scene = Scene::new(Level::Probe, 0..20);
    (0..10).for_each(|_| scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Spared));
    let fault = BlockFault::Refused("InternalServerException", "");
    (0..3).for_each(|_| scene.blocks.fail_next("GetSnapshotBlock", fault));
    let (outcome, tries) = scene.to_the_end().await;
    assert!(matches!(outcome, Done(_)) && tries == 4, "{tries} {outcome:?}");
    let verified = scene.record().unwrap();
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Probe), 20));
}

#[tokio::test]
async fn what_is_read_by_tries_that_gain_nothing_is_counted_too() {
    let mut scene = Scene::new(Level::Copy, 0..20);
    scene.with_source(0..20);
    scene.task.max_blocks = 3;
    // Each try reads the first block, and then its source does not answer.
    scene.blocks.down.borrow_mut().insert(region("us-east-1"));
    let (outcome, _) = scene.to_the_end().await;
    assert!(matches!(outcome, Done(_)), "{outcome:?}");
    let record = scene.record().unwrap();
    assert_eq!((record.level, record.blocks_read), (Some(Level::List), 3));
    assert!(record.missing[0].contains("stopped after 3 blocks"), "{record:?}");
}

#[tokio::test]
async fn a_failure_of_one_delivery_does_not_replace_what_another_one_has_proven() {
    let scene = Scene::new(Level::Probe, 0..20);
    let other = scene.verified().await;
    let ports = Ports { ec2: &scene.ec2, blocks: &scene.blocks, storage: &scene.storage, retry_seconds: 60 };
    let end = async |name| {
        let failure = Failure::new(name, "it did not answer");
        let verified = record::failed(&scene.task, Cursor::default(), &failure, now());
        let mark = if name == ErrorName::SnapshotCorrupt { Mark::Write } else { Mark::Without };
        record::note(&scene.storage, &verified, &scene.task).await;
        record::fail(&ports, &scene.task, verified, failure, mark, now()).await
    };
    assert_eq!(end(ErrorName::SnapshotUnreadable).await, Later(1));
    assert_eq!((scene.record().as_ref(), scene.proof()), (Some(&other), proven("probe")));
    assert_eq!(scene.verified().await, other);
    assert!(matches!(end(ErrorName::SnapshotCorrupt).await, Fail(_)), "what is bad is bad");
    assert_eq!(scene.proof(), proven("failed"));
}

#[tokio::test]
async fn a_snapshot_that_is_gone_or_not_ours_is_declined_unmarked() {
    let vanished = Scene::new(Level::Probe, 0..5);
    vanished.ec2.snapshots.borrow_mut().clear();
    assert_eq!(vanished.failure().await.name, ErrorName::SnapshotNotFound);
    let (outcome, _) = vanished.to_the_end().await;
    assert!(matches!(outcome, Declined(_)), "to expire is no dead letter: {outcome:?}");

    for (change, part) in [
        (|s: &mut domain::fleet::Snapshot| s.tags.clear(), "Type=Automated"),
        (|s: &mut domain::fleet::Snapshot| s.state = SnapshotState::Other, "Recycle Bin"),
        (|s: &mut domain::fleet::Snapshot| s.state = SnapshotState::Error, "in error"),
        (|s: &mut domain::fleet::Snapshot| s.state = SnapshotState::Pending, "not completed"),
    ] as [(fn(&mut domain::fleet::Snapshot), &str); 4]
    {
        let scene = Scene::new(Level::Probe, 0..5);
        scene.ec2.change(change);
        let failure = scene.failure().await;
        assert!(failure.name == ErrorName::SnapshotNotFound && failure.cause.contains(part), "{failure}");
        assert!(scene.blocks.calls.borrow().is_empty(), "nothing of it is read");
        assert_eq!(scene.proof(), None);
    }
}

#[tokio::test]
async fn whether_one_that_ebs_does_not_know_is_gone_ec2_says() {
    let not_found = BlockFault::Refused("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND");
    for action in ["ListSnapshotBlocks", "GetSnapshotBlock"] {
        let there = Scene::new(Level::Probe, 0..50);
        there.blocks.fail_next(action, not_found);
        assert_eq!(there.verified().await.level, Some(Level::Probe), "EC2 has it: it is tried again");
        let lasting = Scene::new(Level::Probe, 0..50);
        (0..5).for_each(|_| lasting.blocks.fail_next(action, not_found));
        let failure = lasting.failure().await;
        assert!(failure.name == ErrorName::SnapshotUnreadable && failure.cause.contains("EC2 says"), "{failure}");
        assert!(lasting.proof().is_none());
    }
    let gone = Scene::new(Level::Probe, 0..50);
    gone.ec2.snapshots.borrow_mut().clear();
    let told = Failure::new(ErrorName::SnapshotNotFound, "SNAPSHOT_NOT_FOUND");
    let stop = if_gone(&gone.ec2, &gone.task, told).await;
    assert!(matches!(&stop, Stop::Impossible(f) if f.cause.contains("does not exist")), "{stop:?}");
    let scene = Scene::new(Level::Probe, 0..50);
    scene.ec2.fail_next("CreateTags", Fault::Refused("InvalidSnapshot.NotFound"));
    assert_eq!(scene.failure().await.name, ErrorName::SnapshotNotFound);
}

#[tokio::test]
async fn a_permission_that_is_missing_says_nothing_of_the_snapshot() {
    let scene = Scene::new(Level::Probe, 0..50);
    scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Refused("AccessDeniedException", "UNAUTHORIZED_ACCOUNT"));
    assert_eq!(scene.failure().await.name, ErrorName::AccessDenied);
    assert!(!scene.record().unwrap().marked && scene.proof().is_none());
}

#[tokio::test]
async fn tags_that_are_refused_do_not_take_the_proof_away() {
    for code in ["TagLimitExceeded", "UnauthorizedOperation"] {
        let scene = Scene::new(Level::Probe, 0..5);
        scene.ec2.fail_next("CreateTags", Fault::Refused(code));
        let verified = scene.verified().await;
        assert!(verified.missing[0].contains(code), "{verified:?}");
        assert_eq!(verified.level, Some(Level::Probe));
        assert_eq!(scene.verified().await.missing, [""; 0], "delivered again, it gets them");
    }
}

#[tokio::test]
async fn a_success_that_is_delivered_again_does_not_take_a_mark_away_nor_a_newer_proof() {
    let scene = Scene::new(Level::Probe, 0..20);
    scene.verified().await;
    scene.ec2.change(|snapshot| _ = snapshot.tags.insert("VerifiedOn".into(), "2026-11-23".into()));
    scene.verified().await;
    assert_eq!(scene.proof(), Some(("2026-11-23".into(), "probe".into())), "another drill has read it since");
    scene.ec2.change(|snapshot| _ = snapshot.tags.insert("VerifiedAs".into(), "failed".into()));
    let failure = scene.failure().await;
    assert!(failure.name == ErrorName::SnapshotCorrupt && failure.cause.contains("the mark stays"), "{failure}");
    assert_eq!(scene.proof(), Some(("2026-11-23".into(), "failed".into())));
    assert!(scene.record().unwrap().marked, "it is said to carry the mark");
}

#[tokio::test]
async fn what_was_proven_and_marked_since_and_does_not_answer_ends_and_is_said_to_carry_the_mark() {
    let scene = Scene::new(Level::Probe, 0..20);
    let known = scene.verified().await;
    scene.ec2.change(|snapshot| _ = snapshot.tags.insert("VerifiedAs".into(), "failed".into()));
    scene.blocks.down.borrow_mut().insert(home());
    let (mut task, mut tries) = (scene.task.clone(), 0);
    let outcome = loop {
        assert_eq!(scene.record().as_ref(), Some(&known), "what was proven is written over by what is certain");
        tries += 1;
        match scene.deliver(&task).await {
            Onward(next, _) if tries < 9 => task = serde_json::from_value(next).unwrap(),
            outcome => break outcome,
        }
    };
    assert!(
        matches!(&outcome, Fail(f) if f.name == ErrorName::SnapshotUnreadable) && tries == 5,
        "{tries} {outcome:?}"
    );
    assert!(scene.record().unwrap().marked);
}

#[tokio::test]
async fn a_record_says_what_the_tags_say_however_it_ends() {
    let good = Scene::new(Level::Probe, 0..20);
    good.ec2.fail_next("CreateTags", Fault::Refused("InternalError"));
    assert!(matches!(good.deliver(&good.task).await, Retry(_)));
    assert!(!record::is_tagged(&good.record().unwrap()), "should that have been the last try");
    assert!(record::is_tagged(&good.verified().await));

    let bad = Scene::new(Level::Probe, 0..20);
    bad.blocks.corrupt.borrow_mut().insert((bad.task.snapshot.clone(), 7));
    bad.ec2.fail_next("CreateTags", Fault::Refused("RequestLimitExceeded"));
    let Onward(next, _) = bad.deliver(&bad.task).await else { panic!("its mark is owed") };
    assert!(!bad.record().unwrap().marked);
    let read = bad.blocks.count("GetSnapshotBlock");
    bad.ec2.fail_next("CreateTags", Fault::Refused("UnauthorizedOperation"));
    let outcome = bad.deliver(&serde_json::from_value(next).unwrap()).await;
    assert!(matches!(&outcome, Fail(f) if f.cause.contains("UnauthorizedOperation")), "{outcome:?}");
    let record = bad.record().unwrap();
    assert!(!record.marked && record.failure.unwrap().cause.contains("could not be written"), "expiry goes by the tag");
    assert!(bad.blocks.count("GetSnapshotBlock") - read <= 3, "the others are not read again");
}

#[tokio::test]
async fn a_list_that_came_too_short_proves_nothing() {
    let mut scene = Scene::new(Level::Probe, []);
    scene.task.full_size = Some(5 << 30);
    let failure = scene.failure().await;
    assert!(failure.name == ErrorName::SnapshotUnreadable && failure.cause.contains("is empty"), "{failure}");
    assert_eq!(scene.proof(), None);
}
