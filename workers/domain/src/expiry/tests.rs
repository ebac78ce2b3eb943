use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::fake::{in_state, region, with, without};
use crate::proof::Level;
use crate::tags::tags;

pub(crate) const HOME: &str = "eu-west-1";
const WEB: &str = "web - vol-1 (/dev/sda1)";

pub(crate) fn day(ago: i64) -> NaiveDate {
    "2026-11-22".parse::<NaiveDate>().unwrap() - TimeDelta::days(ago)
}

/// A completed snapshot of vol-1, made `ago` days ago and due since yesterday.
pub(crate) fn snapshot(id: &str, ago: i64) -> Snapshot {
    let mut own = tags([("Type", "Automated")]);
    own.extend([("CreatedOn".into(), day(ago).to_string()), ("DeleteOn".into(), day(1).to_string())]);
    Snapshot {
        id: id.parse().unwrap(),
        volume: Some("vol-1".parse().unwrap()),
        state: SnapshotState::Completed,
        started: day(ago).and_hms_opt(3, 0, 0).unwrap().and_utc(),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: own,
    }
}

/// A copy with the tags of this system, of vol-1 and snap-5.
fn copy(id: &str, ago: i64) -> Snapshot {
    let made = Snapshot { volume: Some("vol-ffff".parse().unwrap()), ..snapshot(id, ago) };
    with(with(with(made, "BackupFromRegion", HOME), "SourceVolumeId", "vol-1"), "SourceSnapshotId", "snap-5")
}

fn earlier_copy(id: &str, ago: i64, description: &str) -> Snapshot {
    let made = without(without(copy(id, ago), "SourceVolumeId"), "SourceSnapshotId");
    Snapshot { description: description.into(), ..made }
}

fn kept(sources: &[Snapshot]) -> KeptSources {
    let mut kept = KeptSources::default();
    sources.iter().for_each(|source| kept.note(source));
    kept
}

pub(crate) fn judged(held: &[Snapshot], place: &str, living: &[&str], kept: Option<&KeptSources>) -> Vec<Verdict> {
    judged_with(1, held, place, living, kept)
}

fn judged_with(
    minimum_kept: u32,
    held: &[Snapshot],
    place: &str,
    living: &[&str],
    kept: Option<&KeptSources>,
) -> Vec<Verdict> {
    let candidates: Vec<Candidate> = held.iter().map(Candidate::from).collect();
    let living = living.iter().map(|volume| volume.parse().unwrap()).collect();
    let (home, region) = (region(HOME), region(place));
    let scope = Scope {
        home: &home,
        region: &region,
        today: day(0),
        run_id: None,
        floor: &living,
        minimum_kept,
        kept_sources: kept,
    };
    verdicts(&candidates, &scope)
}

/// The verdict on one snapshot whose volume is gone.
fn alone(snapshot: Snapshot, place: &str) -> String {
    judged(&[snapshot], place, &[], Some(&KeptSources::default()))[0].to_string()
}

fn expiring(held: &[Snapshot], place: &str, living: &[&str]) -> Vec<String> {
    let verdicts = judged(held, place, living, Some(&KeptSources::default()));
    held.iter().zip(verdicts).filter(|(_, v)| v.expires()).map(|(s, _)| s.id.to_string()).collect()
}

#[test]
fn every_reason_is_given_where_it_holds() {
    let due = || snapshot("snap-1", 9);
    for (snapshot, place, verdict) in [
        (due(), HOME, "expired: due since 2026-11-21"),
        (with(due(), "DeleteOn", "2026-11-22"), HOME, "expired: due since 2026-11-22"),
        (with(due(), "DeleteOn", "2026-11-23"), HOME, "kept: not due until 2026-11-23"),
        (with(due(), "DeleteOn", "21.11.2026"), HOME, "kept: no readable DeleteOn"),
        (without(due(), "DeleteOn"), HOME, "kept: no readable DeleteOn"),
        (with(due(), "KeepForever", ""), HOME, "kept: KeepForever"),
        (without(due(), "Type"), HOME, "kept: not Type=Automated"),
        (with(due(), "Type", "automated"), HOME, "kept: not Type=Automated"),
        (due(), "us-east-1", "kept: another home region's"),
        (with(copy("snap-1", 9), "BackupFromRegion", "eu-west-2"), "us-east-1", "kept: another home region's"),
        (with(copy("snap-1", 9), "BackupFromRegion", ""), HOME, "kept: another home region's"),
        (copy("snap-1", 9), "us-east-1", "expired: due since 2026-11-21"),
        (in_state(due(), SnapshotState::Pending), HOME, "kept: pending"),
        (in_state(due(), SnapshotState::Other), HOME, "kept: in the Recycle Bin"),
        (Snapshot { volume: None, ..due() }, HOME, "kept: its volume is not known"),
        (Snapshot { volume: "vol-ffffffff".parse().ok(), ..due() }, HOME, "kept: its volume is not known"),
        (earlier_copy("snap-1", 9, WEB), "us-east-1", "expired: due since 2026-11-21"),
        (earlier_copy("snap-1", 9, "by hand"), "us-east-1", "kept: its volume is not known"),
    ] {
        assert_eq!(alone(snapshot.clone(), place), verdict, "{snapshot:?}");
    }
    assert_eq!(judged(&[due()], HOME, &["vol-1"], None)[0], Verdict::Keep(Keep::Newest));
}

