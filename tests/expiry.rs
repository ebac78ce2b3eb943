//! Expiry: due snapshots are deleted, wanted ones stay, and in doubt a snapshot stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, Ended, HOME, Stack, cloud, day, tagged, until},
    printed::found_by,
};

fn due(volume: &str, created: i64, more: Value) -> Value {
    let mut tags = json!({"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(created + 7)});
    tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"volume": volume, "state": "completed", "startTime": format!("{}T03:00:00Z", day(created)), "tags": tags})
}

/// A due copy with the tags of this system; its own volume id is arbitrary.
fn due_copy(source: &str, volume: &str, created: i64) -> Value {
    let more = json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": volume});
    due("vol-ffffffff", created, more)
}

fn stays(cloud: &Cloud, region: &str, id: &str) -> bool {
    cloud.snapshot_ids(region).contains(id)
}

fn summary(cloud: &Cloud, stack: &Stack, ended: &Ended) -> Value {
    serde_json::from_str(&cloud.report(stack, ended, "report.json")).unwrap()
}

/// The snapshots that EC2 was asked to delete, and what it answered.
fn deletions(cloud: &Cloud) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let calls = cloud.calls("DeleteSnapshot");
    calls.iter().map(|call| (text(&call["params"]["SnapshotId"]), text(&call["outcome"]))).collect()
}

#[test]
fn the_last_backup_of_a_living_volume_is_never_deleted() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids = cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]));
    let living = &ids[0].1[0];
    let older = cloud.add_snapshot(HOME, due(living, -12, json!({})));
    let newest = cloud.add_snapshot(HOME, due(living, -10, json!({})));
    let gone = cloud.add_snapshot(HOME, due("vol-0dead", -10, json!({})));
    let copy = cloud.add_snapshot("us-west-2", due_copy(&newest, living, -10));

    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert!(!stays(&cloud, HOME, &older), "due, and not the newest");
    assert!(stays(&cloud, HOME, &newest), "the newest of a living volume");
    assert!(!stays(&cloud, HOME, &gone), "its volume exists no more");
    assert!(stays(&cloud, "us-west-2", &copy), "the newest copy there");
    let verdicts = cloud.report(&stack, &ended, &format!("verdicts-{HOME}.jsonl"));
    let line = verdicts.lines().find(|line| line.contains(&newest)).unwrap();
    assert!(line.contains("newest completed of a volume that exists"), "{line}");
    let printed = cloud.printed();
    for (snapshot, outcome, cause) in [(&newest, "kept", "newest completed"), (&older, "deleted", "due since")] {
        let found = found_by("Why is it still here?", &printed, &[("snap-0123456789abcdef0", snapshot)]);
        let line = found.iter().find(|line| line["outcome"] == outcome).unwrap();
        assert!(line["cause"].as_str().unwrap().contains(cause) && line["region"] == HOME, "{line}");
    }
}

#[test]
fn a_volume_that_exists_keeps_its_newest_snapshot_and_one_of_which_no_tag_speaks_is_a_problem() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let never = json!({"tags": {"Name": "test"}, "volumes": [{"device": "/dev/sda1"}]});
    let fleet = cloud.add_instances(HOME, &json!([tagged(json!({}), 3), tagged(json!({}), 1), never]));
    let (attached, detached, deleted) = (&fleet[0].1[0], &fleet[0].1[1], &fleet[0].1[2]);
    let (given_up, never) = (&fleet[1].1[0], &fleet[2].1[0]);
    cloud.control("detach", Some(&json!({"region": HOME, "volume": detached})));
    cloud.control("delete-volume", Some(&json!({"region": HOME, "volume": deleted})));
    cloud.control("tags", Some(&json!({"region": HOME, "id": fleet[1].0, "tags": {"Backup": "No"}})));
    let described = |description: String, created: i64| {
        let mut copy = due("vol-ffffffff", created, json!({"BackupFromRegion": HOME}));
        copy["description"] = json!(description);
        copy
    };
    let (mut wanted, mut unwanted) = (BTreeSet::new(), BTreeSet::new());
    for (volume, lives) in [(attached, true), (detached, true), (deleted, false), (given_up, false), (never, true)] {
        for created in [-12, -10] {
            let own = cloud.add_snapshot(HOME, due(volume, created, json!({})));
            let copy = cloud.add_snapshot("us-east-1", due_copy(&own, volume, created));
            // Copies of the earlier scripts name their volume only in the description.
            let earlier = described(format!("db - {volume} (/dev/sda1)"), created);
            let earlier = cloud.add_snapshot("us-west-2", earlier);
            let list = if lives && created == -10 { &mut wanted } else { &mut unwanted };
            list.extend([own, copy, earlier]);
        }
    }
    wanted.insert(cloud.add_snapshot("us-west-2", described(format!("of {deleted}, I think"), -12)));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    for (volume, silent) in [(attached, false), (detached, true), (deleted, false), (given_up, false), (never, true)] {
        assert_eq!(ended.cause.contains(volume.as_str()), silent, "{volume}: {}", ended.cause);
    }
    let left = [HOME, "us-east-1", "us-west-2"].iter().flat_map(|region| cloud.snapshot_ids(region)).collect();
    assert_eq!(wanted, left, "of {fleet:?}");
    assert_eq!(deletions(&cloud).into_keys().collect::<BTreeSet<_>>(), unwanted);
}

