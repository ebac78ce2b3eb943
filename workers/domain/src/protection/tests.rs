use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    fleet::{Attachment, Regions},
    tags::tags,
};

fn instance(id: &str, state: &str, backup: Option<&str>, volumes: &[&str]) -> Instance {
    let attached = |volume: &&str| Attachment { device: "/dev/sda1".into(), volume: volume.parse().unwrap() };
    Instance {
        tags: tags(backup.map(|word| ("Backup", word)).into_iter().chain([("Name", "db")])),
        volumes: volumes.iter().map(attached).collect(),
        ..Instance::new(id.parse().unwrap(), state)
    }
}

fn volume(id: &str, backup: Option<&str>, attached_to: &[&str]) -> Volume {
    Volume {
        tags: tags(backup.map(|word| ("Backup", word))),
        attached_to: attached_to.iter().map(|id| id.parse().unwrap()).collect(),
        ..Volume::new(id.parse().unwrap())
    }
}

fn fleet(instances: &[Instance], volumes: &[Volume]) -> Fleet {
    let home: crate::ids::Region = "eu-west-1".parse().unwrap();
    let regions = Regions { home: home.clone(), enabled: [home].into(), disabled: BTreeSet::new() };
    Fleet { regions, instances: instances.to_vec(), volumes: volumes.to_vec() }
}

fn backup(id: &str, volume: &str, day: u32, state: SnapshotState, more: &[(&str, &str)]) -> Snapshot {
    let (created, delete) = (format!("2026-11-{day:02}"), format!("2026-11-{:02}", day + 7));
    let own = [("Type", "Automated"), ("CreatedOn", created.as_str()), ("DeleteOn", delete.as_str()), ("Name", "db")];
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some(volume.parse().unwrap()),
        state,
        started: format!("2026-11-{day:02}T03:00:00Z").parse().unwrap(),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: tags(own.into_iter().chain(more.iter().copied())),
    }
}

use SnapshotState::{Completed, Pending};

#[test]
fn only_an_explicit_no_gives_the_floor_up() {
    // The volume's own word, the words of its instances, and whether it has a floor.
    for (own, words, floor) in [
        (None, &[][..], true),
        (None, &[None][..], true),
        (None, &[Some("Yes")], true),
        (None, &[Some("Hold")], true),
        (None, &[Some("No")], false),
        (None, &[Some("no"), Some("NO")], false),
        (None, &[Some("No"), None], true),
        (None, &[Some("No"), Some("Hold")], true),
        (None, &[Some("No"), Some("Yes")], true),
        (None, &[Some("false")], true),
        (None, &[Some("")], true),
        (Some("No"), &[Some("Yes")], false),
        (Some("No"), &[], false),
        (Some("Hold"), &[Some("No")], true),
        (Some("Yes"), &[Some("No")], true),
        (Some("none"), &[Some("No")], true),
    ] {
        let ids: Vec<String> = (0..words.len()).map(|n| format!("i-{n}")).collect();
        let instances: Vec<_> =
            ids.iter().zip(words).map(|(id, word)| instance(id, "running", *word, &["vol-1"])).collect();
        let attached: Vec<&str> = ids.iter().map(String::as_str).collect();
        let fleet = fleet(&instances, &[volume("vol-1", own, &attached)]);
        assert_eq!(!floor_volumes(&fleet).is_empty(), floor, "{own:?} {words:?}");
    }
}

#[test]
fn an_instance_that_was_not_listed_has_not_said_no() {
    let known = instance("i-1", "running", Some("No"), &["vol-1"]);
    let shared = fleet(&[known], &[volume("vol-1", None, &["i-1", "i-2"])]);
    assert!(!floor_volumes(&shared).is_empty());
}

#[test]
fn a_key_that_looks_like_backup_on_a_volume_is_no_silence() {
    let mut meant = volume("vol-1", None, &["i-1"]);
    meant.tags = tags([("backup", "Hold")]);
    assert!(!floor_volumes(&fleet(&[instance("i-1", "running", Some("No"), &["vol-1"])], &[meant])).is_empty());
}

