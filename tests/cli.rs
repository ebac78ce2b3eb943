//! The command line as people and scripts use it: the built program, against the local cloud.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, ask, cloud, day, stack_name, tagged, until};

/// What a command wrote, and how it ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The program as `make build` has built it, with the environment of the local cloud and no other.
pub fn bare(cloud: &Cloud) -> Command {
    let own = env::current_exe().unwrap();
    // Beside the folder of the tests.
    // What runs in the background ignores Ctrl-C, and so would what it starts.
    let mut program = Command::new("/usr/bin/env");
    program.arg("--default-signal=INT").arg(own.parent().unwrap().with_file_name("ebs-snapshots"));
    program.env_clear().envs(cloud.environment()).stdin(Stdio::null());
    program
}

fn program(cloud: &Cloud, arguments: &[&str]) -> Command {
    let mut program = bare(cloud);
    program.args(["--region", HOME, "--stack-name", &stack_name(HOME)]).args(arguments);
    program
}

fn run(cloud: &Cloud, arguments: &[&str]) -> Done {
    program(cloud, arguments).output().expect("`make build` comes first").into()
}

fn at_width(cloud: &Cloud, width: u16, arguments: &[&str]) -> Done {
    program(cloud, arguments).env("COLUMNS", width.to_string()).output().unwrap().into()
}

fn data(cloud: &Cloud, arguments: &[&str]) -> (i32, Value) {
    documented(run(cloud, &[arguments, &["--output", "json"]].concat()))
}

/// Exit code and data of an answer in JSON, once it is seen to be as documented.
pub fn documented(done: Done) -> (i32, Value) {
    let answer: Value =
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {}{}", done.out, done.err));
    assert_eq!(answer["exitCode"], done.code, "{answer}");
    assert_eq!(ask("tools", &["tests/local/check_output.py"], &json!([answer])), Vec::<String>::new(), "{answer}");
    (done.code, answer["data"].clone())
}

/// Ids of letters, whole and as tables show them.
const LETTER_IDS: [usize; 2] = [8, 36];

/// A text with zeros in place of the ids of letters, so that what stands beside them stays where it is.
fn without_letters(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let (mut masked, mut rest) = (String::new(), line);
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        let is_id = LETTER_IDS.contains(&word.len()) && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        masked.push_str(before);
        masked.push_str(&if is_id { "0".repeat(word.len()) } else { word.to_owned() });
        rest = after;
    }
    masked + rest
}

/// A text without what is another one every time: ids, and the lines about the moment and the runs.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        let line = without_letters(line);
        let line = line.as_str();
        if line.starts_with("Last run:") || line.contains(" UTC") {
            masked.push_str("(about this moment)\n");
            continue;
        }
        // The hexadecimal digits of ids, so that what stands beside them stays where it is.
        let mut rest = line;
        while let Some(at) = ["vol-", "snap-", "i-"].iter().filter_map(|kind| Some(rest.find(kind)? + kind.len())).min()
        {
            let (before, after) = rest.split_at(at);
            let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
            masked.push_str(before);
            masked.push_str(&"0".repeat(digits));
            rest = &after[digits..];
        }
        masked.push_str(rest);
        masked.push('\n');
    }
    for offset in -40..40 {
        masked = masked.replace(&day(offset).to_string(), "2026-00-00");
    }
    masked
}

/// Compares with a file below tests/golden; GOLDEN=write writes it anew, to be read before it is committed.
pub fn golden(name: &str, text: &str) {
    let (path, text) = (format!("tests/golden/{name}.txt"), masked(text));
    if env::var("GOLDEN").is_ok_and(|word| word == "write") {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path}");
}

/// A backup of a volume that was begun so many hours ago, and copies of it.
fn backup(cloud: &Cloud, volume: &str, hours: i64, to: &[&str]) -> String {
    let started = Utc::now() - TimeDelta::minutes(hours * 60 + 30);
    let (time, created) = (started.format("%Y-%m-%dT%H:%M:%SZ").to_string(), started.date_naive());
    let tags = json!({"Type": "Automated", "CreatedOn": created, "DeleteOn": day(9)});
    let source = cloud.add_snapshot(HOME, json!({"volume": volume, "startTime": time, "tags": tags}));
    for region in to {
        let tags = json!({"Type": "Automated", "CreatedOn": created, "DeleteOn": day(9), "BackupFromRegion": HOME,
            "SourceSnapshotId": source, "SourceVolumeId": volume});
        cloud.add_snapshot(region, json!({"startTime": time, "tags": tags}));
    }
    source
}

