use chrono::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::fleet::SnapshotState;

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
        tags: own,
    }
}

#[test]
fn backup_is_yes_in_any_case_and_nothing_else() {
    for (value, wanted) in [("Yes", true), ("YES", true), (" yes ", true), ("Y", false), ("true", false), ("", false)] {
        let (read, problems) = InstanceTags::read(&tags([("Backup", value)]));
        assert_eq!((read.is_wanted(), problems.is_empty()), (wanted, wanted), "{value:?}: {problems:?}");
    }
    assert!(!InstanceTags::read(&tags([("backup", "Yes")])).0.is_wanted(), "tag keys are case-sensitive");
}

#[test]
fn an_empty_retention_is_a_problem_and_not_the_end() {
    let (read, problems) = InstanceTags::read(&tags([("Backup", "Yes"), ("Retention", "")]));
    assert_eq!((read.is_wanted(), read.retention, problems.len()), (true, None, 1));
}

#[test]
fn one_bad_region_leaves_the_others() {
    let (found, problems) = regions("eu-west-1, mars ,, us-east-1 ,EU-WEST-1");
    assert_eq!(found.iter().map(Region::as_str).collect::<Vec<_>>(), ["eu-west-1", "us-east-1"]);
    assert_eq!(problems.iter().map(|p| p.value.as_str()).collect::<Vec<_>>(), ["mars"]);
}

#[test]
fn only_exact_dates_are_read() {
    assert!(read_date("2026-11-22").is_some());
    for text in [
        "-026-11-22",
        "2026-1-022",
        "2026-11-2",
        "2026-13-01",
        "22-11-2026",
        "2026-11-22 ",
        "+026-11-22",
        "2026/11/22",
        "never",
        "",
    ] {
        assert_eq!(read_date(text), None, "{text:?}");
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
    assert_eq!(dropped.len(), 60 + 11 - 50, "{dropped:?}");
    assert_eq!(copied.len(), 50);
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
        ("Type", "Automated"),
    ] {
        assert_eq!(copied.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!copied.keys().any(|k| k.starts_with("aws:") || k.starts_with("Devices") || k == "BackupCrossRegion"));
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

#[test]
fn a_key_that_looks_like_ours_is_reported_where_it_may_be_meant() {
    let reported = |own: &[(&str, &str)]| {
        let (_, problems) = InstanceTags::read(&tags(own.iter().copied()));
        problems.iter().map(|p| p.tag.clone()).collect::<Vec<_>>()
    };
    assert_eq!(reported(&[("backup", "yes")]), ["backup"]);
    assert_eq!(reported(&[("BACK_UP", "Hold")]), ["BACK_UP"]);
    assert!(reported(&[("backup", "daily")]).is_empty(), "another tool's");
    let beside =
        [("Backup", "Yes"), ("retention", "7"), ("backup-cross-region", "x"), ("Keep_Forever", ""), ("Re", "")];
    assert_eq!(reported(&beside), ["Keep_Forever", "backup-cross-region", "retention"]);
    assert!(reported(&beside[1..]).is_empty(), "none of our business without Backup");
    assert_eq!(reported(&[("Backup", "true"), ("RetentionCrossRegion", "3")]), ["Backup", "RetentionCrossRegion"]);
}

#[test]
fn keep_forever_in_another_case_keeps() {
    for key in ["KeepForever", "keepforever", "KEEPFOREVER"] {
        assert!(SnapshotTags::read(&tags([(key, "")])).keep_forever, "{key}");
        let (read, problems) = InstanceTags::read(&tags([("Backup", "Yes"), (key, "audit")]));
        assert_eq!((read.keep_forever.as_deref(), problems.is_empty()), (Some("audit"), key == "KeepForever"));
    }
    assert!(!SnapshotTags::read(&tags([("Keep", "")])).keep_forever);
}

#[test]
fn a_device_whose_name_holds_spaces_comes_back_whole() {
    let attached = |device: &str, volume: &str| Attachment { device: device.into(), volume: volume.parse().unwrap() };
    let devices = [attached("my data = 1", "vol-1a"), attached("/dev/sdf", "vol-2b"), attached(" x ", "vol-3c")];
    assert_eq!(devices_of(&devices_tags(&devices)), devices);
    assert_eq!(devices_of(&tags([("Devices", "torn vol-1a /dev/sdf=vol-2b")])).len(), 1);
}

#[test]
fn the_earlier_scripts_description_is_read() {
    let found = described("web (blue) - vol-0a1b (/dev/sdf)").unwrap();
    assert_eq!((found.volume.as_str(), found.device.as_str()), ("vol-0a1b", "/dev/sdf"));
    for text in ["", "by hand", "web - disk (/dev/sdf)", "web - vol-1 /dev/sdf"] {
        assert_eq!(described(text), None, "{text:?}");
    }
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
    fn any_tag_text_is_read_without_a_panic(value in ".{0,40}") {
        let all = tags([BACKUP, RETENTION, RETENTION_CROSS_REGION, BACKUP_CROSS_REGION, CREATED_ON, DELETE_ON, DEVICES]
            .map(|key| (key, value.as_str())));
        let _ = (InstanceTags::read(&all), SnapshotTags::read(&all), devices_of(&all), described(&value));
    }

    #[test]
    fn a_region_list_reads_back_as_written(
        list in prop::collection::vec("[a-z]{2}-[a-z]{4,9}-[1-9]", 0..6), gap in "[ ]{0,2}",
    ) {
        let (found, problems) = regions(&list.join(&format!("{gap},{gap}")));
        prop_assert!(problems.is_empty());
        let mut once = Vec::new();
        for region in list {
            if !once.contains(&region) {
                once.push(region);
            }
        }
        prop_assert_eq!(found.iter().map(|r| r.to_string()).collect::<Vec<_>>(), once);
    }

    #[test]
    fn a_snapshots_labels_read_back(
        days in 1u32..=36500, offset in 0u64..20_000, keep in prop::option::of(".{0,9}"), devices in attachments(3),
    ) {
        let labels = SnapshotLabels {
            name: "db", instance: &"i-1".parse().unwrap(), run: "20261122T030000Z",
            created_on: day("2026-01-01") + chrono::Days::new(offset),
            retention: days.try_into().unwrap(), retention_cross_region: None,
            backup_cross_region: Some("us-east-1"), keep_forever: keep.as_deref(), devices: &devices,
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
