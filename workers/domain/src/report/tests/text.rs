use super::*;
use crate::expiry::Expire;

use SnapshotState::{Completed, Error};

/// A summary with something in every part.
pub(super) fn eventful() -> Summary {
    let mut early = snapshot("snap-1", "vol-1", Completed);
    early.started = "2026-11-22T01:02:03Z".parse().unwrap();
    let made = [early, snapshot("snap-2", "vol-2", Error)];
    let copied = [(id("snap-1"), [(region("us-east-1"), id("snap-a"))].into())].into();
    let mut summary = summary();
    summary.instances = instance_reports(&[plan("i-1", &["vol-1", "vol-2", "vol-3"])], RUN, &made, &copied);
    summary.problems = vec![Problem {
        region: Some(region("us-east-1")),
        snapshot: Some(id("snap-1")),
        ..Problem::new(ProblemKind::NoCopy, "the copy is pending", "The next run copies it")
    }];
    let end = |code: &str, made, owed, surplus: &[&str]| CopiesReport {
        region: region(code),
        made,
        owed,
        of_new_snapshots: 0,
        forgotten: vec![],
        surplus: surplus.iter().map(|one| id(one)).collect(),
    };
    summary.copies = vec![end("us-east-1", 1, 2, &["snap-b"]), end("us-west-2", 0, 0, &[])];
    let swept = |one: &str, why, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        Swept { id: id(one), volume: "vol-2".parse().ok(), instances: vec![], why, reason }
    };
    let due = || Expire::Due(day("2026-11-20"));
    summary.expiries = vec![ExpiryReport {
        region: region("eu-west-1"),
        deleted: vec![swept("snap-7", due(), None), swept("snap-8", Expire::Broken, None)],
        left: vec![swept("snap-9", due(), Some("SnapshotHeld: it is locked"))],
        kept: vec![],
    }];
    let name = Some("db".to_owned());
    summary.gone = vec![GoneVolume {
        volume: "vol-dead".parse().unwrap(),
        name,
        last: id("snap-6"),
        delete_on: day("2026-11-29"),
    }];
    summary.rejected = vec![
        Rejection::new("i-9 (old)", "Retention=\"7d\": allowed is a whole number of days from 1 to 36500"),
        Rejection::new("i-9 (old)", "the instance has no EBS volume"),
    ];
    summary.notes = vec![Rejection::new("snap-5", "a second snapshot of its volume")];
    let tasks = vec!["snap-1 to us-east-1".to_owned()];
    summary.failures =
        vec![ReportedFailure { label: "Copies".into(), error: "AccessDenied".into(), cause: "no".into(), tasks }];
    let left = [("AccessDenied".to_owned(), 2), ("BadMessage".to_owned(), 1)].into();
    summary.dead_letters = vec![DeadLettersReport { queue: WorkQueue::Copy, settled: 1, left }];
    summary
}

