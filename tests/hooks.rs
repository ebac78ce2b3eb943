//! Hooks: an instance is snapshotted between its pre-script and its post-script, and whatever goes wrong in between, it
//! does not stay frozen.
//!
//! The scripts really run. The "database" of these stories is a file that a writer appends to under a lock; the
//! pre-script has a process hold that lock, which lets go by itself after a while.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    cloud::{Cloud, HOME, Stack, cloud, tagged, until},
    printed::sum_of,
};

/// The document of these stories, which the stack allows.
const DOCUMENT: &str = "story-hook";

/// What its script does. It tells what it is by a report, as the documents of the stack do.
const SCRIPT: &str = r#"
set -eu
cd "$FOLDER"
case "{{ command }}" in
pre-script)
    [ "$(cat state)" != frozen ] || { echo "a freeze is open"; exit 204; }
    setsid sh -c 'exec 9>lock; flock 9; echo $$ >holder; echo frozen >state
        sleep "$WATCHDOG" 9>&-; echo "by itself" >state' >/dev/null 2>&1 &
    until [ "$(cat state)" = frozen ]; do sleep 0.01; done
    ;;
post-script)
    case "$(cat state)" in
    frozen) kill -- "-$(cat holder)"; echo thawed >state ;;
    "by itself") exit 203 ;;
    *) exit 205 ;;
    esac
    ;;
esac
echo '{"version":1,"consistency":"application"}'
"#;

/// A database server with an SSM agent.
struct Server {
    instance: String,
    volumes: Vec<String>,
    folder: PathBuf,
}

/// Deploys the document of these stories.
fn with_document(cloud: &Cloud) {
    let parameter = |default: &str| json!({"type": "String", "default": default});
    let lines: Vec<&str> = SCRIPT.lines().collect();
    let step = json!({"action": "aws:runShellScript", "name": "hook",
        "inputs": {"timeoutSeconds": "60", "runCommand": lines}});
    let content = json!({"schemaVersion": "2.2", "mainSteps": [step],
        "parameters": {"executionId": parameter("None"), "command": parameter("dry-run")}});
    cloud.control("documents", Some(&json!({"region": HOME, "name": DOCUMENT, "content": content})));
}

