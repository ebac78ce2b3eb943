//! `ebs-snapshots restore`: the built program, in one region, without the stack and without its home region.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::{
    cli::{self, Done, golden},
    cloud::{Cloud, HOME, between, cloud, day, tagged, until},
};

const AWAY: &str = "us-east-1";
/// Where nothing listens: whatever asks for more than EC2 and KMS fails there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The program in a region, with EC2 and KMS and nothing else of AWS.
fn program(cloud: &Cloud, region: &str, arguments: &[&str]) -> Command {
    let mut program = cli::bare(cloud);
    let ec2 = cloud.environment().into_iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL_EC2").unwrap().1;
    program.env("AWS_ENDPOINT_URL", NOWHERE).env("AWS_ENDPOINT_URL_KMS", ec2);
    program.args(["--region", region, "restore"]).args(arguments);
    program
}

fn restore(cloud: &Cloud, region: &str, arguments: &[&str]) -> Done {
    program(cloud, region, arguments).output().expect("`make build` comes first").into()
}

/// The data of an answer in JSON, once it is seen to be as documented.
fn data(cloud: &Cloud, region: &str, arguments: &[&str]) -> (i32, Value) {
    cli::documented(restore(cloud, region, &[arguments, &["--output", "json", "--yes"]].concat()))
}

