use domain::{
    contract::{ExpireTask, Expiring, FleetFound, Manifest, RegionResult},
    error::ErrorName,
    expiry::Expire,
    fake::{FakeEc2, FakeServices, FakeStorage, Fault, home},
    fleet::{
        SnapshotState::{Completed, Error, Pending},
        Tags,
    },
    hooks::HookDocuments,
    ids::Region,
    labels::copy_labels,
    policy::plan,
    ports::{DeadLetter, FailedItem, MapRun, WorkQueue},
    report::{LATEST, NotifyOn, Since},
    run::{AllowMassExpire, Phases, Run},
    settings::Settings,
    tags::tags,
};
use serde_json::{Value, json};

use super::*;

mod copies;
mod drill;
mod expiries;
mod history;
mod measures;
mod proofs;
mod run;
mod snapshots;

const RUN: &str = "20261122T030000Z";

fn east() -> Region {
    "us-east-1".parse().unwrap()
}

/// The state after a night.
struct Night {
    ec2: FakeEc2,
    storage: FakeStorage,
    services: FakeServices,
    event: ReportEvent,
}

/// A night after which nothing is owed: `vol-1` of `i-1` has a snapshot and a copy, and `snap-99` is deleted.
async fn night() -> Night {
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], "2026-11-22T04:00:00Z".parse().unwrap());
    let run = Run {
        id: RUN.into(),
        scheduled: "2026-11-22T03:00:00Z".parse().unwrap(),
        execution: "arn:aws:states:eu-west-1:1:execution:backup:e1".into(),
        started: "2026-11-22T03:00:00Z".parse().unwrap(),
        deadline: "2026-11-22T23:00:00Z".parse().unwrap(),
        dry_run: false,
        phases: Phases { snapshot: true, copy: true, expire: true },
        allow_mass_expire: AllowMassExpire::Everywhere(false),
        duplicate_of: None,
    };
    let own = [("Backup", "Yes"), ("Name", "web"), ("BackupCrossRegion", "us-east-1")];
    ec2.add_instance("i-1", &own, &["vol-1"]);
    let labels = tags([
        ("BackupCrossRegion", "us-east-1"),
        ("BackupRun", RUN),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-29"),
        ("SourceInstanceId", "i-1"),
        ("Type", "Automated"),
    ]);
    ec2.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, labels);
    let source = ec2.held(&home()).remove(0);
    let day = |text: &str| text.parse().unwrap();
    let copy = copy_labels(&source, &home(), RUN, day("2026-11-22"), day("2026-11-29")).tags;
    ec2.add_snapshot(&east(), None, Completed, copy);

    let nowhere = Manifest { bucket: String::new(), key: String::new(), count: 0 };
    let event = ReportEvent {
        fleet: Some(FleetFound {
            manifest: nowhere,
            hooked: None,
            copy_regions: vec![east()],
            expire_regions: vec![home()],
        }),
        fleet_failure: None,
        fleet_again_failure: None,
        snapshot_failure: None,
        snapshots: vec![],
        copy_failure: None,
        expiry_failure: None,
        copies: vec![],
        expiries: vec![],
        run,
    };
    let mut night = Night { ec2, storage: FakeStorage::default(), services: FakeServices::default(), event };
    night.list_fleet("fleet.json");
    let (plans, _) = plan(&night.ec2.fleet(), 7.try_into().unwrap(), &HookDocuments::default());
    let plans = night.manifest("instances.jsonl", plans.iter().map(|plan| json!(plan)).collect()).await;
    night.event.fleet.as_mut().unwrap().manifest = plans;
    let copies = night.manifest("copies-us-east-1.jsonl", vec![copy_of(source.id.as_str())]).await;
    night.event.copies = vec![RegionResult { region: east(), manifest: Some(copies), failure: None }];
    let expired = night.manifest("expire-eu-west-1.jsonl", vec![batch(&home(), &["snap-99"])]).await;
    night.event.expiries = vec![RegionResult { region: home(), manifest: Some(expired), failure: None }];
    night
}

fn copy_of(source: &str) -> Value {
    json!({"action": "copy", "region": "us-east-1", "snapshot": source, "description": "", "tags": {}})
}

fn batch(region: &Region, ids: &[&str]) -> Value {
    let why = Expire::Due("2026-11-22".parse().unwrap());
    let expiring = |id: &&str| Expiring { id: id.parse().unwrap(), volume: None, why };
    let snapshots = ids.iter().map(expiring).collect();
    json!(ExpireTask { region: region.clone(), planned: "2026-11-22".parse().unwrap(), snapshots })
}

impl Night {
    fn list_fleet(&self, name: &str) {
        self.write(name, json!(self.ec2.fleet()).to_string());
    }

    fn write(&self, name: &str, body: String) {
        self.storage.0.borrow_mut().insert(self.event.run.key(name), body);
    }

    async fn manifest(&self, name: &str, lines: Vec<Value>) -> Manifest {
        run_files::write_lines(&self.storage, &self.event.run, name, lines).await.unwrap()
    }

    async fn report(&self) -> Result<Answer, Failure> {
        self.report_to(NotifyOn::Failure).await
    }

    async fn report_to(&self, notify_on: NotifyOn) -> Result<Answer, Failure> {
        self.report_with(&Settings::read(|_| None).unwrap(), notify_on).await
    }

    async fn report_with(&self, settings: &Settings, notify_on: NotifyOn) -> Result<Answer, Failure> {
        let home = home();
        let answer = handle(self.event.clone(), &self.context(settings, notify_on, &home)).await;
        // The report does not list the fleet, and changes nothing.
        let calls = &self.ec2.calls;
        assert!(calls.borrow().iter().all(|(action, _)| *action == "DescribeSnapshots"), "{calls:?}");
        answer
    }

    fn context<'a>(
        &'a self,
        settings: &'a Settings,
        notify_on: NotifyOn,
        home: &'a Region,
    ) -> Context<'a, FakeEc2, FakeStorage, FakeServices> {
        let Self { ec2, storage, services, .. } = self;
        let (schedule, now) = ("cron(0 3 * * ? *)", ec2.now.get());
        Context { ec2, storage, services, settings, schedule, notify_on, home, now }
    }

    /// The lines of metrics that its report prints.
    async fn metrics(&self) -> Vec<Value> {
        self.metrics_with(&Settings::read(|_| None).unwrap()).await
    }

    async fn metrics_with(&self, settings: &Settings) -> Vec<Value> {
        let home = home();
        let context = self.context(settings, NotifyOn::Failure, &home);
        let (summary, _, measured) = summarise(&self.event, &Remembered::default(), &context).await.unwrap();
        let lines = metrics::lines(&summary, measured.as_ref());
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn written(&self, name: &str) -> String {
        self.storage.0.borrow()[&self.event.run.key(name)].clone()
    }

    fn summary(&self) -> Summary {
        Summary::read(&self.written("report.json")).unwrap()
    }

    /// The notes, as lines.
    fn notes(&self) -> Vec<String> {
        self.summary().notes.iter().map(ToString::to_string).collect()
    }
}

fn timed_out() -> StateError {
    StateError { error: "States.Timeout".into(), cause: "too slow".into() }
}

fn map_run(label: &str, input: Value, error: &str, cause: &str) -> MapRun {
    let item =
        FailedItem { execution: "child".into(), input: input.to_string(), error: error.into(), cause: cause.into() };
    MapRun { label: label.into(), total: 3, failed: 1, failures: vec![item], unreadable: None }
}
