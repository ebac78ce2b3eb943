//! Copies under every fault at once: throttling, lost answers, errors after success, a region that is down, slow answers,
//! copies that break, and workers that are killed.
//!
//! `SOAK_SEED`, which is printed, decides the faults and kills. `SOAK_COPIES` is the number of copies: a small number in
//! `make test`, 300 in `make soak`.

#![allow(clippy::print_stdout)] // It says how it went.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::cloud::{Cloud, Ended, HOME, Stack, cloud, day, until};

const DESTINATIONS: [&str; 3] = ["us-east-1", "us-west-2", "ap-southeast-2"];
/// Seconds until EC2 shows a new copy; less than `RetrySeconds`.
const LAG: f64 = 0.5;

/// A source, and its destination.
type Pair = (String, String);

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A fault, and the share of the calls that meet it.
fn chances(slow_seconds: u64) -> Value {
    let copy = |kind: &str, share: f64| json!({"action": "CopySnapshot", "kind": kind, "share": share});
    let refuse = |action: &str, code: &str, status: u16, times: u32, share: f64| json!({"action": action, "kind": "refuse", "code": code, "status": status, "times": times, "share": share});
    json!([
        copy("lost", 0.06),
        copy("error-after", 0.06),
        copy("broken-copy", 0.05),
        {"action": "CopySnapshot", "kind": "slow", "seconds": slow_seconds, "share": 0.03},
        refuse("CopySnapshot", "RequestLimitExceeded", 503, 4, 0.02),
        refuse("CopySnapshot", "InternalError", 500, 1, 0.04),
        refuse("DescribeSnapshots", "RequestLimitExceeded", 503, 4, 0.005),
        {"action": "DescribeSnapshots", "kind": "lost", "share": 0.01},
        {"action": "*", "kind": "down", "seconds": 3, "share": 0.003},
    ])
}

