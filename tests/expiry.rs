//! Expiry: what is due goes, what is wanted stays, and in doubt it stays.

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, cloud, day, tagged, until};

fn due(volume: &str, created: i64, more: Value) -> Value {
    let mut tags = json!({"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(created + 7)});
    tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"volume": volume, "state": "completed", "startTime": format!("{}T03:00:00Z", day(created)), "tags": tags})
}

fn stays(cloud: &Cloud, region: &str, id: &str) -> bool {
    cloud.snapshot_ids(region).contains(id)
}

#[test]
fn the_last_backup_of_a_living_volume_is_never_deleted() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let ids = cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]));
    let living = &ids[0].1[0];
    let older = cloud.add_snapshot(HOME, due(living, -12, json!({})));
    let newest = cloud.add_snapshot(HOME, due(living, -10, json!({})));
    let gone = cloud.add_snapshot(HOME, due("vol-0dead", -10, json!({})));
    let from_home = json!({"BackupFromRegion": HOME, "SourceSnapshotId": newest, "SourceVolumeId": living});
    let copy = cloud.add_snapshot("us-west-2", due("vol-ffffffff", -10, from_home));

    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert!(!stays(&cloud, HOME, &older), "due, and not the newest");
    assert!(stays(&cloud, HOME, &newest), "the newest of a living volume");
    assert!(!stays(&cloud, HOME, &gone), "its volume exists no more");
    assert!(stays(&cloud, "us-west-2", &copy), "the newest copy there");
    let verdicts = cloud.report(&stack, &ended, &format!("verdicts-{HOME}.jsonl"));
    let line = verdicts.lines().find(|line| line.contains(&newest)).unwrap();
    assert!(line.contains("newest completed of a living volume"), "{line}");
}

#[test]
fn a_copy_is_kept_because_its_source_carries_keep_forever() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let source = cloud.add_snapshot(HOME, due("vol-0a", -20, json!({"KeepForever": ""})));
    let other = cloud.add_snapshot(HOME, due("vol-0a", -3, json!({})));
    let copy_of = |source: &str| {
        due(
            "vol-ffffffff",
            -20,
            json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": "vol-0a"}),
        )
    };
    let kept = cloud.add_snapshot("us-east-1", copy_of(&source));
    let deleted = cloud.add_snapshot("us-east-1", copy_of(&other));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert!(stays(&cloud, HOME, &source) && stays(&cloud, "us-east-1", &kept));
    assert!(!stays(&cloud, "us-east-1", &deleted));
}

#[test]
fn too_much_at_once_stops_the_region_and_nothing_else() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    for age in 0..24 {
        cloud.add_snapshot(HOME, due("vol-0dead", -10 - age, json!({})));
    }
    let copy = due(
        "vol-ffffffff",
        -10,
        json!({"BackupFromRegion": HOME, "SourceVolumeId": "vol-0dead", "SourceSnapshotId": "snap-0b"}),
    );
    let elsewhere = cloud.add_snapshot("us-east-1", copy);
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(ended.cause.contains("MassExpire") && ended.cause.contains("24 of 24 snapshots"), "{}", ended.cause);
    assert_eq!(cloud.snapshots(HOME).len(), 24);
    assert!(!stays(&cloud, "us-east-1", &elsewhere), "the other region is not stopped");

    let allowed = cloud.run(&stack, &json!({"phases": ["expire"], "allowMassExpire": true}));
    assert_eq!(allowed.status, "SUCCEEDED", "{}", allowed.cause);
    assert!(cloud.snapshots(HOME).is_empty());
}

#[test]
fn nothing_is_expired_when_the_fleet_cannot_be_listed() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let id = cloud.add_snapshot(HOME, due("vol-0dead", -10, json!({})));
    let fault = json!({"action": "DescribeVolumes", "kind": "refuse", "code": "UnauthorizedOperation", "status": 403, "times": 100});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(ended.cause.contains("the fleet could not be listed: AccessDenied"), "{}", ended.cause);
    assert!(stays(&cloud, HOME, &id));
}

