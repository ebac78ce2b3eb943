use chrono::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{
    fleet::SnapshotState,
    tags::{SnapshotTags, read_date},
};

fn day(text: &str) -> NaiveDate {
    read_date(text).unwrap()
}

fn source(own: Tags) -> Snapshot {
    Snapshot {
        id: "snap-1".parse().unwrap(),
        volume: Some("vol-1".parse().unwrap()),
        state: SnapshotState::Completed,
        started: chrono::Utc.timestamp_opt(1_790_000_000, 0).unwrap(),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: own,
    }
}

#[test]
fn a_copy_carries_our_tags_first_and_never_more_than_fifty() {
    let mut own = tags([
        ("aws:backup:source", "x"),
        ("BackupCrossRegion", "us-east-1"),
        ("Devices", "/dev/sda1=vol-1"),
        ("Devices.2", "/dev/sdf=vol-2"),
        ("KeepForever", ""),
        ("Name", "db"),
        ("SourceInstanceId", "i-1"),
        ("DeleteOn", "2026-11-01"),
    ]);
    own.extend((0..60).map(|i| (format!("CostCenter{i}"), "x".into())));
    let (home, created, due) = ("eu-west-1".parse().unwrap(), day("2026-11-22"), day("2026-11-25"));
    let CopyLabels { tags: copied, dropped } = copy_labels(&source(own), &home, "run", created, due);
    assert_eq!(dropped.len(), 60 + 13 - 48, "{dropped:?}");
    assert_eq!(copied.len(), 48, "a drill writes two more");
    for (key, value) in [
        ("BackupFromRegion", "eu-west-1"),
        ("BackupRun", "run"),
        ("CreatedOn", "2026-11-22"),
        ("DeleteOn", "2026-11-25"),
        ("KeepForever", ""),
        ("Name", "db"),
        ("SourceDevice", "/dev/sda1"),
        ("SourceInstanceId", "i-1"),
        ("SourceSnapshotId", "snap-1"),
        ("SourceVolumeId", "vol-1"),
        ("SourceVolumes", "2"),
        ("Type", "Automated"),
    ] {
        assert_eq!(copied.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!copied.keys().any(|k| k.starts_with("aws:") || k.starts_with("Devices") || k == "BackupCrossRegion"));
}

#[test]
fn a_copy_never_inherits_what_a_drill_found_of_its_source() {
    let (home, created) = ("eu-west-1".parse().unwrap(), day("2026-11-22"));
    for found in ["failed", "probe", "a word of later"] {
        let own = tags([("VerifiedOn", "2026-11-22"), ("VerifiedAs", found), ("CostCenter", "7")]);
        let CopyLabels { tags: copied, dropped } = copy_labels(&source(own), &home, "run", created, created);
        assert!(
            copied.contains_key("CostCenter") && !copied.keys().any(|key| key.starts_with("Verified")),
            "{copied:?}"
        );
        assert!(dropped.is_empty(), "no room was missing");
    }
}

#[test]
fn what_would_make_the_pre_signed_url_too_long_is_left_out_and_named() {
    let mut own = tags([("Name", "ü".repeat(256).as_str())]);
    own.extend((0..30).map(|i| (format!("Owner{i:02}"), "ä".repeat(200))));
    let (home, created) = ("eu-west-1".parse().unwrap(), day("2026-11-22"));
    let labels = copy_labels(&source(own.clone()), &home, "run", created, created);
    assert_eq!(labels.tags["Name"], own["Name"], "ours come first");
    let bytes: usize = labels.tags.iter().map(|(key, value)| bytes_in_url(key, value)).sum();
    assert!(bytes <= MAX_COPY_URL_BYTES && bytes > MAX_COPY_URL_BYTES - 1300, "{bytes}");
    let kept = labels.tags.keys().filter(|key| key.starts_with("Owner")).count();
    assert_eq!((kept + labels.dropped.len(), labels.dropped.first().map(String::as_str)), (30, Some("Owner02")));
}

/// A set of two volumes, and what is known of it.
fn detailed() -> Tags {
    let volume = |id: &str, kind: &str| VolumeAs {
        volume: id.parse().unwrap(),
        kind: Some(kind.into()),
        iops: Some(3000),
        throughput: None,
        gib: Some(20),
        delete_on_termination: kind == "gp3",
    };
    let instance = InstanceAs {
        image: Some("ami-1a".into()),
        boot_mode: Some("uefi".into()),
        security_groups: (0..20).map(|i| format!("sg-{i:017x}")).collect(),
        ..InstanceAs::default()
    };
    details_of(&[], &[volume("vol-1", "gp3"), volume("vol-2", "io2")], &instance).tags
}

#[test]
fn a_copy_carries_what_is_known_of_its_own_volume_and_of_the_instance() {
    let mut own = detailed();
    own.extend(tags([("VerifiedOn", "2026-11-22"), ("VerifiedAs", "probe"), ("Team", "x")]));
    let (home, created) = ("eu-west-1".parse().unwrap(), day("2026-11-22"));
    let CopyLabels { tags: copied, dropped } = copy_labels(&source(own.clone()), &home, "run", created, created);
    assert_eq!(copied["Volumes"], "vol-1:gp3:3000::20:d");
    assert_eq!(volumes_of(&copied), volumes_of(&own)[..1]);
    assert!(own.contains_key("InstanceAs.2") && instance_as(&own).is_some());
    assert_eq!(instance_as(&copied), instance_as(&own));
    assert!(!copied.contains_key("VerifiedOn") && !copied.contains_key("VerifiedAs"), "nobody has read the copy");
    assert_eq!((copied["Team"].as_str(), dropped.len()), ("x", 0));

    let unknown = Snapshot { volume: Some("vol-9".parse().unwrap()), ..source(own) };
    assert!(!copy_labels(&unknown, &home, "run", created, created).tags.contains_key("Volumes"));
}

#[test]
fn the_details_of_a_copy_come_before_tags_of_others_and_never_in_part() {
    let (home, created) = ("eu-west-1".parse().unwrap(), day("2026-11-22"));
    let mut own = detailed();
    own.extend((0..60).map(|i| (format!("Aaa{i}"), "x".repeat(99))));
    let labels = copy_labels(&source(own.clone()), &home, "run", created, created);
    assert_eq!((volumes_of(&labels.tags).len(), instance_as(&labels.tags)), (1, instance_as(&own)));
    assert!(labels.dropped.iter().all(|key| key.starts_with("Aaa")) && !labels.dropped.is_empty());

    // What the system itself goes by takes more and more of the URL.
    let mut seen = std::collections::BTreeSet::new();
    for more in 0..=256 {
        let long = "ü".repeat(256);
        own.extend(tags([("Name", long.as_str()), ("ConsistencyReason", &long), ("KeepForever", &"ü".repeat(more))]));
        let labels = copy_labels(&source(own.clone()), &home, "run", created, created);
        let parts = ["InstanceAs", "InstanceAs.2"].map(|key| labels.tags.contains_key(key));
        let dropped = ["InstanceAs", "InstanceAs.2"].map(|key| labels.dropped.contains(&key.to_owned()));
        assert_eq!(parts, dropped.map(|dropped| !dropped));
        seen.insert(parts);
    }
    assert_eq!(seen, [[false, false], [true, true]].into());
}

#[test]
fn every_tag_that_a_snapshot_may_get_has_room() {
    let (instance, volume) = ("i-1".parse().unwrap(), "vol-1".parse().unwrap());
    let mut all = Tags::new();
    for begun in [BegunAs::Frozen("6f1c"), BegunAs::Unfrozen(Some("why"))] {
        let labels = SnapshotLabels {
            name: "db",
            instance: &instance,
            run_id: "20261122T030000Z",
            created_on: day("2026-11-22"),
            retention: 7.try_into().unwrap(),
            retention_cross_region: Some(9.try_into().unwrap()),
            backup_cross_region: Some("us-east-1"),
            keep_forever: Some(""),
            devices: &[],
            details: &Details::default(),
            begun: Some(begun),
        };
        all.extend(labels.tags());
    }
    let dump = serde_json::json!({"at": "2026-11-22T03:00:05Z", "path": "/d", "sha256": "9f"});
    let dump: Dump = serde_json::from_value(dump).unwrap();
    let known = Consistency { level: Level::Application, reason: Some("none"), dump: Some((&dump, &volume)) };
    all.extend(consistency_tags(&known));
    all.extend(crate::proof::Proof { on: day("2026-11-22"), level: None }.tags());
    let counted: std::collections::BTreeSet<&str> = OTHER_KEYS.into();
    assert_eq!(all.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), counted);
}

