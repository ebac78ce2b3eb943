use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    fleet::Snapshot,
    restore::{
        fake::FakeRestoring,
        known::{MAX_IMAGE_NAME, image_name},
        performance::VolumeType,
        plan::Moment,
    },
    tags::{self, BACKUP, NAME, tags},
};

fn now_of<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fake does not wait"),
    }
}

fn stored(id: &str, volume: &str, gib: u32) -> Stored {
    let own = tags([
        (tags::TYPE, tags::AUTOMATED),
        (NAME, "db / primary"),
        (tags::BACKUP_RUN, "20261121T030000Z"),
        (tags::SOURCE_INSTANCE_ID, "i-1a"),
        (tags::CREATED_ON, "2026-11-21"),
        (tags::DEVICES, "/dev/xvda=vol-1a /dev/sdf=vol-2b"),
        (tags::VOLUMES, "vol-1a:gp3:3000:125:8:d vol-2b:gp3:16000:1000:100"),
    ]);
    Stored {
        snapshot: Snapshot {
            id: id.parse().unwrap(),
            volume: volume.parse().ok(),
            state: SnapshotState::Completed,
            started: "2026-11-21T03:00:05Z".parse().unwrap(),
            completed: None,
            description: String::new(),
            state_message: None,
            stored: Default::default(),
            full_size: Some(50 << 30),
            tags: own,
        },
        gib,
        encrypted: false,
        kms_key: None,
        archived: false,
    }
}

fn account() -> FakeRestoring {
    let fake = FakeRestoring::new(&["eu-west-1b", "eu-west-1a"]);
    fake.backups.borrow_mut().extend([stored("snap-1", "vol-1a", 8), stored("snap-2", "vol-2b", 100)]);
    fake.add_instance("i-1a", "eu-west-1a", "running", &[("/dev/xvda", "vol-1a"), ("/dev/sdf", "vol-2b")]);
    fake.add_instance("i-2b", "eu-west-1b", "running", &[("/dev/xvda", "vol-9f")]);
    fake.add_instance("i-3c", "eu-west-1a", "stopped", &[("/dev/xvda", "vol-8f")]);
    fake
}

fn request(change: impl FnOnce(&mut Request)) -> Request {
    let mut request = Request::new("eu-west-1".parse().unwrap(), Target::Instance("i-1a".parse().unwrap()));
    change(&mut request);
    request
}

