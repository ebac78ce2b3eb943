use domain::{
    contract::DrillReportEvent,
    coverage::LastReads,
    drill::{
        Verified, VerifyTask,
        order::Drill,
        parameters::{Parameters, Sample},
        plan::{Planning, Protected, Scope},
        report::{DrillReport, End, LAST_READS, NotRead, SCOPE, not_read, tasks},
    },
    proof::Level,
    run_files::{write_json, write_lines_at},
};

use super::*;

const DRILL: &str = "drills/20261122T050000Z/e1";

/// After a drill that was to read a snapshot of `vol-1` here and its copy in us-east-1.
struct Drilled {
    ec2: FakeEc2,
    storage: FakeStorage,
    services: FakeServices,
    event: DrillReportEvent,
    tasks: Vec<VerifyTask>,
}

async fn drilled() -> Drilled {
    let night = night().await;
    let defaults = Parameters { level: Level::Probe, sample: Sample::Newest, max_blocks: 1_000_000, max_dump_gib: 1 };
    let started = "2026-11-22T05:00:00Z".parse().unwrap();
    let execution = "arn:aws:states:eu-west-1:1:execution:drill:e1";
    let drill = Drill::read(&json!({}), execution, started, started, &defaults).unwrap();
    let regions = vec![home(), east()];
    let one = Protected {
        volume: "vol-1".parse().unwrap(),
        instance: "i-1".parse().ok(),
        name: Some("web".into()),
        regions: regions.iter().cloned().collect(),
    };
    let scope = Scope { volumes: vec![one], shares: regions.iter().map(|region| (region.clone(), 500_000)).collect() };
    let Night { ec2, storage, services, .. } = night;
    write_json(&storage, &drill.key(SCOPE), &scope).await.unwrap();
    let (mut all, mut verified) = (Vec::new(), Vec::new());
    for region in &regions {
        let home = home();
        let mut planning = Planning::new(&drill, &home, region, &scope, &LastReads::new(), 7);
        ec2.held(&home).iter().for_each(|source| planning.note_source(source));
        ec2.held(region).iter().for_each(|snapshot| planning.note(snapshot));
        let plan = planning.plan(500_000, started);
        let manifest = write_lines_at(&storage, drill.key(&tasks(region)), &plan.tasks).await.unwrap();
        write_json(&storage, &drill.key(&not_read(region)), &NotRead::default()).await.unwrap();
        verified.push(RegionResult { region: region.clone(), manifest: Some(manifest), failure: None });
        all.extend(plan.tasks);
    }
    let event = DrillReportEvent { drill, regions, plan_failure: None, verify_failure: None, verified };
    let drilled = Drilled { ec2, storage, services, event, tasks: all };
    assert_eq!(drilled.tasks.len(), 2);
    for task in &drilled.tasks {
        drilled.record(task, json!({"level": "probe"}));
    }
    drilled
}

impl Drilled {
    /// What the verify worker writes down.
    fn record(&self, task: &VerifyTask, more: Value) {
        let mut record = json!({"region": task.region, "snapshot": task.snapshot, "volume": task.volume,
            "taken": task.taken, "at": "2026-11-22T05:10:00Z", "asked": task.level, "level": null, "marked": false,
            "found": ["ext4"], "notes": [], "listCalls": 2, "blocksRead": 33, "blocksListed": 900});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Verified>(record.clone()).expect("a record as the worker writes it");
        self.storage.0.borrow_mut().insert(task.record_key(), record.to_string());
    }

    async fn report(&self, notify_on: NotifyOn) -> (Answer, DrillReport) {
        let (settings, home) = (Settings::read(|_| None).unwrap(), home());
        let context = Context {
            ec2: &self.ec2,
            storage: &self.storage,
            services: &self.services,
            settings: &settings,
            schedule: "rate(1 day)",
            notify_on,
            home: &home,
            now: "2026-11-22T06:00:00Z".parse().unwrap(),
        };
        let answer = crate::drill::handle(self.event.clone(), &context).await.unwrap();
        assert!(self.ec2.calls.borrow().iter().all(|(action, _)| *action == "DescribeSnapshots"));
        (answer, serde_json::from_str(&self.storage.0.borrow()[&format!("{DRILL}/report.json")]).unwrap())
    }
}

