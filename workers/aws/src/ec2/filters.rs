//! The filters and the page size of `DescribeSnapshots`.

use aws_sdk_ec2::types::Filter;
use domain::{ports::SnapshotFilter, tags};

/// Values in one filter. A call may have 200 (EC2 user guide, "List and filter using the CLI and API"); one is left for a
/// second filter.
pub(crate) const MAX_FILTER_VALUES: usize = 199;

/// Results per page: the most that the API allows.
pub(crate) const PAGE: i32 = 1000;

/// Matches `KeepForever` in any case, and some other keys: EC2 distinguishes upper and lower case; the caller checks the
/// tags. `?` is one character or none (EC2 user guide, the same page).
const KEEP_FOREVER_IN_ANY_CASE: [&str; 4] = ["K?????????r", "K?????????R", "k?????????r", "k?????????R"];

/// The page size of a selection; `None` for small selections.
///
/// With a page size, EC2 first makes pages and then filters them: even to find a few snapshots takes all pages of the
/// region (boto3 issue 1776; the AWS CLI sets no page size together with filters). Without one, the answer is complete,
/// or has a token for the rest.
pub(super) fn page_size(which: &SnapshotFilter) -> Option<i32> {
    match which {
        SnapshotFilter::Own | SnapshotFilter::Automated | SnapshotFilter::CopiesFrom(_) => Some(PAGE),
        _ => None,
    }
}

pub(crate) fn filter(name: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().map(Into::into).collect())).build()
}

pub(crate) fn tag_filter(key: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    filter(format!("tag:{key}"), values)
}

/// The filters of a selection, one list per call: several calls if there are too many values for one.
pub(crate) fn filters(which: &SnapshotFilter) -> Vec<Vec<Filter>> {
    fn in_chunks<T>(ids: &[T], name: &str, value: impl Fn(&T) -> String) -> Vec<Vec<Filter>> {
        ids.chunks(MAX_FILTER_VALUES).map(|chunk| vec![filter(name, chunk.iter().map(&value))]).collect()
    }
    match which {
        SnapshotFilter::Own => vec![vec![]],
        SnapshotFilter::Automated => vec![vec![tag_filter(tags::TYPE, [tags::AUTOMATED])]],
        SnapshotFilter::Ids(ids) => in_chunks(ids, "snapshot-id", ToString::to_string),
        SnapshotFilter::CopiesOf(sources) => {
            in_chunks(sources, &format!("tag:{}", tags::SOURCE_SNAPSHOT_ID), ToString::to_string)
        }
        SnapshotFilter::CopiesFrom(home) => vec![vec![tag_filter(tags::BACKUP_FROM_REGION, [home.as_str()])]],
        SnapshotFilter::BackupsOf(volumes) => [
            in_chunks(volumes, "volume-id", ToString::to_string),
            in_chunks(volumes, &format!("tag:{}", tags::SOURCE_VOLUME_ID), ToString::to_string),
            // Copies of the earlier scripts name the volume only in their description.
            in_chunks(volumes, "description", |volume| format!("*{volume}*")),
        ]
        .concat(),
        SnapshotFilter::MadeBy(run_id) => vec![vec![tag_filter(tags::BACKUP_RUN, [run_id])]],
        SnapshotFilter::OfRun(run_id, instances) => instances
            .chunks(MAX_FILTER_VALUES)
            .map(|chunk| {
                vec![
                    tag_filter(tags::BACKUP_RUN, [run_id]),
                    tag_filter(tags::SOURCE_INSTANCE_ID, chunk.iter().map(|id| id.as_str())),
                ]
            })
            .collect(),
        SnapshotFilter::KeptForever => vec![vec![filter("tag-key", KEEP_FOREVER_IN_ANY_CASE)]],
        // Whatever their `Type`: it may have been changed by hand.
        SnapshotFilter::PendingCopies => {
            vec![vec![filter("tag-key", [tags::BACKUP_FROM_REGION]), filter("status", ["pending"])]]
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::SnapshotId;

    use super::*;

    #[test]
    fn keep_forever_is_found_in_whatever_case() {
        // `?` is one character or none.
        let matches = |pattern: &str, key: &str| {
            let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
            pattern[0] == key[0] && pattern.last() == key.last() && key.len() <= pattern.len()
        };
        let letters = tags::KEEP_FOREVER.as_bytes();
        for spelling in 0..1u32 << letters.len() {
            let cased = letters.iter().enumerate().map(|(at, letter)| match spelling >> at & 1 {
                0 => letter.to_ascii_lowercase() as char,
                _ => letter.to_ascii_uppercase() as char,
            });
            let key: String = cased.collect();
            assert!(KEEP_FOREVER_IN_ANY_CASE.iter().any(|pattern| matches(pattern, &key)), "{key}");
        }
    }

    #[test]
    fn a_long_list_of_ids_is_asked_for_in_chunks_that_a_filter_takes() {
        let ids: Vec<SnapshotId> = (0..450).map(|i| format!("snap-{i:017x}").parse().unwrap()).collect();
        let sizes: Vec<usize> =
            filters(&SnapshotFilter::Ids(ids)).iter().map(|filters| filters[0].values().len()).collect();
        assert_eq!(sizes, [199, 199, 52]);
    }
}
