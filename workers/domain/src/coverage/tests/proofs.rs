use super::*;

const HOME: &str = "eu-west-1";
const THERE: &str = "us-east-1";

/// A backup of a day, with what a drill found of it.
fn read(id: &str, day: &str, found: Option<(&str, &str)>) -> Snapshot {
    let found = found.map(|(on, found)| [("VerifiedOn", on), ("VerifiedAs", found)]);
    snapshot(id, "vol-1", &format!("{day}T03:00:00Z"), found.as_ref().map_or(&[], |tags| &tags[..]))
}

fn copy(id: &str, day: &str, found: Option<(&str, &str)>) -> Snapshot {
    let mut copy = read(id, day, found);
    copy.tags.extend(tags::tags([("BackupFromRegion", HOME), ("SourceVolumeId", "vol-1")]));
    copy
}

fn drills(on: bool, max_days: u32) -> DrillRules {
    DrillRules { on, max_days: Some(max_days) }
}

fn judged(here: &[Snapshot], there: &[Snapshot], drills: DrillRules, remembered: &Remembered) -> VolumeCoverage {
    let mut newest = NewestBackups::new(region(HOME));
    here.iter().for_each(|one| newest.note(&region(HOME), one));
    there.iter().for_each(|one| newest.note(&region(THERE), one));
    let rules = ProofRules { drills, remembered };
    coverage(&[plan(&["vol-1"], &[THERE])], &newest, &BTreeSet::new(), None, rules, at(NOW)).remove(0)
}

fn here(backups: &[Snapshot], drills: DrillRules) -> RegionCoverage {
    judged(backups, &[], drills, &Remembered::default()).regions.remove(0)
}

fn state(found: &RegionCoverage) -> Option<ProofState> {
    found.proofs.state
}

#[test]
fn the_newest_proof_of_any_backup_counts_in_each_region_by_itself() {
    let sources = [
        read("snap-1", "2026-11-19", Some(("2026-11-19", "probe"))),
        read("snap-2", "2026-11-20", Some(("2026-11-20", "dump"))),
        read("snap-3", "2026-11-21", Some(("2026-11-20", "list"))),
        read("snap-4", "2026-11-22", None),
    ];
    let copies = [copy("snap-c", "2026-11-21", None), copy("snap-d", "2026-11-20", Some(("2026-11-21", "copy")))];
    let found = judged(&sources, &copies, drills(true, 30), &Remembered::default());
    let last: Vec<_> = found.regions.iter().map(|one| one.proofs.last.clone().unwrap()).collect();
    assert_eq!((last[0].snapshot.as_str(), last[0].level), ("snap-2", Level::Dump), "of one day the higher level");
    assert_eq!((last[1].snapshot.as_str(), last[1].on.to_string().as_str()), ("snap-d", "2026-11-21"));
    assert_eq!(found.regions[0].proofs.days("2026-11-22".parse().unwrap()), Some(2));
    assert_eq!(found.regions.iter().map(state).collect::<Vec<_>>(), [Some(ProofState::Proven); 2]);
}

#[test]
fn what_is_unproven_for_longer_than_allowed_is_overdue_while_drills_are_on() {
    let of = |on: &str, drills| state(&here(&[read("snap-1", "2026-10-01", Some((on, "probe")))], drills));
    assert_eq!(of("2026-10-23", drills(true, 30)), Some(ProofState::Proven), "30 days");
    assert_eq!(of("2026-10-22", drills(true, 30)), Some(ProofState::Overdue));
    assert_eq!(of("2026-10-22", drills(false, 30)), Some(ProofState::Proven));
    assert_eq!(of("2026-10-22", DrillRules { on: true, max_days: None }), Some(ProofState::Proven));
    let never =
        |day: &str, drills| state(&here(&[read("snap-1", day, None), read("snap-2", "2026-11-22", None)], drills));
    assert_eq!(never("2026-10-23", drills(true, 30)), Some(ProofState::Never));
    assert_eq!(never("2026-10-22", drills(true, 30)), Some(ProofState::Overdue), "since its first backup");
    assert_eq!(never("2026-10-22", drills(false, 30)), Some(ProofState::Never));
    assert_eq!(state(&here(&[], drills(true, 30))), None, "there is nothing that could be proven");
}