#[test]
fn a_copy_is_kept_because_its_source_carries_keep_forever() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let source = cloud.add_snapshot(HOME, due("vol-0a", -20, json!({"KeepForever": ""})));
    let other = cloud.add_snapshot(HOME, due("vol-0a", -3, json!({})));
    let kept = cloud.add_snapshot("us-east-1", due_copy(&source, "vol-0a", -20));
    let deleted = cloud.add_snapshot("us-east-1", due_copy(&other, "vol-0a", -20));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert!(stays(&cloud, HOME, &source) && stays(&cloud, "us-east-1", &kept));
    assert!(!stays(&cloud, "us-east-1", &deleted));
}

#[test]
fn too_much_at_once_stops_the_region_and_nothing_else_until_an_execution_allows_it() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    for age in 0..24 {
        cloud.add_snapshot(HOME, due("vol-0dead", -10 - age, json!({})));
    }
    let elsewhere = cloud.add_snapshot("us-east-1", due_copy("snap-0b", "vol-0dead", -10));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(ended.cause.contains("MassExpire") && ended.cause.contains("24 of 24 backups"), "{}", ended.cause);
    assert_eq!(cloud.snapshots(HOME).len(), 24);
    assert_eq!(deletions(&cloud), BTreeMap::from([(elsewhere, "ok".into())]), "the other region is not stopped");

    // Some nights later less is due, and nobody has allowed it yet.
    for snapshot in &cloud.snapshots(HOME)[1..] {
        let prolonged = json!({"region": HOME, "id": snapshot["id"], "tags": {"DeleteOn": day(9)}});
        cloud.control("tags", Some(&prolonged));
    }
    for input in [json!({"phases": ["expire"]}), json!({"phases": ["expire"], "allowMassExpire": ["us-east-1"]})] {
        let held = cloud.run(&stack, &input);
        assert!(held.cause.contains("stopped since") && held.cause.contains("24 of 24"), "{}", held.cause);
    }
    assert_eq!(cloud.snapshots(HOME).len(), 24);

    let allowed = cloud.run(&stack, &json!({"phases": ["expire"], "allowMassExpire": [HOME]}));
    assert_eq!(allowed.status, "SUCCEEDED", "{}", allowed.cause);
    assert_eq!(cloud.snapshots(HOME).len(), 23);
    assert_eq!(summary(&cloud, &stack, &allowed)["run"]["allowMassExpire"], json!([HOME]));
}

#[test]
fn nothing_is_expired_when_the_fleet_cannot_be_listed() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let id = cloud.add_snapshot(HOME, due("vol-0dead", -10, json!({})));
    let fault = json!({"action": "DescribeVolumes", "kind": "refuse", "code": "UnauthorizedOperation", "status": 403, "times": 100});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(ended.cause.contains("the fleet could not be listed: AccessDenied"), "{}", ended.cause);
    assert!(stays(&cloud, HOME, &id));
}

#[test]
fn a_region_that_cannot_be_swept_is_named_and_does_not_stop_the_others() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let own = cloud.add_snapshot(HOME, due("vol-0dead", -10, json!({})));
    let unreached = cloud.add_snapshot("us-east-1", due_copy(&own, "vol-0dead", -10));
    let reached = cloud.add_snapshot("us-west-2", due_copy(&own, "vol-0dead", -10));
    let fault = json!({"action": "DescribeSnapshots", "region": "us-east-1", "kind": "refuse", "times": 1000,
        "code": "UnauthorizedOperation", "status": 403});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.error, "BackupIncomplete");
    assert!(
        ended.cause.starts_with("us-east-1: expiry: AccessDenied: DescribeSnapshots in us-east-1"),
        "{}",
        ended.cause
    );
    assert_eq!(ended.cause.matches("expiry").count(), 1, "{}", ended.cause);
    assert!(stays(&cloud, "us-east-1", &unreached));
    assert_eq!(deletions(&cloud), BTreeMap::from([(own, "ok".into()), (reached, "ok".into())]));
}

