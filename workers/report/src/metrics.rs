use domain::report::Summary;
use serde_json::json;

/// Prints the run's metrics.
#[allow(clippy::print_stdout)] // CloudWatch reads metrics from lines of exactly this form.
pub(crate) fn print(summary: &Summary) {
    println!("{}", line(summary));
}

/// The run's metrics as a log line from which CloudWatch reads them (embedded metric format specification).
///
/// `Complete` is only there for a complete full run: an alarm fires if it is missing for too long.
pub(crate) fn line(summary: &Summary) -> String {
    let (planned, completed) = summary.volumes();
    let mut values = vec![
        ("Snapshots", completed),
        ("SnapshotsMissing", planned - completed),
        ("CopiesMade", summary.copies.iter().map(|c| c.made).sum()),
        ("CopiesOwed", summary.copies.iter().map(|c| c.owed).sum()),
        ("Expired", summary.expiries.iter().map(|e| e.deleted.len()).sum()),
        ("Rejected", summary.rejected.len()),
    ];
    if summary.is_full_backup() {
        values.push(("Complete", 1));
    }
    let names: Vec<_> = values.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": summary.ended.timestamp_millis(),
            "CloudWatchMetrics": [{"Namespace": "EbsSnapshots", "Dimensions": [["Region"]], "Metrics": names}],
        },
        "Region": summary.home,
        "Run": summary.run.id,
    });
    for (name, value) in values {
        line[name] = json!(value);
    }
    line.to_string()
}