/// Two instances with three volumes, all of them backed up and copied.
fn healthy(cloud: &Cloud) -> Vec<(String, Vec<String>)> {
    let named = |name: &str| json!({"Name": name, "BackupCrossRegion": "us-east-1"});
    let ids = cloud.add_instances(HOME, &json!([tagged(named("database"), 2), tagged(named("web"), 1)]));
    for volume in ids.iter().flat_map(|(_, volumes)| volumes) {
        backup(cloud, volume, 5, &["us-east-1"]);
    }
    ids
}

/// Makes sure that there was a complete run, whatever ran before.
fn complete_run(cloud: &Cloud, stack: &crate::cloud::Stack) {
    let ended = cloud.run(stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
}

#[test]
fn an_empty_account_is_well_and_told_that_nothing_asks_for_a_backup() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    complete_run(&cloud, &stack);
    for width in [80, 140] {
        for command in ["status", "plan"] {
            let done = at_width(&cloud, width, &[command]);
            assert_eq!(done.code, 0, "{}{}", done.out, done.err);
            assert_eq!(done.err, "", "no progress but on a terminal");
            golden(&format!("{command}-empty-{width}"), &done.out);
        }
    }
    for command in [&["status"][..], &["plan"], &["executions"], &["dlq", "list"]] {
        assert_eq!(data(&cloud, command).0, 0, "{command:?}");
    }
    assert_eq!(run(&cloud, &["dlq", "list"]).out, "no dead letters\n");
    let (code, of_nobody) = data(&cloud, &["snapshots", "--instance", "i-0123456789abcdef0"]);
    assert_eq!((code, of_nobody["snapshots"].clone()), (1, json!([])));
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new(), "whoever looks changes nothing");
}

#[test]
fn a_healthy_fleet_is_covered_at_every_width() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    complete_run(&cloud, &stack);
    let ids = healthy(&cloud);
    for width in [80, 140] {
        for command in ["status", "plan"] {
            let done = at_width(&cloud, width, &[command]);
            assert_eq!(done.code, 0, "{}{}", done.out, done.err);
            assert!(done.out.lines().all(|line| line.chars().count() <= width.into()), "{}", done.out);
            assert!(!done.out.contains('\u{1b}'), "no colours but on a terminal");
            golden(&format!("{command}-healthy-{width}"), &done.out);
        }
    }
    let (_, status) = data(&cloud, &["status"]);
    assert_eq!(status["volumes"].as_array().unwrap().len(), 3);
    assert_eq!(status["volumes"][0]["regions"][1]["ageMinutes"], status["volumes"][0]["regions"][0]["ageMinutes"]);
    assert!(status["cost"]["usdAMonth"].as_f64().unwrap() > 0.0, "{}", status["cost"]);

    // One volume, in both regions, each with the reason why it is kept.
    let volume = &ids[1].1[0];
    let (code, found) = data(&cloud, &["snapshots", "--volume", volume]);
    let regions: Vec<&str> =
        found["snapshots"].as_array().unwrap().iter().map(|s| s["region"].as_str().unwrap()).collect();
    assert_eq!((code, regions), (0, vec![HOME, "us-east-1"]));
    assert!(found["snapshots"][0]["verdict"].as_str().unwrap().starts_with("kept: not due until"), "{found}");
    for width in [80, 140] {
        golden(&format!("snapshots-{width}"), &at_width(&cloud, width, &["snapshots", "--volume", volume]).out);
    }
    let (_, of_instance) = data(&cloud, &["snapshots", "--instance", &ids[1].0]);
    assert_eq!(of_instance["snapshots"], found["snapshots"]);
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new());
}

