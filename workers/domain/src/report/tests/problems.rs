use serde_json::json;

use super::{problem::advice, *};

fn named(number: usize) -> Vec<Named> {
    vec![Named { id: format!("i-{number:02}").parse().unwrap(), name: Some(format!("web-{number}")) }]
}

fn no_snapshot(number: usize, error: &str, reason: &str) -> Problem {
    let problem = Problem::new(ProblemKind::NoSnapshot, reason, "Look");
    Problem { instances: named(number), error: Some(error.into()), ..problem }
}

#[test]
fn the_worst_comes_first() {
    let all = [
        Problem::new(ProblemKind::Other, "other", ""),
        Problem { region: Some(region("us-east-1")), ..Problem::new(ProblemKind::NotDeleted, "not deleted", "") },
        Problem::of_region(ProblemKind::Expiry, &region("us-east-1"), "MassExpire", "too much", ""),
        Problem::of_region(ProblemKind::Copies, &region("us-east-1"), "States.Timeout", "slow", ""),
        Problem { region: Some(region("us-east-1")), ..Problem::new(ProblemKind::NoCopy, "no copy", "") },
        no_snapshot(1, "SnapshotFailed", "broken"),
        Problem { volume: "vol-1".parse().ok(), ..Problem::new(ProblemKind::Unprotected, "", "") },
        Problem::new(ProblemKind::WholeRun, "the fleet could not be listed", ""),
    ];
    let found = shown(&all);
    let begins = [
        "the fleet",
        "vol-1: it has backups",
        "i-01 (web-1): no completed",
        "owed a copy",
        "us-east-1: copies",
        "us-east-1: expiry: MassExpire: too much",
        "could not be deleted in us-east-1: not deleted",
        "other",
    ];
    assert_eq!(found.len(), begins.len());
    for (line, begin) in found.iter().zip(begins) {
        assert!(line.starts_with(begin), "{begin}: {found:?}");
    }
}

#[test]
fn equal_causes_are_one_line_with_the_first_five_by_name() {
    // Encoded messages of EC2 and ids differ each time.
    let message =
        |n: usize| format!("CreateSnapshots in eu-west-1: not allowed on vol-{n:017x}: {}", "x9".repeat(40 + n));
    let mut all: Vec<Problem> = (1..=30).map(|n| no_snapshot(n, "AccessDenied", &message(n))).collect();
    all.push(no_snapshot(31, "SnapshotFailed", "in error"));
    let found = shown(&all);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("30 volumes have no completed snapshot of this run: AccessDenied: CreateSnapshots in")
    );
    assert!(found[0].contains(": i-01 (web-1); i-02 (web-2); "), "{}", found[0]);
    assert!(found[0].ends_with("; and 25 more, see report.json. Look"), "{}", found[0]);
    assert!(found[0].chars().count() <= 700, "{}", found[0].len());
    assert_eq!(found[1], "i-31 (web-31): no completed snapshot of this run: SnapshotFailed: in error. Look");
}

#[test]
fn regions_that_fail_alike_are_one_line_and_each_one_that_is_stopped_has_its_own() {
    let regions = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-north-1", "eu-central-1"];
    let of = |error: &str| -> Vec<Problem> {
        let reason =
            |code: &&str| Problem::of_region(ProblemKind::Expiry, &region(code), error, format!("in {code}: no"), "");
        regions.iter().map(reason).collect()
    };
    let denied = shown(&of("AccessDenied"));
    assert_eq!(denied.len(), 1);
    assert!(denied[0].starts_with("6 regions: expiry: AccessDenied: in eu-central-1: no: eu-central-1; eu-north-1; "));
    assert!(denied[0].ends_with("; and 1 more, see report.json"), "{denied:?}");
    assert_eq!(shown(&of("MassExpire")).len(), 6, "each names the input for its region");
}

