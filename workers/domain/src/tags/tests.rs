use proptest::prelude::*;

use super::*;
use crate::{earlier_scripts::described, labels::devices_of};

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

}
