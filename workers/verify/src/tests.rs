//! The four questions, and what each level proves.

mod images;
mod levels;
mod questions;

use std::cell::Cell;

use chrono::{DateTime, Utc};
use domain::{
    drill::{Verified, VerifyTask},
    fake::{BlockFault, FakeBlocks, FakeEc2, FakeStorage, Fault, home, region},
    fleet::{SnapshotState, Tags},
    ids::{Region, SnapshotId},
    outcome::Outcome::{self, Declined, Done, Fail, Later, Onward, Retry},
    tags::tags,
};
use sha2::{Digest, Sha256};

use super::*;

/// An account with one snapshot, and what reads it.
struct Scene {
    ec2: FakeEc2,
    blocks: FakeBlocks,
    storage: FakeStorage,
    /// Calls for which there is time; each question takes one.
    time: Cell<u32>,
    task: VerifyTask,
}

/// The note of whatever `data` is on.
const UNRECOGNISED: &str = "what is on the volume is not recognised";

/// Data that is different in every block.
fn data(index: u32) -> Vec<u8> {
    format!("block {index} ").repeat(99).into_bytes()
}

fn checksum(data: &[u8]) -> String {
    reader::base64(&Sha256::digest(data))
}

fn now() -> DateTime<Utc> {
    "2026-11-22T04:00:00Z".parse().unwrap()
}

impl Scene {
    /// A snapshot with these blocks, to be read as far as `level`.
    fn new(level: Level, blocks: impl IntoIterator<Item = u32>) -> Self {
        let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], now());
        let snapshot = ec2.add_snapshot(&home(), None, SnapshotState::Completed, tags([("Type", "Automated")]));
        let task = VerifyTask {
            drill_id: "20261122T030000Z".into(),
            folder: "drills/20261122T030000Z/e".into(),
            region: home(),
            snapshot: snapshot.clone(),
            volume: "vol-1".parse().unwrap(),
            taken: "2026-11-21T03:00:00Z".parse().unwrap(),
            level,
            lowered: None,
            source: None,
            volume_gib: 100,
            full_size: None,
            kms_key: None,
            dump: None,
            max_blocks: 1000,
            cursor: None,
        };
        let fake = FakeBlocks::new(checksum);
        fake.add(&home(), &snapshot, blocks.into_iter().map(|index| (index, data(index))));
        Self { ec2, blocks: fake, storage: FakeStorage::default(), time: Cell::new(u32::MAX), task }
    }

    async fn deliver(&self, task: &VerifyTask) -> Outcome {
        let ports = Ports { ec2: &self.ec2, blocks: &self.blocks, storage: &self.storage, retry_seconds: 60 };
        let has_time = || {
            let left = self.time.get();
            self.time.set(left.saturating_sub(1));
            left > 0
        };
        handle(&ports, vec![task.clone()], now(), has_time).await.remove(0)
    }

    /// Delivers the task, and what becomes of it, until it does not go on any more. The last outcome, and how many there
    /// were.
    async fn to_the_end(&self) -> (Outcome, usize) {
        let mut task = self.task.clone();
        for count in 1.. {
            match self.deliver(&task).await {
                Onward(next, _) => task = serde_json::from_value(next).unwrap(),
                outcome => return (outcome, count),
            }
        }
        unreachable!("it ends")
    }

    /// The same, where it is proven.
    async fn verified(&self) -> Verified {
        match self.to_the_end().await {
            (Done(verified), _) => {
                let verified: Verified = serde_json::from_value(verified).unwrap();
                assert_eq!(Some(&verified), self.record().as_ref(), "the record is what is answered");
                verified
            }
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    /// The same, where it fails for good.
    async fn failure(&self) -> Failure {
        match self.to_the_end().await {
            (Fail(failure) | Declined(failure), _) => {
                let record = self.record().unwrap();
                let finding = record.failure.unwrap();
                assert_eq!((finding.error, finding.cause), (failure.name, failure.cause.clone()));
                assert_eq!(record.level, None);
                failure
            }
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    fn record(&self) -> Option<Verified> {
        let records = self.storage.0.borrow();
        records.get(&self.task.record_key()).map(|record| serde_json::from_str(record).unwrap())
    }

    /// The two tags of the snapshot.
    fn proof(&self) -> Option<(String, String)> {
        let held = self.ec2.held(&self.task.region);
        let tags = &held.iter().find(|s| s.id == self.task.snapshot)?.tags;
        Some((tags.get("VerifiedOn")?.clone(), tags.get("VerifiedAs")?.clone()))
    }

    /// Makes the snapshot a copy of another one, with these blocks.
    fn with_source(&mut self, blocks: impl IntoIterator<Item = u32>) -> SnapshotId {
        let source = self.ec2.add_snapshot(&region("us-east-1"), None, SnapshotState::Completed, Tags::new());
        let written = blocks.into_iter().map(|index| (index, data(index)));
        self.blocks.add(&region("us-east-1"), &source, written);
        let place: Region = region("us-east-1");
        self.task.source = Some(domain::drill::Source { region: place, snapshot: source.clone() });
        source
    }
}

fn proven(level: &str) -> Option<(String, String)> {
    Some(("2026-11-22".into(), level.into()))
}