#[tokio::test]
async fn a_drill_whose_every_line_has_a_record_succeeds_and_remembers_what_is_proven() {
    let drilled = drilled().await;
    let (answer, report) = drilled.report(NotifyOn::Failure).await;
    let summary = format!("s3://reports/{DRILL}/summary.txt");
    assert_eq!(answer, Answer { complete: true, cause: String::new(), summary });
    assert_eq!((report.count(End::Proven), report.used.blocks), (2, 66));
    assert!(drilled.services.sent.borrow().is_empty(), "nobody is woken for that");
    assert!(drilled.ec2.calls.borrow().is_empty(), "and EC2 is asked nothing");
    let objects = drilled.storage.0.borrow();
    let known: LastReads = serde_json::from_str(&objects[LAST_READS]).unwrap();
    assert_eq!(known[&east()][&"vol-1".parse().unwrap()].proven.as_ref().unwrap().on.to_string(), "2026-11-22");
    assert!(objects[&format!("{DRILL}/summary.txt")].starts_with("EBS drill 20261122T050000Z in eu-west-1: proven"));
}

#[tokio::test]
async fn a_record_that_is_missing_or_torn_and_a_region_without_a_result_fail_the_drill() {
    for damage in ["missing", "torn", "no result", "no manifest"] {
        let mut drilled = drilled().await;
        let key = drilled.tasks[1].record_key();
        match damage {
            "missing" => _ = drilled.storage.0.borrow_mut().remove(&key),
            "torn" => _ = drilled.storage.0.borrow_mut().insert(key, "{".into()),
            "no result" => _ = drilled.event.verified.pop(),
            _ => drilled.event.verified[1].manifest = None,
        }
        let (answer, _) = drilled.report(NotifyOn::Failure).await;
        assert!(!answer.complete && !answer.cause.is_empty(), "{damage}");
        let sent = drilled.services.sent.borrow();
        assert!(sent.len() == 1 && sent[0].0.contains("NOT PROVEN"), "{damage}: {sent:?}");
    }
}

#[tokio::test]
async fn a_manifest_that_lost_lines_is_no_plan() {
    let drilled = drilled().await;
    let key = format!("{DRILL}/verify-us-east-1.jsonl");
    drilled.storage.0.borrow_mut().insert(key, String::new());
    let (settings, home) = (Settings::read(|_| None).unwrap(), home());
    let context = Context {
        ec2: &drilled.ec2,
        storage: &drilled.storage,
        services: &drilled.services,
        settings: &settings,
        schedule: "rate(1 day)",
        notify_on: NotifyOn::Never,
        home: &home,
        now: "2026-11-22T06:00:00Z".parse().unwrap(),
    };
    let failure = crate::drill::handle(drilled.event.clone(), &context).await.unwrap_err();
    assert!(failure.name == ErrorName::StorageFailed && failure.cause.contains("0 of its 1 lines"), "{failure}");
}

#[tokio::test]
async fn of_what_failed_the_report_names_the_newest_good_one() {
    let drilled = drilled().await;
    let older = [("CreatedOn", "2026-11-20"), ("DeleteOn", "2026-11-27"), ("Type", "Automated")];
    drilled.ec2.now.set("2026-11-20T03:00:00Z".parse().unwrap());
    let good = drilled.ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, tags(older));
    let failure = json!({"failure": {"error": "SnapshotCorrupt", "cause": "block 7 is another one"}, "marked": true});
    for task in &drilled.tasks {
        drilled.record(task, failure.clone());
    }
    let (answer, report) = drilled.report(NotifyOn::Always).await;
    assert!(!answer.complete && answer.cause.contains("block 7 is another one"), "{}", answer.cause);
    let named = report.backups.iter().filter_map(|one| one.older.as_ref()).map(|older| &older.snapshot);
    assert_eq!(named.collect::<Vec<_>>(), [&good, &good]);
    // A region that does not answer leaves the rest of the report as it is.
    drilled.ec2.fail_next("DescribeSnapshots", Fault::Refused("InternalError"));
    let (answer, report) = drilled.report(NotifyOn::Never).await;
    assert!(!answer.complete && report.problems[0].contains("its older backups could not be read"));
    assert_eq!(drilled.services.sent.borrow().len(), 1);
}
