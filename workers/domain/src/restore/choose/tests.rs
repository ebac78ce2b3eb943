use super::*;
use crate::{
    fleet::Snapshot,
    restore::ports::Stored,
    tags::{AUTOMATED, BACKUP_FROM_REGION, CREATED_ON, DEVICES, SOURCE_INSTANCE_ID, SOURCE_VOLUME_ID, TYPE, tags},
};

/// A snapshot, begun at a minute of 22 November.
fn stored(id: &str, volume: &str, minute: u32, more: &[(&str, &str)]) -> Stored {
    let mut own = tags([(TYPE, AUTOMATED), (SOURCE_INSTANCE_ID, "i-1"), (CREATED_ON, "2026-11-22")]);
    own.extend(tags(more.iter().copied()));
    Stored {
        snapshot: Snapshot {
            id: id.parse().unwrap(),
            volume: volume.parse().ok(),
            state: SnapshotState::Completed,
            started: format!("2026-11-22T03:{minute:02}:00Z").parse().unwrap(),
            completed: None,
            description: String::new(),
            state_message: None,
            stored: Default::default(),
            full_size: None,
            tags: own,
        },
        gib: 8,
        encrypted: false,
        kms_key: None,
        archived: false,
    }
}

const TWO: &str = "/dev/sda1=vol-1 /dev/sdf=vol-2";

/// A snapshot of a set of two.
fn of_run(id: &str, volume: &str, minute: u32, run: &str) -> Stored {
    stored(id, volume, minute, &[(BACKUP_RUN, run), (DEVICES, TWO)])
}

/// A copy of a source that was begun at a minute.
fn copy(id: &str, volume: &str, source_minute: u32, run: &str) -> Stored {
    stored(
        id,
        "vol-ffff",
        50,
        &[
            (BACKUP_FROM_REGION, "eu-west-1"),
            (SOURCE_VOLUME_ID, volume),
            (BACKUP_RUN, "a later run"),
            (SOURCE_RUN, run),
            (SOURCE_STARTED, &format!("2026-11-22T03:{source_minute:02}:00.000Z")),
            (SOURCE_VOLUMES, "2"),
        ],
    )
}

fn instance() -> Target {
    Target::Instance("i-1".parse().unwrap())
}

fn ids(set: &Set) -> Vec<&str> {
    set.members.iter().map(|member| member.snapshot.id.as_str()).collect()
}

fn chosen(found: &[Stored], at: &str) -> Choice {
    choose(sets(found, &instance()), &instance(), &at.parse().unwrap()).unwrap()
}

#[test]
fn the_newest_complete_set_is_chosen_and_a_newer_one_told() {
    let mut pending = of_run("snap-22", "vol-2", 20, "20261122T032000Z");
    pending.snapshot.state = SnapshotState::Pending;
    let found = [
        of_run("snap-1", "vol-1", 0, "20261122T030000Z"),
        of_run("snap-2", "vol-2", 0, "20261122T030000Z"),
        of_run("snap-11", "vol-1", 10, "20261122T031000Z"),
        of_run("snap-12", "vol-2", 10, "20261122T031000Z"),
        of_run("snap-21", "vol-1", 20, "20261122T032000Z"),
        pending,
    ];
    let choice = chosen(&found, "newest");
    assert_eq!(ids(&choice.set), ["snap-11", "snap-12"]);
    assert!(choice.set.is_of_one_moment() && choice.set.is_complete());
    assert_eq!(choice.passed_over.len(), 1);
    assert_eq!(choice.passed_over[0].1, PassedOver::Incomplete);
    assert_eq!(ids(&chosen(&found, "20261122T030000Z").set), ["snap-1", "snap-2"]);
    assert_eq!(ids(&chosen(&found, "2026-11-22T03:05:00Z").set), ["snap-1", "snap-2"]);
    assert_eq!(ids(&chosen(&found, "2026-11-22").set), ["snap-11", "snap-12"]);
    // Named, it is chosen as it is, and says what it lacks.
    let named = chosen(&found, "20261122T032000Z").set;
    assert_eq!((ids(&named), &named.lacking), (vec!["snap-21"], &vec!["vol-2".parse().ok()]));
}