#[test]
fn what_is_not_covered_comes_first_and_is_the_exit_code() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    complete_run(&cloud, &stack);
    healthy(&cloud);
    let named = |name: &str, more: Value| {
        let mut tags = json!({"Name": name});
        tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tagged(tags, 1)
    };
    let untagged = json!({"tags": {"Name": "forgotten", "Backup": "true"}, "state": "running", "volumes": [{"device": "/dev/sda1"}]});
    let ids = cloud.add_instances(
        HOME,
        &json!([
            named("old", json!({})),
            named("no-copy", json!({"BackupCrossRegion": "us-west-2"})),
            named("brand-new", json!({"Retention": "soon"})),
            untagged,
            // A name that would turn what follows it.
            named("<b>right\u{202e}left</b>", json!({})),
        ]),
    );
    let volume = |at: usize| ids[at].1[0].as_str();
    backup(&cloud, volume(0), 100, &[]);
    backup(&cloud, volume(1), 5, &[]);
    backup(&cloud, volume(3), 5, &[]);
    backup(&cloud, volume(4), 5, &[]);
    for width in [80, 140] {
        let done = at_width(&cloud, width, &["status"]);
        assert_eq!(done.code, 1, "{}", done.err);
        // A command stays on one line, so that it can be pasted.
        assert!(
            done.out.lines().all(|line| line.chars().count() <= width.into() || line.contains('`')),
            "{}",
            done.out
        );
        assert!(!done.out.contains(['\u{1b}', '\u{202e}']), "{}", done.out);
        golden(&format!("status-behind-{width}"), &done.out);
    }
    let (_, status) = data(&cloud, &["status"]);
    let states: Vec<&str> =
        status["volumes"].as_array().unwrap().iter().map(|v| v["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["missing", "missing", "overdue", "covered", "covered", "covered", "covered"]);
    assert_eq!(status["unprotected"][0]["volume"], volume(3));
    assert!(status["rejected"].to_string().contains("Retention"), "{}", status["rejected"]);
}

#[test]
fn a_plan_is_what_a_dry_run_plans() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let ids = cloud.add_instances(
        HOME,
        &json!([
            tagged(json!({"Name": "copied", "BackupCrossRegion": "us-east-1"}), 2),
            tagged(json!({"Name": "plain"}), 1)
        ]),
    );
    let volume = &ids[0].1[0];
    let of = |created: i64, delete: i64, more: Value| {
        let mut tags = json!({"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(delete)});
        tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"volume": volume, "startTime": format!("{}T03:00:00Z", day(created)), "tags": tags})
    };
    let owed = cloud.add_snapshot(HOME, of(-1, 6, json!({})));
    let due = cloud.add_snapshot(HOME, of(-30, -23, json!({})));
    cloud.add_snapshot(HOME, of(-29, -22, json!({"KeepForever": ""})));
    let dry = cloud.run(&stack, &json!({"dryRun": true}));
    let (code, plan) = data(&cloud, &["plan"]);
    assert_eq!(code, 1, "a copy is owed");

    let lines = |name: &str, path: &str| -> Vec<Value> {
        cloud.manifest(&stack, &dry, name).iter().map(|line| line.pointer(path).unwrap().clone()).collect()
    };
    let of_plan = |path: &str, field: &str| -> Vec<Value> {
        plan.pointer(path).unwrap().as_array().unwrap().iter().map(|one| one[field].clone()).collect()
    };
    let by_id = |mut ids: Vec<Value>| {
        ids.sort_by_key(ToString::to_string);
        ids
    };
    assert_eq!(by_id(of_plan("/instances", "instance")), by_id(lines("instances.jsonl", "/instance")));
    assert_eq!(plan["copies"][0]["owed"], json!(lines("copies-us-east-1.jsonl", "/snapshot")));
    assert_eq!(plan["copies"][0]["owed"], json!([owed]));
    assert_eq!(plan["copies"][0]["ofNewSnapshots"], 2);
    let home = plan["expiries"].as_array().unwrap().iter().position(|one| one["region"] == HOME).unwrap();
    let goes = of_plan(&format!("/expiries/{home}/expires"), "snapshot");
    assert_eq!(goes, lines(&format!("expire-{HOME}.jsonl"), "/snapshots/0/id"));
    assert_eq!(goes, [json!(due)]);
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new());
    for width in [80, 140] {
        golden(&format!("plan-owed-{width}"), &at_width(&cloud, width, &["plan"]).out);
    }
    // Each verdict once: due, kept for ever, not due. A wide terminal has room for ages, which are of the time of day.
    golden("snapshots-due-80", &at_width(&cloud, 80, &["snapshots", "--volume", volume]).out);
}

/// What a program writes on a terminal.
fn on_a_terminal(cloud: &Cloud, variables: &[(&str, &str)]) -> String {
    let own = env::current_exe().unwrap().parent().unwrap().with_file_name("ebs-snapshots");
    let command = format!("{} --region {HOME} --stack-name {} status", own.display(), stack_name(HOME));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).stdin(Stdio::null());
    script.env_clear().envs(cloud.environment()).envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin")]);
    let done: Done = script.envs(variables.iter().copied()).output().unwrap().into();
    assert_eq!(done.code, 0, "{}", done.out);
    done.out
}

