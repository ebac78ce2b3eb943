#![allow(clippy::unwrap_used)]

use domain::{
    fake::{FakeEc2, FakeStorage, Fault},
    fleet::SnapshotState::Completed,
    operations::Execution,
    tags::tags,
};

use super::*;
use crate::{fake::FakeOperations, progress::Progress, stack::tests::stack};

const NOW: &str = "2026-11-22T12:00:00Z";

fn execution(status: &str, ended: &str, input: &str) -> Execution {
    Execution {
        arn: format!("arn:aws:states:eu-west-1:1:execution:b:{status}-{ended}"),
        started: ended.parse().unwrap(),
        ended: Some(ended.parse().unwrap()),
        status: status.into(),
        input: input.into(),
        output: String::new(),
        error: String::new(),
        cause: String::new(),
    }
}

async fn status(ec2: &FakeEc2, executions: Vec<Execution>, parameters: &[(&str, &str)]) -> Status {
    let operations = FakeOperations { executions, ..FakeOperations::default() };
    let context = Context {
        ec2,
        storage: &FakeStorage::default(),
        operations: &operations,
        stack: &stack(parameters),
        now: NOW.parse().unwrap(),
        progress: &Progress::hidden(),
    };
    look(&context).await.unwrap()
}

fn fleet() -> FakeEc2 {
    fleet_to("us-east-1")
}

fn fleet_to(destination: &str) -> FakeEc2 {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T03:00:00Z".parse().unwrap());
    ec2.add_instance("i-1", &[("Backup", "Yes"), ("Name", "db"), ("BackupCrossRegion", destination)], &["vol-1"]);
    ec2.add_instance("i-2", &[("Name", "scratch")], &["vol-2"]);
    let own = tags([("Type", "Automated"), ("CreatedOn", "2026-11-22"), ("DeleteOn", "2026-11-29")]);
    ec2.add_snapshot(&"eu-west-1".parse().unwrap(), Some(&"vol-1".parse().unwrap()), Completed, own);
    ec2
}

#[tokio::test]
async fn only_a_full_run_that_acted_ends_the_wait_for_a_complete_run() {
    let full = || execution("SUCCEEDED", "2026-11-22T04:00:00Z", "{}");
    let not_full = [
        execution("SUCCEEDED", "2026-11-22T11:00:00Z", r#"{"dryRun": true}"#),
        execution("SUCCEEDED", "2026-11-22T10:00:00Z", r#"{"phases": ["copy"]}"#),
        execution("FAILED", "2026-11-22T09:00:00Z", "{}"),
        Execution {
            output: r#"{"duplicateOf": "arn"}"#.into(),
            ..execution("SUCCEEDED", "2026-11-22T08:00:00Z", "{}")
        },
    ];
    let found = status(&fleet(), not_full.to_vec(), &[]).await;
    assert!(found.runs.overdue && found.runs.complete.is_none());
    assert!(found.runs.last.is_some_and(|last| last.execution.contains("11:00")));
    let found = status(&fleet(), [&not_full[..], &[full()]].concat(), &[]).await;
    assert!(!found.runs.overdue && found.runs.complete.is_some());
    let found = status(&fleet(), vec![execution("SUCCEEDED", "2026-11-20T11:00:00Z", "{}")], &[]).await;
    assert!(found.runs.overdue, "49 hours ago");
    assert!(!status(&fleet(), vec![], &[("MaxHoursWithoutRun", "0")]).await.runs.overdue);
}

#[tokio::test]
async fn a_destination_without_a_copy_is_told_beside_what_is_there() {
    let found = status(&fleet(), vec![], &[]).await;
    assert_eq!(found.volumes[0].regions.iter().map(|r| r.state).collect::<Vec<_>>(), [State::Covered, State::Missing]);
    assert_eq!((found.behind(), found.instances.protected, found.instances.without_word), (1, 1, 1));
    assert_eq!(found.code(), Code::Owed);
    let text = found.text(&Style { width: Some(80), colour: false });
    assert!(text.contains("NOT COVERED: 1 of 1 volume") && text.contains("us-east-1 NONE"), "{text}");
}

#[tokio::test]
async fn a_region_that_denies_makes_the_answer_less_than_whole() {
    let ec2 = fleet();
    ec2.fail_next("DescribeSnapshots", Fault::Spared);
    ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation"));
    let found = status(&ec2, vec![execution("SUCCEEDED", "2026-11-22T04:00:00Z", "{}")], &[]).await;
    assert_eq!((found.code(), found.unreadable.len()), (Code::Aws, 1));
    assert_eq!(found.volumes[0].regions[1].state, State::Unreadable);
}

#[tokio::test]
async fn a_schedule_that_says_no_age_judges_none() {
    let found = status(&fleet(), vec![], &[("ScheduleExpression", "at(2026-11-22T03:00:00)")]).await;
    assert_eq!((found.allowed_hours, found.volumes[0].regions[0].state), (None, State::Unjudged));
    // Nothing says when a backup is too old: that is not well, for whatever long.
    let parameters = [("ScheduleExpression", "cron(0 3 ? * 2#1 *)"), ("MaxHoursWithoutRun", "0")];
    let ec2 = fleet_to("us-esat-1");
    let found = status(&ec2, vec![], &parameters).await;
    let text = found.text(&Style { width: Some(80), colour: false });
    assert!(found.code() == Code::Owed && text.contains("NOT JUDGED: 1 volume"), "{text}");
    let runs = vec![execution("SUCCEEDED", "2026-11-22T04:00:00Z", "{}")];
    let found = status(&ec2, runs, &[]).await;
    let text = found.text(&Style { width: Some(80), colour: false });
    assert!(found.code() == Code::Well && text.contains("but 1 tag or setting cannot be used"), "{text}");
}

#[tokio::test]
async fn ten_thousand_volumes_are_all_shown() {
    let ec2 = FakeEc2::new(&["eu-west-1"], NOW.parse().unwrap());
    for at in 0..10_000 {
        let volume = format!("vol-{at:08x}");
        ec2.add_instance(&format!("i-{at:08x}"), &[("Backup", "Yes"), ("Name", "one of many")], &[&volume]);
    }
    let found = status(&ec2, vec![], &[]).await;
    let text = found.text(&Style { width: Some(80), colour: true });
    assert!(text.lines().count() > 10_000);
}
