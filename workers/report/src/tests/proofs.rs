use domain::{coverage::ProofState, report::ProblemKind};

use super::{history::next, *};

fn drills(on: bool) -> Settings {
    Settings::read(|name| (name == "DRILL_STATE" && on).then(|| "ENABLED".into())).unwrap()
}

/// What a drill finds of everything that is there.
fn read(night: &Night, on: &str, found: &str) {
    night.ec2.change(|snapshot| snapshot.tags.extend(tags([("VerifiedOn", on), ("VerifiedAs", found)])));
}

async fn report(night: &Night, on: bool) -> Summary {
    night.report_with(&drills(on), NotifyOn::Failure).await.unwrap();
    night.summary()
}

#[tokio::test]
async fn a_newest_backup_that_is_bad_is_a_problem_and_an_older_one_a_note() {
    let night = night().await;
    read(&night, "2026-11-22", "failed");
    let summary = report(&night, false).await;
    let problems: Vec<_> = summary.problems.iter().map(|one| (one.kind, one.region.clone().unwrap())).collect();
    assert_eq!(problems, [(ProblemKind::Bad, home()), (ProblemKind::Bad, east())]);
    let text = night.written("summary.txt");
    assert!(
        text.contains("i-1 (web), vol-1, snap-") && text.contains("its newest backup in eu-west-1 is bad"),
        "{text}"
    );
    assert!(text.contains("was found bad on 2026-11-22; there is no other one"), "{text}");
    assert!(text.contains("Covered: 0 of 1 volume"), "{text}");

    // A newer one, that nobody has read yet.
    night.ec2.now.set("2026-11-23T04:00:00Z".parse().unwrap());
    let labels = tags([("Type", "Automated"), ("CreatedOn", "2026-11-23"), ("DeleteOn", "2026-11-30")]);
    night.ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, labels);
    let summary = report(&night, false).await;
    let bad = summary.problems.iter().filter(|one| one.kind == ProblemKind::Bad);
    assert_eq!(bad.map(|one| one.region.clone().unwrap()).collect::<Vec<_>>(), [east()]);
    let notes = night.notes();
    assert!(
        notes.iter().any(|note| note.starts_with("vol-1 in eu-west-1: ") && note.contains("was not read yet")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn what_is_proven_stands_in_the_report_and_outlives_its_snapshot() {
    let mut night = night().await;
    let summary = report(&night, false).await;
    assert!(night.written("summary.txt").contains("Never read: drills are off (DrillState). Switch them on"));
    assert!(!summary.coverage.unwrap().drills.on);

    read(&night, "2026-11-22", "probe");
    report(&night, true).await;
    assert!(night.written("summary.txt").contains("Proven: 1 of 1 volume, here and in each destination"));
    next(&mut night, "e2");
    night.ec2.change(|snapshot| snapshot.tags.retain(|key, _| !key.starts_with("Verified")));
    let summary = report(&night, true).await;
    let regions = summary.coverage.unwrap().volumes.remove(0).regions;
    assert!(regions.iter().all(|one| one.proofs.state == Some(ProofState::Proven)), "{regions:?}");
    assert_eq!(regions[1].proofs.last.as_ref().unwrap().on.to_string(), "2026-11-22");
}

#[tokio::test]
async fn the_age_of_the_oldest_proof_is_measured_while_drills_are_on() {
    let night = night().await;
    let age = async |on| night.metrics_with(&drills(on)).await[0].get("ProofAgeDays").cloned();
    assert_eq!(age(true).await, Some(json!(0.0)), "of a new volume it counts from its first backup");
    read(&night, "2026-10-20", "list");
    assert_eq!((age(true).await, age(false).await), (Some(json!(33.0)), None));
    night.ec2.fail_next("DescribeSnapshots", Fault::Spared);
    night.ec2.fail_next("DescribeSnapshots", Fault::Refused("UnauthorizedOperation"));
    assert_eq!(age(true).await, None, "what could not be read may be older");
}