#[test]
fn a_backup_that_is_bad_is_no_backup_and_the_next_older_one_is_told() {
    let bad = |id: &str, day: &str| read(id, day, Some(("2026-11-22", "failed")));
    for backups in [
        vec![bad("snap-3", "2026-11-22"), read("snap-1", "2026-11-20", None), read("snap-2", "2026-11-21", None)],
        vec![read("snap-2", "2026-11-21", None), read("snap-1", "2026-11-20", None), bad("snap-3", "2026-11-22")],
    ] {
        let found = here(&backups, drills(true, 30));
        let told = found.proofs.bad.clone().unwrap();
        assert_eq!((told.snapshot.as_str(), told.is_newest, state(&found)), ("snap-3", true, Some(ProofState::Bad)));
        assert_eq!(found.newest.unwrap().snapshot.as_str(), "snap-2");
    }
    let found = here(&[bad("snap-1", "2026-11-22")], drills(false, 30));
    assert_eq!((found.state, state(&found)), (State::Missing, Some(ProofState::Bad)), "there is no good one");
}

#[test]
fn a_backup_stays_bad_until_a_newer_one_is_proven() {
    let bad = || read("snap-1", "2026-11-20", Some(("2026-11-20", "failed")));
    let found = here(&[bad(), read("snap-2", "2026-11-21", None)], drills(true, 30));
    assert_eq!((state(&found), found.proofs.bad.map(|bad| bad.is_newest)), (Some(ProofState::Bad), Some(false)));
    let older = read("snap-0", "2026-11-19", Some(("2026-11-22", "probe")));
    assert_eq!(state(&here(&[bad(), older], drills(true, 30))), Some(ProofState::Bad), "an older one that is good");
    let newer = read("snap-2", "2026-11-21", Some(("2026-11-21", "probe")));
    assert_eq!(state(&here(&[newer, bad()], drills(true, 30))), Some(ProofState::Proven));
}

#[test]
fn what_the_last_report_knew_outlives_the_snapshots_that_carried_it() {
    let remembered = |backups: &[Snapshot]| {
        let before = judged(backups, &[], drills(true, 30), &Remembered::default());
        let json = serde_json::to_string(&CoveredVolume::from(before)).unwrap();
        super::remembered(vec![serde_json::from_str(&json).unwrap()])
    };
    let now = [read("snap-9", "2026-11-22", None)];
    let of = |before: &[Snapshot]| judged(&now, &[], drills(true, 30), &remembered(before)).regions.remove(0);
    let proven = of(&[read("snap-1", "2026-11-01", Some(("2026-11-02", "probe")))]);
    assert_eq!(proven.proofs.last.as_ref().unwrap().snapshot.as_str(), "snap-1");
    assert_eq!(
        (state(&proven), proven.proofs.days("2026-11-22".parse().unwrap())),
        (Some(ProofState::Proven), Some(20))
    );
    let never = of(&[read("snap-1", "2026-10-01", None)]);
    assert_eq!(
        (state(&never), never.proofs.unproven_since),
        (Some(ProofState::Overdue), Some("2026-10-01".parse().unwrap()))
    );
    let newer = judged(
        &[read("snap-9", "2026-11-22", Some(("2026-11-22", "list")))],
        &[],
        drills(true, 30),
        &remembered(&[read("snap-1", "2026-11-01", Some(("2026-11-02", "dump")))]),
    );
    assert_eq!(newer.regions[0].proofs.last.as_ref().unwrap().level, Level::List, "what exists is newer");
}