impl Server {
    /// A server whose hook thaws by itself after so many seconds, with more tags.
    fn new(cloud: &Cloud, watchdog: u32, tags: Value) -> Self {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ebs-snapshots-hooks-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("state"), "open\n").unwrap();
        let mut own = json!({"BackupHook": DOCUMENT});
        own.as_object_mut().unwrap().extend(tags.as_object().unwrap().clone());
        let (instance, volumes) = cloud.add_instances(HOME, &json!([tagged(own, 2)])).remove(0);
        let server = Self { instance, volumes, folder };
        let environment = json!({"FOLDER": server.folder, "WATCHDOG": watchdog.to_string()});
        cloud
            .control("agents", Some(&json!({"region": HOME, "instance": server.instance, "environment": environment})));
        server
    }

    /// Has its agent run the scripts with these settings, on a machine whose disk says which volume it is, as an
    /// instance's does: that of a loop device has no serial.
    fn with_settings(&self, cloud: &Cloud, mut settings: Value) {
        let programs = self.folder.join("bin");
        fs::create_dir_all(&programs).unwrap();
        let serial = self.volumes[1].replace('-', "");
        let lsblk = format!("#!/bin/sh\ncase \"$*\" in *NAME,*) printf '/dev/sdf ' ;; esac\necho disk {serial}\n");
        fs::write(programs.join("lsblk"), lsblk).unwrap();
        fs::set_permissions(programs.join("lsblk"), fs::Permissions::from_mode(0o755)).unwrap();
        settings["HOOK_STATE_FOLDER"] = json!(self.folder.join("hook"));
        settings["PATH"] = json!(format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
        let agent = json!({"region": HOME, "instance": self.instance, "environment": settings});
        cloud.control("agents", Some(&agent));
    }

    /// When its snapshots were begun.
    fn begun_at(&self, cloud: &Cloud) -> f64 {
        let events = cloud.calls("").into_iter().filter_map(|call| self.event(&call));
        events.into_iter().find(|(what, _)| what == "CreateSnapshots").unwrap().1
    }

    fn state(&self) -> String {
        fs::read_to_string(self.folder.join("state")).unwrap().trim().to_owned()
    }

    /// Commits every few milliseconds, as long as nobody holds the lock.
    fn write(&self) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, lock) = (stop.clone(), File::create(self.folder.join("lock")).unwrap());
        let thread = thread::spawn(move || {
            let mut commits = Vec::new();
            while !told.load(Ordering::Relaxed) {
                lock.lock().unwrap();
                commits.push(now());
                lock.unlock().unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            commits
        });
        Writer { stop, thread }
    }

    /// What its snapshots say of themselves: consistency and reason.
    fn consistency(&self, cloud: &Cloud) -> (String, String) {
        let mut said: Vec<(String, String)> = self
            .snapshots(cloud)
            .iter()
            .map(|s| {
                let tag = |key: &str| s["tags"][key].as_str().unwrap_or_default().to_owned();
                (tag("Consistency"), tag("ConsistencyReason"))
            })
            .collect();
        said.dedup();
        assert_eq!(said.len(), 1, "one set, of one word: {said:?}");
        said.remove(0)
    }

    fn snapshots(&self, cloud: &Cloud) -> Vec<Value> {
        let all = cloud.snapshots(HOME);
        all.into_iter().filter(|s| s["tags"]["SourceInstanceId"] == self.instance.as_str()).collect()
    }

    /// What happened to it, in order: scripts that were run, and calls that began its snapshots or were refused.
    fn story(&self, cloud: &Cloud) -> Vec<String> {
        cloud.calls("").iter().filter_map(|call| self.event(call)).map(|(what, _)| what).collect()
    }

    /// An entry of the log that is about it, and when that was.
    fn event(&self, call: &Value) -> Option<(String, f64)> {
        let params = &call["params"];
        let mine = params["InstanceId"] == self.instance.as_str()
            || params["InstanceSpecification.InstanceId"] == self.instance.as_str();
        let what = match call["action"].as_str()? {
            "ScriptStarted" => params["command"].as_str()?.to_owned(),
            "CreateSnapshots" if call["outcome"] == "ok" => "CreateSnapshots".to_owned(),
            "CreateSnapshots" => format!("CreateSnapshots: {}", call["outcome"].as_str()?),
            _ => return None,
        };
        mine.then(|| (what, call["at"].as_f64().unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What still holds the lock.
        if let Ok(holder) = fs::read_to_string(self.folder.join("holder")) {
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", holder.trim())]).output();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Writer {
    /// Its commits, and its longest pause: the commits before and after.
    fn stop(self) -> (Vec<f64>, (f64, f64)) {
        self.stop.store(true, Ordering::Relaxed);
        let commits = self.thread.join().unwrap();
        let pauses = commits.windows(2).map(|pair| (pair[0], pair[1]));
        let longest = pauses.max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap();
        (commits, longest)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_hooked_instance_is_snapshotted_between_freeze_and_thaw_and_its_writer_waits_for_less_than_five_seconds() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({"BackupCrossRegion": "us-east-1"}));
    let other = cloud.add_instances(HOME, &json!([tagged(json!({}), 1)])).remove(0).0;
    let writer = server.write();
    let ended = cloud.run(&stack, &json!({}));
    let (commits, (before, after)) = writer.stop();
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(server.story(&cloud), ["pre-script", "CreateSnapshots", "post-script"]);
    let at: Vec<f64> = cloud.calls("").iter().filter_map(|call| server.event(call)).map(|(_, at)| at).collect();
    assert!(before < at[1] && at[1] < after, "the snapshots are begun while the writer waits: {before} {at:?} {after}");
    assert!(after - before < 5.0, "it waits for {} s", after - before);
    assert!(at[2] < after && commits.first() < Some(&before) && commits.last() > Some(&after), "it goes on");

    assert_eq!(server.consistency(&cloud), ("application".into(), String::new()));
    assert_eq!(server.snapshots(&cloud).len(), server.volumes.len());
    let unhooked: Vec<Value> = cloud.snapshots(HOME);
    let unhooked = unhooked.iter().find(|s| s["tags"]["SourceInstanceId"] == other.as_str()).unwrap();
    assert_eq!(unhooked["tags"]["Consistency"], Value::Null, "of the others nothing is said");
    let copies = cloud.snapshots("us-east-1");
    assert!(copies.len() == 2 && copies.iter().all(|copy| copy["tags"]["Consistency"] == "application"), "{copies:?}");
    let summary = cloud.report(&stack, &ended, "summary.txt");
    assert!(
        summary.contains("application-consistent") && summary.contains("Application-consistent: 1 of 1"),
        "{summary}"
    );
    assert_eq!(cloud.manifest(&stack, &ended, "hooked.jsonl").len(), 1);
    assert_eq!(cloud.manifest(&stack, &ended, "instances.jsonl").len(), 1);
}

#[test]
fn each_refusal_has_its_name_on_the_snapshots_and_one_that_skips_owes_its_volumes() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    cloud.control("settings", Some(&json!({"commandTimeScale": 0.02})));
    let script = |server: &Server, fault: Value| {
        let mut full = json!({"action": "RunScript", "instance": server.instance, "command": "pre-script", "times": 3});
        full.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        cloud.control("faults", Some(&full));
    };
    let faults = [
        (json!({"kind": "answer", "exitCode": 201, "output": "no password"}), "PreHookFailed", 3),
        (json!({"kind": "answer", "exitCode": 206, "output": "the server does not run"}), "HookNotReady", 1),
        (json!({"kind": "answer", "exitCode": 206, "output": "data on the root file system"}), "DataOnRootVolume", 1),
        (json!({"kind": "answer", "exitCode": 0, "output": "{\"version\":9}"}), "HookNotUnderstood", 3),
        (json!({"kind": "hang"}), "HookTimedOut", 3),
        (json!({"kind": "undelivered"}), "HookAgentGone", 3),
    ];
    let mut servers = Vec::new();
    for (fault, name, tries) in faults {
        let server = Server::new(&cloud, 60, json!({}));
        script(&server, fault);
        servers.push((server, name, tries));
    }
    servers.push((Server::new(&cloud, 60, json!({"BackupHook": "AWS-RunShellScript"})), "HookNotAllowed", 0));
    let without_agent = |tags: Value| {
        let server = Server::new(&cloud, 60, tags);
        cloud.control("remove-agent", Some(&json!({"region": HOME, "instance": server.instance})));
        server
    };
    servers.push((without_agent(json!({})), "HookNotManaged", 0));
    let skipped = without_agent(json!({"BackupHookOnError": "skip"}));

    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    let commands = cloud.control("commands", None);
    for (server, name, tries) in &servers {
        let (level, reason) = server.consistency(&cloud);
        assert!(level == "crash" && reason.starts_with(&format!("{name}: ")), "{name}: {level} {reason}");
        assert_ne!(server.state(), "frozen", "{name}");
        let pre = |each: &&Value| {
            each["instance"] == server.instance.as_str() && each["parameters"]["command"] == "pre-script"
        };
        assert_eq!(commands.as_array().unwrap().iter().filter(pre).count(), *tries, "{name}");
    }
    assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "BackupIncomplete"));
    assert!(skipped.snapshots(&cloud).is_empty());
    assert!(ended.cause.contains(&skipped.instance) && ended.cause.contains("HookNotManaged"), "{}", ended.cause);
    let summary: Value = serde_json::from_str(&cloud.report(&stack, &ended, "report.json")).unwrap();
    assert_eq!(summary["problems"].as_array().unwrap().len(), 2, "its two volumes, and nothing else: {}", ended.cause);
    assert_eq!(summary["notes"].as_array().unwrap().len(), servers.len(), "{summary}");
    assert_eq!(sum_of("HooksFailed", &cloud.printed()), 8.0, "the one that skips has no snapshots");
}

