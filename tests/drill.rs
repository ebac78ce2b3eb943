//! Drills: backups are read to prove them, and nothing else happens to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::Command,
};

use serde_json::{Value, json};

use crate::cloud::{DRILLED, Ended, HOME, Stack, Story, between, cloud, day, stack_name, tagged, until};

const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";
/// The output that names the state machine.
const MACHINE: &str = "DrillStateMachineArn";

/// A disk as a server has it: a GPT, ext4 and a file in it. Made once, and small: the tests' checksums are slow.
fn disk() -> PathBuf {
    static DISK: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    DISK.get_or_init(|| {
        let folder = env::temp_dir().join(format!("ebs-snapshots-drill-{}", std::process::id()));
        let (files, image) = (folder.join("files"), folder.join("disk"));
        std::fs::create_dir_all(&files).unwrap();
        let content: Vec<u8> = (0u32..3 << 17).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(files.join("data"), content).unwrap();
        let python = format!("{}/moto/bin/python", env::var("LOCAL_CLOUD_VENVS").unwrap());
        let done = Command::new(python)
            .args(["tests/local/disk_images.py", "gpt", "--size", "64M", "--files"])
            .args([&files, &image])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        image
    })
    .clone()
}

/// A completed backup that was begun so many days ago, and holds the disk unless it says otherwise.
fn backup(ago: i64, tags: Value, more: Value) -> Value {
    let mut own = json!({"Type": "Automated", "CreatedOn": day(-ago), "DeleteOn": day(7 - ago)});
    own.as_object_mut().unwrap().extend(tags.as_object().unwrap().clone());
    let mut snapshot = json!({"state": "completed", "startTime": format!("{}T03:00:00Z", day(-ago)), "tags": own});
    snapshot.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    if snapshot.get("blocks").is_none() {
        snapshot["file"] = json!(disk());
    }
    snapshot
}

fn copy(volume: &str, source: &str, more: Value) -> Value {
    let tags = json!({"BackupFromRegion": DRILLED, "SourceVolumeId": volume, "SourceSnapshotId": source});
    backup(1, tags, more)
}

/// Adds backups to a region, all at once.
fn add(cloud: &Story, region: &str, snapshots: &[Value]) -> Vec<String> {
    let answer = cloud.control("snapshots", Some(&json!({"region": region, "snapshots": snapshots})));
    answer.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn drill(cloud: &Story, stack: &Stack, input: &Value) -> Ended {
    cloud.run_machine(stack, MACHINE, input)
}

fn report(cloud: &Story, stack: &Stack, ended: &Ended) -> Value {
    serde_json::from_str(&cloud.drill_file(stack, ended, "report.json")).expect("the drill has a report")
}

/// The backups of a report by how they ended: region and id.
fn by_end(report: &Value) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let mut found: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for one in report["backups"].as_array().unwrap() {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        found.entry(text("end")).or_default().insert((text("region"), text("snapshot")));
    }
    found
}

/// `VerifiedAs` of what carries it: region and id.
fn marks(cloud: &Story) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for region in [DRILLED, WEST, EAST] {
        for snapshot in cloud.snapshots(region) {
            if let Some(mark) = snapshot["tags"]["VerifiedAs"].as_str() {
                assert_eq!(snapshot["tags"]["VerifiedOn"], json!(day(0)), "{snapshot}");
                let id = snapshot["id"].as_str().unwrap().to_owned();
                found.insert((region.to_owned(), id), mark.to_owned());
            }
        }
    }
    found
}

/// What a drill has read is as was predicted, within a tenth.
fn as_predicted(report: &Value) {
    for (calls, what) in [("blocks", "blocks"), ("listCalls", "lists")] {
        let number = |of: &str| report[of][calls].as_f64().unwrap();
        let (predicted, used) = (number("predicted"), number("used"));
        assert!((predicted - used).abs() <= used / 10.0, "{what}: {predicted} expected, and {used} used");
    }
    let usd = |name: &str| report[name].as_f64().unwrap();
    assert!((usd("usdPredicted") - usd("usd")).abs() <= usd("usd") / 10.0, "{report}");
}