#[test]
fn a_snapshot_is_looked_at_again_at_the_moment_of_deletion() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let source = cloud.add_snapshot(HOME, due("vol-0dead", -30, json!({"KeepForever": ""})));
    let protected = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"KeepForever": "since it was planned"})));
    let prolonged = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"DeleteOn": day(3)})));
    let retyped = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"Type": "Manual"})));
    let yesterdays = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({})));
    let gone = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({})));
    let of_source = json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": "vol-0dead"});
    let copy = cloud.add_snapshot("us-east-1", due("vol-ffffffff", -30, of_source));
    let message = |region: &str, planned: i64, ids: &[&String]| {
        let snapshots: Vec<_> = ids.iter().map(|id| json!({"id": id, "why": {"due": day(-13)}})).collect();
        json!({"version": 1, "task": {"region": region, "planned": day(planned), "snapshots": snapshots}}).to_string()
    };
    cloud.send(&stack, "ExpireQueueUrl", &message(HOME, -1, &[&yesterdays]));
    cloud.send(&stack, "ExpireQueueUrl", &message("us-east-1", 0, &[&copy]));
    cloud.send(&stack, "ExpireQueueUrl", &message(HOME, 0, &[&protected, &prolonged, &retyped, &gone]));
    until("the queue is worked off", || cloud.is_empty(&stack, "ExpireQueueUrl").then_some(()));

    let left = cloud.snapshot_ids(HOME);
    for (id, what) in [(&source, "source"), (&protected, "protected"), (&prolonged, "prolonged"), (&retyped, "retyped")]
    {
        assert!(left.contains(id), "{what}");
    }
    assert!(left.contains(&yesterdays), "planned on another day");
    assert!(stays(&cloud, "us-east-1", &copy), "its source carries KeepForever");
    assert!(!left.contains(&gone));
    assert_eq!(cloud.mutating_calls().len(), 1);
}

#[test]
fn months_of_the_earlier_scripts_snapshots_are_taken_over_without_losing_one_that_was_wanted() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME, "");
    let promised = json!({"BackupCrossRegion": "us-east-1, us-west-2"});
    let ids = cloud.add_instances(HOME, &json!([tagged(promised.clone(), 2)]));
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for (volume, device) in ids[0].1.iter().zip(["/dev/sda1", "/dev/sdf"]) {
        for age in 0..12 {
            // Kept for a week; what is older than that was left over by a manager that died on the way.
            for region in [HOME, "us-east-1", "us-west-2"] {
                let more = if region == HOME { promised.clone() } else { json!({"BackupFromRegion": HOME}) };
                let mut snapshot = due(volume, -age, more);
                snapshot["description"] = json!(format!("db - {volume} ({device})"));
                if region != HOME {
                    snapshot["volume"] = json!("vol-ffffffff");
                }
                let list = if age < 7 { &mut wanted } else { &mut unwanted };
                list.push((region, cloud.add_snapshot(region, snapshot)));
            }
        }
        // As hands and faults of years leave them.
        for odd in [
            json!({"DeleteOn": "2026-13-45"}),
            json!({"DeleteOn": ""}),
            json!({"DeleteOn": "7 days"}),
            json!({"Type": "automated"}),
            json!({"Type": ""}),
            json!({"KeepForever": "no"}),
        ] {
            wanted.push((HOME, cloud.add_snapshot(HOME, due(volume, -40, odd.clone()))));
            let mut copy = due("vol-ffffffff", -40, odd);
            copy["tags"]["BackupFromRegion"] = json!(HOME);
            copy["description"] = json!(format!("db - {volume} ({device})"));
            wanted.push(("us-west-2", cloud.add_snapshot("us-west-2", copy)));
        }
        // A copy without a description: it may be the last of a living volume.
        let mut nameless = due("vol-ffffffff", -40, json!({"BackupFromRegion": HOME}));
        nameless["description"] = json!("");
        wanted.push(("us-east-1", cloud.add_snapshot("us-east-1", nameless)));
    }
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    for (region, id) in &wanted {
        assert!(stays(&cloud, region, id), "{id} in {region} was wanted");
    }
    for (region, id) in &unwanted {
        assert!(!stays(&cloud, region, id), "{id} in {region} was due");
    }
    let copied = cloud.calls("CopySnapshot").len();
    assert_eq!(copied, 4, "today's two snapshots, to two regions, and nothing that had a copy");
}