#[test]
fn the_text_of_a_run_in_which_everything_happened() {
    let summary = eventful();
    let text = "EBS backup 20261122T030000Z in eu-west-1: INCOMPLETE, 1 tag cannot be used

Incomplete, because:
  snap-1: owed a copy in us-east-1: the copy is pending. The next run copies it

Snapshots: 1 of 3 volumes of 1 instance
Copies: 1 made by this run, 2 owed
Expired: 2 deleted (1 due, 1 broken), 1 left (1 due, 0 broken)
Rejected: 2

Run: 20261122T030000Z; to repeat it: {\"scheduledTime\": \"2026-11-22T03:00:00Z\"}
Phases: snapshot, copy, expire
Account: 111122223333, home region eu-west-1
Started: 2026-11-22 03:00 UTC; reported: 2026-11-22 04:00 UTC; deadline: 2026-11-22 23:00 UTC
Execution: https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:111122223333:execution:backup:e1
Report: s3://reports/runs/20261122T030000Z/e1/report.html; report.json and summary.txt are in the same folder

Rejected:
  i-9 (old): Retention=\"7d\": allowed is a whole number of days from 1 to 36500
  i-9 (old): the instance has no EBS volume

Failed tasks:
  Copies: AccessDenied: no: snap-1 to us-east-1

Dead letters:
  Copy: 1 settled and deleted, 3 left, 2 AccessDenied, 1 BadMessage

Notes:
  snap-5: a second snapshot of its volume

Volumes that are gone:
  vol-dead (db): its last backup snap-6 expires on 2026-11-29

Copies:
  us-east-1: 1 made by this run, 2 owed, 1 surplus (they expire on their own date)
  us-west-2: 0 made by this run, 0 owed

Expired:
  eu-west-1: 2 deleted (1 due, 1 broken), 1 left (1 due, 0 broken)
    deleted: snap-7, vol-2: due since 2026-11-20
    deleted: snap-8, vol-2: broken
    left: snap-9, vol-2: due since 2026-11-20: SnapshotHeld: it is locked

Snapshots:
  i-1 (web)
    vol-1 /dev/sda1: snap-1, begun on 2026-11-22 01:02 UTC, before this execution, copied to us-east-1 as snap-a
    vol-2 /dev/sdb: snap-2 is Error
    vol-3 /dev/sdc: no snapshot
";
    assert_eq!(summary.text(), text);
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(Summary::read(&json).unwrap(), summary, "report.json reads back");
    // The summary.json of an earlier version has no version.
    let mut earlier: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in ["version", "timeline"] {
        earlier.as_object_mut().unwrap().remove(field);
    }
    let read = Summary::read(&earlier.to_string()).unwrap();
    assert_eq!((read.version, read.volumes(), read.problems), (0, summary.volumes(), summary.problems));
    earlier["version"] = serde_json::json!(99);
    assert!(Summary::read(&earlier.to_string()).unwrap_err().contains("the version 99"));
}

#[test]
fn a_dry_run_says_what_it_would_do_of_the_phases_that_were_asked_for() {
    let mut summary = eventful();
    summary.run.dry_run = true;
    let left = summary.expiries[0].deleted.clone();
    summary.expiries[0].left.extend(left);
    summary.expiries[0].deleted.clear();
    summary.copies[0].of_new_snapshots = 3;
    summary.dead_letters.clear(); // A dry run touches none.
    assert_eq!(summary.headline(), "EBS backup 20261122T030000Z in eu-west-1: dry run, 1 tag cannot be used");
    assert!(summary.is_complete() && summary.cause().is_empty(), "it is no failure");
    let text = summary.text();
    assert!(text.contains("\n\nWould snapshot 3 volumes, copy 5 to us-east-1, delete 3.\n\nA run would report:\n"));
    assert!(text.contains("\nTo be deleted:\n  eu-west-1: 3 to be deleted (2 due, 1 broken)\n"), "{text}");
    assert!(text.contains("\n    vol-3 /dev/sdc\n") && !text.contains("no snapshot"), "{text}");
    assert!(!text.contains("INCOMPLETE") && !text.contains(" left"), "{text}");

    summary.run.phases.snapshot = false;
    summary.expiries.clear();
    assert!(summary.text().contains("\nWould copy 5 to us-east-1.\n"));
    summary.copies.clear();
    assert!(summary.text().contains("\nWould do nothing.\n"));
    summary.problems.push(Problem::new(ProblemKind::WholeRun, "the fleet could not be listed", ""));
    assert!(summary.headline().contains(": dry run INCOMPLETE") && !summary.is_complete());
    assert!(summary.cause().starts_with("the fleet could not be listed\n"));
}

#[test]
fn only_a_complete_full_run_that_acted_is_a_full_backup() {
    let full = summary();
    assert!(full.is_full_backup());
    type Change = fn(&mut Summary);
    let changes: [Change; 6] = [
        |s| s.run.dry_run = true,
        |s| s.run.phases.snapshot = false,
        |s| s.run.phases.copy = false,
        |s| s.run.phases.expire = false,
        |s| s.run.duplicate_of = Some("arn".into()),
        |s| s.problems.push(Problem::new(ProblemKind::Other, "x", "")),
    ];
    for change in changes {
        let mut other = full.clone();
        change(&mut other);
        assert!(!other.is_full_backup(), "{:?}", other.run);
    }
}

#[test]
fn a_name_cannot_begin_a_line_or_turn_what_follows() {
    let mut summary = eventful();
    summary.rejected[0].subject = "i-9 (evil\u{202e}\nSnapshots: 9)".into();
    summary.problems[0].reason = "evil\u{202e}\nno".into();
    let (text, cause) = (summary.text(), summary.cause());
    assert!(text.contains("  i-9 (evil\u{fffd} Snapshots: 9): Retention"), "{text}");
    assert!(cause.starts_with("snap-1: owed a copy in us-east-1: evil\u{fffd} no. "), "{cause}");
}

/// A summary of many instances with the longest names, and many problems that have nothing in common.
pub(super) fn large(instances: usize, problems: usize) -> Summary {
    let mut summary = eventful();
    let long = "Zürich-DB-".repeat(25);
    let plans: Vec<InstancePlan> = (0..instances)
        .map(|n| {
            let volumes = [format!("vol-{n:017x}"), format!("vol-{n:016x}f")];
            let plan = plan(&format!("i-{n:017x}"), &volumes.each_ref().map(String::as_str));
            InstancePlan { name: long.clone(), ..plan }
        })
        .collect();
    summary.instances = instance_reports(&plans, RUN, &[], &Copied::new());
    let letters = |n: usize| n.to_string().replace(|c: char| c.is_ascii_digit(), "x") + &"y".repeat(n % 30);
    summary.problems = (0..problems)
        .map(|n| Problem {
            instances: vec![Named { id: format!("i-{n:017x}").parse().unwrap(), name: Some(long.clone()) }],
            volume: format!("vol-{n:017x}").parse().ok(),
            error: Some(format!("Error{}", letters(n).repeat(n / 30 + 1))),
            ..Problem::new(ProblemKind::NoSnapshot, format!("EC2 said: {}", "no ".repeat(200)), "Repair the reason")
        })
        .collect();
    summary
}

#[test]
fn a_cause_begins_with_the_same_lines_and_says_where_the_rest_is() {
    for problems in [1, 2, 3, 500] {
        let summary = large(1, problems);
        let (cause, text) = (summary.cause(), summary.text());
        assert!(cause.chars().count() <= 1_000, "{}", cause.chars().count());
        let said: Vec<&str> = cause.lines().collect();
        let (last, first) = said.split_last().unwrap();
        assert!(!first.is_empty());
        let told: Vec<&str> = text.lines().skip(3).take(first.len()).map(str::trim_start).collect();
        assert_eq!(*first, told, "whole lines, from the first on");
        let place = "Report: s3://reports/runs/20261122T030000Z/e1/report.html, or summary.txt beside it";
        assert!(last.ends_with(place), "{last}");
        let more = problems - first.len();
        assert_eq!(last.starts_with(&format!("… {more} more line")), more > 0, "{last}");
    }
    assert_eq!(summary().cause(), "");
}

#[test]
fn a_single_line_that_is_too_long_for_a_cause_is_cut_rather_than_lost() {
    let mut summary = summary();
    let named = |n: usize| Named { id: format!("i-{n:017x}").parse().unwrap(), name: Some("n".repeat(200)) };
    summary.problems =
        vec![Problem { instances: (0..40).map(named).collect(), ..Problem::new(ProblemKind::NoSnapshot, "no", "") }];
    let cause = summary.cause();
    assert!(cause.chars().count() <= 1_000 && cause.starts_with("i-00000000000000000 (n"), "{cause}");
    assert!(cause.ends_with("summary.txt beside it") && cause.contains("…\n"), "{cause}");
}

#[test]
fn an_execution_is_linked_in_the_console_of_its_partition() {
    let arn = |partition: &str, place: &str| format!("arn:{partition}:states:{place}:1:execution:b:e1");
    for (partition, place, host) in [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ] {
        let execution = arn(partition, place);
        let link = format!("https://{host}/states/home?region={place}#/v2/executions/details/{execution}");
        assert_eq!(console_link(&execution), Some(link));
    }
    assert_eq!(console_link(&arn("aws-iso", "us-iso-east-1")), None);
    assert_eq!(console_link("e1"), None);
    let mut summary = summary();
    summary.run.execution = arn("aws-iso", "us-iso-east-1");
    assert!(summary.text().contains("\nExecution: arn:aws-iso:states:"));
}