/// A folder that goes with the story.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let own = format!("ebs-snapshots-disks-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(own);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A disk image with an ext4 file system that holds one file, `/data/NAME`. It is made without mounting it.
    fn disk(&self, name: &str, content: &str) -> String {
        let (files, image) = (self.0.join(format!("{name}.files")), self.0.join(name));
        fs::create_dir_all(files.join("data")).unwrap();
        fs::write(files.join("data").join(name), content).unwrap();
        let mut make = Command::new("/sbin/mkfs.ext4");
        make.args(["-q", "-F", "-d"]).args([&files, &image]).arg("4M");
        let made = make.output().expect("e2fsprogs is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        image.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A file in the ext4 file system of a disk image.
fn file_of(image: &Value, path: &str) -> String {
    let image = image.as_str().expect("the volume has a disk image");
    let mut read = Command::new("/sbin/debugfs");
    let read = read.args(["-R", &format!("cat {path}"), image]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(read.stdout).unwrap()
}

fn volumes(cloud: &Cloud, region: &str) -> Vec<Value> {
    cloud.control(&format!("volumes?region={region}"), None).as_array().unwrap().clone()
}

fn volume(cloud: &Cloud, region: &str, id: &Value) -> Value {
    volumes(cloud, region).into_iter().find(|one| one["id"] == *id).unwrap_or_else(|| panic!("{id} exists"))
}

/// What a restore has made that still exists.
fn restored(cloud: &Cloud, region: &str) -> Vec<Value> {
    volumes(cloud, region).into_iter().filter(|one| !one["tags"]["RestorePlan"].is_null()).collect()
}

/// An instance with a root volume and two others, each of its own type and with a file of its own.
fn database(cloud: &Cloud, folder: &Folder) -> (String, Vec<String>) {
    let volumes = json!([
        {"device": "/dev/sda1", "size": 8, "type": "gp3", "iops": 3500, "throughput": 200, "deleteOnTermination": true},
        {"device": "/dev/sdf", "size": 20, "type": "io2", "iops": 1000},
        {"device": "/dev/sdg", "size": 125, "type": "st1"},
    ]);
    let tags = json!({"Backup": "Yes", "Name": "database", "BackupCrossRegion": AWAY});
    let made = cloud.add_instances(HOME, &json!([{"tags": tags, "state": "running", "volumes": volumes}]));
    let (instance, volumes) = made.into_iter().next().unwrap();
    for (volume, name) in volumes.iter().zip(FILES) {
        let file = folder.disk(name, &content(name));
        cloud.control("volume-file", Some(&json!({"region": HOME, "volume": volume, "file": file})));
    }
    (instance, volumes)
}

const FILES: [&str; 3] = ["system", "ledger", "archive"];

/// Larger than a block of the file system.
fn content(name: &str) -> String {
    format!("{name} of the day before\n").repeat(2000)
}

/// What a story compares with a golden file, without what is another one every time.
fn without_plan(text: &str, plan: &Value) -> String {
    text.replace(plan["id"].as_str().unwrap(), "PLAN").replace(plan["chosen"]["runId"].as_str().unwrap(), "RUN")
}

#[test]
fn what_was_copied_comes_back_as_it_was_while_the_home_region_is_down() {
    let mut cloud = cloud();
    let (stack, folder) = (cloud.stack(HOME), Folder::new());
    let (instance, sources) = database(&cloud, &folder);
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot", "copy"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    cloud.control("faults", Some(&json!({"action": "*", "region": HOME, "kind": "down", "seconds": 600})));
    let before = cloud.calls("").len();

    // What it would do, at every width; and as JSON.
    let (code, planned) = data(&cloud, AWAY, &["--instance", &instance, "--dry-run"]);
    assert_eq!((code, planned["outcome"].as_str()), (0, Some("planned")), "{planned}");
    for width in [80, 140] {
        let mut shown = program(&cloud, AWAY, &["--instance", &instance, "--dry-run"]);
        let done: Done = shown.env("COLUMNS", width.to_string()).output().unwrap().into();
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
        assert!(done.out.lines().all(|line| line.chars().count() <= width || line.contains('`')), "{}", done.out);
        golden(&format!("restore-plan-{width}"), &without_plan(&done.out, &planned["plan"]));
    }
    assert_eq!(restored(&cloud, AWAY), Vec::<Value>::new(), "a dry run makes nothing");

    // One command, and the set is there.
    let done = restore(&cloud, AWAY, &["--instance", &instance, "--yes"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let made = restored(&cloud, AWAY);
    let kinds: Vec<Value> = made
        .iter()
        .map(|one| json!([one["type"], one["size"], one["iops"], one["throughput"], one["state"], one["zone"]]))
        .collect();
    let zone = format!("{AWAY}a");
    for kind in [
        json!(["gp3", 8, 3500, 200, "available", zone]),
        json!(["io2", 20, 1000, null, "available", zone]),
        json!(["st1", 125, null, null, "available", zone]),
    ] {
        assert!(kinds.contains(&kind), "{kind} is among {kinds:?}");
    }
    assert_eq!(made.len(), 3, "{made:?}");
    let copies = cloud.snapshots(AWAY);
    for (source, name) in sources.iter().zip(FILES) {
        let copy = copies.iter().find(|copy| copy["tags"]["SourceVolumeId"] == **source).unwrap();
        let volume = made.iter().find(|one| one["snapshot"] == copy["id"]).unwrap();
        assert_eq!(file_of(&volume["file"], &format!("/data/{name}")), content(name), "{name}");
        assert_eq!(volume["tags"]["RestoredFrom"], copy["id"]);
        assert!(volume["tags"]["RestoredAt"].is_string() && volume["tags"]["Backup"].is_null(), "{}", volume["tags"]);
        assert!(done.out.contains(volume["id"].as_str().unwrap()), "{}", done.out);
    }
    golden("restore-done-80", &without_plan(&done.out, &planned["plan"]));

    // Again: it is done, and nothing is made twice; one volume of it is another request.
    let (code, again) = data(&cloud, AWAY, &["--instance", &instance]);
    assert_eq!((code, again["outcome"].as_str()), (0, Some("doneBefore")), "{again}");
    assert_eq!(restored(&cloud, AWAY).len(), 3);
    let (code, one) = data(&cloud, AWAY, &["--volume", &sources[1], "--fast", "300", "--backup", "hold"]);
    assert_eq!((code, one["outcome"].as_str()), (0, Some("done")), "{one}");
    let ledger = volume(&cloud, AWAY, &one["made"]["volumes"][0]["volume"]);
    assert_eq!(file_of(&ledger["file"], "/data/ledger"), content("ledger"));
    assert_eq!((&ledger["initialized"], &ledger["tags"]["Backup"]), (&json!(100), &json!("Hold")), "{ledger}");

    // An instance can be launched from an image of it there.
    let (code, image) = data(&cloud, AWAY, &["--instance", &instance, "--register-image"]);
    assert_eq!((code, image["outcome"].as_str()), (0, Some("done")), "{image}");
    let launched = cloud.ec2(
        AWAY,
        &format!("Action=RunInstances&ImageId={}&MinCount=1&MaxCount=1", image["made"]["image"].as_str().unwrap()),
    );
    let launched = between(&launched, "<instanceId>", "</instanceId>").remove(0);
    let disks: Vec<Value> =
        volumes(&cloud, AWAY).into_iter().filter(|one| one["attachments"][0]["instance"] == *launched).collect();
    let at = |device: &str| disks.iter().find(|one| one["attachments"][0]["device"] == device).unwrap();
    for (device, name) in ["/dev/sda1", "/dev/sdf", "/dev/sdg"].into_iter().zip(FILES) {
        assert_eq!(file_of(&at(device)["file"], &format!("/data/{name}")), content(name), "{device}");
    }
    assert_eq!(disks.len(), 3);

    let home = cloud.calls("").split_off(before).into_iter().filter(|call| call["region"] == HOME);
    assert_eq!(home.collect::<Vec<_>>(), Vec::<Value>::new(), "nothing was asked of the home region");
}

/// The calls that have changed something.
fn changes(cloud: &Cloud) -> Vec<Value> {
    cloud.mutating_calls().into_iter().filter(|call| call["outcome"] == "ok").collect()
}

/// An instance with two volumes and their snapshots of one moment, of which a swap makes other volumes.
struct Pair {
    instance: String,
    volumes: Vec<String>,
    snapshots: Vec<String>,
}

impl Pair {
    fn new(cloud: &Cloud, of_snapshots: &Value) -> Self {
        let made = cloud.add_instances(HOME, &json!([tagged(json!({"Name": "pair"}), 2)]));
        let (instance, volumes) = made.into_iter().next().unwrap();
        let devices = format!("/dev/sda1={} /dev/sdf={}", volumes[0], volumes[1]);
        let snapshots = volumes.iter().map(|volume| {
            let today = day(0);
            let tags = json!({"Type": "Automated", "CreatedOn": today, "DeleteOn": day(7),
                "BackupRun": "20261122T030000Z", "SourceInstanceId": instance, "Devices": devices});
            let mut snapshot = json!({"volume": volume, "tags": tags, "startTime": format!("{today}T00:00:01Z")});
            snapshot.as_object_mut().unwrap().extend(of_snapshots.as_object().unwrap().clone());
            cloud.add_snapshot(HOME, snapshot)
        });
        let snapshots = snapshots.collect();
        Self { instance, volumes, snapshots }
    }

    /// What was made of its snapshots, of what a restore has made.
    fn of(&self, made: &[Value]) -> Vec<Value> {
        made.iter().filter(|one| self.snapshots.iter().any(|id| one["snapshot"] == **id)).cloned().collect()
    }

    fn made(&self, cloud: &Cloud) -> Vec<Value> {
        self.of(&restored(cloud, HOME))
    }

    /// The calls about it, of all that have changed something.
    fn among(&self, changes: &[Value], made: &[Value]) -> Vec<String> {
        let made = self.of(made).into_iter().map(|one| one["id"].as_str().unwrap().to_owned());
        let own = [self.instance.clone()].into_iter().chain(self.volumes.clone()).chain(self.snapshots.clone());
        let own: Vec<String> = own.chain(made).collect();
        let about = changes.iter().filter(|call| own.iter().any(|id| call["params"].to_string().contains(id)));
        about.map(|call| call["action"].as_str().unwrap().to_owned()).collect()
    }

    fn changes(&self, cloud: &Cloud) -> Vec<String> {
        self.among(&changes(cloud), &restored(cloud, HOME))
    }

    /// So many volumes were made of it, each by one call, and each is finished.
    fn assert_made(&self, cloud: &Cloud, count: usize, how: &str) {
        let (made, changes) = (self.made(cloud), self.changes(cloud));
        assert_eq!(made.len(), count, "{how}: {changes:?}: {made:?}");
        assert!(made.iter().all(|one| one["tags"]["RestoredAt"].is_string()), "{how}: {made:?}");
        let calls = changes.iter().filter(|action| *action == "CreateVolume").count();
        assert_eq!(calls, count, "{how}: {changes:?}");
    }

    /// What was made of one of its snapshots is at this device of it.
    fn assert_in_place(&self, cloud: &Cloud, at: usize, device: &str, how: &str) {
        let new = self.made(cloud).into_iter().find(|one| one["snapshot"] == *self.snapshots[at]).unwrap();
        let place = &new["attachments"][0];
        assert_eq!((&place["instance"], &place["device"]), (&json!(self.instance), &json!(device)), "{how}: {new}");
    }

    /// Its new volumes are in the place of the old ones, which are kept, and it runs.
    fn assert_swapped(&self, cloud: &Cloud, how: &str) {
        self.assert_made(cloud, 2, how);
        for (at, device) in ["/dev/sda1", "/dev/sdf"].into_iter().enumerate() {
            self.assert_in_place(cloud, at, device, how);
            let old = volume(cloud, HOME, &json!(self.volumes[at]));
            let word = (&old["tags"]["Backup"], &old["state"]);
            assert_eq!(word, (&json!("Hold"), &json!("available")), "{how}: {old}");
        }
        let described = cloud.ec2(HOME, &format!("Action=DescribeInstances&InstanceId.1={}", self.instance));
        assert!(described.contains("<name>running</name>"), "{how}: {described}");
    }
}

/// A kind of restore of a pair.
struct Kind {
    /// What is asked for.
    arguments: fn(&Pair) -> Vec<&str>,
    /// What has to be so before.
    prepare: fn(&Cloud, &Pair),
    /// That it is as it should be, and that nothing was made twice.
    assert_right: fn(&Pair, &Cloud, &str),
}

const SWAP: Kind = Kind {
    arguments: |pair| vec!["--instance", &pair.instance, "--swap"],
    prepare: |_, _| {},
    assert_right: Pair::assert_swapped,
};
const VOLUMES: Kind = Kind {
    arguments: |pair| vec!["--instance", &pair.instance],
    prepare: |_, _| {},
    assert_right: |pair, cloud, how| pair.assert_made(cloud, 2, how),
};
const ATTACH: Kind = Kind {
    arguments: |pair| vec!["--volume", &pair.volumes[1], "--attach", &pair.instance],
    prepare: |cloud, pair| _ = cloud.control("detach", Some(&json!({"region": HOME, "volume": pair.volumes[1]}))),
    assert_right: |pair, cloud, how| {
        pair.assert_made(cloud, 1, how);
        pair.assert_in_place(cloud, 1, "/dev/sdf", how);
    },
};
const ROOT: Kind = Kind {
    arguments: |pair| vec!["--instance", &pair.instance, "--replace-root"],
    prepare: |_, _| {},
    assert_right: |pair, cloud, how| {
        pair.assert_made(cloud, 1, how);
        pair.assert_in_place(cloud, 0, "/dev/sda1", how);
        let changes = pair.changes(cloud);
        let tasks = changes.iter().filter(|action| *action == "CreateReplaceRootVolumeTask").count();
        assert_eq!(tasks, 1, "{how}: {changes:?}");
    },
};
const IMAGE: Kind = Kind {
    arguments: |pair| vec!["--instance", &pair.instance, "--register-image", "--architecture", "x86_64"],
    prepare: |_, _| {},
    assert_right: |pair, cloud, how| {
        let described = cloud.ec2(HOME, "Action=DescribeImages&Owner.1=self");
        let images = described.matches(&format!("<snapshotId>{}</snapshotId>", pair.snapshots[0])).count();
        assert_eq!(images, 1, "{how}: {described}");
        assert_eq!(pair.changes(cloud).iter().filter(|action| *action == "RegisterImage").count(), 1, "{how}");
    },
};

#[test]
fn a_swap_that_is_killed_after_any_call_ends_right_when_it_is_run_again() {
    killed_after_any_call(&[SWAP]);
}

#[test]
fn every_other_restore_that_is_killed_after_any_call_ends_right_when_it_is_run_again() {
    killed_after_any_call(&[VOLUMES, ATTACH, ROOT, IMAGE]);
}

fn killed_after_any_call(kinds: &[Kind]) {
    let cloud = cloud();
    let new = |kind: &Kind| {
        let pair = Pair::new(&cloud, &json!({}));
        (kind.prepare)(&cloud, &pair);
        // The calls that have prepared it are not those of the restore.
        let before = pair.changes(&cloud).len();
        (pair, before)
    };
    let run = |kind: &Kind, pair: &Pair| {
        let mut program = program(&cloud, HOME, &(kind.arguments)(pair));
        program.arg("--yes");
        program
    };
    let mut all = Vec::new();
    for kind in kinds {
        let (pair, before) = new(kind);
        let done: Done = run(kind, &pair).output().unwrap().into();
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        (kind.assert_right)(&pair, &cloud, "undisturbed");
        let calls = pair.changes(&cloud).split_off(before);
        assert!(!calls.is_empty(), "it has changed something");
        all.push((kind, calls));
    }
    // Whatever changes something is answered late, so that who is killed then has not heard of it.
    for action in all.iter().flat_map(|(_, calls)| calls).collect::<BTreeSet<_>>() {
        let late = json!({"action": action, "kind": "slow", "seconds": 0.5, "times": 10_000});
        cloud.control("faults", Some(&late));
    }
    // One pair for each call after which it is killed; all at once, since they mostly wait.
    let mut pairs = Vec::new();
    for (kind, calls) in &all {
        for (after, call) in (1..).zip(calls) {
            let (pair, before) = new(kind);
            pairs.push((
                *kind,
                pair,
                before + after,
                format!("killed after {after} calls, the last of which was {call}"),
            ));
        }
    }
    let quiet = |mut program: Command| program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running: Vec<(&Pair, usize, Child)> =
        pairs.iter().map(|(kind, pair, after, _)| (pair, *after, quiet(run(kind, pair)))).collect();
    let mut killed = 0;
    until("all were killed", || {
        let (changes, made) = (changes(&cloud), restored(&cloud, HOME));
        running.retain_mut(|(pair, after, program)| {
            let is_due = pair.among(&changes, &made).len() >= *after;
            if is_due {
                program.kill().unwrap();
                killed += usize::from(program.wait().unwrap().code().is_none());
            }
            !is_due
        });
        running.is_empty().then_some(())
    });
    assert!(killed * 2 > pairs.len(), "most were not over before: {killed} of {}", pairs.len());
    let again: Vec<Child> = pairs
        .iter()
        .map(|(kind, pair, ..)| run(kind, pair).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for ((kind, pair, _, how), again) in pairs.iter().zip(again) {
        let again: Done = again.wait_with_output().unwrap().into();
        assert_eq!(again.code, 0, "{how}: {}{}", again.out, again.err);
        (kind.assert_right)(pair, &cloud, how);
    }
    // And then it is done.
    let (kind, pair, ..) = &pairs[0];
    let (code, over) = data(&cloud, HOME, &(kind.arguments)(pair));
    assert_eq!((code, over["outcome"].as_str()), (0, Some("doneBefore")), "{over}");
    (kind.assert_right)(pair, &cloud, "run a third time");
}

#[test]
fn what_an_unfinished_restore_is_made_from_does_not_expire_before_it_is_finished() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let pair = Pair::new(&cloud, &json!({}));
    let due = |volume: &String| {
        let devices = format!("/dev/sda1={} /dev/sdf={}", pair.volumes[0], pair.volumes[1]);
        let tags = json!({"Type": "Automated", "CreatedOn": day(-9), "DeleteOn": day(-2), "BackupRun": "20261101T030000Z",
            "SourceInstanceId": pair.instance, "Devices": devices});
        let begun = format!("{}T03:00:00Z", day(-9));
        cloud.add_snapshot(HOME, json!({"volume": volume, "tags": tags, "startTime": begun}))
    };
    let old: BTreeSet<String> = pair.volumes.iter().map(due).collect();
    // Once for the look ahead (DryRun), which tells only what is denied.
    let refused = json!({"action": "StopInstances", "code": "OperationNotPermitted", "status": 400, "times": 2});
    cloud.control("faults", Some(&refused));
    let arguments = ["--instance", &pair.instance, "--at", "20261101T030000Z", "--swap"];
    let (code, unfinished) = data(&cloud, HOME, &arguments);
    assert_eq!((code, unfinished["outcome"].as_str()), (1, Some("unfinished")), "{unfinished}");
    assert_eq!(unfinished["made"]["instanceState"], "running", "{unfinished}");
    for id in &pair.volumes {
        let old = volume(&cloud, HOME, &json!(id));
        assert!(old["tags"]["Backup"].is_null() && old["state"] == "in-use", "it is backed up as before: {old}");
    }

    let expire = json!({"phases": ["expire"], "allowMassExpire": true});
    let swept = cloud.run(&stack, &expire);
    assert!(cloud.snapshot_ids(HOME).is_superset(&old), "{}", swept.cause);
    let verdicts = cloud.report(&stack, &swept, &format!("verdicts-{HOME}.jsonl"));
    assert_eq!(verdicts.matches("which is not finished").count(), 2, "{verdicts}");

    let (code, done) = data(&cloud, HOME, &arguments);
    assert_eq!((code, done["outcome"].as_str()), (0, Some("done")), "{done}");
    cloud.run(&stack, &expire);
    assert!(cloud.snapshot_ids(HOME).is_disjoint(&old), "then it goes as any other");
}

#[test]
fn volumes_are_attached_and_a_root_volume_is_replaced() {
    let cloud = cloud();
    let pair = Pair::new(&cloud, &json!({}));
    // A device that is taken is refused before anything is made; a free one is used.
    let taken = restore(&cloud, HOME, &["--instance", &pair.instance, "--attach", &pair.instance, "--yes"]);
    assert!(taken.code == 2 && taken.err.contains(&pair.volumes[0]), "{}{}", taken.out, taken.err);
    cloud.control("detach", Some(&json!({"region": HOME, "volume": pair.volumes[1]})));
    let (code, one) = data(&cloud, HOME, &["--volume", &pair.volumes[1], "--attach", &pair.instance]);
    assert_eq!((code, one["outcome"].as_str()), (0, Some("done")), "{one}");
    let new = volume(&cloud, HOME, &one["made"]["volumes"][0]["volume"]);
    let place = &new["attachments"][0];
    assert_eq!((&place["instance"], &place["device"]), (&json!(pair.instance), &json!("/dev/sdf")), "{new}");

    let (code, root) = data(&cloud, HOME, &["--instance", &pair.instance, "--replace-root"]);
    assert_eq!((code, root["outcome"].as_str()), (0, Some("done")), "{root}");
    let new = volume(&cloud, HOME, &root["made"]["volumes"][0]["volume"]);
    assert_eq!((&new["snapshot"], &new["attachments"][0]["device"]), (&json!(pair.snapshots[0]), &json!("/dev/sda1")));
    let old = volume(&cloud, HOME, &json!(pair.volumes[0]));
    assert_eq!((&old["tags"]["Backup"], &old["state"]), (&json!("Hold"), &json!("available")), "{old}");
    assert!(!pair.changes(&cloud).iter().any(|action| action == "StopInstances"), "{:?}", pair.changes(&cloud));
}

#[test]
fn what_cannot_be_restored_is_told_before_anything_is_made_and_a_key_that_is_revoked_is_named() {
    let cloud = cloud();
    let key = "arn:aws:kms:eu-west-1:123456789012:key/0a";
    let pair = Pair::new(&cloud, &json!({"encrypted": true, "kmsKeyId": key}));
    let put = |state: &str| cloud.control("keys", Some(&json!({"region": HOME, "key": key, "state": state})));
    let refused = |arguments: &[&str]| restore(&cloud, HOME, arguments);

    // Nobody to ask; nothing of that name; nothing at that time.
    let asked = refused(&["--instance", &pair.instance]);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{}", asked.err);
    for arguments in [["--snapshot", "snap-0123456789abcdef0"], ["--volume", "vol-0123456789abcdef0"]] {
        let none = refused(&[&arguments[..], &["--yes"]].concat());
        assert!(none.code == 2 && none.err.contains(arguments[1]), "{}{}", none.out, none.err);
    }

    // A key that is disabled, which KMS tells.
    put("disabled");
    let (code, answer) = data(&cloud, HOME, &["--volume", &pair.volumes[0]]);
    assert_eq!((code, answer["outcome"].as_str()), (1, Some("refused")), "{answer}");
    assert_eq!((&answer["problems"][0]["problem"], &answer["problems"][0]["key"]), (&json!("key"), &json!(key)));
    let told = refused(&["--volume", &pair.volumes[0], "--yes"]);
    assert!(told.out.contains("KeyNotAccessible") && told.out.contains(key), "{}", told.out);
    // A permission that is missing, which EC2 tells.
    put("enabled");
    cloud.control("faults", Some(&json!({"action": "CreateVolume", "code": "UnauthorizedOperation", "status": 403})));
    let (code, answer) = data(&cloud, HOME, &["--volume", &pair.volumes[0]]);
    assert_eq!((code, &answer["problems"][0]["problem"]), (1, &json!("denied")), "{answer}");
    assert_eq!(restored(&cloud, HOME), Vec::<Value>::new());

    // A key of which KMS knows nothing bad, and which EBS cannot use: the volume vanishes after it was accepted.
    put("denied");
    let (code, answer) = data(&cloud, HOME, &["--volume", &pair.volumes[0]]);
    assert_eq!((code, answer["outcome"].as_str()), (1, Some("unfinished")), "{answer}");
    assert_eq!(answer["failure"]["name"], "KeyNotAccessible", "{answer}");
    let cause = answer["failure"]["cause"].as_str().unwrap();
    assert!(cause.contains(key) && cause.contains("kms:CreateGrant"), "{cause}");
    // Once it can be used, the same command makes the volume: one.
    put("enabled");
    let (code, answer) = data(&cloud, HOME, &["--volume", &pair.volumes[0]]);
    assert_eq!((code, answer["outcome"].as_str()), (0, Some("done")), "{answer}");
    assert_eq!(pair.made(&cloud).len(), 1);
}

/// What a terminal shows of a restore, with an answer to what it asks.
fn on_a_terminal(cloud: &Cloud, arguments: &[&str], typed: &str) -> Done {
    let mut script = Command::new("script");
    let inner = program(cloud, HOME, arguments);
    let words: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]).env_clear();
    script.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin")]);
    let mut running = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, typed.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    drop(input);
    done.into()
}

#[test]
fn somebody_is_asked_and_ctrl_c_says_how_to_go_on() {
    let cloud = cloud();
    let pair = Pair::new(&cloud, &json!({}));
    let arguments = ["--volume", pair.volumes[0].as_str()];
    let no = on_a_terminal(&cloud, &arguments, "n\n");
    assert!(no.code == 0 && no.out.contains("Restore? [y/N]") && no.out.contains("Nothing was done."), "{}", no.out);
    assert_eq!(restored(&cloud, HOME), Vec::<Value>::new());

    // The volume is not available before somebody says so.
    cloud.control("settings", Some(&json!({"volumeSeconds": 600})));
    let mut running = program(&cloud, HOME, &[&arguments[..], &["--yes"]].concat());
    let running = running.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let made = until("it is being made", || pair.made(&cloud).pop());
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    let stopped: Done = running.wait_with_output().unwrap().into();
    assert_eq!(stopped.code, 130, "{}", stopped.err);
    assert!(stopped.err.contains("`ebs-snapshots --region eu-west-1 restore --volume vol-"), "{}", stopped.err);
    cloud.control("hurry", Some(&json!({"id": made["id"]})));
    let yes = on_a_terminal(&cloud, &arguments, "y\n");
    assert!(yes.code == 0 && yes.out.contains("made by an earlier try"), "{}", yes.out);
    assert_eq!(pair.made(&cloud).len(), 1);
}