#[test]
fn a_drill_reads_the_newest_backup_of_every_volume_in_every_region_and_writes_two_tags() {
    let mut cloud = cloud();
    let stack = cloud.stack(DRILLED);
    let tags = json!({"BackupCrossRegion": EAST});
    let volumes = cloud.add_instances(DRILLED, &json!([tagged(tags, 2)])).remove(0).1;
    let older = add(&cloud, DRILLED, &[backup(3, json!({}), json!({"volume": volumes[0]}))]).remove(0);
    let newest: Vec<Value> = volumes.iter().map(|id| backup(1, json!({}), json!({"volume": id}))).collect();
    let newest = add(&cloud, DRILLED, &newest);
    let key = json!({"encrypted": true, "kmsKeyId": format!("arn:aws:kms:{EAST}:123456789012:key/0a")});
    let copies: Vec<Value> = volumes.iter().zip(&newest).map(|(volume, of)| copy(volume, of, key.clone())).collect();
    let copies = add(&cloud, EAST, &copies);

    let done = drill(&cloud, &stack, &json!({"level": "copy"}));
    assert_eq!(done.status, "SUCCEEDED", "{}", done.cause);
    let marked = marks(&cloud);
    let of = |region: &str, id: &String| marked.get(&(region.to_owned(), id.clone())).map(String::as_str);
    assert!(
        newest.iter().all(|id| of(DRILLED, id) == Some("probe")),
        "there is nothing to compare it with: {marked:?}"
    );
    assert!(copies.iter().all(|id| of(EAST, id) == Some("copy")), "{marked:?}");
    assert_eq!((of(DRILLED, &older), marked.len()), (None, 4), "only the newest");
    let told = report(&cloud, &stack, &done);
    assert_eq!(by_end(&told)["proven"].len(), 4);
    as_predicted(&told);
    let found = told["backups"][0]["found"].to_string();
    assert!(found.contains("GPT") && found.contains("ext4"), "{found}");
    let text = cloud.drill_file(&stack, &done, "summary.txt");
    assert!(text.contains("proven, 4 proven") && text.contains("USD"), "{text}");
    let writes = cloud.mutating_calls();
    let changes = writes.iter().filter(|call| call["service"] != "ebs");
    let actions: Vec<&str> = changes.map(|call| call["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["CreateTags"; 4], "a drill changes nothing else");

    let refused = drill(&cloud, &stack, &json!({"level": "everything"}));
    assert_eq!((refused.status.as_str(), refused.error.as_str()), ("FAILED", "InvalidInput"));
    assert!(refused.cause.contains("list, probe, copy or dump"), "{}", refused.cause);
}

/// How many volumes are drilled at once: 40, or what `make drill-load` says.
fn fleet() -> usize {
    env::var("DRILL_VOLUMES").map_or(40, |count| count.parse().expect("DRILL_VOLUMES is an even number from 32 on"))
}

/// A fleet with backups here, and of some of it in two other regions; and what is wrong with some.
#[test]
fn of_a_fleet_with_every_fault_each_fault_is_told_as_such_and_nothing_else() {
    let mut cloud = cloud();
    let stack = cloud.stack(DRILLED);
    let tags = |i: usize| if i < 4 { json!({"BackupCrossRegion": format!("{EAST}, {WEST}")}) } else { json!({}) };
    let instances: Vec<Value> = (0..fleet() / 2).map(|i| tagged(tags(i), 2)).collect();
    let added = cloud.add_instances(DRILLED, &json!(instances));
    let volumes: Vec<&String> = added.iter().flat_map(|(_, volumes)| volumes).collect();
    let (revoked, gone, unknown, corrupt) = (20, 21, 22, 30);
    let key = |region: &str| format!("arn:aws:kms:{region}:123456789012:key/0a");
    let here: Vec<Value> = volumes
        .iter()
        .enumerate()
        .map(|(i, volume)| match i {
            _ if i == revoked => {
                backup(1, json!({}), json!({"volume": volume, "encrypted": true, "kmsKeyId": key(DRILLED)}))
            }
            _ if i == unknown => backup(1, json!({}), json!({"volume": volume, "blocks": 30})),
            _ => backup(1, json!({}), json!({"volume": volume})),
        })
        .collect();
    let here = add(&cloud, DRILLED, &here);
    let mut copies = BTreeMap::new();
    for region in [EAST, WEST] {
        let all: Vec<Value> = (0..8).map(|i| copy(volumes[i], &here[i], json!({}))).collect();
        copies.insert(region, add(&cloud, region, &all));
    }
    // The good one before the corrupt one is due.
    let due = json!({"DeleteOn": day(-1)});
    let good = add(&cloud, DRILLED, &[backup(9, due, json!({"volume": volumes[corrupt]}))]).remove(0);

    let blocks = cloud.control(&format!("blocks?region={DRILLED}&snapshot={}", here[corrupt]), None);
    let block = blocks[1].clone();
    for (region, id) in [(DRILLED, &here[corrupt]), (WEST, &copies[WEST][3])] {
        let damage = json!({"region": region, "snapshot": id, "block": block, "how": "data"});
        cloud.control("corrupt-block", Some(&damage));
    }
    cloud.control("keys", Some(&json!({"region": DRILLED, "key": key(DRILLED), "state": "denied"})));
    let deleted = json!({"action": "ListSnapshotBlocks", "snapshot": here[gone], "kind": "deleted"});
    cloud.control("faults", Some(&deleted));
    // Few enough that it is throttled however slow this machine is; as often as there are volumes is long enough, and
    // the rest of the drill need not take the test's time.
    let limit = |blocks: u32| cloud.control("settings", Some(&json!({"throttle": true, "blocksPerSecond": blocks})));
    limit(3);
    let begun = cloud.begin_machine(&stack, MACHINE, &json!({}));
    let refused = || {
        let counts = cloud.control("block-counts", None);
        let of = |one: &Value| one["refused"]["RequestThrottledException"].as_u64();
        counts.as_array().unwrap().iter().filter_map(of).sum::<u64>()
    };
    until("EBS has throttled the drill", || (refused() >= fleet() as u64).then_some(()));
    limit(1000);
    let done = cloud.end_of_machine(&stack, begun);
    assert_eq!((done.status.as_str(), done.error.as_str()), ("FAILED", "DrillFailed"), "{}", done.cause);
    let counts = format!("{} proven, 3 failed, 1 vanished", fleet() + 12);
    assert!(done.cause.contains(&counts), "{}", done.cause);
    let told = report(&cloud, &stack, &done);
    let ends = by_end(&told);
    let place = |region: &str, id: &String| (region.to_owned(), id.clone());
    let bad = [place(DRILLED, &here[corrupt]), place(WEST, &copies[WEST][3])];
    let failed: BTreeSet<_> = bad.iter().cloned().chain([place(DRILLED, &here[revoked])]).collect();
    assert_eq!(ends["failed"], failed);
    assert_eq!(ends["vanished"], [place(DRILLED, &here[gone])].into());
    assert!(!ends.contains_key("unanswered") && ends["proven"].contains(&place(DRILLED, &here[unknown])));

    let of = |id: &String| told["backups"].as_array().unwrap().iter().find(|one| one["snapshot"] == json!(id)).unwrap();
    let cause = of(&here[corrupt])["cause"].as_str().unwrap().to_owned();
    assert_eq!(of(&here[corrupt])["error"], "SnapshotCorrupt", "{cause}");
    assert!(cause.contains(&block.to_string()), "which block: {cause}");
    assert_eq!(of(&here[corrupt])["older"]["snapshot"], json!(good), "{}", of(&here[corrupt]));
    let older = &of(&copies[WEST][3])["older"];
    assert!(older["region"] != json!(WEST) && older["proof"]["level"] == "probe", "as old, elsewhere: {older}");
    assert_eq!(of(&here[revoked])["error"], "KeyNotAccessible");
    assert_eq!(of(&here[gone])["error"], "SnapshotNotFound");
    assert!(of(&here[unknown])["notes"].to_string().contains("recognised"), "{}", of(&here[unknown]));

    let marked = marks(&cloud);
    let marked_bad: BTreeSet<_> =
        marked.iter().filter(|(_, mark)| *mark == "failed").map(|(at, _)| at.clone()).collect();
    assert_eq!(marked_bad, bad.iter().cloned().collect(), "a key that is refused says nothing of the data");
    let proven: BTreeSet<_> = marked.iter().filter(|(_, mark)| *mark == "probe").map(|(at, _)| at.clone()).collect();
    assert_eq!(proven, ends["proven"], "VerifiedOn is on what is proven, and only there");

    as_predicted(&told);
    assert_eq!(cloud.count(&stack, "VerifyDeadLetterQueueUrl"), 3, "what is gone is no letter");

    // The corrupt newest one does not let the last good one go.
    let swept = cloud.run(&stack, &json!({"phases": ["expire"]}));
    assert_eq!(swept.error, "BackupIncomplete", "a run says what is bad, until there is a newer one");
    assert!(swept.cause.contains(&format!("the next older one is {good}")), "{}", swept.cause);
    assert!(cloud.snapshot_ids(DRILLED).contains(&good));
}

#[test]
fn a_dump_is_read_out_of_its_file_system_and_held_against_its_checksum() {
    let mut cloud = cloud();
    let stack = cloud.stack(DRILLED);
    let volumes = cloud.add_instances(DRILLED, &json!([tagged(json!({}), 3)])).remove(0).1;
    let told = Command::new("sha256sum").arg(disk().with_file_name("files").join("data")).output().unwrap();
    let right = String::from_utf8(told.stdout).unwrap()[..64].to_owned();
    let (wrong, other) = ("0".repeat(64), "/backup/data.gz");
    let dumps = [("/data", &right), ("/data", &wrong), (other, &right)];
    let held: Vec<Value> = volumes
        .iter()
        .zip(dumps)
        .map(|(volume, (path, sha256))| {
            let tags = json!({"DumpVolume": volume, "DumpPath": path, "DumpSha256": sha256});
            backup(1, tags, json!({"volume": volume}))
        })
        .collect();
    let held = add(&cloud, DRILLED, &held);

    let done = drill(&cloud, &stack, &json!({"level": "dump", "regions": [DRILLED]}));
    assert_eq!(done.error, "DrillFailed", "{}", done.cause);
    let marked = marks(&cloud);
    let of = |id: &String| marked.get(&(DRILLED.to_owned(), id.clone())).map(String::as_str);
    assert_eq!(held.iter().map(of).collect::<Vec<_>>(), [Some("dump"), Some("failed"), Some("failed")]);
    let told = report(&cloud, &stack, &done);
    let cause = |id: &String| {
        let one = told["backups"].as_array().unwrap().iter().find(|one| one["snapshot"] == json!(id)).unwrap();
        one["cause"].as_str().unwrap_or_default().to_owned()
    };
    assert!(cause(&held[1]).contains(&right) && cause(&held[1]).contains(&wrong), "{}", cause(&held[1]));
    assert!(cause(&held[2]).contains(other) && cause(&held[2]).contains("is missing"), "{}", cause(&held[2]));
}

#[test]
fn while_drills_are_off_there_is_nothing_of_them() {
    let mut cloud = cloud();
    cloud.stack(HOME);
    let stack = cloud.stack(DRILLED);
    let resources = |region: &str| {
        let list = format!("Action=ListStackResources&StackName={}&Version=2010-05-15", stack_name(region));
        let answer = cloud.form(region, "cloudformation", &list);
        between(&answer, "<LogicalResourceId>", "</LogicalResourceId>").into_iter().collect::<BTreeSet<_>>()
    };
    let of_drills = |all: &BTreeSet<String>| -> BTreeSet<String> {
        all.iter().filter(|name| name.contains("Drill") || name.starts_with("Verify")).cloned().collect()
    };
    let (off, on) = (resources(HOME), resources(DRILLED));
    assert!(off.contains("SnapshotFunction") && of_drills(&off).is_empty(), "{:?}", of_drills(&off));
    for name in ["VerifyFunction", "VerifyRole", "VerifyQueue", "DrillStateMachine", "DrillStateMachineSchedule"] {
        assert!(on.contains(name), "{name}: {:?}", of_drills(&on));
    }
    assert!(stack.output("DrillStateMachineArn").ends_with("-drill"));
}