#[test]
fn a_device_whose_name_holds_spaces_comes_back_whole() {
    let attached = |device: &str, volume: &str| Attachment { device: device.into(), volume: volume.parse().unwrap() };
    let devices = [attached("my data = 1", "vol-1a"), attached("/dev/sdf", "vol-2b"), attached(" x ", "vol-3c")];
    assert_eq!(devices_of(&devices_tags(&devices)), devices);
    assert_eq!(devices_of(&tags([("Devices", "torn vol-1a /dev/sdf=vol-2b")])).len(), 1);
}

fn attachments(most: usize) -> impl Strategy<Value = Vec<Attachment>> {
    prop::collection::vec(("/dev/[a-z]{2,20}[0-9]?", "vol-[0-9a-f]{17}"), 1..=most).prop_map(|pairs| {
        pairs.into_iter().map(|(device, volume)| Attachment { device, volume: volume.parse().unwrap() }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn devices_read_back_as_written(devices in attachments(128)) {
        let written = devices_tags(&devices);
        prop_assert!(written.values().all(|value| value.len() <= MAX_VALUE));
        prop_assert_eq!(devices_of(&written), devices);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_snapshots_labels_read_back(
        days in 1u32..=36500, offset in 0u64..20_000, keep in prop::option::of(".{0,9}"), devices in attachments(3),
    ) {
        let labels = SnapshotLabels {
            name: "db", instance: &"i-1".parse().unwrap(), run_id: "20261122T030000Z",
            created_on: day("2026-01-01") + chrono::Days::new(offset),
            retention: days.try_into().unwrap(), retention_cross_region: None,
            backup_cross_region: Some("us-east-1"), keep_forever: keep.as_deref(), devices: &devices,
            details: &Details::default(), begun: None,
        };
        let read = SnapshotTags::read(&labels.tags());
        prop_assert!(read.automated);
        prop_assert_eq!(read.keep_forever, keep.is_some());
        prop_assert_eq!(read.created_on, Some(labels.created_on));
        prop_assert_eq!(read.delete_on, Some(labels.retention.delete_on(labels.created_on)));
        prop_assert_eq!(read.source_instance.as_ref(), Some(labels.instance));
    }
}

#[test]
fn a_description_has_255_printable_ascii_characters_at_most() {
    let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
    assert_eq!(description("Zürich-DB\t1", &id), "Z?rich-DB?1 - i-0123456789abcdef0");
    let long = description(&"é".repeat(256), &id);
    assert_eq!(long.len(), 255);
    assert!(long.ends_with("? - i-0123456789abcdef0") && long.is_ascii());
    assert_eq!(printable(&"x".repeat(300)).len(), 255);
}

#[test]
fn a_copy_inherits_how_consistent_its_source_is_before_anything_that_is_not_ours() {
    let ours = [
        ("Consistency", "application"),
        ("ConsistencyReason", "none"),
        ("DumpAt", "2026-11-22T03:00:05Z"),
        ("DumpPath", "/d/all.sql.gz"),
        ("DumpSha256", "9f86"),
        ("DumpVolume", "vol-2"),
        ("HookExecution", "6f1c2a30-0000-4000-8000-000000000001"),
    ];
    let mut own = tags(ours);
    own.extend((0..60).map(|i| (format!("Aaa{i}"), "x".repeat(200))));
    let (home, created, due) = ("eu-west-1".parse().unwrap(), day("2026-11-22"), day("2026-11-25"));
    let copied = copy_labels(&source(own), &home, "run", created, due).tags;
    for (key, value) in ours {
        assert_eq!(copied.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn a_reason_of_any_length_and_letters_is_a_value_that_a_tag_takes() {
    assert_eq!(value("one\ntwo\t"), "one two ");
    let long = value(&"ü".repeat(300));
    assert!(long.chars().count() == 256 && long.ends_with('…'));
}
