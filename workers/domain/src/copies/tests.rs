use chrono::{DateTime, Days, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::fake::{in_state, region, with, without};
use crate::{
    fleet::Attachment,
    tags::{SnapshotTags, tags},
};

const LOOKBACK: u32 = 7;
const WEB: &str = "web - vol-1 (/dev/sda1)";

fn day(ago: u64) -> NaiveDate {
    "2026-11-22".parse::<NaiveDate>().unwrap() - Days::new(ago)
}

fn at(ago: u64, minute: i64) -> DateTime<Utc> {
    day(ago).and_hms_opt(3, 0, 0).unwrap().and_utc() + TimeDelta::minutes(minute)
}

/// A completed source, kept for 30 days and promised a copy in us-east-1.
fn source(id: &str, volume: &str, ago: u64) -> Snapshot {
    let mut own = tags([("Type", "Automated"), ("BackupCrossRegion", "us-east-1"), ("SourceInstanceId", "i-1")]);
    own.extend([("CreatedOn".into(), day(ago).to_string()), ("BackupRun".into(), format!("of {id}"))]);
    own.insert("DeleteOn".into(), (day(ago) + Days::new(30)).to_string());
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some(volume.parse().unwrap()),
        state: SnapshotState::Completed,
        started: at(ago, 0),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: own,
    }
}

fn described(mut snapshot: Snapshot, description: &str) -> Snapshot {
    snapshot.description = description.into();
    snapshot
}

/// A source that the earlier scripts made.
fn earlier_source(id: &str, ago: u64) -> Snapshot {
    without(without(described(source(id, "vol-1", ago), WEB), "BackupRun"), "SourceInstanceId")
}

/// A copy that the earlier scripts made: without `SourceSnapshotId`.
fn earlier_copy(id: &str, ago: u64, description: &str) -> Snapshot {
    let copy = with(described(source(id, "vol-ffff", ago), description), "BackupFromRegion", "eu-west-1");
    without(without(copy, "BackupCrossRegion"), "SourceInstanceId")
}

fn copy_of(source: &Snapshot, id: &str, state: SnapshotState) -> Snapshot {
    let created_on = SnapshotTags::read(&source.tags).created_on.unwrap();
    let labels = copy_labels(source, &region("eu-west-1"), "r", created_on, created_on + Days::new(30));
    Snapshot {
        id: id.parse().unwrap(),
        state,
        tags: labels.tags,
        volume: Some("vol-ffff".parse().unwrap()),
        ..source.clone()
    }
}

fn instance(id: &str, volume: &str, own: &[(&str, &str)]) -> Instance {
    Instance {
        tags: tags([("Backup", "Yes")].into_iter().chain(own.iter().copied())),
        volumes: vec![Attachment { device: "/dev/sda1".into(), volume: volume.parse().unwrap() }],
        ..Instance::new(id.parse().unwrap(), "running")
    }
}

fn judged(sources: &[Snapshot], there: &[Snapshot], instances: &[Instance]) -> Owed {
    let rules = CopyRules {
        home: &region("eu-west-1"),
        run_id: "r2",
        now: at(0, 90),
        lookback_days: LOOKBACK,
        default_retention: 5.try_into().unwrap(),
    };
    let regions = Regions {
        home: region("eu-west-1"),
        enabled: ["eu-west-1", "eu-west-2", "us-east-1", "us-west-2"].map(region).into(),
        disabled: [region("ap-east-1")].into(),
    };
    owed(sources, there, &LiveInstances::of(instances, &regions), &region("us-east-1"), &rules)
}

fn copied(owed: &Owed) -> Vec<&str> {
    owed.tasks.iter().filter(|task| matches!(task, CopyTask::Copy { .. })).map(about).collect()
}

fn retagged(owed: &Owed) -> BTreeSet<&str> {
    owed.tasks.iter().filter(|task| matches!(task, CopyTask::Retag { .. })).map(about).collect()
}

fn about(task: &CopyTask) -> &str {
    let (CopyTask::Copy { snapshot, .. } | CopyTask::Retag { snapshot, .. }) = task;
    snapshot.as_str()
}