#[test]
fn a_broken_snapshot_goes_before_its_day_but_never_with_keep_forever() {
    let broken = |snapshot| in_state(snapshot, SnapshotState::Error);
    let early = || with(snapshot("snap-1", 1), "DeleteOn", "2027-01-01");
    assert_eq!(alone(broken(early()), HOME), "expired: broken");
    assert_eq!(alone(broken(without(early(), "DeleteOn")), HOME), "expired: broken");
    assert_eq!(
        alone(broken(with(early(), "KeepForever", "no")), HOME),
        "kept: it is in error, and carries KeepForever: only you can delete it"
    );
    assert_eq!(alone(broken(without(early(), "Type")), HOME), "kept: not Type=Automated");
    let held = [broken(snapshot("snap-1", 1)), snapshot("snap-2", 5)];
    assert_eq!(expiring(&held, HOME, &["vol-1"]), ["snap-1"], "it takes nobody's place among the newest");
}

#[test]
fn the_newest_of_a_living_volume_stays_in_every_region() {
    let here = [snapshot("snap-1", 9), snapshot("snap-2", 8), snapshot("snap-3", 7)];
    assert_eq!(expiring(&here, HOME, &["vol-1"]), ["snap-1", "snap-2"], "attached, or detached for the moment");
    assert_eq!(expiring(&here, HOME, &["vol-2"]), ["snap-1", "snap-2", "snap-3"], "the volume is gone");
    let kept = [with(snapshot("snap-1", 7), "KeepForever", ""), snapshot("snap-2", 8)];
    assert_eq!(expiring(&kept, HOME, &["vol-1"]), ["snap-2"], "KeepForever does not change which is the newest");
    let pending = [in_state(snapshot("snap-1", 0), SnapshotState::Pending), snapshot("snap-2", 8)];
    assert!(expiring(&pending, HOME, &["vol-1"]).is_empty(), "what is pending is no backup yet");

    let there = [copy("snap-a", 9), earlier_copy("snap-b", 8, WEB), with(copy("snap-c", 7), "SourceVolumeId", "vol-2")];
    assert_eq!(expiring(&there, "us-east-1", &["vol-1", "vol-2"]), ["snap-a"], "by the source's volume");
    let late = Snapshot { started: snapshot("snap-1", 0).started, ..copy("snap-a", 9) };
    assert_eq!(expiring(&[late, copy("snap-b", 8)], "us-east-1", &["vol-1"]), ["snap-a"], "by the day of the data");
    let others = [with(copy("snap-a", 3), "BackupFromRegion", "eu-west-2"), copy("snap-b", 8)];
    assert!(expiring(&others, "us-east-1", &["vol-1"]).is_empty(), "another stack's takes nobody's place");
}

#[test]
fn of_the_copies_of_one_day_the_one_with_the_newest_data_is_the_newest_in_whatever_order_they_were_made() {
    let of = |id: &str, source: &str, begun: &str, made: i64| {
        let copy = with(with(copy(id, 8), "SourceSnapshotId", source), "SourceStarted", begun);
        Snapshot { started: copy.started + TimeDelta::hours(12) + TimeDelta::minutes(made), ..copy }
    };
    let day = copy("snap-a", 8).started.date_naive();
    let (early, late) = (format!("{day}T00:10:00.000Z"), format!("{day}T06:10:00.000Z"));
    let there = [of("snap-a", "snap-1", &early, 5), of("snap-b", "snap-2", &late, 0)];
    assert_eq!(expiring(&there, "us-east-1", &["vol-1"]), ["snap-a"], "it was made later, of older data");
}