#[test]
fn every_copy_is_made_once_whatever_fails_on_the_way() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (copies, seed) = (number("SOAK_COPIES", 30), number("SOAK_SEED", since_1970.as_secs()));
    println!("SOAK_COPIES={copies} SOAK_SEED={seed}");
    let is_small = copies < 100;
    let settings = json!({"copyLimit": 5, "copySeconds": 2, "describeLagSeconds": LAG});
    cloud.control("settings", Some(&settings));
    let tags = json!({"Type": "Automated", "CreatedOn": day(0), "DeleteOn": day(7),
        "BackupCrossRegion": DESTINATIONS.join(",")});
    let source = |i| json!({"volume": format!("vol-0{i:x}"), "description": format!("db {i}"), "tags": tags});
    let sources: Vec<String> = (0..copies / 3).map(|i| cloud.add_snapshot(HOME, source(i))).collect();
    let owed: BTreeSet<Pair> =
        sources.iter().flat_map(|s| DESTINATIONS.map(|region| (s.clone(), region.to_owned()))).collect();

    // Longer than the slow answers that a function waits for: only the messages of killed workers come back this way.
    let hidden = if is_small { 8 } else { 65 };
    for queue in ["CopyQueueUrl", "WaitQueueUrl"] {
        cloud.hide_for(&stack, queue, hidden);
    }
    // In `make soak`, longer than the twenty seconds after which a call is given up.
    let slow_seconds = if is_small { 3 } else { 70 };
    cloud.control("chance", Some(&json!({"seed": seed, "faults": chances(slow_seconds)})));
    let started = Instant::now();
    let patience = Duration::from_secs(120 + 6 * copies);
    let (mut kills, mut runs) = (0, 1);
    let mut ended = under_fire(&cloud, &stack, seed, patience, &mut kills);
    is_true(&cloud, &ended, &owed);
    cloud.control("chance", Some(&json!({"seed": seed, "faults": []})));
    while ended.status != "SUCCEEDED" {
        assert!(runs < 4, "{}", ended.cause);
        ended = cloud.run(&stack, &json!({"phases": ["copy"]}));
        is_true(&cloud, &ended, &owed);
        runs += 1;
    }
    // Broken copies are deleted, and then the dead letters that waited for them.
    let ended = cloud.run(&stack, &json!({"phases": ["copy", "expire"]}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let dead = cloud.report(&stack, &ended, "summary.txt");
    for queue in ["CopyQueueUrl", "WaitQueueUrl"] {
        until("the queues are empty", || cloud.is_empty(&stack, queue).then_some(()));
        cloud.hide_for(&stack, queue, 360);
    }
    for queue in ["CopyDeadLetterQueueUrl", "WaitDeadLetterQueueUrl"] {
        assert!(cloud.is_empty(&stack, queue), "every copy is made, and every dead letter is settled: {dead}");
    }
    let in_excess = in_excess(&cloud, &owed);
    print_table(&cloud, &[("kills", kills), ("executions", runs + 1), ("copies in excess", in_excess.len())], started);
    assert!(in_excess.is_empty(), "{in_excess:?}");
}

/// An execution, whose workers are killed at moments that the seed decides.
fn under_fire(cloud: &Cloud, stack: &Stack, seed: u64, patience: Duration, kills: &mut usize) -> Ended {
    let (execution, started) = (cloud.begin(stack, &json!({"phases": ["copy"]})), Instant::now());
    let mut state = seed;
    loop {
        // A linear congruential generator (Knuth): which worker, and when.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let function = if state >> 63 == 0 { "CopyFunction" } else { "WaitCompleteFunction" };
        let pause = Duration::from_millis(3000 + (state >> 33) % 8000);
        let next = Instant::now() + pause;
        while Instant::now() < next {
            let described = cloud.status(stack, &execution);
            if described != "RUNNING" {
                return cloud.end_of(stack, execution);
            }
            assert!(started.elapsed() < patience, "the execution goes on for ever");
            sleep(Duration::from_millis(100));
        }
        *kills += cloud.kill_function(function);
    }
}

/// Checks that an execution succeeded only if nothing is owed, and failed only with a reason.
fn is_true(cloud: &Cloud, ended: &Ended, owed: &BTreeSet<Pair>) {
    let missing: Vec<&Pair> = owed.iter().filter(|pair| !completed(cloud).contains_key(*pair)).collect();
    match ended.status.as_str() {
        "SUCCEEDED" => assert!(missing.is_empty(), "it succeeded, without {missing:?}"),
        // A region that could not be read is a reason too; a copy may have been completed since then.
        _ => assert!(ended.error == "BackupIncomplete" && !ended.cause.is_empty(), "{}: {}", ended.error, ended.cause),
    }
}

/// The completed copies of each source in each destination.
fn completed(cloud: &Cloud) -> BTreeMap<Pair, Vec<String>> {
    let mut found: BTreeMap<Pair, Vec<String>> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for region in DESTINATIONS {
        for copy in cloud.snapshots(region) {
            assert_ne!(copy["state"], "recoverable");
            if copy["state"] == "completed" {
                let source = text(&copy["tags"]["SourceSnapshotId"]);
                found.entry((source, region.to_owned())).or_default().push(text(&copy["id"]));
            }
        }
    }
    found
}

/// Checks that every copy exists, none is broken, and the limit was kept. Returns the sources with more than one copy.
fn in_excess(cloud: &Cloud, owed: &BTreeSet<Pair>) -> Vec<Pair> {
    let found = completed(cloud);
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), *owed);
    let held: usize = DESTINATIONS.iter().map(|region| cloud.snapshots(region).len()).sum();
    assert_eq!(held, found.values().map(Vec::len).sum::<usize>(), "nothing broken or pending is left");
    assert!(cloud.calls("CopySnapshot").iter().all(|call| call["inFlight"].as_u64().unwrap() <= 5));
    found.into_iter().filter(|(_, ids)| ids.len() > 1).map(|(pair, _)| pair).collect()
}

fn print_table(cloud: &Cloud, counts: &[(&str, usize)], started: Instant) {
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for call in cloud.calls("") {
        let text = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let fault = call["fault"].as_str().map(|fault| format!(" ({fault})")).unwrap_or_default();
        *calls.entry(format!("{}: {}{fault}", text("action"), text("outcome"))).or_default() += 1;
    }
    for (what, count) in calls.iter().map(|(what, count)| (what.as_str(), *count)).chain(counts.iter().copied()) {
        println!("{what:52}{count:>8}");
    }
    println!("{:52}{:>8.0}", "seconds", started.elapsed().as_secs_f64());
}