#[test]
fn what_a_drill_has_found_to_be_bad_is_chosen_only_where_it_is_named() {
    let mut bad = of_run("snap-12", "vol-2", 10, "20261122T031000Z");
    bad.snapshot.tags.extend(tags([("VerifiedOn", "2026-11-23"), ("VerifiedAs", "failed")]));
    let good = [of_run("snap-1", "vol-1", 0, "20261122T030000Z"), of_run("snap-2", "vol-2", 0, "20261122T030000Z")];
    let newer = [of_run("snap-11", "vol-1", 10, "20261122T031000Z"), bad];
    let all: Vec<Stored> = good.iter().chain(&newer).cloned().collect();
    let choice = chosen(&all, "newest");
    assert_eq!(ids(&choice.set), ["snap-1", "snap-2"]);
    assert_eq!(choice.passed_over[0].1, PassedOver::KnownBad);
    let named = chosen(&all, "20261122T031000Z").set;
    assert_eq!(named.known_bad()[0].0.as_str(), "snap-12");
    let failure = choose(sets(&newer, &instance()), &instance(), &At::Newest).unwrap_err();
    assert!(failure.cause.contains("snap-12") && failure.cause.contains("named"), "{failure}");
}

#[test]
fn copies_of_one_moment_are_a_set_though_another_run_made_them() {
    let (old, new) = ("20261122T030000Z", "20261122T031000Z");
    let found = [copy("snap-1", "vol-1", 0, old), copy("snap-2", "vol-2", 0, old), copy("snap-11", "vol-1", 10, new)];
    let choice = chosen(&found, "newest");
    assert_eq!(ids(&choice.set), ["snap-1", "snap-2"]);
    assert_eq!(choice.set.moment, Moment::One("2026-11-22T03:00:00Z".parse().unwrap()), "not when they were copied");
    assert_eq!(choice.set.run_id.as_deref(), Some(old));
    let named = chosen(&found, new).set;
    assert_eq!((ids(&named), &named.lacking), (vec!["snap-11"], &vec![None]), "their number is known, and no more");
}

#[test]
fn older_copies_say_their_day_and_are_held_against_the_set_before() {
    let old = |id: &str, volume: &str, day: &str| {
        let mut own = stored(id, "vol-ffff", 0, &[(BACKUP_FROM_REGION, "eu-west-1"), (SOURCE_VOLUME_ID, volume)]);
        own.snapshot.tags.insert(CREATED_ON.into(), day.into());
        own
    };
    let found = [
        old("snap-1", "vol-1", "2026-11-20"),
        old("snap-2", "vol-2", "2026-11-20"),
        old("snap-11", "vol-1", "2026-11-21"),
    ];
    let choice = chosen(&found, "newest");
    assert_eq!(ids(&choice.set), ["snap-1", "snap-2"], "the newer one lacks a volume that the older one has");
    assert_eq!(choice.set.moment, Moment::Day("2026-11-20".parse().unwrap()));
    assert!(!choice.set.is_of_one_moment());
}

#[test]
fn snapshots_of_the_earlier_scripts_are_restored_too() {
    let own = |id: &str, volume: &str, device: &str, minute| {
        let mut own = stored(id, volume, minute, &[]);
        own.snapshot.tags.remove(SOURCE_INSTANCE_ID);
        own.snapshot.description = format!("web - {volume} ({device})");
        own
    };
    let found = [own("snap-1", "vol-1", "/dev/sda1", 0), own("snap-2", "vol-2", "/dev/sdf", 1)];
    let set = chosen(&found, "newest").set;
    assert_eq!(ids(&set), ["snap-1", "snap-2"]);
    assert!(matches!(set.moment, Moment::Between { .. }) && set.is_complete());
    assert_eq!(device_for(&set.members[1]).as_deref(), Some("/dev/sdf"));
}

