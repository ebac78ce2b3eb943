use std::collections::BTreeMap;

use domain::{
    expiry::Expire,
    ids::{Region, SnapshotId},
    report::{ExpiryReport, ProblemKind, Summary, Swept},
};
use maud::{Markup, html};

use crate::parts::{FEW_ROWS, MOST_ROWS, count, id, numbers, of_volume, some, table, text, words};
use crate::verdict::is_unsure;

pub(crate) fn section(summary: &Summary) -> Option<Markup> {
    if !summary.run.phases.expire && summary.gone.is_empty() {
        return None;
    }
    let ends = &summary.expiries;
    let of = |list: fn(&ExpiryReport) -> &Vec<Swept>| -> Vec<(&Region, &Swept)> {
        ends.iter().flat_map(|end| list(end).iter().map(|swept| (&end.region, swept))).collect()
    };
    let (deleted, left) = (of(|end| &end.deleted), of(|end| &end.left));
    Some(html! {
        @if summary.run.phases.expire {
            @if !ends.is_empty() {
                (regions(summary))
            } @else if is_unsure(summary, ProblemKind::Expiry) {
                p { "Nothing is known to have been due: see what is owed." }
            } @else {
                p { "Nothing was due." }
            }
            (swept(if summary.run.dry_run { "To be deleted" } else { "Planned for deletion, and still there" }, &left, MOST_ROWS, !summary.run.dry_run))
            (kept(ends))
            (swept("Deleted", &deleted, FEW_ROWS, false))
        }
        @if !summary.gone.is_empty() {
            h3 { "Volumes that are gone" }
            p { "They do not exist any more. To keep a last backup, tag it " code { "KeepForever" } " before its day." }
            (table(
                "Last backups of volumes that are gone",
                &[words("Volume"), words("Instance"), words("Last backup"), words("Expires on")],
                summary.gone.iter(),
                FEW_ROWS,
                |gone| vec![
                    id(&gone.volume),
                    html! { @match &gone.name { Some(name) => (text(name)), None => span.quiet { "not known" } } },
                    id(&gone.last),
                    html! { (gone.delete_on) },
                ],
            ))
        }
    })
}

fn regions(summary: &Summary) -> Markup {
    let is_broken = |swept: &&Swept| swept.why == Expire::Broken;
    let dry = summary.run.dry_run;
    let row = |end: &ExpiryReport| {
        let broken = end.deleted.iter().filter(is_broken).count();
        let (due, left, kept) = (end.deleted.len() - broken, end.left.len(), end.kept.len());
        let counts = if dry { vec![left, kept] } else { vec![due, broken, left, kept] };
        let cells = counts.into_iter().map(|number| html! { (count(number)) });
        std::iter::once(html! { (end.region) }).chain(cells).collect()
    };
    let mut columns = vec![words("Region")];
    match dry {
        true => columns.extend([numbers("To be deleted"), numbers("Due and kept")]),
        false => columns.extend([
            numbers("Deleted, due"),
            numbers("Deleted, broken"),
            numbers("Still there"),
            numbers("Due and kept"),
        ]),
    }
    table("Expiry per region", &columns, summary.expiries.iter(), 50, row)
}

fn swept(title: &str, all: &[(&Region, &Swept)], most: usize, with_reason: bool) -> Markup {
    let mut columns = vec![words("Snapshot"), words("Region"), words("Volume"), words("Was due")];
    columns.extend(with_reason.then_some(words("Why it is still there")));
    html! {
        @if !all.is_empty() {
            h3 { (title) }
            (table(title, &columns, all.iter(), most, |(region, swept)| {
                let mut cells = vec![
                    id(&swept.id),
                    html! { span.whole { (region) } },
                    of_volume(swept.volume.as_ref(), &swept.instances),
                    html! { span.whole { (swept.due()) } },
                ];
                cells.extend(with_reason.then(|| text(swept.reason.as_deref().unwrap_or_default())));
                cells
            }))
        }
    }
}

/// What is due and kept, by its reason: many have the same.
fn kept(ends: &[ExpiryReport]) -> Markup {
    let mut by_reason: BTreeMap<&str, Vec<(&Region, &SnapshotId)>> = BTreeMap::new();
    for (end, kept) in ends.iter().flat_map(|end| end.kept.iter().map(move |kept| (end, kept))) {
        by_reason.entry(kept.verdict.trim_start_matches("kept: ")).or_default().push((&end.region, &kept.id));
    }
    let mut reasons: Vec<_> = by_reason.into_iter().collect();
    reasons.sort_by_key(|(_, all)| std::cmp::Reverse(all.len()));
    html! {
        @if !reasons.is_empty() {
            h3 { "Due, and kept" }
            (table(
                "Why snapshots that are due or broken are kept",
                &[words("Reason"), numbers("Snapshots"), words("Which")],
                reasons.iter(),
                FEW_ROWS,
                |(reason, all)| vec![
                    text(reason),
                    html! { (count(all.len())) },
                    some(all, |(region, snapshot)| html! { span.item { (id(snapshot)) " " span.quiet { (region) } } }),
                ],
            ))
        }
    }
}