fn tag<'a>(owed: &'a Owed, key: &str) -> &'a str {
    let [CopyTask::Copy { tags, .. }] = owed.tasks.as_slice() else { panic!("{owed:?}") };
    &tags[key]
}

#[test]
fn only_completed_automated_originals_are_sources() {
    let one = || source("snap-1", "vol-1", 0);
    assert_eq!(copied(&judged(&[one()], &[], &[])), ["snap-1"]);
    for state in [SnapshotState::Pending, SnapshotState::Error, SnapshotState::Other] {
        assert_eq!(judged(&[in_state(one(), state)], &[], &[]), Owed::default(), "{state:?}");
    }
    assert_eq!(judged(&[with(one(), "Type", "automated")], &[], &[]), Owed::default());
    assert_eq!(judged(&[with(one(), "BackupFromRegion", "eu-west-2")], &[], &[]), Owed::default(), "a copy");
}

#[test]
fn the_living_instance_is_asked_first_and_the_snapshot_where_there_is_none() {
    let promised = [source("snap-1", "vol-1", 1)];
    let asks = |regions: &'static str| instance("i-1", "vol-1", &[("BackupCrossRegion", regions)]);
    let silent = [without(source("snap-1", "vol-1", 1), "BackupCrossRegion")];
    assert_eq!(copied(&judged(&silent, &[], &[asks("eu-west-2, us-east-1")])), ["snap-1"], "added today");
    assert_eq!(judged(&promised, &[], &[asks("eu-west-2")]), Owed::default(), "removed from a living instance's tag");
    assert_eq!(judged(&promised, &[], &[instance("i-1", "vol-1", &[])]), Owed::default(), "the tag was removed");
    assert_eq!(judged(&silent, &[], &[]), Owed::default());

    let gone = Instance { state: "terminated".into(), ..asks("eu-west-2") };
    assert_eq!(copied(&judged(&promised, &[], &[gone])), ["snap-1"]);
    let by_volume = [without(silent[0].clone(), "SourceInstanceId")];
    assert_eq!(copied(&judged(&by_volume, &[], &[asks("us-east-1")])), ["snap-1"], "found by the attached volume");
}

#[test]
fn a_tag_that_cannot_be_read_takes_no_promise_back() {
    let promised = [source("snap-1", "vol-1", 1)];
    let asks = |key: &'static str, value: &'static str| instance("i-1", "vol-1", &[(key, value)]);
    let unclear = [
        asks("BackupCrossRegion", "us-east-1 us-west-2"),
        asks("BackupCrossRegion", "eu-west-2, us-east-1;us-west-2"),
        asks("BackupCrossRegion", "us-esat-1"),
        asks("BackupCrossRegion", "ap-east-1"),
        asks("BackupCrossRegion", "eu-west-1"),
        asks("backup-cross-region", "us-east-1"),
    ];
    for one in unclear {
        assert_eq!(copied(&judged(&promised, &[], std::slice::from_ref(&one))), ["snap-1"], "{:?}", one.tags);
        let silent = [without(source("snap-1", "vol-1", 1), "BackupCrossRegion")];
        assert_eq!(judged(&silent, &[], &[one]), Owed::default(), "and makes none");
    }
    let clear = asks("BackupCrossRegion", "eu-west-2,");
    assert_eq!(judged(&promised, &[], &[clear]), Owed::default(), "what can be read is a word");
}

#[test]
fn a_completed_copy_satisfies_and_a_pending_or_broken_one_does_not() {
    let sources = [source("snap-1", "vol-1", 0)];
    for (state, tasks) in [(SnapshotState::Completed, 0), (SnapshotState::Pending, 1), (SnapshotState::Error, 1)] {
        let found = judged(&sources, &[copy_of(&sources[0], "snap-a", state)], &[]);
        assert_eq!(copied(&found).len(), tasks, "{state:?}");
    }
}