#[test]
fn a_frozen_instance_never_waits_it_is_thawed_and_begun_anew() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({}));
    cloud.control("faults", Some(&json!({"action": "CreateSnapshots", "code": "RequestLimitExceeded", "status": 503})));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let refused = "CreateSnapshots: RequestLimitExceeded";
    let once = ["pre-script", "CreateSnapshots", "post-script"];
    assert_eq!(server.story(&cloud), [["pre-script", refused, "post-script"], once].concat());
    assert_eq!(server.consistency(&cloud).0, "application");
    let printed = cloud.printed();
    assert_eq!((sum_of("Ec2Throttled", &printed), sum_of("HooksFailed", &printed)), (1.0, 0.0));
    assert_eq!(cloud.count(&stack, "SnapshotDeadLetterQueueUrl"), 0, "what is declined leaves no letter");
}

#[test]
fn a_command_whose_answer_was_lost_is_thawed_and_never_sent_twice_for_one_freeze() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({}));
    cloud.control("faults", Some(&json!({"action": "SendCommand", "kind": "lost"})));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let expected = ["pre-script", "post-script", "pre-script", "CreateSnapshots", "post-script"];
    assert_eq!(server.story(&cloud), expected);
    assert_eq!(server.consistency(&cloud).0, "application");
}

