use serde_json::json;

use super::*;
use crate::{
    contract::{ExpireTask, Expiring, KeptDue},
    expiry::Expire,
    tags::SnapshotTags,
};

fn batch(ids: &[&str]) -> ExpireTask {
    let due = Expire::Due(day("2026-11-20"));
    let expiring = |one: &&str| Expiring { id: id(one), volume: "vol-1".parse().ok(), why: due };
    ExpireTask {
        region: region("us-east-1"),
        planned: day("2026-11-22"),
        snapshots: ids.iter().map(expiring).collect(),
    }
}

/// The report on a batch of which these snapshots are left, with these tags, and which failed in this way.
fn swept(left: &[&str], own: &[(&str, &str)], batch: ExpireTask, failed: &Failed) -> (ExpiryReport, Vec<Problem>) {
    let read = || SnapshotTags::read(&tags(own.iter().copied()));
    RegionSweep {
        region: &region("us-east-1"),
        batches: &[batch],
        kept: vec![],
        there: &left.iter().map(|one| (id(one), read())).collect(),
        failed,
        names: &Names::of_fleet(&fleet(&[instance("i-1", "running", &["vol-1"])], &[])),
        today: day("2026-11-22"),
        dry_run: false,
    }
    .end()
}

fn failed(error: &str, cause: &str, ids: &[&str]) -> Failed {
    Failed::of(&[map_run("Expiries", vec![item(json!({"task": batch(ids)}), error, cause)])])
}

fn reasons(end: &ExpiryReport) -> Vec<String> {
    end.left.iter().map(|swept| format!("{}: {}", swept.id, swept.reason.as_deref().unwrap_or("?"))).collect()
}

#[test]
fn what_is_held_from_outside_is_told_in_ec2s_words_and_is_no_problem() {
    let ids = ["snap-1", "snap-11", "snap-2", "snap-3"];
    let cause = "snap-11: InvalidSnapshot.InUse: The snapshot snap-11 is currently in use by ami-1; \
                 snap-1: SnapshotLocked: it is locked";
    let (end, problems) = swept(&ids[..3], &[], batch(&ids), &failed("SnapshotHeld", cause, &ids));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(end.deleted.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["snap-3"]);
    assert_eq!(
        reasons(&end),
        [
            "snap-1: SnapshotHeld: SnapshotLocked: it is locked",
            "snap-11: SnapshotHeld: InvalidSnapshot.InUse: The snapshot snap-11 is currently in use by ami-1",
            "snap-2: kept at the moment of deletion: see the log of the expire function",
        ]
    );
}

#[test]
fn what_failed_otherwise_and_is_left_is_a_problem() {
    let ids = ["snap-1", "snap-2"];
    let first = "i-1 (web), vol-1, snap-1: could not be deleted in us-east-1: ";
    let named = failed("Ec2Refused", "snap-1: Odd: no", &ids);
    let (end, problems) = swept(&ids, &[], batch(&ids), &named);
    assert_eq!(shown(&problems), [format!("{first}Ec2Refused: Odd: no. The next run decides again")]);
    assert!(reasons(&end)[1].contains("kept at the moment of deletion"), "the other one was not refused");

    // A cause that names no snapshot, or was cut, may be about all of them.
    for cause in ["DescribeSnapshots in us-east-1: no answer", "snap-1: Odd: it was cut…"] {
        let (_, problems) = swept(&ids, &[], batch(&ids), &failed("Ec2Refused", cause, &ids));
        assert_eq!(problems.len(), 2, "{cause}");
    }
    let unread = Failed::of(&[MapRun { failed: 120, ..map_run("Expiries", vec![]) }]);
    for failed in [unread, Failed::unknown()] {
        let (_, problems) = swept(&ids[..1], &[], batch(&ids), &failed);
        assert_eq!(
            shown(&problems),
            [format!("{first}the reason could not be read: see the Map Run Expiries. The next run decides again")]
        );
    }
    let yesterday = ExpireTask { planned: day("2026-11-21"), ..batch(&ids) };
    let (_, problems) = swept(&ids[..1], &[], yesterday, &Failed::default());
    assert!(shown(&problems)[0].contains("planned on 2026-11-21: a plan is only carried out on its own day"));
}

#[test]
fn what_was_kept_on_purpose_is_no_problem_whatever_failed_beside_it() {
    let ids = ["snap-1"];
    let failed = failed("AccessDenied", "no", &ids);
    for (own, why) in [
        (("KeepForever", ""), "it got KeepForever after it was planned"),
        (("DeleteOn", "2026-12-24"), "it got a later DeleteOn after it was planned"),
    ] {
        let (end, problems) = swept(&ids, &[own], batch(&ids), &failed);
        assert!(problems.is_empty() && reasons(&end)[0].ends_with(why), "{end:?}");
    }
    let (end, problems) = swept(&ids, &[], batch(&ids), &Failed::default());
    assert!(problems.is_empty() && reasons(&end)[0].contains("kept at the moment of deletion"), "{end:?}");
}

#[test]
fn what_is_due_and_kept_and_what_is_broken_for_ever_is_named_with_its_reason() {
    let (mut end, _) = swept(&[], &[], batch(&["snap-1"]), &Failed::default());
    end.deleted[0].why = Expire::Broken;
    let kept =
        |name: &str, verdict: &str| KeptDue { id: id(name), volume: "vol-9".parse().ok(), verdict: verdict.into() };
    let broken = "kept: it is in error, and carries KeepForever: only you can delete it";
    end.kept = vec![kept("snap-8", "kept: held by image ami-1"), kept("snap-9", broken)];
    end.kept.extend((10..17).map(|n| kept(&format!("snap-{n}"), "kept: held by image ami-1")));
    let mut summary = summary();
    summary.expiries = vec![end];
    assert!(summary.is_complete(), "none of it is a problem");
    let text = summary.text();
    for line in [
        "  us-east-1: 1 deleted (0 due, 1 broken), 0 left, 9 due or broken and kept",
        "    deleted: snap-1, vol-1, i-1 (web): broken",
        &format!("    {broken}: snap-9 of vol-9"),
        "    kept: held by image ami-1: snap-8 of vol-9; snap-10 of vol-9; snap-11 of vol-9; snap-12 of vol-9; \
         snap-13 of vol-9; and 3 more, see left-us-east-1.jsonl",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