fn plan(fake: &FakeRestoring, request: &Request) -> Plan {
    match now_of(prepare(fake, request, "2026-11-22T03:00:05Z".parse().unwrap())) {
        Ok(Prepared::Plan(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_tells_what_where_from_when_and_what_it_costs() {
    let plan = plan(&account(), &request(|r| r.fast = Some(200)));
    assert_eq!(plan.zone.as_deref(), Some("eu-west-1a"), "nothing says another one: the first");
    assert_eq!(plan.age_seconds, 24 * 60 * 60);
    assert_eq!(plan.chosen.moment, Moment::One("2026-11-21T03:00:05Z".parse().unwrap()));
    // 8 and 100 GiB of gp3, 13,000 IOPS and 875 MiB/s beyond what is free.
    assert!((plan.price.volumes_a_month - (108.0 * 0.08 + 13_000.0 * 0.005 + 875.0 * 0.04)).abs() < 0.01);
    assert!((plan.price.initialization - 0.36).abs() < 0.01, "{:?}", plan.price);
    assert_eq!(plan.minutes, Some(5), "51,200 MiB at 200 MiB/s are 256 s, both at once");
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    let root: Vec<bool> = plan.volumes.iter().map(|volume| volume.root).collect();
    assert_eq!(root, [false, true], "by device");
}

#[test]
fn bad_input_is_refused_with_what_was_given_and_what_is_allowed() {
    let id = |text: &str| text.parse().unwrap();
    let cases: Vec<(Request, ErrorName, &str, &str)> = vec![
        (request(|r| r.fast = Some(99)), ErrorName::InvalidInput, "99", "100 to 300"),
        (request(|r| r.iops = Some(99)), ErrorName::InvalidInput, "99 IOPS", "3000 to"),
        (request(|r| r.iops = Some(81_000)), ErrorName::InvalidInput, "81000", "3000 to"),
        (request(|r| r.throughput = Some(2_001)), ErrorName::InvalidInput, "2001", "125 to"),
        (request(|r| r.volume_type = Some(VolumeType::Io1)), ErrorName::InvalidInput, "16000", "100 to 5000"),
        (request(|r| r.volume_type = Some(VolumeType::St1)), ErrorName::InvalidInput, "st1 of 100 GiB", "125 to"),
        (
            request(|r| r.zone = Some("eu-west-1z".into())),
            ErrorName::InvalidInput,
            "eu-west-1z",
            "eu-west-1a, eu-west-1b",
        ),
        (
            request(|r| r.at = At::Run("20261101T030000Z".into())),
            ErrorName::SnapshotNotFound,
            "20261101T030000Z",
            "20261121T030000Z",
        ),
        (request(|r| r.target = Target::Instance(id2("i-77"))), ErrorName::SnapshotNotFound, "i-77", "none at all"),
        (
            request(|r| r.target = Target::Snapshot("snap-77".parse().unwrap())),
            ErrorName::SnapshotNotFound,
            "snap-77",
            "does not exist",
        ),
        (request(|r| r.action = Action::Attach(id("i-77"))), ErrorName::InstanceNotFound, "i-77", "does not exist"),
        (
            request(|r| r.action = Action::Attach(id("i-1a"))),
            ErrorName::InvalidInput,
            "/dev/sdf of i-1a is taken by vol-2b",
            "detach",
        ),
        (
            request(|r| {
                r.action = Action::Swap(id("i-2b"));
                r.zone = Some("eu-west-1a".into());
            }),
            ErrorName::InvalidInput,
            "eu-west-1a",
            "i-2b is in eu-west-1b",
        ),
        (request(|r| r.action = Action::ReplaceRoot(id("i-3c"))), ErrorName::InvalidInput, "i-3c is stopped", "runs"),
        (request(|r| r.action = Action::RegisterImage), ErrorName::InvalidInput, "architecture", "x86_64 or arm64"),
        (
            request(|r| {
                r.action = Action::RegisterImage;
                r.fast = Some(300);
            }),
            ErrorName::InvalidInput,
            "initialization",
            "launch",
        ),
        (
            request(|r| {
                r.action = Action::RegisterImage;
                r.zone = Some("eu-west-1a".into());
            }),
            ErrorName::InvalidInput,
            "eu-west-1a",
            "no zone",
        ),
        (
            request(|r| {
                r.target = Target::Snapshot("snap-1".parse().unwrap());
                r.at = At::Run("20261121T030000Z".into());
            }),
            ErrorName::InvalidInput,
            "20261121T030000Z",
            "one moment",
        ),
    ];
    for (request, name, given, allowed) in cases {
        let fake = account();
        let failure = match now_of(prepare(&fake, &request, "2026-11-22T03:00:05Z".parse().unwrap())) {
            Err(failure) => failure,
            Ok(other) => panic!("{request:?}: {other:?}"),
        };
        assert_eq!(failure.name, name, "{failure}");
        assert!(failure.cause.contains(given) && failure.cause.contains(allowed), "{failure}");
        assert!(fake.changes.borrow().is_empty());
    }
}

fn id2(text: &str) -> crate::ids::InstanceId {
    text.parse().unwrap()
}

#[test]
fn a_snapshot_that_cannot_be_restored_yet_says_why() {
    for (change, word) in [
        ((|s: &mut Stored| s.snapshot.state = SnapshotState::Pending) as fn(&mut Stored), "not completed"),
        (|s| s.snapshot.state = SnapshotState::Error, "failed"),
        (|s| s.snapshot.state = SnapshotState::Other, "Recycle Bin"),
        (|s| s.archived = true, "72 hours"),
    ] {
        let fake = account();
        change(&mut fake.backups.borrow_mut()[0]);
        let request = request(|r| r.target = Target::Snapshot("snap-1".parse().unwrap()));
        let failure = now_of(prepare(&fake, &request, "2026-11-22T03:00:05Z".parse().unwrap())).unwrap_err();
        assert!(failure.cause.contains("snap-1") && failure.cause.contains(word), "{failure}");
    }
}

#[test]
fn an_image_has_a_name_that_ec2_takes_and_says_what_it_loses() {
    let wanted = request(|r| {
        r.action = Action::RegisterImage;
        r.architecture = Some("arm64".into());
        r.boot_mode = Some("uefi".into());
    });
    let plan = plan(&account(), &wanted);
    let image = plan.image.unwrap();
    assert!(image.name.starts_with("db / primary 2026-11-21 ") && image.name.ends_with(&plan.id), "{}", image.name);
    assert_eq!((image.root_device.as_str(), image.architecture.as_str()), ("/dev/xvda", "arm64"));
    assert!(plan.notes.iter().any(|note| matches!(note, Note::LosesBilling { .. })));
    assert!((plan.price.volumes_a_month).abs() < 0.001, "an image costs what its snapshots cost");
    let long = image_name(&"ü*".repeat(100), "2026-11-21 id");
    assert!(long.len() <= MAX_IMAGE_NAME && long.ends_with(" 2026-11-21 id") && long.is_ascii(), "{long}");
}

#[test]
fn what_is_stopped_or_rebooted_is_told() {
    let fake = account();
    let swap = plan(&fake, &request(|r| r.action = Action::Swap("i-1a".parse().unwrap())));
    assert!(swap.notes.iter().any(|note| matches!(note, Note::Stops { .. })));
    let replaced: Vec<_> = swap.volumes.iter().filter_map(|volume| volume.replaces.clone()).collect();
    assert_eq!(replaced, ["vol-2b".parse().unwrap(), "vol-1a".parse().unwrap()]);
    let root = plan(&fake, &request(|r| r.action = Action::ReplaceRoot("i-2b".parse().unwrap())));
    assert!(root.notes.iter().any(|note| matches!(note, Note::Reboots { .. })));
    assert_eq!(root.volumes.len(), 1, "the root volume alone");
    assert_eq!(root.zone.as_deref(), Some("eu-west-1b"), "where the instance is");
}

#[test]
fn a_volume_that_a_swap_leaves_where_it_is_is_told() {
    let fake = account();
    let attached = |device: &str, volume: &str| (device.to_owned(), volume.parse::<VolumeId>().unwrap());
    let stays = |request: &Request| -> Vec<(String, VolumeId)> {
        let notes = plan(&fake, request).notes.into_iter();
        let staying = notes.filter_map(|note| match note {
            Note::Stays { device, volume } => Some((device, volume)),
            _ => None,
        });
        staying.collect()
    };
    let whole = request(|r| r.action = Action::Swap(id2("i-1a")));
    assert_eq!(stays(&whole), []);
    let one = request(|r| {
        r.action = Action::Swap(id2("i-1a"));
        r.target = Target::Volume("vol-2b".parse().unwrap());
    });
    assert_eq!(stays(&one), [attached("/dev/xvda", "vol-1a")]);
    fake.add_instance("i-4d", "eu-west-1a", "running", &[("/dev/xvda", "vol-7f"), ("/dev/sdh", "vol-6f")]);
    let other = request(|r| r.action = Action::Swap(id2("i-4d")));
    assert_eq!(stays(&other), [attached("/dev/sdh", "vol-6f")]);
}

#[test]
fn only_a_root_volume_or_one_that_was_named_and_may_be_one_takes_the_place_of_a_root_volume() {
    type Change = fn(&mut Vec<Stored>);
    let only_data: Change = |stored| stored.retain(|s| s.snapshot.id.as_str() == "snap-2");
    let unknown: Change = |stored| {
        stored.retain(|s| s.snapshot.id.as_str() == "snap-2");
        stored[0].snapshot.tags.remove(tags::DEVICES);
    };
    let root_alone: Change = |stored| stored.retain(|s| s.snapshot.id.as_str() == "snap-1");
    let whole: Change = |_| ();
    let instance = || Target::Instance(id2("i-1a"));
    let volume = |id: &str| Target::Volume(id.parse().unwrap());
    let snapshot = |id: &str| Target::Snapshot(id.parse().unwrap());
    let cases: Vec<(Target, Change, Option<&str>)> = vec![
        (instance(), whole, Some("snap-1")),
        (instance(), root_alone, Some("snap-1")),
        (instance(), only_data, None),
        (instance(), unknown, None),
        (volume("vol-1a"), whole, Some("snap-1")),
        (volume("vol-2b"), whole, None),
        (volume("vol-2b"), unknown, Some("snap-2")),
        (snapshot("snap-1"), whole, Some("snap-1")),
        (snapshot("snap-2"), whole, None),
        (snapshot("snap-2"), unknown, Some("snap-2")),
    ];
    for (target, change, wanted) in cases {
        let fake = account();
        change(&mut fake.backups.borrow_mut());
        let mut asked = request(|r| r.action = Action::ReplaceRoot(id2("i-2b")));
        asked.target = target.clone();
        let prepared = now_of(prepare(&fake, &asked, "2026-11-22T03:00:05Z".parse().unwrap()));
        match (prepared, wanted) {
            (Ok(Prepared::Plan(plan)), Some(wanted)) => {
                let ids: Vec<&str> = plan.volumes.iter().map(|volume| volume.snapshot.as_str()).collect();
                assert_eq!(ids, [wanted], "{target}");
            }
            (Err(failure), None) => {
                assert_eq!(failure.name, ErrorName::InvalidInput, "{failure}");
                assert!(failure.cause.contains("allowed is a set with /dev/sda1 or /dev/xvda"), "{failure}");
            }
            (other, _) => panic!("{target}: {other:?}"),
        }
    }
}

#[test]
fn an_override_is_of_all_volumes_and_the_word_backup_of_none_unless_it_is_said() {
    let wanted = request(|r| {
        r.volume_type = Some(VolumeType::Gp3);
        r.throughput = Some(500);
        r.iops = Some(4_000);
    });
    let plan_of_it = plan(&account(), &wanted);
    for volume in &plan_of_it.volumes {
        assert_eq!((volume.performance.iops, volume.performance.throughput), (Some(4_000), Some(500)));
        assert!(!volume.tags.contains_key(BACKUP));
    }
    let wanted = request(|r| r.backup = Some(crate::tags::Backup::Yes));
    assert!(plan(&account(), &wanted).volumes.iter().all(|volume| volume.tags[BACKUP] == "Yes"));
}