#[test]
fn what_a_drill_has_proven_outlives_its_snapshot_also_where_no_report_has_seen_it() {
    let proven = |on: &str| {
        let proven = Proven { snapshot: "snap-1".parse().unwrap(), on: on.parse().unwrap(), level: Level::Probe };
        let mut known = Remembered::default();
        let read = LastRead { tried: proven.on, proven: Some(proven) };
        known.note_proven(&[(region(HOME), [("vol-1".parse().unwrap(), read)].into())].into());
        known
    };
    let of = |backups: &[Snapshot], on| {
        let found = judged(backups, &[], drills(true, 30), &proven(on)).regions.remove(0);
        (state(&found), found.proofs.last.unwrap().on.to_string())
    };
    let unread = [read("snap-9", "2026-11-22", None)];
    assert_eq!(of(&unread, "2026-11-15"), (Some(ProofState::Proven), "2026-11-15".to_owned()));
    assert_eq!(of(&unread, "2026-10-15").0, Some(ProofState::Overdue));
    let tagged = [read("snap-9", "2026-11-22", Some(("2026-11-22", "list")))];
    assert_eq!(of(&tagged, "2026-11-15").1, "2026-11-22", "the newest of both");
}

#[test]
fn what_is_bad_or_overdue_comes_before_what_is_merely_older() {
    let mut newest = NewestBackups::new(region(HOME));
    let of = |id: &str, volume: &str, day: &str, found: &[(&str, &str)]| {
        snapshot(id, volume, &format!("{day}T03:00:00Z"), found)
    };
    let bad = [("VerifiedOn", "2026-11-21"), ("VerifiedAs", "failed")];
    newest.note(&region(HOME), &of("snap-1", "vol-1", "2026-11-19", &[]));
    newest.note(&region(HOME), &of("snap-2", "vol-2", "2026-11-21", &bad));
    newest.note(&region(HOME), &of("snap-3", "vol-2", "2026-11-22", &[]));
    let all = coverage(&[plan(&["vol-1", "vol-2"], &[])], &newest, &BTreeSet::new(), None, no_drills(), at(NOW));
    assert_eq!(all.iter().map(|one| one.volume.as_str()).collect::<Vec<_>>(), ["vol-2", "vol-1"]);
}

#[test]
fn one_line_says_what_is_proven_and_that_nobody_reads() {
    let on = |drills, here: &[Snapshot], there: &[Snapshot]| {
        let found = judged(here, there, drills, &Remembered::default());
        proof_counts(&[CoveredVolume::from(found)]).line(drills).unwrap()
    };
    let good = |id: &str| read(id, "2026-11-21", Some(("2026-11-21", "probe")));
    let copied = |found| [copy("snap-c", "2026-11-21", found)];
    let never = [read("snap-1", "2026-11-21", None)];
    assert_eq!(
        on(drills(false, 30), &never, &copied(None)),
        "Never read: drills are off (DrillState). Switch them on: only a backup that was read is known to come back"
    );
    let here = [good("snap-1")];
    let everywhere = copied(Some(("2026-11-21", "copy")));
    assert_eq!(on(drills(true, 30), &here, &everywhere), "Proven: 1 of 1 volume, here and in each destination");
    assert_eq!(
        on(drills(false, 30), &here, &copied(None)),
        "Proven: 0 of 1 volume, here and in each destination, 1 never read in some region; drills are off (DrillState): \
         nothing more is read"
    );
    let old = [read("snap-1", "2026-10-01", Some(("2026-10-01", "list")))];
    assert!(on(drills(true, 7), &old, &everywhere).ends_with(", 1 not proven for 7 days: OVERDUE"));
    let bad = [read("snap-1", "2026-11-21", Some(("2026-11-21", "failed")))];
    assert!(on(drills(false, 7), &bad, &everywhere).contains(", 1 with a bad backup; drills are off"));
    assert_eq!(proof_counts(&[]).line(drills(true, 7)), None);
}
