//! Many nights in one process: the workers' own code, an EC2 in memory, and a clock that the story sets.
//!
//! The story calls the workers in the order of the state machine: it tests decisions over weeks, not the queues between.

use std::cell::Cell;

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::{
    contract::{DiscoverEvent, ExpireTask, FleetFound, Manifest, RegionResult, ReportEvent, SnapshotTask, SweepPlan},
    copies::CopyTask,
    error::Failure,
    fake::{self, FakeExecutionStates, FakeServices, FakeStorage, home, region},
    fleet::Snapshot,
    policy::InstancePlan,
    report::NotifyOn,
    run::Run,
    settings::Settings,
    tags::SnapshotTags,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const HOME: &str = "eu-west-1";
const AWAY: &str = "us-east-1";

struct Account {
    aws: fake::Account,
    storage: FakeStorage,
    services: FakeServices,
    executions: FakeExecutionStates,
    settings: Settings,
    runs: Cell<u32>,
}

/// The results of a run.
struct Night {
    complete: bool,
    cause: String,
}

impl Account {
    fn new(first: NaiveDate) -> Self {
        Self {
            aws: fake::Account::new(&[HOME, AWAY], at(first)),
            storage: FakeStorage::default(),
            services: FakeServices::default(),
            executions: FakeExecutionStates::default(),
            settings: Settings::read(|_| None).unwrap(),
            runs: Cell::new(0),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.aws.now.get()
    }

    async fn discover(&self, event: DiscoverEvent) -> Result<Value, Failure> {
        let context = discover::Context {
            ec2: &self.aws.ec2,
            storage: &self.storage,
            settings: &self.settings,
            home: &home(),
            now: self.now(),
        };
        let starts = discover::StartContext { claims: &self.aws.claims, executions: &self.executions };
        discover::handle(event, &context, &starts).await
    }

    fn manifest<T: DeserializeOwned>(&self, manifest: &Manifest) -> Vec<T> {
        self.storage.0.borrow()[&manifest.key].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The run of a night. Every task is carried out immediately.
    async fn night(&self, day: NaiveDate, input: Value) -> Night {
        self.aws.set_now(at(day));
        self.runs.set(self.runs.get() + 1);
        let execution = format!("arn:aws:states:eu-west-1:1:execution:backup:e{}", self.runs.get());
        let event = DiscoverEvent::StartRun { input, execution, started: self.now() };
        let run: Run = serde_json::from_value(self.discover(event).await.unwrap()).unwrap();
        let event = DiscoverEvent::DiscoverInstances { run: run.clone() };
        let fleet: FleetFound = serde_json::from_value(self.discover(event).await.unwrap()).unwrap();

        for instance in self.manifest::<InstancePlan>(&fleet.manifest) {
            let tasks = vec![SnapshotTask { run_id: run.id.clone(), instance, frozen_by: None, why: None }];
            self.aws.invoke(&self.settings, async |context| snapshot::handle(context, tasks).await).await;
        }
        self.aws.complete_all();

        let mut copies = Vec::new();
        for place in &fleet.copy_regions {
            let event = DiscoverEvent::DiscoverCopies { run: run.clone(), region: place.clone() };
            let manifest: Manifest = serde_json::from_value(self.discover(event).await.unwrap()).unwrap();
            for task in self.manifest::<CopyTask>(&manifest) {
                self.aws
                    .invoke(&self.settings, async |context| copy::handle(context, vec![task], |_, _| ()).await)
                    .await;
                self.aws.complete_all();
            }
            copies.push(RegionResult { region: place.clone(), manifest: Some(manifest), failure: None });
        }

        self.discover(DiscoverEvent::ListFleetAgain { run: run.clone() }).await.unwrap();
        let mut expiries = Vec::new();
        for place in &fleet.expire_regions {
            let event = DiscoverEvent::DiscoverExpired { run: run.clone(), region: place.clone() };
            let (manifest, failure) = match serde_json::from_value(self.discover(event).await.unwrap()).unwrap() {
                SweepPlan::Manifest(manifest) => (Some(manifest), None),
                SweepPlan::Stopped(failure) => (None, Some(failure)),
            };
            let tasks = manifest.iter().flat_map(|manifest| self.manifest::<ExpireTask>(manifest));
            for task in tasks.collect::<Vec<_>>() {
                expire::handle(&self.aws.ec2, &home(), &self.settings, vec![task], self.now(), || true).await;
            }
            expiries.push(RegionResult { region: place.clone(), manifest, failure });
        }

        let event = ReportEvent {
            run,
            fleet: Some(fleet),
            fleet_failure: None,
            fleet_again_failure: None,
            snapshot_failure: None,
            snapshots: vec![],
            copy_failure: None,
            expiry_failure: None,
            copies,
            expiries,
        };
        let context = report::Context {
            ec2: &self.aws.ec2,
            storage: &self.storage,
            services: &self.services,
            settings: &self.settings,
            schedule: "cron(0 3 * * ? *)",
            notify_on: NotifyOn::Failure,
            home: &home(),
            now: self.now(),
        };
        let answer = report::handle(event, &context).await.unwrap();
        Night { complete: answer.complete, cause: answer.cause }
    }

    /// Sets the `Backup` tag of every instance, or takes it away.
    fn say(&self, word: Option<&str>) {
        for instance in self.aws.instances.borrow_mut().iter_mut() {
            instance.tags.remove("Backup");
            instance.tags.extend(word.map(|word| ("Backup".to_owned(), word.to_owned())));
        }
    }

    /// How many backups each volume has in a region.
    fn backups(&self, place: &str) -> Vec<usize> {
        let held = self.aws.held(&region(place));
        let of = |s: &Snapshot| SnapshotTags::read(&s.tags).source_volume.or_else(|| s.volume.clone());
        let volumes = self.aws.instances.borrow().iter().flat_map(|i| i.volumes.clone()).collect::<Vec<_>>();
        volumes.iter().map(|a| held.iter().filter(|s| of(s).as_ref() == Some(&a.volume)).count()).collect()
    }
}

fn at(day: NaiveDate) -> DateTime<Utc> {
    day.and_hms_opt(3, 0, 0).unwrap().and_utc()
}

#[tokio::test]
async fn a_fleet_that_loses_its_tags_keeps_a_backup_of_each_volume_in_each_region_and_no_run_succeeds() {
    let first: NaiveDate = "2026-01-01".parse().unwrap();
    let account = Account::new(first);
    for number in 0..40 {
        let (id, volume) = (format!("i-{number:02x}"), format!("vol-{number:02x}"));
        account.aws.add_instance(&id, &[("Backup", "Yes"), ("BackupCrossRegion", AWAY)], &[&volume]);
    }
    let mut day = first;
    for _ in 0..7 {
        let night = account.night(day, json!({})).await;
        assert!(night.complete, "{day}: {}", night.cause);
        day = day + Days::new(1);
    }
    assert_eq!((account.backups(HOME), account.backups(AWAY)), (vec![7; 40], vec![7; 40]));

    account.say(None);
    for _ in 0..30 {
        let night = account.night(day, json!({})).await;
        assert!(!night.complete && night.cause.contains("Backup=Hold"), "{day}: {}", night.cause);
        for place in [HOME, AWAY] {
            assert!(account.backups(place).iter().all(|count| *count >= 1), "{day}, {place}");
        }
        day = day + Days::new(1);
    }
    assert_eq!((account.backups(HOME), account.backups(AWAY)), (vec![1; 40], vec![1; 40]), "what is due goes");

    // Somebody gives all backups up: that is too much at once, in each region.
    account.say(Some("No"));
    for input in [json!({}), json!({"allowMassExpire": [AWAY]})] {
        let night = account.night(day, input.clone()).await;
        assert!(!night.complete && night.cause.contains("allowMassExpire"), "{}", night.cause);
        assert_eq!(account.backups(HOME), vec![1; 40]);
        let there = usize::from(input == json!({}));
        assert_eq!(account.backups(AWAY), vec![there; 40], "only where it is allowed");
        day = day + Days::new(1);
    }
    let night = account.night(day, json!({"allowMassExpire": [HOME]})).await;
    assert!(night.complete, "{}", night.cause);
    assert_eq!((account.backups(HOME), account.backups(AWAY)), (vec![0; 40], vec![0; 40]));
    let night = account.night(day + Days::new(1), json!({})).await;
    assert!(night.complete, "{}", night.cause);
}