#[test]
fn colours_and_progress_are_for_terminals_and_colours_for_those_who_want_them() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    complete_run(&cloud, &stack);
    healthy(&cloud);
    let (green, progress) = ("\u{1b}[32mcovered", "snapshots in eu-west-1");
    let shown = on_a_terminal(&cloud, &[]);
    assert!(shown.contains(green) && shown.contains(progress), "{shown}");
    let shown = on_a_terminal(&cloud, &[("NO_COLOR", "1")]);
    assert!(!shown.contains("\u{1b}[3") && shown.contains("covered: 3 volumes"), "{shown}");
    let piped = at_width(&cloud, 80, &["status"]);
    assert!(!piped.out.contains('\u{1b}') && piped.err.is_empty(), "{}{}", piped.out, piped.err);
}

#[test]
fn a_region_that_denies_is_named_and_the_others_are_shown() {
    let mut cloud = cloud();
    cloud.stack(HOME);
    healthy(&cloud);
    let denied = json!({"action": "DescribeSnapshots", "region": "us-east-1", "code": "UnauthorizedOperation",
        "status": 403, "times": 1000});
    cloud.control("faults", Some(&denied));
    let done = at_width(&cloud, 80, &["status"]);
    assert_eq!(done.code, 3, "{}{}", done.out, done.err);
    assert!(
        done.out.contains("us-east-1 cannot be read: ") && done.out.contains("UnauthorizedOperation"),
        "{}",
        done.out
    );
    let (code, status) = data(&cloud, &["status"]);
    assert_eq!((code, &status["volumes"][0]["regions"][0]["state"]), (3, &json!("covered")));
    assert_eq!(status["volumes"][0]["regions"][1]["state"], "unreadable");
    assert_eq!(data(&cloud, &["plan"]).0, 3);
    let (code, found) = data(&cloud, &["snapshots", "--volume", status["volumes"][0]["volume"].as_str().unwrap()]);
    assert_eq!((code, found["snapshots"].as_array().unwrap().len()), (3, 1));
}

#[test]
fn what_cannot_be_asked_is_told_in_one_line_and_by_the_exit_code() {
    let mut cloud = cloud();
    cloud.stack(HOME);
    let without = |names: &[&str], arguments: &[&str]| -> Done {
        let mut program = program(&cloud, arguments);
        names.iter().for_each(|name| _ = program.env_remove(name));
        program.output().unwrap().into()
    };
    let done = without(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], &["status"]);
    assert_eq!(done.code, 3);
    assert!(done.err.contains("no credentials") && done.err.contains("--profile"), "{}", done.err);
    assert!(!done.err.contains("Some("), "words for people: {}", done.err);

    // Who names a profile means its account, whatever keys the environment has.
    let done = run(&cloud, &["status", "--profile", "nobody"]);
    assert!(done.code == 3 && done.err.contains("nobody"), "{}: {}", done.code, done.err);

    let done = run(&cloud, &["status", "--stack-name", "nowhere"]);
    assert_eq!(done.code, 2);
    assert!(
        done.err.contains("there is no stack nowhere in eu-west-1") && done.err.contains("--stack-name"),
        "{}",
        done.err
    );

    let done: Done =
        program(&cloud, &["status"]).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap().into();
    assert_eq!(done.code, 3, "{}", done.err);
    assert!(done.err.starts_with("ebs-snapshots: DescribeStacks: "), "{}", done.err);

    for (arguments, part) in [
        (&["run", "--scheduled-time", "tomorrow"][..], "scheduledTime"),
        (&["run", "--phase", "delete"], "snapshot, copy, expire"),
        (&["snapshots"], "--instance"),
        (&["snapshots", "--volume", "snap-0a"], "is not a volume id"),
        (&["status", "--region", "mars"], "region code"),
        (&["dlq", "show", "0a0a"], "no letter has the id 0a0a"),
        (&["dlq", "drop", "", "--yes"], "4 characters"),
        (&["dlq", "drop", "--all"], "--yes"),
        (&["dlq", "retry"], "--all"),
        (&["executions", "--count", "0"], "1..=1000"),
    ] {
        let done = run(&cloud, arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}{}", done.out, done.err);
        assert!(done.err.contains(part), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn a_run_is_watched_to_its_end_and_its_exit_code_is_the_runs() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"BackupCrossRegion": "us-east-1"}), 2)]));
    let dry = run(&cloud, &["run", "--dry-run", "--watch"]);
    assert_eq!(dry.code, 0, "{}{}", dry.out, dry.err);
    assert_eq!(cloud.mutating_calls(), Vec::<Value>::new());
    let (code, begun) = data(&cloud, &["run", "--phase", "snapshot"]);
    assert_eq!((code, &begun["input"]), (0, &json!({"phases": ["snapshot"]})));
    cloud.end_of(&stack, begun["execution"].as_str().unwrap().to_owned());

    let full = run(&cloud, &["run", "--watch"]);
    assert_eq!(full.code, 0, "{}{}", full.out, full.err);
    assert!(full.out.contains("console.aws.amazon.com/states/home?region=eu-west-1"), "{}", full.out);
    assert!(full.out.contains("2 of 2 snapshots, 4 copies"), "those of the run before, too: {}", full.out);

    let fault = json!({"action": "CreateSnapshots", "code": "SnapshotLimitExceeded", "times": 1});
    cloud.control("faults", Some(&fault));
    let failed = run(&cloud, &["run", "--watch", "--phase", "snapshot"]);
    assert_eq!(failed.code, 1, "{}{}", failed.out, failed.err);
    for part in ["FAILED BackupIncomplete", "Snapshots: SnapshotLimitExceeded", "no completed snapshot of this run"] {
        assert!(failed.out.contains(part), "{part}: {}", failed.out);
    }
    let (code, executions) = data(&cloud, &["executions", "--count", "3"]);
    let ends: Vec<&str> =
        executions["executions"].as_array().unwrap().iter().map(|e| e["status"].as_str().unwrap()).collect();
    assert_eq!((code, ends), (1, vec!["FAILED", "SUCCEEDED", "SUCCEEDED"]));
    assert_eq!(
        executions["executions"][1]["made"],
        json!({"snapshots": 2, "planned": 2, "copies": 4, "owed": 0, "expired": 0})
    );
}