#[test]
fn the_look_back_ends_after_its_last_day_and_what_leaves_it_uncopied_is_named() {
    let last = source("snap-7", "vol-1", LOOKBACK.into());
    let left = source("snap-8", "vol-1", u64::from(LOOKBACK) + 1);
    let found = judged(&[last, left.clone()], &[], &[]);
    assert_eq!((copied(&found), &found.forgotten), (vec!["snap-7"], &vec![left.id.clone()]));

    assert_eq!(judged(&[left.clone()], &[copy_of(&left, "snap-a", SnapshotState::Completed)], &[]), Owed::default());
    let asks = instance("i-1", "vol-1", &[("BackupCrossRegion", "us-east-1")]);
    assert_eq!(judged(&[without(left, "BackupCrossRegion")], &[], &[asks]), Owed::default(), "it was never promised");
}

#[test]
fn a_copy_that_would_be_deleted_at_once_is_not_owed() {
    let own = |days| with(source("snap-1", "vol-1", 4), "RetentionCrossRegion", days);
    assert_eq!(judged(&[own("4")], &[], &[]), Owed::default());
    let living = [instance("i-1", "vol-1", &[("BackupCrossRegion", "us-east-1"), ("RetentionCrossRegion", "90")])];
    let plain = || source("snap-1", "vol-1", 4);
    for (source, instances, delete_on) in [
        (own("6"), &living[..], "2026-11-24"),
        (own("soon"), &living[..], "2027-02-16"),
        (plain(), &living[..], "2027-02-16"),
        (plain(), &[], "2026-12-18"),
        (with(plain(), "DeleteOn", "later"), &[], "2026-11-23"),
    ] {
        let found = judged(&[source], &[], instances);
        assert_eq!((tag(&found, "DeleteOn"), tag(&found, "CreatedOn")), (delete_on, "2026-11-18"));
    }
    let short = with(plain(), "DeleteOn", "2026-11-22");
    assert_eq!(judged(&[short], &[], &[]), Owed::default(), "as long as the source, which is over");
}

#[test]
fn every_volumes_newest_goes_before_any_volumes_second() {
    let mut sources = Vec::new();
    for (id, volume, ago) in [("1", "1", 3), ("2", "1", 2), ("3", "1", 1), ("4", "2", 5), ("5", "2", 4), ("6", "3", 6)]
    {
        sources.push(source(&format!("snap-{id}"), &format!("vol-{volume}"), ago));
    }
    let order = ["snap-3", "snap-5", "snap-6", "snap-2", "snap-4", "snap-1"];
    assert_eq!(copied(&judged(&sources, &[], &[])), order);
    let newest_is_there = [copy_of(&sources[2], "snap-a", SnapshotState::Completed)];
    assert_eq!(copied(&judged(&sources, &newest_is_there, &[])), order[1..], "vol-1 has a recent copy and waits");
}

#[test]
fn an_unreadable_created_on_is_reported_wherever_a_copy_is_asked_for() {
    let odd = with(source("snap-1", "vol-1", 0), "CreatedOn", "today");
    let asks = |regions: &'static str| [instance("i-1", "vol-1", &[("BackupCrossRegion", regions)])];
    assert!(judged(&[odd.clone()], &[], &[]).doubtful[0].reason.contains("CreatedOn cannot be read"));
    let silent = without(odd.clone(), "BackupCrossRegion");
    assert_eq!(judged(&[silent], &[], &asks("us-east-1")).doubtful.len(), 1, "the living instance asks");
    assert_eq!(judged(&[odd], &[], &asks("eu-west-2")), Owed::default(), "the living instance asks no more");
}

#[test]
fn the_earlier_scripts_copies_count_by_day_and_description() {
    let one = [earlier_source("snap-1", 2)];
    let doubts = |there: &[Snapshot]| {
        let found = judged(&one, there, &[]);
        (copied(&found).len(), found.doubtful.len())
    };
    assert_eq!(doubts(&[earlier_copy("snap-a", 2, WEB)]), (0, 0));
    assert_eq!(doubts(&[earlier_copy("snap-a", 3, WEB)]), (1, 0), "of another day");
    assert_eq!(doubts(&[earlier_copy("snap-a", 2, "db - vol-2 (/dev/sda1)")]), (1, 0), "of another volume");
    assert_eq!(
        doubts(&[with(earlier_copy("snap-a", 2, WEB), "BackupFromRegion", "eu-west-2")]),
        (1, 0),
        "from elsewhere"
    );
    assert_eq!(doubts(&[in_state(earlier_copy("snap-a", 2, WEB), SnapshotState::Error)]), (1, 0));
    assert_eq!(doubts(&[earlier_copy("snap-a", 2, "[Copied snap-1 from eu-west-1]")]), (0, 0));
    assert_eq!(doubts(&[earlier_copy("snap-a", 2, "[Copied snap-12 from eu-west-1]")]), (1, 0), "the copy of snap-12");
    for text in [WEB, "[Copied snap-1 from eu-west-1]"] {
        let pending = in_state(earlier_copy("snap-a", 2, text), SnapshotState::Pending);
        assert_eq!(doubts(&[pending, earlier_copy("snap-b", 2, text)]), (0, 0), "one of two is complete: {text}");
    }
    assert_eq!(doubts(&[earlier_copy("snap-a", 2, "")]), (0, 1), "it says nothing: it may be the copy");
}