#[test]
fn what_ec2_holds_is_left_and_said_and_the_rest_of_the_batch_goes() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    // The first deletion meets the fault; they are deleted in the order in which EC2 lists them.
    let mut answers = BTreeMap::new();
    let code = "SnapshotLocked";
    cloud.control("faults", Some(&json!({"action": "DeleteSnapshot", "region": HOME, "code": code})));
    answers.insert(cloud.add_snapshot(HOME, due("vol-0dead", -12, json!({}))), code.to_owned());
    let mut of_an_image = due("vol-0dead", -12, json!({}));
    of_an_image["inUse"] = json!(true);
    answers.insert(cloud.add_snapshot(HOME, of_an_image), "InvalidSnapshot.InUse".into());
    let held: BTreeSet<String> = answers.keys().cloned().collect();
    for created in [-12, -10] {
        answers.insert(cloud.add_snapshot(HOME, due("vol-0dead", created, json!({}))), "ok".into());
    }
    // Somebody else has deleted it: then it counts as deleted.
    let code = "InvalidSnapshot.NotFound";
    cloud.control("faults", Some(&json!({"action": "DeleteSnapshot", "region": "us-east-1", "code": code})));
    answers.insert(cloud.add_snapshot("us-east-1", due_copy("snap-0a", "vol-0dead", -12)), code.into());

    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(deletions(&cloud), answers);
    assert_eq!(cloud.snapshot_ids(HOME), held);
    let (_, attributes) = cloud.receive(&stack, "ExpireDeadLetterQueueUrl");
    assert_eq!(attributes["Error"], "SnapshotHeld");
    assert!(held.iter().all(|id| attributes["Cause"].contains(id)), "{attributes:?}");
    let text = cloud.report(&stack, &ended, "summary.txt");
    assert!(text.contains("InvalidSnapshot.InUse"), "the report has EC2's reason: {text}");
    let summary = summary(&cloud, &stack, &ended);
    let here = summary["expiries"].as_array().unwrap().iter().find(|end| end["region"] == HOME).unwrap();
    let left = here["left"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned());
    assert_eq!((left.collect(), here["deleted"].as_array().unwrap().len()), (held, 2));
}

#[test]
fn what_images_and_locks_hold_is_left_alone_by_name_and_outside_of_the_breaker() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids: Vec<String> =
        (0..25).map(|age| cloud.add_snapshot(HOME, due("vol-0dead", -10 - age, json!({})))).collect();
    // A disabled image still holds its snapshots.
    let image = json!({"region": HOME, "snapshots": ids[..23], "name": "golden", "disabled": true});
    let image = cloud.control("images", Some(&image))["id"].as_str().unwrap().to_owned();
    cloud.control("locks", Some(&json!({"region": HOME, "snapshot": ids[23], "mode": "governance"})));
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(deletions(&cloud), BTreeMap::from([(ids[24].clone(), "ok".into())]), "nothing that EC2 would refuse");
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(
        summary.contains(&format!("held by image {image}")) && summary.contains("a lock (governance)"),
        "{summary}"
    );
}