fn failed(snapshot: Snapshot) -> Snapshot {
    with(with(snapshot, "VerifiedOn", "2026-11-22"), "VerifiedAs", "failed")
}

#[test]
fn a_corrupt_newest_one_does_not_let_the_last_good_one_go() {
    let here =
        [failed(snapshot("snap-1", 5)), failed(snapshot("snap-2", 6)), snapshot("snap-3", 7), snapshot("snap-4", 8)];
    let verdicts: Vec<_> = judged(&here, HOME, &["vol-1"], None).iter().map(ToString::to_string).collect();
    assert_eq!(verdicts[0], "kept: newest completed of a volume that exists", "a drill may be wrong");
    assert_eq!(verdicts[1], "expired: due since 2026-11-21");
    assert_eq!(verdicts[2], "kept: newest completed that no drill found bad, of a volume that exists");
    assert_eq!(verdicts[3], "expired: due since 2026-11-21");
    assert_eq!(expiring(&here, HOME, &[]).len(), 4, "the volume is gone");
    let there = [failed(copy("snap-a", 5)), with(copy("snap-b", 7), "SourceSnapshotId", "snap-4")];
    assert!(expiring(&there, "us-east-1", &["vol-1"]).is_empty(), "copies alike");
    let all_bad = here.map(failed);
    assert_eq!(expiring(&all_bad, HOME, &["vol-1"]), ["snap-2", "snap-3", "snap-4"], "as if nobody had read them");
    let surplus = [failed(copy("snap-a", 5)), copy("snap-b", 5), with(copy("snap-c", 7), "SourceSnapshotId", "snap-4")];
    assert_eq!(expiring(&surplus, "us-east-1", &["vol-1"]), ["snap-c"], "the other one of the same backup is good");
}