#[test]
fn whoever_stops_watching_does_not_stop_the_run() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.control("settings", Some(&json!({"snapshotSeconds": 4})));
    cloud.add_instances(HOME, &json!([tagged(json!({}), 1)]));
    let mut watching = program(&cloud, &["run", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let execution = line.split(' ').nth(1).unwrap().to_owned();
    Command::new("kill").args(["-INT", &watching.id().to_string()]).status().unwrap();
    assert!(!watching.wait().unwrap().success());
    assert_eq!(cloud.status(&stack, &execution), "RUNNING");
    assert_eq!(cloud.end_of(&stack, execution).status, "SUCCEEDED");
}

#[test]
fn a_dead_letter_is_found_explained_retried_and_gone() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"Name": "database", "BackupCrossRegion": "us-east-1"}), 1)]));
    let denied = json!({"action": "CopySnapshot", "code": "UnauthorizedOperation", "status": 403, "times": 1});
    cloud.control("faults", Some(&denied));
    assert_eq!(run(&cloud, &["run", "--watch"]).code, 1);

    let (code, listed) = data(&cloud, &["dlq", "list"]);
    let letter = &listed["letters"][0];
    assert_eq!((code, &letter["queue"], &letter["error"]), (1, &json!("copy"), &json!("AccessDenied")));
    let id = letter["id"].as_str().unwrap();
    let shown = run(&cloud, &["dlq", "show", &id[..8]]);
    assert_eq!(shown.code, 1);
    for part in [
        "AccessDenied",
        "UnauthorizedOperation",
        "us-east-1",
        "Grant the permission",
        &format!("dlq retry {}", &id[..8]),
    ] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    assert_eq!(cloud.count(&stack, "CopyDeadLetterQueueUrl"), 1, "it is shown to others again");
    assert_eq!(data(&cloud, &["dlq", "show", id]).0, 1);

    let (code, retried) = data(&cloud, &["dlq", "retry", &id[..8], "--timeout", "120"]);
    assert_eq!((code, &retried["letters"][0]["became"]), (0, &json!("done")), "{retried}");
    assert!(cloud.is_empty(&stack, "CopyDeadLetterQueueUrl"));
    assert_eq!(run(&cloud, &["dlq", "list"]).code, 0);
    let copies = cloud.snapshots("us-east-1");
    assert_eq!((copies.len(), &copies[0]["state"]), (1, &json!("completed")));
    let (_, status) = data(&cloud, &["status"]);
    assert_eq!(status["volumes"][0]["state"], "covered");
}