#[test]
fn of_two_sets_of_one_run_one_moment_is_taken_and_not_a_mixture() {
    let run = "20261122T030000Z";
    let mut pending = of_run("snap-12", "vol-2", 5, run);
    pending.snapshot.state = SnapshotState::Pending;
    let found = [
        of_run("snap-1", "vol-1", 0, run),
        of_run("snap-2", "vol-2", 0, run),
        of_run("snap-11", "vol-1", 5, run),
        pending,
    ];
    assert_eq!(ids(&chosen(&found, "newest").set), ["snap-1", "snap-2"]);
    // Begun one after another, they are a set, and say so.
    let found = [of_run("snap-1", "vol-1", 0, run), of_run("snap-2", "vol-2", 1, run)];
    let set = chosen(&found, "newest").set;
    assert!(set.is_complete() && !set.is_of_one_moment());
}

#[test]
fn of_a_volume_every_snapshot_is_a_whole_set() {
    let target = Target::Volume("vol-2".parse().unwrap());
    let found = [of_run("snap-1", "vol-1", 0, "20261122T030000Z"), of_run("snap-2", "vol-2", 0, "20261122T030000Z")];
    let choice = choose(sets(&found, &target), &target, &At::Newest).unwrap();
    assert!(choice.set.is_complete());
    assert_eq!(ids(&choice.set), ["snap-2"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let found = [of_run("snap-1", "vol-1", 0, "20261122T030000Z"), of_run("snap-2", "vol-2", 0, "20261122T030000Z")];
    let failure = choose(sets(&found, &instance()), &instance(), &"2026-11-01".parse().unwrap()).unwrap_err();
    assert_eq!(failure.name, ErrorName::SnapshotNotFound);
    assert!(failure.cause.contains("2026-11-01") && failure.cause.contains("20261122T030000Z"), "{failure}");
    let failure = choose(Vec::new(), &instance(), &At::Newest).unwrap_err();
    assert!(failure.cause.contains("none at all"), "{failure}");
}

#[test]
fn what_somebody_made_by_hand_or_archived_is_in_no_set() {
    let mut by_hand = of_run("snap-1", "vol-1", 0, "20261122T030000Z");
    by_hand.snapshot.tags.remove(TYPE);
    let mut archived = of_run("snap-2", "vol-2", 0, "20261122T030000Z");
    archived.archived = true;
    assert_eq!(sets(&[by_hand.clone(), archived], &instance()), []);
    let target = Target::Snapshot("snap-1".parse().unwrap());
    assert_eq!(sets(&[by_hand], &target).len(), 1, "named, it is one");
}

#[test]
fn a_mixture_with_one_snapshot_that_was_made_later_is_not_newer_than_a_set_between_them() {
    let found = [
        of_run("snap-1", "vol-1", 0, "20261122T030000Z"),
        of_run("snap-2", "vol-2", 20, "20261122T030000Z"),
        of_run("snap-11", "vol-1", 10, "20261122T031000Z"),
        of_run("snap-12", "vol-2", 10, "20261122T031000Z"),
    ];
    let choice = chosen(&found, "newest");
    assert_eq!(ids(&choice.set), ["snap-11", "snap-12"]);
    assert!(choice.passed_over.is_empty());
}

#[test]
fn until_a_time_takes_no_copies_that_tell_only_the_day_of_that_time() {
    let of_day = |id: &str, volume: &str, day: &str| {
        stored(
            id,
            "vol-ffff",
            50,
            &[(BACKUP_FROM_REGION, "eu-west-1"), (SOURCE_VOLUME_ID, volume), (CREATED_ON, day), (BACKUP_RUN, day)],
        )
    };
    let found = [of_day("snap-1", "vol-1", "2026-11-21"), of_day("snap-2", "vol-1", "2026-11-22")];
    assert_eq!(ids(&chosen(&found, "2026-11-22T02:00:00Z").set), ["snap-1"], "the other may be of 03:00");
    assert_eq!(ids(&chosen(&found, "2026-11-23T00:00:00Z").set), ["snap-2"]);
    assert_eq!(ids(&chosen(&found, "newest").set), ["snap-2"]);
}