#[test]
fn the_same_task_twice_at_the_same_moment_is_one_freeze() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({}));
    let task = task(&mut cloud, &stack, "pre-script");
    let send = |name: &str| {
        let body = json!({"version": 1, "taskToken.$": "$$.Task.Token", "task": task});
        let state = json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true,
            "TimeoutSeconds": 60, "Parameters": {"QueueUrl": stack.output("HookQueueUrl"), "MessageBody": body}});
        json!({"StartAt": name, "States": {name: state}})
    };
    let both = json!({"Type": "Parallel", "Branches": [send("One"), send("Two")], "End": true});
    let ended = cloud.run_alone(&stack, "two-freezes-at-once", &both);
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(server.story(&cloud), ["pre-script"]);
    assert_eq!(server.state(), "frozen", "both follow the same command");

    // Its execution is over: what is frozen is thawed all the same.
    let mut thaw = json!({"version": 1, "taskToken": "of an execution that was stopped", "task": task});
    thaw["task"]["script"] = json!("post-script");
    cloud.send(&stack, "HookQueueUrl", &thaw.to_string());
    until("it is thawed", || (server.state() == "thawed").then_some(()));
    assert_eq!(server.story(&cloud), ["pre-script", "post-script"]);
}

#[test]
fn a_worker_that_is_killed_while_an_instance_is_frozen_leaves_it_to_its_watchdog_and_the_set_says_so() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 5, json!({}));
    cloud.hide_for(&stack, "SnapshotQueueUrl", 4); // What its worker drops is delivered again soon.
    cloud.control("faults", Some(&json!({"action": "CreateSnapshots", "kind": "slow", "seconds": 8})));
    let writer = server.write();
    let execution = cloud.begin(&stack, &json!({"phases": ["snapshot"]}));
    until("EC2 has carried out the call", || (!cloud.calls("CreateSnapshots").is_empty()).then_some(()));
    assert_eq!(server.state(), "frozen");
    assert!(cloud.kill_function("SnapshotFunction") > 0);
    until("it has thawed by itself", || (server.state() == "by itself").then_some(()));
    let ended = cloud.end_of(&stack, execution);
    let (_, (before, after)) = writer.stop();
    cloud.hide_for(&stack, "SnapshotQueueUrl", 360);
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(cloud.calls("CreateSnapshots").len(), 1);
    let (level, reason) = server.consistency(&cloud);
    assert!(level == "crash" && reason.starts_with("HookThawedEarly: "), "{level} {reason}");
    assert!(after - before < 7.0, "it was frozen for {} s", after - before);
}