#[test]
fn a_volume_whose_tags_say_nothing_is_named_with_its_last_backup() {
    let backups = [
        backup("snap-1", "vol-1", 1, Completed, &[]),
        backup("snap-2", "vol-1", 2, Completed, &[]),
        backup("snap-3", "vol-1", 3, Pending, &[]),
        backup("snap-4", "vol-2", 3, Completed, &[]),
    ];
    let untagged = fleet(
        &[instance("i-1", "running", Some("true"), &["vol-1"])],
        &[volume("vol-1", None, &["i-1"]), volume("vol-2", None, &[])],
    );
    let (unprotected, gone) = without_word(&untagged, &backups);
    assert!(gone.is_empty());
    let named: Vec<_> =
        unprotected.iter().map(|u| (u.volume.as_str(), u.last.as_str(), u.created_on.to_string())).collect();
    assert_eq!(named, [("vol-1", "snap-2", "2026-11-02".into()), ("vol-2", "snap-4", "2026-11-03".into())]);
    assert_eq!(unprotected[0].instances, [("i-1".parse().unwrap(), Some("db".to_owned()))]);
    assert_eq!(unprotected[0].instead[0].to_string(), "Backup=\"true\": allowed is Yes, No or Hold");
    for word in ["Yes", "No", "Hold"] {
        let spoken = fleet(
            &[instance("i-1", "running", Some(word), &["vol-1"])],
            &[volume("vol-1", None, &["i-1"]), volume("vol-2", Some("Hold"), &[])],
        );
        assert!(without_word(&spoken, &backups).0.is_empty(), "{word}");
    }
}

#[test]
fn what_is_going_or_kept_for_ever_and_what_is_no_backup_of_ours_is_no_problem() {
    let silent = |state: &str| fleet(&[instance("i-1", state, None, &["vol-1"])], &[volume("vol-1", None, &["i-1"])]);
    let ours = [backup("snap-1", "vol-1", 1, Completed, &[])];
    assert_eq!(without_word(&silent("running"), &ours).0.len(), 1);
    assert!(without_word(&silent("shutting-down"), &ours).0.is_empty());
    let kept = [backup("snap-1", "vol-1", 1, Completed, &[("KeepForever", "")])];
    assert!(without_word(&silent("running"), &kept).0.is_empty());
    let both = [kept[0].clone(), backup("snap-2", "vol-1", 2, Completed, &[])];
    assert_eq!(without_word(&silent("running"), &both).0.len(), 1);
    for more in [("Type", "Manual"), ("DeleteOn", "never"), ("CreatedOn", ""), ("BackupFromRegion", "us-east-1")] {
        let other = [backup("snap-1", "vol-1", 1, Completed, &[more])];
        assert!(without_word(&silent("running"), &other).0.is_empty(), "{more:?}");
    }
}

#[test]
fn a_volume_that_is_gone_is_listed_with_the_day_its_last_backup_goes() {
    let backups = [backup("snap-1", "vol-1", 1, Completed, &[]), backup("snap-2", "vol-1", 2, Completed, &[])];
    let (unprotected, gone) = without_word(&fleet(&[], &[]), &backups);
    assert!(unprotected.is_empty());
    assert_eq!((gone[0].last.as_str(), gone[0].delete_on.to_string()), ("snap-2", "2026-11-09".into()));
    assert_eq!(gone[0].name.as_deref(), Some("db"));
    let kept = [backup("snap-3", "vol-1", 3, Completed, &[("KeepForever", "")])];
    assert!(without_word(&fleet(&[], &[]), &kept).1.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn taking_tags_away_never_takes_a_floor_away(
        own in prop::option::of("(Yes|No|Hold|x)"), words in prop::collection::vec(prop::option::of("(Yes|No|Hold|x)"), 0..4),
        taken in any::<[bool; 5]>(),
    ) {
        let of = |own: Option<&str>, words: &[Option<&str>]| {
            let ids: Vec<String> = (0..words.len()).map(|n| format!("i-{n}")).collect();
            let instances: Vec<_> = ids.iter().zip(words).map(|(id, w)| instance(id, "running", *w, &["vol-1"])).collect();
            let attached: Vec<&str> = ids.iter().map(String::as_str).collect();
            floor_volumes(&fleet(&instances, &[volume("vol-1", own, &attached)])).len()
        };
        let before: Vec<Option<&str>> = words.iter().map(Option::as_deref).collect();
        let after: Vec<Option<&str>> = before.iter().zip(taken).map(|(w, gone)| w.filter(|_| !gone)).collect();
        // Only the volume's own Hold or Yes keeps the floor against an instance's No.
        let own_after = own.as_deref().filter(|word| !taken[4] || *word != "No");
        prop_assert!(of(own_after, &after) >= of(own.as_deref(), &before));
    }
}
