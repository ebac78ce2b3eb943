use super::*;

#[tokio::test]
async fn a_promised_copy_whose_retention_ran_out_on_the_way_is_a_problem() {
    let night = night().await;
    night.ec2.snapshots.borrow_mut().remove(&east());
    // A copy is kept for two days: today it is not owed any more.
    night.ec2.change(|s| s.tags.extend(tags([("CreatedOn", "2026-11-20"), ("RetentionCrossRegion", "2")])));
    let answer = night.report().await.unwrap();
    let line = "i-1 (web), vol-1, snap-00000000000000001 of 2026-11-20: promised copy in us-east-1 was not made before its \
                retention ran out. No run makes it any more";
    assert!(!answer.complete && answer.cause.starts_with(line), "{answer:?}");

    night.ec2.instances.borrow_mut()[0].tags.remove("BackupCrossRegion");
    night.list_fleet("fleet-again.json");
    assert!(night.report().await.unwrap().complete, "the instance does not ask for it any more");
}

#[tokio::test]
async fn a_copy_is_one_by_where_it_comes_from_whatever_its_type() {
    let night = night().await;
    night.ec2.change(|s| {
        if s.tags.contains_key("BackupFromRegion") {
            s.tags.insert("Type".into(), "Manual".into());
        }
    });
    assert!(night.report().await.unwrap().complete);
    assert_eq!(night.summary().copies[0].made, 1);
}

#[tokio::test]
async fn a_copy_that_is_pending_for_longer_than_a_day_is_owed_and_stuck() {
    let night = night().await;
    night.ec2.change(|s| {
        if s.tags.contains_key("BackupFromRegion") {
            (s.state, s.started) = (Pending, "2026-11-20T03:00:00Z".parse().unwrap());
        }
    });
    let answer = night.report().await.unwrap();
    let line = "copy snap-00000000000000002 pending since 2026-11-20 03:00 UTC: its copy in us-east-1 is stuck";
    assert!(!answer.complete && answer.cause.contains(line), "{answer:?}");
    assert_eq!(night.summary().copies[0].owed, 1);
}

#[tokio::test]
async fn what_is_owed_is_looked_at_even_where_the_copies_could_not_be_run() {
    let mut night = night().await;
    night.ec2.snapshots.borrow_mut().remove(&east());
    (night.event.copies, night.event.copy_failure) = (vec![], Some(timed_out()));
    let answer = night.report().await.unwrap();
    let lines: Vec<&str> = answer.cause.lines().collect();
    assert!(lines[0].contains("owed a copy in us-east-1"), "{answer:?}");
    assert!(lines[1].starts_with("the copies could not be run"), "{answer:?}");
}

#[tokio::test]
async fn tasks_that_were_left_at_the_deadline_are_one_line() {
    let mut night = night().await;
    night.ec2.snapshots.borrow_mut().remove(&east());
    let source = night.ec2.held(&home())[0].id.clone();
    let input = json!({"task": copy_of(source.as_str())});
    night.services.map_runs = vec![map_run("Copies", input, "OutOfTime", "the run's deadline is over")];
    let answer = night.report().await.unwrap();
    let line = "1 task was left at the deadline, 2026-11-22 23:00 UTC: i-1 (web), vol-1, snap-00000000000000001 of \
                2026-11-22, to us-east-1. The next run makes them";
    assert!(!answer.complete && answer.cause.starts_with(line), "{answer:?}");
}