#[test]
fn a_post_script_that_fails_is_loud_and_what_is_put_back_by_hand_only_thaws() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({}));
    let fault = json!({"action": "RunScript", "command": "post-script", "kind": "answer", "exitCode": 202,
        "output": "device busy", "times": 3});
    cloud.control("faults", Some(&fault));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    assert_eq!((ended.status.as_str(), ended.error.as_str()), ("FAILED", "BackupIncomplete"));
    let first = ended.cause.lines().next().unwrap();
    assert!(first.starts_with(&server.instance) && first.contains("it may still be frozen"), "{first}");
    let (level, reason) = server.consistency(&cloud);
    assert!(level == "crash" && reason.starts_with("PostHookFailed: "), "{level} {reason}");
    assert_eq!(server.state(), "frozen", "and so it is");

    let (letter, attributes) = cloud.receive(&stack, "HookDeadLetterQueueUrl");
    assert_eq!((attributes["Error"].as_str(), attributes["Script"].as_str()), ("PostHookFailed", "post-script"));
    cloud.send(&stack, "HookQueueUrl", &letter.to_string());
    until("it is thawed", || (server.state() == "thawed").then_some(()));
    until("the letter is worked off", || cloud.is_empty(&stack, "HookQueueUrl").then_some(()));
    assert_eq!(server.consistency(&cloud).0, "crash", "a set that nobody watched over is not raised");

    let sent = cloud.calls("SendCommand").len();
    let mut freeze = letter;
    freeze["task"]["script"] = json!("pre-script");
    cloud.send(&stack, "HookQueueUrl", &freeze.to_string());
    until("it is worked off", || cloud.is_empty(&stack, "HookQueueUrl").then_some(()));
    assert_eq!((cloud.calls("SendCommand").len(), server.state().as_str()), (sent, "thawed"), "it never freezes");
}

#[test]
fn a_dry_run_freezes_nothing_and_a_repeated_run_freezes_nothing_for_snapshots_that_are_there() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    with_document(&cloud);
    let server = Server::new(&cloud, 60, json!({}));
    assert_eq!(cloud.run(&stack, &json!({"dryRun": true})).status, "SUCCEEDED");
    assert!(server.story(&cloud).is_empty() && cloud.calls("SendCommand").is_empty());

    let input = json!({"scheduledTime": format!("{}T00:00:00Z", crate::cloud::day(0)), "phases": ["snapshot"]});
    for _ in ["the run", "the run once more"] {
        let ended = cloud.run(&stack, &input);
        assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
        assert_eq!(server.story(&cloud), ["pre-script", "CreateSnapshots", "post-script"]);
    }
}

/// A file system of its own, as the data of a database server should have; none where that takes rights that are missing.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path) -> Option<Self> {
        let (image, point) = (folder.join("image"), folder.join("mount"));
        fs::create_dir_all(&point).unwrap();
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let did = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).output().is_ok_and(|done| done.status.success())
        };
        let (image, place) = (image.to_str().unwrap(), point.to_str().unwrap());
        let made = did("mkfs.ext4", &["-q", image]) && did("mount", &["-o", "loop", image, place]);
        made.then_some(Self(point))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).output();
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn the_documents_of_the_stack_freeze_a_real_file_system_and_refuse_the_one_that_the_system_is_on() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let server = Server::new(&cloud, 60, json!({"BackupHook": "FileSystem", "BackupHookTimeout": "30"}));
    let Some(mount) = Mount::new(&server.folder) else {
        eprintln!("skipped: it takes root, mkfs.ext4 and loop devices to mount a file system");
        return;
    };
    server.with_settings(&cloud, json!({"HOOK_PATHS": mount.0}));
    let on_root = Server::new(&cloud, 60, json!({"BackupHook": "filesystem"}));
    on_root.with_settings(&cloud, json!({"HOOK_PATHS": "/etc"}));

    let stop = Arc::new(AtomicBool::new(false));
    let (told, path) = (stop.clone(), mount.0.join("commits"));
    let thread = thread::spawn(move || {
        let (mut file, mut commits) = (File::create(path).unwrap(), Vec::new());
        while !told.load(Ordering::Relaxed) {
            file.write_all(b"commit\n").unwrap();
            file.sync_data().unwrap();
            commits.push(now());
            thread::sleep(Duration::from_millis(5));
        }
        commits
    });
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    let (_, (before, after)) = Writer { stop, thread }.stop();
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(server.consistency(&cloud), ("application".into(), String::new()));
    let begun = server.begun_at(&cloud);
    assert!(before < begun && begun < after && after - before < 5.0, "{before} {begun} {after}");
    let sent = cloud.calls("SendCommand");
    let mine = sent.iter().find(|call| call["params"]["InstanceIds"][0] == server.instance.as_str()).unwrap();
    assert_eq!(mine["params"]["Parameters"]["executionTimeout"], json!(["30"]), "both of SSM's time-outs are set");
    assert_eq!(mine["params"]["TimeoutSeconds"], 30);
    let (level, reason) = on_root.consistency(&cloud);
    assert!(level == "crash" && reason.starts_with("DataOnRootVolume: "), "{level} {reason}");
}

