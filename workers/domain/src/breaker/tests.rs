use super::*;
use crate::{
    expiry::{
        Holders, KeptSources, keep_what_is_held,
        tests::{HOME, judged, snapshot},
    },
    fake::{in_state, region, with, without},
    fleet::Snapshot,
};

fn trips(held: &[Snapshot], percent: u32) -> Option<String> {
    trips_with(held, percent, &Holders::new())
}

fn trips_with(held: &[Snapshot], percent: u32, holders: &Holders) -> Option<String> {
    let candidates: Vec<Candidate> = held.iter().map(Candidate::from).collect();
    let mut judged = judged(held, HOME, &[], Some(&KeptSources::default()));
    keep_what_is_held(&candidates, &mut judged, holders);
    breaker(&candidates, &judged, percent).err().map(|e| e.to_string())
}

/// Snapshots of a volume, one a day, of which the oldest `due` are due.
fn archive(volume: &str, all: i64, due: i64) -> Vec<Snapshot> {
    let one = |i: i64| {
        let made = snapshot(&format!("snap-{}{i:02x}", &volume[4..]), all - i);
        let made = Snapshot { volume: Some(volume.parse().unwrap()), ..made };
        if i < due { made } else { with(made, "DeleteOn", "2027-01-01") }
    };
    (0..all).map(one).collect()
}