#[test]
fn a_dry_run_gives_every_snapshot_the_verdict_of_the_real_run_and_deletes_nothing() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    // Pending snapshots stay pending for the whole story.
    cloud.control("settings", Some(&json!({"snapshotSeconds": 600})));
    let living = &cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]))[0].1[0];
    let in_state = |state: &str| {
        let mut snapshot = due("vol-0dead", -12, json!({}));
        snapshot["state"] = json!(state);
        snapshot
    };
    let mut expected: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let mut add = |region: &'static str, snapshot: Value, verdict: &str| {
        let id = cloud.add_snapshot(region, snapshot);
        expected.entry(region).or_default().insert(id.clone(), verdict.to_owned());
        id
    };
    let (since, later) = (format!("expired: due since {}", day(-5)), format!("kept: not due until {}", day(2)));
    let dead = |more: Value| due("vol-0dead", -12, more);
    add(HOME, dead(json!({"Type": "Manual"})), "kept: not Type=Automated");
    add(HOME, dead(json!({"BackupFromRegion": "us-east-1"})), "kept: another home region's");
    add(HOME, dead(json!({"DeleteOn": "soon"})), "kept: no readable DeleteOn");
    let source = add(HOME, dead(json!({"KeepForever": ""})), "kept: KeepForever");
    add(HOME, dead(json!({"DeleteOn": day(2)})), &later);
    let owing = json!({"BackupCrossRegion": "us-west-2", "RetentionCrossRegion": "30"});
    add(HOME, dead(owing), "kept: a copy of it is owed, or in doubt");
    add(HOME, in_state("pending"), "kept: pending");
    add(HOME, in_state("error"), "expired: broken");
    let older = add(HOME, due(living, -12, json!({})), &since);
    let newest = add(HOME, due(living, -10, json!({})), "kept: newest completed of a volume that exists");
    add("us-east-1", dead(json!({})), "kept: another home region's");
    // Its day differs from the day of the kept source: else it might be a copy of that one.
    let nameless = due("vol-0dead", -11, json!({"BackupFromRegion": HOME}));
    add("us-east-1", nameless, "kept: its volume is not known");
    add("us-east-1", due_copy(&source, "vol-0dead", -12), "kept: its source carries KeepForever");
    add("us-east-1", due_copy(&older, living, -12), &since);
    add("us-east-1", due_copy(&newest, living, -10), "kept: newest completed of a volume that exists");

    let dry = cloud.run(&stack, &json!({"phases": ["expire"], "dryRun": true}));
    assert_eq!(dry.status, "SUCCEEDED", "{}", dry.cause);
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new());
    let real = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(real.status, "SUCCEEDED", "{}", real.cause);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (region, expected) in expected {
        let file = format!("verdicts-{region}.jsonl");
        assert_eq!(cloud.report(&stack, &dry, &file), cloud.report(&stack, &real, &file), "{region}");
        let lines = cloud.manifest(&stack, &real, &file);
        let given = lines.iter().map(|line| (text(&line["snapshot"]), text(&line["verdict"])));
        assert_eq!(given.collect::<BTreeMap<_, _>>(), expected, "{region}");
        let kept = expected.into_iter().filter(|(_, verdict)| verdict.starts_with("kept")).map(|(id, _)| id);
        assert_eq!(cloud.snapshot_ids(region), kept.collect(), "{region}");
    }
}

#[test]
fn a_stack_sweeps_only_the_regions_that_it_is_given() {
    let mut cloud = cloud();
    let stack = cloud.stack("eu-central-1");
    let own = cloud.add_snapshot("eu-central-1", due("vol-0dead", -10, json!({})));
    let mut copy = due_copy(&own, "vol-0dead", -10);
    copy["tags"]["BackupFromRegion"] = json!("eu-central-1");
    let copy = cloud.add_snapshot("us-east-1", copy);
    let ended = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(deletions(&cloud), BTreeMap::from([(own, "ok".into())]));
    assert!(stays(&cloud, "us-east-1", &copy));
}

#[test]
fn a_snapshot_is_looked_at_again_at_the_moment_of_deletion() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let source = cloud.add_snapshot(HOME, due("vol-0dead", -30, json!({"KeepForever": ""})));
    let protected = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"KeepForever": "since it was planned"})));
    let prolonged = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"DeleteOn": day(3)})));
    let retyped = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({"Type": "Manual"})));
    let yesterdays = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({})));
    let gone = cloud.add_snapshot(HOME, due("vol-0dead", -20, json!({})));
    let copy = cloud.add_snapshot("us-east-1", due_copy(&source, "vol-0dead", -30));
    let message = |region: &str, planned: i64, ids: &[&String]| {
        let snapshots: Vec<_> = ids.iter().map(|id| json!({"id": id, "why": {"due": day(-13)}})).collect();
        json!({"version": 1, "task": {"region": region, "planned": day(planned), "snapshots": snapshots}}).to_string()
    };
    cloud.send(&stack, "ExpireQueueUrl", &message(HOME, -1, &[&yesterdays]));
    cloud.send(&stack, "ExpireQueueUrl", &message("us-east-1", 0, &[&copy]));
    cloud.send(&stack, "ExpireQueueUrl", &message(HOME, 0, &[&protected, &prolonged, &retyped, &gone]));
    until("the queue is empty", || cloud.is_empty(&stack, "ExpireQueueUrl").then_some(()));

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
    let stack = cloud.stack(HOME);
    let promised = json!({"BackupCrossRegion": "us-east-1, us-west-2"});
    let ids = cloud.add_instances(HOME, &json!([tagged(promised.clone(), 2)]));
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for (volume, device) in ids[0].1.iter().zip(["/dev/sda1", "/dev/sdf"]) {
        for age in 0..12 {
            // Kept for a week; older ones were left over by a manager that died.
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
        // Snapshots after years of changes by hand and of faults.
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