/// A PostgreSQL server on a disk image of its own, with a client that commits all the time
/// (tests/databases/story_postgresql.py).
struct Postgres {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Postgres {
    const PROGRAM: &str = "tests/databases/story_postgresql.py";

    /// Where its disk image is, and its hook's settings; or why there is none on this machine.
    fn start(folder: &Path) -> (Self, Value) {
        let mut python = Command::new("python3");
        let python = python.arg(Self::PROGRAM).arg("serve").arg(folder);
        let mut process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, said };
        let ready = server.line();
        (server, ready)
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("it says why it fails")
    }

    /// When each commit was answered.
    fn stop(mut self) -> Vec<f64> {
        drop(self.process.stdin.take());
        let commits = self.line()["commits"].take();
        assert!(self.process.wait().unwrap().success());
        serde_json::from_value(commits).unwrap()
    }

    /// How many of the first commits a server has that starts from an image.
    fn rows(image: &Value, folder: &Path) -> usize {
        let mut python = Command::new("python3");
        let done = python.arg(Self::PROGRAM).arg("rows").arg(image.as_str().unwrap()).arg(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        said["rows"].as_u64().unwrap().try_into().unwrap()
    }
}

#[test]
fn a_postgresql_server_starts_from_the_image_of_the_moment_of_its_snapshot_with_every_transaction_before_it() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let server = Server::new(&cloud, 60, json!({"BackupHook": "postgresql"}));
    let (postgres, ready) = Postgres::start(&server.folder);
    if let Some(reason) = ready["skipped"].as_str() {
        eprintln!("skipped: {reason}");
        return;
    }
    server.with_settings(&cloud, ready["settings"].clone());
    let volume = &server.volumes[1];
    cloud.control("volume-file", Some(&json!({"region": HOME, "volume": volume, "file": ready["image"]})));
    let ended = cloud.run(&stack, &json!({"phases": ["snapshot"]}));
    let commits = postgres.stop();
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    assert_eq!(server.consistency(&cloud), ("application".into(), String::new()));

    let snapshot = server.snapshots(&cloud).into_iter().find(|snapshot| snapshot["volume"] == volume.as_str());
    let rows = Postgres::rows(&snapshot.unwrap()["file"], &server.folder);
    let begun = server.begun_at(&cloud);
    let committed = commits.iter().filter(|at| **at < begun).count();
    assert!(0 < committed && committed < commits.len(), "it writes before and after: {committed} of {}", commits.len());
    // The one that waited for the thaw may have been written, and not been answered.
    assert!(committed <= rows && rows <= committed + 1, "{rows} rows, and {committed} commits before the snapshot");
    let pause = commits[committed] - commits[committed - 1];
    assert!(pause < 5.0, "it waited for {pause} s");
}

/// The task of a script for the one hooked instance, as the state machine sends it.
fn task(cloud: &mut Cloud, stack: &Stack, script: &str) -> Value {
    let dry = cloud.run(stack, &json!({"dryRun": true}));
    let plan = cloud.manifest(stack, &dry, "hooked.jsonl").remove(0);
    let execution = "6f1c2a30-0000-4000-8000-000000000001";
    json!({"script": script, "run": "20261122T030000Z", "hook": plan["hook"], "instance": plan, "executionId": execution})
}