#[test]
fn one_copy_of_two_sources_that_look_alike_leaves_both_in_doubt() {
    let twins = [earlier_source("snap-1", 2), earlier_source("snap-2", 2)];
    let copies = |count| (0..count).map(|i| earlier_copy(&format!("snap-a{i}"), 2, WEB)).collect::<Vec<_>>();
    for (count, tasks, doubtful) in [(0, 2, 0), (1, 0, 2), (2, 0, 0), (3, 0, 2)] {
        let found = judged(&twins, &copies(count), &[]);
        assert_eq!((copied(&found).len(), found.doubtful.len()), (tasks, doubtful), "{count} copies");
    }
    let doubt = judged(&twins, &copies(1), &[]).doubtful.remove(0);
    assert!(doubt.source.as_str() == "snap-1" && doubt.reason.starts_with("us-east-1 has copies of 2026"), "{doubt:?}");
    let ours = [source("snap-3", "vol-1", 2)];
    assert_eq!(
        copied(&judged(&ours, &[earlier_copy("snap-a", 2, "")], &[])),
        ["snap-3"],
        "never copied by the scripts"
    );
}

#[test]
fn keep_forever_reaches_the_copies_that_lack_it() {
    let kept = with(source("snap-1", "vol-1", 40), "KeepForever", "audit");
    let lacking = without(copy_of(&kept, "snap-a", SnapshotState::Completed), "KeepForever");
    let elsewhere = with(lacking.clone(), "BackupFromRegion", "eu-west-2");
    let found = judged(&[kept.clone()], &[lacking.clone()], &[]);
    let value = "audit".to_owned();
    let retag = CopyTask::Retag { region: region("us-east-1"), snapshot: lacking.id.clone(), keep_forever: value };
    assert_eq!(found.tasks, [retag], "however old it is");
    assert!(judged(&[kept.clone()], &[with(lacking.clone(), "KeepForever", "")], &[]).tasks.is_empty());
    assert!(judged(&[kept.clone()], &[in_state(lacking.clone(), SnapshotState::Error)], &[]).tasks.is_empty());
    assert!(judged(&[kept], &[elsewhere], &[]).tasks.is_empty(), "another home region's");
    assert!(judged(&[source("snap-1", "vol-1", 40)], &[lacking], &[]).tasks.is_empty());
}

#[test]
fn keep_forever_reaches_the_earlier_scripts_copies_where_they_are_known() {
    let kept = with(earlier_source("snap-1", 2), "KeepForever", "");
    let there = [
        earlier_copy("snap-a", 2, WEB),
        earlier_copy("snap-b", 2, "[Copied snap-1 from eu-west-1]"),
        earlier_copy("snap-c", 2, ""),
        earlier_copy("snap-d", 3, WEB),
    ];
    assert_eq!(retagged(&judged(&[kept.clone()], &there, &[])), ["snap-a", "snap-b"].into());
    let twin = earlier_source("snap-2", 2);
    assert_eq!(retagged(&judged(&[kept, twin], &there, &[])), ["snap-b"].into(), "snap-a may be the copy of snap-2");
}

