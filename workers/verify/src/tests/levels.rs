//! What each level proves, and what fails.

use super::*;

fn is_note(verified: &Verified, part: &str) -> bool {
    verified.notes.iter().any(|note| note.contains(part))
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_no_block() {
    let mut scene = Scene::new(Level::List, 0..5000);
    scene.blocks.per_page.set(100);
    scene.task.full_size = Some(5000 << 19);
    let verified = scene.verified().await;
    assert_eq!((verified.level, verified.blocks_listed, verified.list_calls), (Some(Level::List), 5000, 50));
    assert_eq!((verified.blocks_read, scene.blocks.count("GetSnapshotBlock")), (0, 0));
    assert_eq!((verified.notes, scene.proof()), (vec![], proven("list")));
}

#[tokio::test]
async fn a_list_that_is_not_as_long_as_ec2_says_is_a_note() {
    let mut scene = Scene::new(Level::List, 0..50);
    scene.task.full_size = Some(40 << 19);
    let verified = scene.verified().await;
    assert!(is_note(&verified, "50 blocks") && is_note(&verified, "40 blocks"), "{verified:?}");
    assert_eq!(verified.level, Some(Level::List));
}

#[tokio::test]
async fn a_page_whose_token_has_expired_is_asked_for_by_its_index() {
    let scene = Scene::new(Level::List, (0..500).map(|number| number * 3));
    scene.blocks.per_page.set(100);
    for fault in [BlockFault::Spared, BlockFault::Spared, BlockFault::TokensExpired] {
        scene.blocks.fail_next("ListSnapshotBlocks", fault);
    }
    let verified = scene.verified().await;
    assert_eq!((verified.blocks_listed, verified.list_calls), (500, 6));
}

#[tokio::test]
async fn a_long_list_is_read_by_several_messages() {
    let scene = Scene::new(Level::List, 0..(100 * listing::MAX_PAGES + 1));
    scene.blocks.per_page.set(100);
    let (outcome, deliveries) = scene.to_the_end().await;
    assert!(matches!(outcome, Done(_)) && deliveries == 2, "{deliveries}");
    assert_eq!(scene.record().unwrap().blocks_listed, u64::from(100 * listing::MAX_PAGES + 1));
}

#[tokio::test]
async fn a_probe_reads_the_first_blocks_and_some_at_random() {
    let scene = Scene::new(Level::Probe, (0..5000).map(|number| number * 2));
    let verified = scene.verified().await;
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Probe), 32));
    let calls = scene.blocks.calls.borrow();
    let read: Vec<u32> = calls.iter().filter(|(call, ..)| *call == "GetSnapshotBlock").map(|(.., i)| *i).collect();
    assert_eq!(read[..4], [0, 2, 4, 6]);
    assert!(read[4..].iter().filter(|index| **index > 5000).count() > 5, "{read:?}");
    assert_eq!(verified.list_calls, 1, "a token is asked for once");
}

#[tokio::test]
async fn a_snapshot_without_blocks_is_proven_to_be_empty() {
    let verified = Scene::new(Level::Probe, []).verified().await;
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Probe), 0));
    assert_eq!(verified.found, ["empty"]);
}

#[tokio::test]
async fn a_block_with_another_checksum_is_told_with_both_and_marked() {
    let scene = Scene::new(Level::Probe, 0..20);
    scene.blocks.corrupt.borrow_mut().insert((scene.task.snapshot.clone(), 17));
    let failure = scene.failure().await;
    assert_eq!(failure.name, ErrorName::SnapshotCorrupt);
    let mut whole = data(17);
    whole.resize(domain::blocks::BLOCK_LENGTH, 0);
    for part in ["block 17", &checksum(&whole), "expected", scene.task.snapshot.as_str()] {
        assert!(failure.cause.contains(part), "{part} in {failure}");
    }
    assert!(scene.record().unwrap().marked);
    assert_eq!(scene.proof(), proven("failed"));
}

