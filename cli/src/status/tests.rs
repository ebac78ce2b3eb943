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

const READ_HERE: [(&str, &str); 2] = [("VerifiedOn", "2026-11-20"), ("VerifiedAs", "probe")];

/// Three volumes: one is proven everywhere, one was not read for too long, and the newest of one is bad.
fn read_fleet() -> FakeEc2 {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T03:00:00Z".parse().unwrap());
    let backup = |volume: &str, day: &str, found: &[(&str, &str)], copied: Option<&[(&str, &str)]>| {
        ec2.now.set(format!("{day}T03:00:00Z").parse().unwrap());
        let own = [("Type", "Automated"), ("CreatedOn", day), ("DeleteOn", "2026-12-29")];
        let id = ec2.add_snapshot(
            &"eu-west-1".parse().unwrap(),
            Some(&volume.parse().unwrap()),
            Completed,
            tags(own.iter().chain(found).copied()),
        );
        if let Some(found) = copied {
            let of = [("BackupFromRegion", "eu-west-1"), ("SourceVolumeId", volume), ("SourceSnapshotId", id.as_str())];
            let own = tags(own.iter().chain(&of).chain(found).copied());
            ec2.add_snapshot(&"us-east-1".parse().unwrap(), None, Completed, own);
        }
    };
    for (at, name) in ["db", "mail", "web"].iter().enumerate() {
        let own = [("Backup", "Yes"), ("Name", name), ("BackupCrossRegion", "us-east-1")];
        ec2.add_instance(&format!("i-{at}"), &own, &[&format!("vol-{at}")]);
    }
    backup("vol-0", "2026-11-20", &READ_HERE, Some(&[("VerifiedOn", "2026-11-21"), ("VerifiedAs", "copy")]));
    backup("vol-0", "2026-11-22", &[], Some(&[]));
    backup("vol-1", "2026-10-01", &[("VerifiedOn", "2026-10-02"), ("VerifiedAs", "dump")], Some(&[]));
    backup("vol-1", "2026-11-22", &[], Some(&[]));
    backup("vol-2", "2026-11-21", &READ_HERE, None);
    backup("vol-2", "2026-11-22", &[("VerifiedOn", "2026-11-22"), ("VerifiedAs", "failed")], Some(&READ_HERE));
    ec2.now.set(NOW.parse().unwrap());
    ec2
}

fn run_of_today() -> Vec<Execution> {
    vec![execution("SUCCEEDED", "2026-11-22T04:00:00Z", "{}")]
}

#[tokio::test]
async fn what_is_bad_or_was_not_read_for_too_long_is_told_with_what_there_is_instead() {
    let found = status(&read_fleet(), run_of_today(), &[("DrillState", "ENABLED")]).await;
    assert_eq!((found.behind(), found.code()), (0, Code::Owed));
    crate::fake::golden("status-proofs", &found);
    let states: Vec<_> = found.volumes.iter().map(|one| (one.name.as_str(), one.proof_state().unwrap())).collect();
    use domain::coverage::ProofState::{Bad, Overdue, Proven};
    assert_eq!(states, [("web", Bad), ("mail", Overdue), ("db", Proven)]);
}

#[tokio::test]
async fn while_drills_are_off_nothing_is_overdue_and_it_is_said_that_nobody_reads() {
    let ec2 = read_fleet();
    ec2.change(|snapshot| snapshot.tags.retain(|key, _| !key.starts_with("Verified")));
    let found = status(&ec2, run_of_today(), &[]).await;
    assert_eq!(found.code(), Code::Well);
    let text = found.text(&Style { width: None, colour: false });
    assert!(
        text.contains("Never read: drills are off (DrillState). Switch them on") && !text.contains("PROVEN"),
        "{text}"
    );
    let found = status(&ec2, run_of_today(), &[("DrillState", "ENABLED"), ("MaxDaysUnverified", "0")]).await;
    assert_eq!(found.code(), Code::Well, "nothing says how long is too long");
    let text = found.text(&Style { width: None, colour: false });
    assert!(
        text.contains("Proven: 0 of 3 volumes, here and in each destination, 3 never read in some region."),
        "{text}"
    );
    assert_eq!(status(&ec2, run_of_today(), &[("DrillState", "ENABLED")]).await.code(), Code::Owed, "a month without");
}

#[tokio::test]
async fn what_the_last_report_knew_counts_and_is_said_where_it_cannot_be_read() {
    let ec2 = fleet();
    let storage = FakeStorage::default();
    let operations = FakeOperations { executions: run_of_today(), ..FakeOperations::default() };
    let parameters = [("DrillState", "ENABLED")];
    let look_at = async |storage: &FakeStorage| {
        let context = Context {
            ec2: &ec2,
            storage,
            operations: &operations,
            stack: &stack(&parameters),
            now: NOW.parse().unwrap(),
            progress: &Progress::hidden(),
        };
        look(&context).await.unwrap()
    };
    let first = look_at(&storage).await;
    assert_eq!(first.proofs().never, 1);
    let mut volumes = first.volumes;
    volumes[0].regions[0].proofs.unproven_since = Some("2026-10-01".parse().unwrap());
    let report =
        serde_json::json!({"version": 1, "listed": {"instances": [], "volumes": []}, "coverage": {"volumes": volumes}});
    let pointer = serde_json::json!({"version": 1, "last": {"run": "r", "scheduled": NOW, "execution": "e",
        "started": NOW, "reported": NOW, "complete": true, "list": {"run": "r", "key": "runs/r/e/report.json"}}});
    storage.0.borrow_mut().insert(LATEST.into(), pointer.to_string());
    storage.0.borrow_mut().insert("runs/r/e/report.json".into(), report.to_string());
    assert_eq!(look_at(&storage).await.proofs().overdue, 1, "the snapshots of that time are gone");
    storage.0.borrow_mut().remove("runs/r/e/report.json");
    let found = look_at(&storage).await;
    let text = found.text(&Style { width: None, colour: false });
    assert!(
        text.contains("Proofs of snapshots that are gone are not known: its report is not there any more"),
        "{text}"
    );
}