#[test]
fn of_several_copies_the_oldest_live_one_counts_and_any_that_is_completed_satisfies() {
    let sources = [source("snap-1", "vol-1", 0)];
    let copy = |id, minute, state| Snapshot { started: at(0, minute), ..copy_of(&sources[0], id, state) };
    let there = [
        copy("snap-a", 1, SnapshotState::Pending),
        copy("snap-b", 2, SnapshotState::Completed),
        copy("snap-c", 3, SnapshotState::Completed),
        copy("snap-d", 0, SnapshotState::Error),
    ];
    let found = judged(&sources, &there, &[]);
    assert_eq!(found.surplus.iter().map(SnapshotId::as_str).collect::<Vec<_>>(), ["snap-b", "snap-c"]);
    assert!(found.tasks.is_empty());
    assert_eq!(judged(&sources, &there[..1], &[]).tasks.len(), 1, "a pending one is waited for");
    assert_eq!(judged(&sources, &there[3..], &[]).tasks.len(), 1, "what is in error counts as nothing");
}

#[test]
fn a_copy_whose_type_was_changed_by_hand_is_the_copy_all_the_same() {
    let sources = [source("snap-1", "vol-1", 0)];
    let retyped = with(copy_of(&sources[0], "snap-a", SnapshotState::Completed), "Type", "Archive");
    assert_eq!(judged(&sources, &[retyped], &[]), Owed::default());
}

#[test]
fn a_copy_that_is_pending_for_longer_than_a_day_is_owed_and_not_waited_for() {
    let sources = [source("snap-1", "vol-1", 1)];
    let begun = |since| {
        let copy = Snapshot { started: since, ..copy_of(&sources[0], "snap-a", SnapshotState::Pending) };
        judged(&sources, &[copy], &[])
    };
    assert_eq!(begun(at(1, 90)).tasks.len(), 1, "a day ago");
    let stuck = begun(at(1, 89));
    assert!(stuck.tasks.is_empty(), "{stuck:?}");
    assert_eq!((stuck.stuck[0].source.as_str(), stuck.stuck[0].copy.as_str()), ("snap-1", "snap-a"));
    assert!(stuck.sources().contains(&sources[0].id), "its source stays");
}

#[test]
fn a_copy_is_wanted_as_long_as_its_source_and_two_days_at_least() {
    let of = |created_ago, delete_on: &str| {
        let one = with(source("snap-1", "vol-1", created_ago), "DeleteOn", delete_on);
        judged(&[one], &[], &[])
    };
    assert_eq!(tag(&of(0, "9999-12-31"), "DeleteOn"), "9999-12-31");
    // The run began before midnight, and makes its copies after midnight.
    assert_eq!(tag(&of(1, "2026-11-22"), "DeleteOn"), "2026-11-23");
    assert_eq!(of(0, "2026-11-22"), Owed::default(), "due on its own day");
    assert_eq!(of(2, "2026-11-23").tasks.len(), 1);
    assert_eq!(of(2, "2026-11-22"), Owed::default());
    let own = with(source("snap-1", "vol-1", 1), "RetentionCrossRegion", "1");
    assert_eq!(tag(&judged(&[own], &[], &[]), "DeleteOn"), "2026-11-23");
    let odd = with(source("snap-1", "vol-1", 0), "DeleteOn", "never");
    assert_eq!(tag(&judged(&[odd], &[], &[]), "DeleteOn"), "2026-11-27", "the default, of five days");
}

#[test]
fn what_is_uncopied_is_told_by_the_same_matching() {
    let sources = [source("snap-1", "vol-1", 1), source("snap-2", "vol-1", 2), source("snap-3", "vol-1", 3)];
    let there = [
        copy_of(&sources[0], "snap-a", SnapshotState::Completed),
        copy_of(&sources[1], "snap-b", SnapshotState::Pending),
    ];
    let (kept, there) = (sources.each_ref().map(Source::from), Copies::of(&there, &region("eu-west-1")));
    assert_eq!(uncopied(&kept, &there), [sources[1].id.clone(), sources[2].id.clone()].into());
}

#[test]
fn tags_for_which_there_is_no_room_are_named() {
    let mut crowded = source("snap-1", "vol-1", 0);
    crowded.tags.extend((0..60).map(|i| (format!("Owner{i:02}"), "x".to_owned())));
    let found = judged(&[crowded], &[], &[]);
    assert!(found.dropped_tags[&"snap-1".parse().unwrap()].contains(&"Owner59".to_owned()), "{found:?}");
}