#[test]
fn the_breaker_stops_what_is_more_than_its_share_and_says_how_much() {
    let tripped = |all, due, percent| {
        // Snapshots of the same volume that others make are ignored.
        let others = archive("vol-1", all, due).into_iter().zip(0..).map(|(one, n)| {
            let one = Snapshot { id: format!("snap-f{n:x}").parse().unwrap(), ..one };
            without(without(without(one, "Type"), "CreatedOn"), "DeleteOn")
        });
        trips(&archive("vol-1", all, due).into_iter().chain(others).collect::<Vec<_>>(), percent)
    };
    assert_eq!(tripped(19, 19, 50), None, "too few to judge");
    assert_eq!(tripped(20, 10, 50), None, "exactly the share");
    assert_eq!(tripped(20, 20, 100), None);
    let message = tripped(20, 11, 50).unwrap();
    assert_eq!(message, "11 of 20 backups (of a volume and a day) would go at once, more than 50 %");
    let undated: Vec<_> = archive("vol-1", 20, 20).into_iter().map(|s| without(s, "CreatedOn")).collect();
    assert!(trips(&undated, 50).is_some(), "without a readable CreatedOn, the day of the start decides");
    let text = stopped(&region(HOME), &message);
    assert!(text.contains(r#"{"phases": ["expire"], "allowMassExpire": ["eu-west-1"]}"#), "{text}");
}

#[test]
fn neither_a_long_archive_nor_several_snapshots_a_day_hide_how_much_would_go() {
    // One volume with sixty days of retention, and forty that lose all of their week.
    let mut held = archive("vol-f", 60, 0);
    held.extend((0..40).flat_map(|n| archive(&format!("vol-{n}"), 7, 7)));
    let message = trips(&held, 50).unwrap();
    assert!(message.starts_with("280 of 340 backups"), "{message}");
    // And with three hundred: forty of forty-one volumes lose all that they have.
    let mut held = archive("vol-f", 300, 0);
    held.extend((0..40).flat_map(|n| archive(&format!("vol-{n}"), 7, 7)));
    let message = trips(&held, 50).unwrap();
    assert!(message.starts_with("40 of 41 volumes would lose their last backup"), "{message}");
    // One snapshot an hour for four days, of which the oldest day goes, as every night.
    let hours = (0..4i64).flat_map(|ago| {
        (0..24).map(move |hour| {
            let one = snapshot(&format!("snap-{ago}{hour:02x}"), ago);
            if ago == 3 { one } else { with(one, "DeleteOn", "2027-01-01") }
        })
    });
    assert_eq!(trips(&hours.collect::<Vec<_>>(), 50), None, "one backup of four");
    // A backup stays if one snapshot of its day stays.
    let mut kept = archive("vol-1", 20, 20);
    kept.extend(archive("vol-1", 20, 20).into_iter().zip(0..).map(|(mut s, n)| {
        s.id = format!("snap-e{n:x}").parse().unwrap();
        with(s, "DeleteOn", "2027-01-01")
    }));
    assert_eq!(trips(&kept, 50), None);
}

#[test]
fn what_is_broken_kept_for_ever_or_held_from_outside_stands_outside_the_breaker() {
    let broken: Vec<_> = archive("vol-1", 30, 30).into_iter().map(|s| in_state(s, SnapshotState::Error)).collect();
    assert_eq!(trips(&broken, 50), None);
    let forever = archive("vol-2", 40, 0).into_iter().map(|s| with(s, "KeepForever", ""));
    let held: Vec<_> = archive("vol-1", 20, 11).into_iter().chain(forever).collect();
    assert!(trips(&held, 50).unwrap().starts_with("11 of 20 "));
    for outside in [
        archive("vol-2", 21, 0).into_iter().map(|s| without(s, "DeleteOn")).collect::<Vec<_>>(),
        archive("vol-2", 21, 21).into_iter().map(|s| Snapshot { volume: None, ..s }).collect(),
    ] {
        let held: Vec<_> = archive("vol-1", 20, 20).into_iter().chain(outside).collect();
        assert!(trips(&held, 50).unwrap().starts_with("20 of 20 "), "snapshots that can never go do not count");
    }
    // A snapshot whose volume is not known does not count before it is due, either.
    let unknown = archive("vol-2", 30, 0).into_iter().map(|s| Snapshot { volume: None, ..s });
    let held: Vec<_> = (0..25).flat_map(|n| archive(&format!("vol-{n}"), 1, 1)).chain(unknown).collect();
    assert!(trips(&held, 50).unwrap().starts_with("25 of 25 backups"));
    // Each of 25 volumes keeps one archived snapshot and loses all others; another volume has a long archive.
    let mut held = archive("vol-f", 300, 0);
    held.extend((0..25).flat_map(|n| archive(&format!("vol-{n}"), 4, 3)).map(|s| {
        let archived = s.tags["DeleteOn"] == "2027-01-01";
        if archived { with(s, "KeepForever", "") } else { s }
    }));
    assert!(trips(&held, 50).unwrap().starts_with("25 of 26 volumes"));
    let images: Holders =
        archive("vol-1", 20, 11).iter().take(2).map(|s| (s.id.clone(), "image ami-1".to_owned())).collect();
    assert_eq!(trips_with(&archive("vol-1", 20, 11), 50, &images), None, "9 of 18, which is no longer twenty");
}

#[test]
fn marks_of_a_drill_never_let_more_go() {
    // Of each volume two of three go, and the newest stays.
    let held: Vec<Snapshot> = (0..20).flat_map(|n| archive(&format!("vol-{n}"), 3, 2)).collect();
    assert!(trips(&held, 50).is_some());
    let newest = |one: &Snapshot| one.tags["DeleteOn"] == "2027-01-01";
    let mark = |one: Snapshot| with(with(one, "VerifiedOn", "2026-11-21"), "VerifiedAs", "failed");
    let marked: Vec<Snapshot> = held.into_iter().map(|one| if newest(&one) { mark(one) } else { one }).collect();
    let volumes: Vec<String> = (0..20).map(|n| format!("vol-{n}")).collect();
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    let candidates: Vec<Candidate> = marked.iter().map(Candidate::from).collect();
    let verdicts = judged(&marked, HOME, &volumes, Some(&KeptSources::default()));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Keep(Keep::NewestNotFailed)).count(), 20);
    assert!(breaker(&candidates, &verdicts, 50).is_err(), "twenty good ones would go");
}