#[test]
fn letters_that_must_not_come_back_are_refused_and_those_that_fail_again_are_told() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let secret = "AQDEAAAAKgAAAAMAAAAA-a-token";
    let put = |queue: &str, task: Value| {
        let body = json!({"version": 1, "taskToken": secret, "task": task, "sentAt": format!("{}T03:00:00Z", day(-2))});
        cloud.send(&stack, &format!("{queue}DeadLetterQueueUrl"), &body.to_string());
    };
    put("Expire", json!({"region": HOME, "planned": day(-2), "snapshots": [{"id": "snap-0a", "why": "broken"}]}));
    put("Wait", json!({"region": HOME, "snapshots": ["snap-0a"], "started": format!("{}T03:00:00Z", day(-2))}));
    put("Copy", json!({"action": "copy", "region": "us-east-1", "snapshot": "snap-0a", "description": "", "tags": {}}));
    cloud.send(&stack, "SnapshotDeadLetterQueueUrl", "no task at all");
    let (code, listed) = data(&cloud, &["dlq", "list"]);
    assert_eq!((code, listed["letters"].as_array().unwrap().len()), (1, 4));
    let crashed =
        listed["letters"].as_array().unwrap().iter().filter(|letter| letter["error"] == "WorkerCrashed").count();
    assert_eq!(crashed, 4, "what has no attributes was moved by SQS itself");
    for width in [80, 140] {
        let done = at_width(&cloud, width, &["dlq", "list"]);
        assert!(
            done.out.lines().all(|line| line.chars().count() <= width.into() || line.contains('`')),
            "{}",
            done.out
        );
        golden(&format!("dlq-list-{width}"), &done.out);
    }

    let (code, retried) = data(&cloud, &["dlq", "retry", "--all", "--timeout", "60"]);
    assert_eq!(code, 1);
    let became = |queue: &str| {
        let all = retried["letters"].as_array().unwrap();
        let one = all.iter().find(|one| one["letter"]["queue"] == queue).unwrap();
        (one["became"].as_str().unwrap().to_owned(), one["detail"].as_str().unwrap().to_owned())
    };
    let (word, why) = became("expire");
    assert!(word == "refused" && why.contains(&day(-2).to_string()), "{word}: {why}");
    assert_eq!(became("wait").0, "refused");
    let (word, why) = became("snapshot");
    assert!(word == "refused" && why.contains("no task"), "{word}: {why}");
    let (word, why) = became("copy");
    assert!(word == "failed" && why.contains("SnapshotNotFound"), "{word}: {why}");
    for output in [&["dlq", "list"][..], &["dlq", "list", "--output", "json"]] {
        assert!(!run(&cloud, output).out.contains(secret), "a token is a secret");
    }
    for width in [80, 140] {
        let done = at_width(&cloud, width, &["dlq", "retry", "--all", "--timeout", "60"]);
        golden(&format!("dlq-retry-{width}"), &done.out);
    }
    // The refused ones lie where they were; the one that failed again has its reason now.
    until("all letters are shown again", || {
        let count = ["Snapshot", "Wait", "Copy", "Expire"]
            .map(|queue| cloud.count(&stack, &format!("{queue}DeadLetterQueueUrl")));
        (count == [1; 4]).then_some(())
    });
    let (code, dropped) = data(&cloud, &["dlq", "drop", "--queue", "expire", "--yes"]);
    assert_eq!((code, dropped["dropped"].as_array().unwrap().len()), (0, 1));
    assert!(cloud.is_empty(&stack, "ExpireDeadLetterQueueUrl"));
    assert_eq!(data(&cloud, &["dlq", "drop", "--all", "--yes"]).1["dropped"].as_array().unwrap().len(), 3);
    assert_eq!(run(&cloud, &["dlq", "list"]).code, 0);
}

#[test]
fn help_has_examples_and_every_shell_its_completions() {
    let cloud = cloud();
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["dlq", "retry", "--help"],
        &["restore", "--help"],
        &["completions", "--help"],
    ] {
        let done = run(&cloud, command);
        assert!(done.code == 0 && done.out.contains("Examples:"), "{command:?}: {}", done.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        let done: Done = program(&cloud, &["completions", shell]).env_clear().output().unwrap().into();
        assert!(done.code == 0 && done.out.contains("snapshots"), "{shell}");
    }
    let done: Done = program(&cloud, &["completions", "bash"]).output().unwrap().into();
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(bash.stdin.as_mut().unwrap(), done.out.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success(), "bash reads them");
}