#[test]
fn two_copies_of_one_source_are_one_backup() {
    let later = |id: &str, of: &str, ago: i64| {
        let copy = with(copy(id, ago), "SourceSnapshotId", of);
        Snapshot { started: copy.started + TimeDelta::minutes(1), ..copy }
    };
    let there = [copy("snap-a", 7), later("snap-b", "snap-5", 7), later("snap-c", "snap-4", 8)];
    let left = |minimum_kept| {
        let verdicts = judged_with(minimum_kept, &there, "us-east-1", &["vol-1"], Some(&KeptSources::default()));
        there.iter().zip(verdicts).filter(|(_, v)| !v.expires()).map(|(s, _)| s.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(left(1), ["snap-a"], "the older one counts");
    assert_eq!(left(2), ["snap-a", "snap-c"], "the other takes no older backup's place");
    assert_eq!(left(3), ["snap-a", "snap-b", "snap-c"], "and nothing goes that must stay");
}

#[test]
fn a_copy_of_unknown_age_may_be_the_newest_and_takes_nobodys_place() {
    let odd = Snapshot { started: snapshot("snap-1", 0).started, ..without(copy("snap-a", 9), "CreatedOn") };
    let there = [odd, copy("snap-b", 8), copy("snap-c", 9)];
    assert_eq!(expiring(&there, "us-east-1", &["vol-1"]), ["snap-c"]);
    assert_eq!(expiring(&there, "us-east-1", &[]), ["snap-a", "snap-b", "snap-c"], "the volume is gone");
    let lying = with(with(copy("snap-a", 30), "CreatedOn", "2062-11-22"), "SourceSnapshotId", "snap-4");
    assert!(
        expiring(&[lying, copy("snap-b", 8)], "us-east-1", &["vol-1"]).is_empty(),
        "no copy is newer than its start"
    );
    let here = [without(snapshot("snap-1", 8), "CreatedOn"), snapshot("snap-2", 9)];
    assert_eq!(expiring(&here, HOME, &["vol-1"]), ["snap-2"], "an original is as old as its start");
}

#[test]
fn a_copy_stays_while_its_source_carries_keep_forever() {
    let source = with(Snapshot { description: WEB.into(), ..snapshot("snap-5", 9) }, "KeepForever", "");
    let is_kept = |copy: Snapshot, source: &Snapshot| {
        judged(&[copy], "us-east-1", &[], Some(&kept(&[source.clone()])))[0] == Verdict::Keep(Keep::SourceKept)
    };
    assert!(is_kept(copy("snap-a", 9), &source));
    assert!(!is_kept(copy("snap-a", 9), &without(source.clone(), "KeepForever")));
    assert!(!is_kept(with(copy("snap-a", 9), "SourceSnapshotId", "snap-6"), &source));
    assert!(is_kept(earlier_copy("snap-a", 9, WEB), &source));
    assert!(!is_kept(earlier_copy("snap-a", 8, WEB), &source), "of another day");
    assert!(!is_kept(earlier_copy("snap-a", 9, "db - vol-2 (/dev/sda1)"), &source));
    let named = with(earlier_copy("snap-a", 9, "[Copied snap-5 from eu-west-1]"), "SourceVolumeId", "vol-1");
    assert!(is_kept(named.clone(), &source), "the volume was added by hand");
    assert!(is_kept(without(earlier_copy("snap-a", 9, WEB), "CreatedOn"), &source), "of a day that is not known");
    assert!(is_kept(earlier_copy("snap-a", 9, WEB), &without(source.clone(), "CreatedOn")), "likewise");
    assert!(!is_kept(snapshot("snap-5", 9), &source), "an original is kept by its own tag");
}

#[test]
fn no_copy_is_due_while_the_home_region_cannot_be_read() {
    for due in [copy("snap-a", 9), earlier_copy("snap-b", 9, WEB)] {
        assert_eq!(judged(&[due], "us-east-1", &[], None), [Verdict::Keep(Keep::SourceUnreadable)]);
    }
    assert!(judged(&[snapshot("snap-1", 9)], HOME, &[], None)[0].expires(), "an original needs no source");
}

#[test]
fn what_is_held_from_outside_is_left() {
    let stays = |s: &Snapshot| judged(&[s.clone()], HOME, &[], None)[0].clone();
    let one = snapshot("snap-1", 9);
    let mut verdicts = [stays(&one)];
    let holders = Holders::from([(one.id.clone(), "image ami-1".to_owned())]);
    keep_what_is_held(&[Candidate::from(&one)], &mut verdicts, &holders);
    assert_eq!(verdicts[0].to_string(), "kept: held by image ami-1");
    assert!(verdicts[0].is_left());
}

#[test]
fn a_run_never_deletes_what_it_made_itself() {
    let held = [with(snapshot("snap-1", 9), "BackupRun", "r1"), with(snapshot("snap-2", 9), "BackupRun", "r0")];
    let candidates: Vec<Candidate> = held.iter().map(Candidate::from).collect();
    let (home, floor) = (region(HOME), BTreeSet::new());
    let scope = Scope {
        home: &home,
        region: &home,
        today: day(0),
        run_id: Some("r1"),
        floor: &floor,
        minimum_kept: 1,
        kept_sources: None,
    };
    let verdicts: Vec<_> = verdicts(&candidates, &scope).iter().map(ToString::to_string).collect();
    assert_eq!(verdicts, ["kept: made by this run", "expired: due since 2026-11-21"]);
}

#[test]
fn what_a_run_made_on_two_days_are_two_backups() {
    let of_run = |id: &str, ago: i64| with(with(snapshot(id, ago), "BackupRun", "r1"), "CreatedOn", "2026-11-20");
    let held = [snapshot("snap-a", 0), of_run("snap-b", 1), of_run("snap-c", 2), snapshot("snap-d", 2)];
    let verdicts = judged_with(2, &held, HOME, &["vol-1"], Some(&KeptSources::default()));
    assert_eq!(verdicts.iter().map(Verdict::expires).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn two_snapshots_of_a_volume_in_one_run_are_one_backup() {
    let of_run = |id: &str, run_id: &str, ago: i64| with(snapshot(id, ago), "BackupRun", run_id);
    let held = [of_run("snap-1", "r2", 7), of_run("snap-2", "r2", 7), of_run("snap-3", "r1", 8)];
    let verdicts = judged_with(2, &held, HOME, &["vol-1"], Some(&KeptSources::default()));
    assert_eq!(verdicts.iter().map(Verdict::expires).collect::<Vec<_>>(), [false, true, false]);
}

/// A region's snapshots, and the rest of the facts that decide their verdicts.
#[derive(Clone, Debug)]
struct Case {
    candidates: Vec<Candidate>,
    there: bool,
    living: BTreeSet<VolumeId>,
    minimum_kept: u32,
    kept_sources: Option<KeptSources>,
}

impl Case {
    fn scoped<T>(&self, judge: impl FnOnce(&Scope<'_>) -> T) -> T {
        let (home, there) = (region(HOME), region("us-east-1"));
        judge(&Scope {
            home: &home,
            region: if self.there { &there } else { &home },
            today: day(0),
            run_id: None,
            floor: &self.living,
            minimum_kept: self.minimum_kept,
            kept_sources: self.kept_sources.as_ref(),
        })
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.scoped(|scope| verdicts(&self.candidates, scope))
    }

    fn is_ours(&self, candidate: &Candidate) -> bool {
        let from = candidate.tags.from_region.as_deref();
        candidate.tags.automated && from.map_or(!self.there, |from| from == HOME)
    }

    /// The completed ones of a volume that are this stack's, with their verdicts.
    fn backups(&self, volume: &VolumeId) -> impl Iterator<Item = (&Candidate, Verdict)> {
        let counts = move |c: &Candidate| c.volume.as_ref() == Some(volume) && c.state == SnapshotState::Completed;
        self.candidates.iter().zip(self.verdicts()).filter(move |(c, _)| counts(c) && self.is_ours(c))
    }
}

/// The day of the data, if it is known.
fn data_day(candidate: &Candidate) -> Option<NaiveDate> {
    match candidate.tags.from_region {
        None => Some(candidate.started.date_naive()),
        Some(_) => candidate.tags.created_on,
    }
}

fn case() -> impl Strategy<Value = Case> {
    let one = (0u8..6, 0i64..6, -3i64..6, 0u8..8, 0usize..5, 0u8..8, 0u8..4).prop_map(
        |(volume, ago, due, state, from, odd, proof)| {
            let from_region = [None, None, Some(HOME), Some(HOME), Some("eu-west-2")][from];
            let states = [SnapshotState::Pending, SnapshotState::Error, SnapshotState::Other];
            Candidate {
                id: "snap-0".parse().unwrap(),
                state: states.get(usize::from(state)).copied().unwrap_or(SnapshotState::Completed),
                started: day(ago - i64::from(state % 2)).and_hms_opt(3, 0, 0).unwrap().and_utc(),
                source_started: None,
                volume: (volume > 0).then(|| format!("vol-{}", volume % 3).parse().unwrap()),
                tags: SnapshotTags {
                    automated: odd != 0,
                    created_on: (odd != 1).then(|| day(ago)),
                    delete_on: (odd != 2).then(|| day(due)),
                    keep_forever: odd == 3,
                    from_region: from_region.map(Into::into),
                    source_snapshot: (odd != 4 && from_region.is_some()).then(|| "snap-5".parse().unwrap()),
                    source_volume: None,
                    source_instance: None,
                },
                run_id: (odd > 5).then(|| "r1".into()),
                description: (odd == 4).then(|| WEB.into()),
                full_size: None,
                proof: [None, None, Some(None), Some(Some(Level::Probe))][usize::from(proof)]
                    .map(|level| Proof { on: day(0), level }),
            }
        },
    );
    let kept_sources = prop_oneof![
        1 => Just(None),
        1 => Just(Some(kept(&[with(snapshot("snap-5", 3), "KeepForever", "")]))),
        4 => Just(Some(KeptSources::default())),
    ];
    (prop::collection::vec(one, 0..9), any::<bool>(), 0u32..4, kept_sources).prop_map(
        |(mut candidates, there, minimum_kept, kept_sources)| {
            for (i, candidate) in candidates.iter_mut().enumerate() {
                candidate.id = format!("snap-a{i}").parse().unwrap();
            }
            let living = ["vol-1", "vol-2"].map(|volume| volume.parse().unwrap()).into();
            Case { candidates, there, living, minimum_kept, kept_sources }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_candidate_has_one_verdict_and_only_ours_that_are_due_or_broken_expire(case in case()) {
        let verdicts = case.verdicts();
        prop_assert_eq!(verdicts.len(), case.candidates.len());
        for (candidate, verdict) in case.candidates.iter().zip(verdicts).filter(|(_, v)| v.expires()) {
            prop_assert!(candidate.tags.automated, "Type=Automated");
            prop_assert!(case.is_ours(candidate), "of this stack");
            prop_assert!(!candidate.tags.keep_forever, "no KeepForever");
            let due = candidate.tags.delete_on.is_some_and(|on| on <= day(0));
            prop_assert!(due && candidate.volume.is_some() || candidate.state == SnapshotState::Error);
            prop_assert_eq!(verdict == Verdict::Expire(Expire::Broken), candidate.state == SnapshotState::Error);
            prop_assert!(candidate.state != SnapshotState::Pending && candidate.state != SnapshotState::Other);
        }
    }

    #[test]
    fn a_living_volume_keeps_as_many_backups_as_it_must(case in case()) {
        let newest = [Keep::Newest, Keep::NewestNotFailed].map(Verdict::Keep);
        prop_assert!(case.minimum_kept > 0 || !case.verdicts().iter().any(|v| newest.contains(v)));
        for volume in &case.living {
            let left = case.backups(volume).filter(|(_, verdict)| !verdict.expires()).count();
            prop_assert!(left >= case.backups(volume).count().min(case.minimum_kept as usize));
        }
    }

    #[test]
    fn a_living_volume_keeps_as_many_that_no_drill_found_bad(case in case()) {
        for volume in &case.living {
            let good = || case.backups(volume).filter(|(c, _)| !c.has_failed());
            let left = good().filter(|(_, verdict)| !verdict.expires()).count();
            prop_assert!(left >= good().count().min(case.minimum_kept as usize));
        }
    }

    #[test]
    fn what_a_drill_found_never_expires_anything(case in case()) {
        let mut unread = case.clone();
        unread.candidates.iter_mut().for_each(|c| c.proof = None);
        for (before, after) in unread.verdicts().into_iter().zip(case.verdicts()) {
            prop_assert!(before.expires() || !after.expires());
        }
    }

    #[test]
    fn where_all_have_failed_no_more_and_no_less_goes_than_if_nobody_had_read_them(case in case()) {
        let marked = |proof| {
            let mut other = case.clone();
            other.candidates.iter_mut().for_each(|c| c.proof = proof);
            other.verdicts()
        };
        prop_assert_eq!(marked(Some(Proof { on: day(0), level: None })), marked(None));
    }

    #[test]
    fn what_expires_of_a_living_volume_has_as_many_newer_backups_as_it_must(case in case()) {
        for volume in &case.living {
            for (gone, _) in case.backups(volume).filter(|(_, verdict)| verdict.expires()) {
                let staying = || case.backups(volume).filter(|(_, verdict)| !verdict.expires()).map(|(c, _)| c);
                let newer = staying().filter(|c| data_day(c) >= data_day(gone)).count();
                let surplus = origin(gone).is_some()
                    && staying().any(|c| (origin(c), data_day(c)) == (origin(gone), data_day(gone)));
                prop_assert!(newer >= case.minimum_kept as usize || surplus);
                prop_assert!(case.minimum_kept == 0 || data_day(gone).is_some(), "it may have been the newest");
            }
        }
    }

    #[test]
    fn keep_forever_on_one_never_expires_another(case in case(), index in any::<prop::sample::Index>()) {
        let mut tagged = case.clone();
        if let Some(last) = case.candidates.len().checked_sub(1) {
            tagged.candidates[index.index(last + 1)].tags.keep_forever = true;
        }
        for (before, after) in case.verdicts().into_iter().zip(tagged.verdicts()) {
            prop_assert!(before.expires() || !after.expires());
        }
    }

    #[test]
    fn verdicts_do_not_depend_on_the_order_of_the_candidates(case in case(), turn in 0usize..9, reverse: bool) {
        let mut other = case.clone();
        other.candidates.rotate_left(turn.min(case.candidates.len()));
        if reverse {
            other.candidates.reverse();
        }
        let by_id = |case: &Case| -> BTreeMap<SnapshotId, String> {
            case.candidates.iter().zip(case.verdicts()).map(|(c, v)| (c.id.clone(), v.to_string())).collect()
        };
        prop_assert_eq!(by_id(&case), by_id(&other));
    }

    /// At the moment of deletion only the backups of the batch's volumes are looked at.
    #[test]
    fn a_second_look_at_the_backups_of_a_volume_judges_them_as_the_first(case in case()) {
        let planned = case.verdicts();
        for volume in &case.living {
            let of_volume = |c: &&Candidate| c.volume.as_ref() == Some(volume);
            let only = Case { candidates: case.candidates.iter().filter(of_volume).cloned().collect(), ..case.clone() };
            let first: Vec<_> = case.candidates.iter().zip(&planned).filter(|(c, _)| of_volume(c)).map(|(_, v)| v.clone()).collect();
            prop_assert_eq!(only.verdicts(), first);
        }
    }
}