prop_compose! {
    fn any_source()(
        volume in 1u8..4, ago in 0u64..18, state in 0usize..6, days in 1u64..25, own in 0u64..25,
        promised: bool, keep: bool, earlier: bool,
    ) -> Snapshot {
        let mut made = source("snap-0", &format!("vol-{volume}"), ago);
        made.state = [SnapshotState::Pending, SnapshotState::Error].get(state).copied().unwrap_or(SnapshotState::Completed);
        made = with(made, "DeleteOn", &(day(ago) + Days::new(days)).to_string());
        made = if own > 0 { with(made, "RetentionCrossRegion", &own.to_string()) } else { made };
        made = if promised { made } else { without(made, "BackupCrossRegion") };
        made = if keep { with(made, "KeepForever", "") } else { made };
        made.tags.insert("SourceInstanceId".into(), format!("i-{volume}"));
        if earlier { without(without(described(made, WEB), "BackupRun"), "SourceInstanceId") } else { made }
    }
}

prop_compose! {
    fn fleet()(
        mut sources in prop::collection::vec(any_source(), 0..8),
        copies in prop::collection::vec((0usize..8, 0usize..3, any::<bool>()), 0..6),
        asks in prop::collection::vec(prop::option::of(any::<bool>()), 3),
    ) -> (Vec<Snapshot>, Vec<Snapshot>, Vec<Instance>) {
        for (i, source) in sources.iter_mut().enumerate() {
            source.id = format!("snap-{i:x}").parse().unwrap();
            source.tags.entry("BackupRun".into()).and_modify(|run| *run = format!("r{i}"));
        }
        let states = [SnapshotState::Completed, SnapshotState::Pending, SnapshotState::Error];
        let there = copies.into_iter().enumerate().filter_map(|(i, (of, state, keep))| {
            let copy = copy_of(sources.get(of)?, &format!("snap-a{i}"), states[state]);
            Some(if keep { copy } else { without(copy, "KeepForever") })
        }).collect();
        let asked = |asks: bool| if asks { "us-east-1" } else { "eu-west-2" };
        let instances = (1..).zip(asks).filter_map(|(i, asks)| {
            Some(instance(&format!("i-{i}"), &format!("vol-{i}"), &[("BackupCrossRegion", asked(asks?))]))
        }).collect();
        (sources, there, instances)
    }
}

fn turned<T>(list: &mut [T], turn: usize, reverse: bool) {
    list.rotate_left(turn.min(list.len()));
    if reverse {
        list.reverse();
    }
}