#[tokio::test]
async fn a_sample_that_is_right_does_not_take_a_mark_away() {
    let scene = Scene::new(Level::Probe, 0..20);
    scene.blocks.corrupt.borrow_mut().insert((scene.task.snapshot.clone(), 17));
    scene.failure().await;
    scene.blocks.corrupt.borrow_mut().clear();
    let failure = scene.failure().await;
    assert!(failure.name == ErrorName::SnapshotCorrupt && failure.cause.contains("the mark stays"), "{failure}");
    assert_eq!(scene.proof(), proven("failed"));
}

#[tokio::test]
async fn a_block_that_was_altered_on_its_way_is_read_again() {
    let scene = Scene::new(Level::Probe, 0..20);
    scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Altered);
    assert_eq!(scene.verified().await.level, Some(Level::Probe));
    assert_eq!(scene.blocks.count("GetSnapshotBlock"), 21);
}

#[tokio::test]
async fn a_key_that_cannot_decrypt_is_a_failure_and_no_mark() {
    let mut scene = Scene::new(Level::Probe, 0..20);
    scene.task.kms_key = Some("arn:aws:kms:eu-west-1:1:key/k".into());
    scene.blocks.locked.borrow_mut().insert(scene.task.snapshot.clone());
    let failure = scene.failure().await;
    assert!(failure.name == ErrorName::KeyNotAccessible && failure.cause.contains("key/k"), "{failure}");
    assert_eq!(scene.proof(), None, "its policy may be changed tomorrow");
}

#[tokio::test]
async fn a_block_whose_token_has_expired_is_listed_again() {
    let scene = Scene::new(Level::Probe, 0..20);
    for fault in [BlockFault::Spared, BlockFault::Spared, BlockFault::TokensExpired] {
        scene.blocks.fail_next("GetSnapshotBlock", fault);
    }
    let verified = scene.verified().await;
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Probe), 20));
}

#[tokio::test]
async fn no_more_blocks_are_read_than_may_be() {
    for (most, level) in [(0, Level::List), (10, Level::List), (32, Level::Probe), (33, Level::Probe)] {
        let mut scene = Scene::new(Level::Probe, 0..5000);
        scene.task.max_blocks = most;
        let verified = scene.verified().await;
        assert_eq!((verified.level, verified.blocks_read), (Some(level), most.min(32)), "{most}");
        let is_told = verified.missing.iter().any(|why| why.contains("as many as may be read"));
        assert_eq!(is_told, most < 32, "{verified:?}");
        assert_eq!(scene.proof(), proven(level.as_str()));
    }
}

#[tokio::test]
async fn what_was_read_by_earlier_messages_counts_too() {
    let mut scene = Scene::new(Level::Probe, 0..5000);
    scene.task.max_blocks = 20;
    (0..10).for_each(|_| scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Spared));
    scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Refused("ThrottlingException", ""));
    let verified = scene.verified().await;
    assert_eq!((verified.blocks_read, scene.blocks.count("GetSnapshotBlock")), (20, 21));
}

#[tokio::test]
async fn a_copy_is_compared_with_its_source() {
    let mut scene = Scene::new(Level::Copy, 0..5000);
    scene.with_source(0..5000);
    let verified = scene.verified().await;
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Copy), 64));
    assert_eq!((verified.notes, scene.proof()), (vec![UNRECOGNISED.to_owned()], proven("copy")));
}

#[tokio::test]
async fn a_copy_without_any_block_is_compared_too() {
    let mut scene = Scene::new(Level::Copy, []);
    scene.with_source([]);
    assert_eq!(scene.verified().await.level, Some(Level::Copy));
    let mut lost = Scene::new(Level::Copy, []);
    lost.with_source([9]);
    assert_eq!(lost.failure().await.name, ErrorName::SnapshotCorrupt);
    let mut unknown = Scene::new(Level::Copy, []);
    let source = unknown.with_source([]);
    unknown.blocks.snapshots.borrow_mut().remove(&(region("us-east-1"), source));
    assert_eq!(unknown.verified().await.level, Some(Level::Probe));
}