#[test]
fn what_was_left_at_the_deadline_is_one_line_wherever_it_was_left() {
    let copy = Problem {
        snapshot: Some(id("snap-1")),
        region: Some(region("us-east-1")),
        ..Problem::new(ProblemKind::NoCopy, "", "")
    };
    let copy = Problem { error: Some("OutOfTime".into()), what_to_do: advice("OutOfTime", "?"), ..copy };
    let there = Problem { region: Some(region("us-west-2")), ..copy.clone() };
    let snapshot = Problem { what_to_do: advice("OutOfTime", "?"), ..no_snapshot(1, "OutOfTime", "over") };
    assert_eq!(
        shown(&[copy, there, snapshot]),
        [
            "3 tasks were left at the deadline, 2026-11-22 23:00 UTC: i-01 (web-1); snap-1, to us-east-1; snap-1, to us-west-2. \
          The next run makes them; if it happens again, raise RunHours or CopyConcurrency"
        ]
    );
}

#[test]
fn a_problem_is_data_with_everything_that_its_line_says() {
    let problem = Problem {
        volume: "vol-1".parse().ok(),
        region: Some(region("us-east-1")),
        copy: Some(id("snap-2")),
        since: Some(now()),
        created_on: Some(day("2026-11-21")),
        ..no_snapshot(1, "AccessDenied", "no")
    };
    let data = json!(problem);
    assert_eq!(
        data,
        json!({"kind": "noSnapshot", "instances": [{"id": "i-01", "name": "web-1"}], "volume": "vol-1", "region": "us-east-1",
            "copy": "snap-2", "since": "2026-11-22T04:00:00Z", "createdOn": "2026-11-21", "error": "AccessDenied",
            "reason": "no", "whatToDo": "Look"})
    );
    assert_eq!(serde_json::from_value::<Problem>(data).unwrap(), problem, "reads back");
    let long = Problem::new(ProblemKind::Other, "x".repeat(5_000), "");
    assert_eq!(long.reason.chars().count(), 1_000);
}

#[test]
fn failures_of_the_same_reason_are_one_line_and_name_what_they_were_about() {
    let tags = json!({"Name": "web", "SourceInstanceId": "i-1", "SourceVolumeId": "vol-1"});
    let copy = |n: usize| {
        let task = json!({"action": "copy", "region": "us-east-1", "snapshot": format!("snap-{n}"), "tags": tags});
        item(json!({"task": task}), "AccessDenied", &format!("CopySnapshot of snap-{n}: no"))
    };
    let batch = json!({"task": {"region": "us-west-2", "snapshots": [{"id": "snap-1"}, {"id": "snap-2"}]}});
    let runs = [
        map_run("Copies", (1..=7).map(copy).collect()),
        map_run("Snapshots", vec![item(json!({"instance": plan("i-2", &["vol-2"])}), "Ec2Refused", "odd")]),
        MapRun { failed: 30, ..map_run("Expiries", vec![item(batch, "Ec2Unavailable", "silence")]) },
        MapRun { unreadable: Some("DescribeMapRun: no".into()), ..map_run("Copies", vec![]) },
    ];
    let (ends, unread) = reported_failures(&runs);
    let lines: Vec<String> = ends.iter().map(ReportedFailure::line).collect();
    assert!(
        lines[0].starts_with(
            "Copies: 7 times AccessDenied: CopySnapshot of snap-1: no: i-1 (web), vol-1, snap-1 to us-east-1; "
        ),
        "{lines:?}"
    );
    assert!(lines[0].ends_with("; and 2 more, see report.json"));
    assert_eq!(lines[1], "Snapshots: Ec2Refused: odd: i-2 (web)");
    assert_eq!(lines[2], "Expiries: Ec2Unavailable: silence: snap-1 and 1 more in us-west-2");
    assert_eq!(
        unread,
        [
            "Expiries: 29 more failures were not read: see the Map Run",
            "Copies: the failures could not be read (DescribeMapRun: no): see the Map Run"
        ]
    );
}