fn sorted(mut owed: Owed) -> Owed {
    owed.tasks.sort_by_key(|task| about(task).to_owned());
    owed.doubtful.sort_by_key(|doubt| doubt.source.clone());
    owed.forgotten.sort();
    owed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_fleet_whose_tasks_are_carried_out_owes_nothing((sources, mut there, instances) in fleet()) {
        let first = judged(&sources, &there, &instances);
        for (i, task) in first.tasks.iter().enumerate() {
            match task {
                CopyTask::Copy { snapshot, tags, .. } => {
                    let source_of = sources.iter().find(|s| s.id == *snapshot).unwrap();
                    let (of, read) = (SnapshotTags::read(&source_of.tags), SnapshotTags::read(tags));
                    prop_assert_eq!((read.created_on, read.keep_forever), (of.created_on, of.keep_forever));
                    prop_assert_eq!((read.source_snapshot, read.source_volume), (Some(snapshot.clone()), source_of.volume.clone()));
                    prop_assert!(read.delete_on.unwrap() > day(0), "it outlives today");
                    let made = source(&format!("snap-b{i}"), "vol-ffff", 0);
                    there.push(Snapshot { tags: tags.clone(), ..made });
                }
                CopyTask::Retag { snapshot, keep_forever, .. } => {
                    let copy = there.iter_mut().find(|copy| copy.id == *snapshot).unwrap();
                    copy.tags.insert("KeepForever".into(), keep_forever.clone());
                }
            }
        }
        let second = judged(&sources, &there, &instances);
        prop_assert_eq!((second.tasks, second.doubtful), (vec![], vec![]));
        prop_assert_eq!(second.forgotten, first.forgotten, "what left the look-back stays forgotten");
    }

    #[test]
    fn a_copy_is_owed_exactly_while_the_rules_say_so((sources, there, instances) in fleet()) {
        let found = judged(&sources, &there, &instances);
        for (source, read) in sources.iter().map(|s| (s, SnapshotTags::read(&s.tags))) {
            let asked = instances.iter().find(|i| i.volumes[0].volume == *source.volume.as_ref().unwrap());
            let list = asked.map_or(&source.tags, |instance| &instance.tags).get("BackupCrossRegion");
            let created_on = read.created_on.unwrap();
            let own = source.tags.get("RetentionCrossRegion").map(|days| created_on + Days::new(days.parse().unwrap()));
            let there = there.iter().any(|copy| {
                copy.state == SnapshotState::Completed && copy.tags["SourceSnapshotId"] == source.id.as_str()
            });
            let wanted = source.state == SnapshotState::Completed
                && list.is_some_and(|list| list == "us-east-1")
                && created_on >= day(LOOKBACK.into())
                && (own.is_some() || read.delete_on > read.created_on)
                && own.or(read.delete_on).unwrap().max(created_on + Days::new(2)) > day(0)
                && !there;
            let is_stuck = found.stuck.iter().any(|stuck| stuck.source == source.id);
            prop_assert_eq!(copied(&found).contains(&source.id.as_str()) || is_stuck, wanted, "{:?}", source);
        }
    }

    #[test]
    fn what_is_owed_does_not_depend_on_the_order_of_anything(
        (mut sources, mut there, mut instances) in fleet(),
        earlier in prop::collection::vec((0usize..4, 0u64..4, any::<bool>()), 0..6),
        (turn, reverse) in (0usize..9, any::<bool>()),
    ) {
        for (i, (text, ago, pending)) in earlier.into_iter().enumerate() {
            let text = [WEB, "", "[Copied snap-0 from eu-west-1]", "[Copied snap-1 from eu-west-1]"][text];
            let state = if pending { SnapshotState::Pending } else { SnapshotState::Completed };
            there.push(in_state(earlier_copy(&format!("snap-e{i}"), ago, text), state));
        }
        instances.push(instance("i-9", "vol-1", &[("BackupCrossRegion", "us-east-1")]));
        let first = sorted(judged(&sources, &there, &instances));
        turned(&mut sources, turn, reverse);
        turned(&mut there, turn, !reverse);
        turned(&mut instances, turn, reverse);
        prop_assert_eq!(sorted(judged(&sources, &there, &instances)), first);
    }
}

#[test]
fn of_two_snapshots_of_a_volume_in_one_run_the_older_one_counts() {
    let of_run = |id: &str, run_id: &str, state| {
        let started = format!("2026-11-22T03:00:0{}Z", id.as_bytes()[id.len() - 1] - b'0');
        Snapshot {
            id: id.parse().unwrap(),
            volume: Some("vol-1".parse().unwrap()),
            state,
            started: started.parse().unwrap(),
            description: String::new(),
            state_message: None,
            completed: None,
            full_size: None,
            stored: Default::default(),
            tags: tags::tags([("Type", "Automated"), ("BackupRun", run_id)]),
        }
    };
    use SnapshotState::{Completed, Error, Pending};
    let surplus = |made: &[Snapshot]| surplus_snapshots(made).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(surplus(&[of_run("snap-2", "a", Completed), of_run("snap-1", "a", Completed)]), ["snap-2"]);
    let (older, younger) = (of_run("snap-1", "a", Pending), of_run("snap-2", "a", Completed));
    assert_eq!(surplus(&[younger.clone(), older.clone()]), ["snap-2"]);
    assert_eq!(surplus(&[in_state(older, Completed), younger]), ["snap-2"], "the answer does not change");
    assert!(surplus(&[of_run("snap-1", "a", Error), of_run("snap-2", "a", Completed)]).is_empty());
    assert!(surplus(&[of_run("snap-1", "a", Completed), of_run("snap-2", "b", Completed)]).is_empty());
}