#[tokio::test]
async fn what_is_no_copy_is_probed() {
    let verified = Scene::new(Level::Copy, 0..50).verified().await;
    assert_eq!((verified.level, verified.notes), (Some(Level::Probe), vec![UNRECOGNISED.to_owned()]));
}

#[tokio::test]
async fn a_block_that_differs_from_its_source_is_a_failure() {
    let mut scene = Scene::new(Level::Copy, 0..20);
    let source = scene.with_source(0..20);
    let key = (region("us-east-1"), source.clone());
    scene.blocks.snapshots.borrow_mut().get_mut(&key).unwrap().get_mut(&7).unwrap()[0] ^= 1;
    let failure = scene.failure().await;
    assert_eq!(failure.name, ErrorName::SnapshotCorrupt);
    assert!(failure.cause.contains("block 7 of") && failure.cause.contains(source.as_str()), "{failure}");
    assert_eq!(scene.proof(), proven("failed"));
}

#[tokio::test]
async fn a_block_that_only_one_of_them_has_fails_if_it_is_not_zeros() {
    for (of_copy, of_source, failing) in [(0..20, 0..19, 19), (0..19, 0..20, 19), (1..20, 0..20, 0)] {
        let mut scene = Scene::new(Level::Copy, of_copy.clone());
        let source = scene.with_source(of_source.clone());
        let failure = scene.failure().await;
        assert_eq!(failure.name, ErrorName::SnapshotCorrupt);
        let words = format!("block {failing} of");
        assert!(failure.cause.contains(&words) && failure.cause.contains("never written"), "{failure}");

        let mut zeros = Scene::new(Level::Copy, of_copy);
        zeros.with_source(of_source);
        for snapshot in [(home(), zeros.task.snapshot.clone()), (region("us-east-1"), source)] {
            if let Some(block) = zeros.blocks.snapshots.borrow_mut().get_mut(&snapshot).unwrap().get_mut(&failing) {
                block.fill(0);
            }
        }
        let verified = zeros.verified().await;
        assert_eq!(verified.level, Some(Level::Copy));
        assert!(is_note(&verified, "list of blocks differs"), "{verified:?}");
    }
}

#[tokio::test]
async fn of_a_copy_whose_source_is_gone_that_is_a_note_and_of_one_that_is_bad_or_refused_it_is_missing() {
    type Break = fn(&Scene, &SnapshotId);
    let breaks: [(Break, &str); 3] = [
        (
            |scene, source| {
                scene.blocks.locked.borrow_mut().insert(source.clone());
            },
            "KeyNotAccessible",
        ),
        (
            |scene, source| drop(scene.blocks.snapshots.borrow_mut().remove(&(region("us-east-1"), source.clone()))),
            "SnapshotNotFound",
        ),
        (
            |scene, source| {
                scene.blocks.corrupt.borrow_mut().insert((source.clone(), 2));
            },
            "SnapshotCorrupt",
        ),
    ];
    for (broken, part) in breaks {
        let mut scene = Scene::new(Level::Copy, 0..20);
        let source = scene.with_source(0..20);
        broken(&scene, &source);
        let verified = scene.verified().await;
        assert_eq!((verified.level, scene.proof()), (Some(Level::Probe), proven("probe")), "{part}");
        let told = if part == "SnapshotNotFound" { &verified.notes } else { &verified.missing };
        assert!(told.iter().any(|why| why.contains("not compared with") && why.contains(part)), "{verified:?}");
    }
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_asked_again() {
    let mut scene = Scene::new(Level::Copy, 0..20);
    scene.with_source(0..20);
    scene.blocks.down.borrow_mut().insert(region("us-east-1"));
    let Onward(next, _) = scene.deliver(&scene.task).await else { panic!("it may answer in a minute") };
    scene.blocks.down.borrow_mut().clear();
    scene.task = serde_json::from_value(next).unwrap();
    assert_eq!((scene.verified().await.level, scene.proof()), (Some(Level::Copy), proven("copy")));
}
