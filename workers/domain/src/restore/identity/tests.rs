use super::*;
use crate::{ids::Region, restore::performance::VolumeType, tags::Backup};

fn request() -> Request {
    let region: Region = "eu-west-1".parse().unwrap();
    Request::new(region, Target::Instance("i-1a".parse().unwrap()))
}

fn set(ids: &[&str]) -> Vec<SnapshotId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

fn volume(id: &str, plan: &str, finished: bool) -> VolumeNow {
    let mut tags = tags_of(plan, &set(&["snap-1", "snap-2"]));
    if finished {
        tags.insert(RESTORED_AT.into(), "2026-11-28T12:00:00Z".into());
    }
    VolumeNow {
        id: id.parse().unwrap(),
        state: VolumeState::Available,
        zone: "eu-west-1a".into(),
        snapshot: None,
        gib: 8,
        encrypted: false,
        tags,
        attached: Vec::new(),
    }
}

#[test]
fn everything_that_is_asked_for_makes_another_request() {
    let other = |change: fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        request_part(&request)
    };
    let changed = [
        other(|r| r.region = "us-east-1".parse().unwrap()),
        other(|r| r.target = Target::Volume("vol-1a".parse().unwrap())),
        other(|r| r.at = At::Run("20261122T030000Z".into())),
        other(|r| r.zone = Some("eu-west-1a".into())),
        other(|r| r.volume_type = Some(VolumeType::Gp3)),
        other(|r| r.iops = Some(4_000)),
        other(|r| r.throughput = Some(4_000)),
        other(|r| r.kms_key = Some("k".into())),
        other(|r| r.fast = Some(300)),
        other(|r| r.action = Action::Swap("i-1a".parse().unwrap())),
        other(|r| r.action = Action::Attach("i-1a".parse().unwrap())),
        other(|r| r.architecture = Some("arm64".into())),
        other(|r| r.boot_mode = Some("uefi".into())),
        other(|r| r.backup = Some(Backup::Yes)),
    ];
    let all: BTreeSet<&String> = changed.iter().collect();
    assert_eq!(all.len(), changed.len());
    assert!(!all.contains(&request_part(&request())));
    assert_eq!(other(|r| r.again = true), request_part(&request()), "it goes on, with the word or without");
    assert_eq!(other(|r| r.instead_of = Some("x".into())), request_part(&request()));
}

#[test]
fn an_identity_never_changes() {
    // Restores that were begun with an earlier version go on.
    assert_eq!(request_part(&request()), REQUEST);
    assert_eq!(set_part(&set(&["snap-2", "snap-1"])), set_part(&set(&["snap-1", "snap-2"])), "in whatever order");
}

const REQUEST: &str = "38646addffe5";

#[test]
fn a_token_has_no_more_than_64_characters() {
    let Identity::New(id) = identify(&[], &request(), &set(&["snap-1"])) else { panic!("it is new") };
    let token = client_token(&format!("{}4294967295", id.trim_end_matches('1')), "v128", u32::MAX);
    assert!(token.len() <= 64 && token.is_ascii(), "{token}");
}

#[test]
fn all_snapshots_of_a_large_set_are_read_back() {
    let ids: Vec<SnapshotId> = (0..128).map(|n| format!("snap-{n:017x}").parse().unwrap()).collect();
    let tags = tags_of("p-s-1", &ids);
    assert!(tags.len() < 20, "there is room for others: {}", tags.len());
    let mut one = volume("vol-1", "p-s-1", false);
    one.tags = tags;
    assert_eq!(traces(&[one], &[])[0].set, ids);
}

#[test]
fn a_plan_is_finished_when_all_that_it_has_made_says_so() {
    let part = request_part(&request());
    let plan = format!("{part}-s-1");
    let (open, done) = (volume("vol-1", &plan, false), volume("vol-2", &plan, true));
    for volumes in [[open.clone(), done.clone()], [done.clone(), open.clone()]] {
        let found = traces(&volumes, &[]);
        assert_eq!(unfinished(&found, &request()).map(|trace| trace.volumes.len()), Some(2));
    }
    assert_eq!(unfinished(&traces(&[done.clone(), volume("vol-3", &plan, true)], &[]), &request()), None);
    assert_eq!(unfinished(&traces(&[volume("vol-1", "other-s-1", false)], &[]), &request()), None);
    // A volume in error is nothing.
    let broken = VolumeNow { state: VolumeState::Error, ..open };
    assert_eq!(traces(&[broken], &[]), []);
}

#[test]
fn what_a_plan_has_made_and_is_gone_is_named_by_its_snapshot() {
    let mut one = volume("vol-1", "p-s-1", true);
    one.tags.insert(RESTORED_FROM.into(), "snap-1".into());
    let found = traces(&[one], &[]);
    assert_eq!(found[0].lost(&Action::MakeVolumes), [&"snap-2".parse::<SnapshotId>().unwrap()]);
    assert!(found[0].lost(&Action::ReplaceRoot("i-1a".parse().unwrap())).is_empty(), "it makes the root volume alone");
}

#[test]
fn a_set_that_was_restored_gets_a_new_number_only_where_it_is_asked_for_again() {
    let ids = set(&["snap-1", "snap-2"]);
    let Identity::New(first) = identify(&[], &request(), &ids) else { panic!("it is new") };
    let found = traces(&[volume("vol-1", &first, true)], &[]);
    assert!(matches!(identify(&found, &request(), &ids), Identity::Done(trace) if trace.plan == first));
    let again = Request { again: true, ..request() };
    let second = format!("{}2", first.strip_suffix('1').unwrap());
    assert_eq!(identify(&found, &again, &ids), Identity::New(second));
    assert!(matches!(identify(&found, &request(), &set(&["snap-3"])), Identity::New(_)), "another set is another plan");
}

#[test]
fn what_an_unfinished_restore_needs_stands_on_its_volumes() {
    let needed = |finished| {
        let volume = volume("vol-1", "a-b-1", finished);
        needed_still(&volume.tags).map(|(plan, set)| (plan.to_owned(), set))
    };
    assert_eq!(needed(false), Some(("a-b-1".into(), set(&["snap-1", "snap-2"]))));
    assert_eq!(needed(true), None);
    assert_eq!(needed_still(&Tags::new()), None, "a volume that no restore has made");
}
