//! What the functions print: lines of JSON with the fields that docs/operations.md has, metrics in the format that
//! CloudWatch reads, and no secret. Every story is checked as it ends.

use std::{collections::BTreeSet, fs, sync::OnceLock};

use chrono::Utc;
use domain::metrics::{Metric, NAMESPACE};
use serde_json::Value;

use crate::cloud::{DRILLED, cloud};

/// A line that a function printed.
#[derive(Clone, Debug)]
pub struct Printed {
    pub function: String,
    pub line: String,
}

impl Printed {
    /// Its fields, where it is JSON.
    pub fn fields(&self) -> Value {
        serde_json::from_str(&self.line).unwrap_or_default()
    }
}

/// The lines of `functions.log`.
pub fn lines(log: &str) -> Vec<Printed> {
    let read = |line: &str| {
        let fields: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| Some(fields[name].as_str()?.to_owned());
        Some(Printed { function: text("function")?, line: text("line")? })
    };
    // The last line may be written at this moment.
    log.lines().filter_map(read).collect()
}

/// What is wrong with these lines, each once.
pub fn problems(printed: &[Printed], tokens: &BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for Printed { function, line } in printed {
        let mut note = |problem: String| _ = found.insert(format!("{function}: {problem}"));
        if let Some(what) = secret(line, tokens) {
            // Without the line itself: this is printed, too.
            note(format!("{what}: see functions.log"));
            continue;
        }
        match serde_json::from_str::<Value>(line) {
            Ok(fields) if fields.get("_aws").is_some() => {
                metric_problems(&fields, line.len()).into_iter().for_each(note)
            }
            Ok(fields) => field_problems(&fields).into_iter().for_each(note),
            Err(_) => note(format!("no JSON: {line}")),
        }
    }
    found.into_iter().collect()
}

/// What gives a request its power, as it stands in headers, URLs and messages; keys as AWS and the local cloud give them.
const SECRETS: &[(&str, &str)] = &[
    ("X-Amz-Signature", "a pre-signed URL"),
    ("X-Amz-Credential", "a pre-signed URL"),
    ("X-Amz-Security-Token", "a session's token"),
    ("AWS4-HMAC-SHA256", "a signature"),
    ("aws_secret_access_key", "a secret key"),
    ("SecretAccessKey", "a secret key"),
    ("AKIA", "an access key"),
    ("ASIA", "an access key"),
    ("taskToken", "a message with its task token"),
    ("the-secret-of-the-functions", "the secret key of the functions"),
];

/// The secret that stands in a line.
fn secret(line: &str, tokens: &BTreeSet<String>) -> Option<&'static str> {
    let lower = line.to_lowercase();
    let known = SECRETS.iter().find(|(text, _)| match text.chars().all(|c| c.is_ascii_uppercase()) {
        true => line.contains(text),
        false => lower.contains(&text.to_lowercase()),
    });
    let is_token = || tokens.iter().any(|token| !token.is_empty() && line.contains(token.as_str()));
    known.map(|(_, what)| *what).or_else(|| is_token().then_some("a task token"))
}

/// The cells of the first column of the table below a heading of docs/operations.md, without their backquotes.
fn first_column(heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string("docs/operations.md").unwrap();
    let table = text.split(&format!("\n{heading}\n")).nth(1).expect("docs/operations.md has the heading");
    let rows =
        table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(',').map(str::trim));
    names.map(|name| name.trim_matches('`').to_owned()).collect()
}

/// The sum of a metric's values in these lines.
pub fn sum_of(metric: &str, printed: &[Printed]) -> f64 {
    printed.iter().filter_map(|one| one.fields().get(metric).and_then(Value::as_f64)).sum()
}

/// What a query of docs/operations.md finds in these lines, by the begin of its title. It knows as much of the language as
/// those queries need.
pub fn found_by(title: &str, printed: &[Printed], instead: &[(&str, &str)]) -> Vec<Value> {
    let text = fs::read_to_string("docs/operations.md").unwrap();
    let query = text.split(&format!("\n*{title}")).nth(1).expect("the query has a title");
    let mut query = query.split("```").nth(1).unwrap().to_owned();
    for (from, to) in instead {
        query = query.replace(from, to);
    }
    let command = |name: &str| query.lines().find_map(|line| line.split_once(name)).unwrap().1.to_owned();
    let (fields, filter) = (command("fields "), command("| filter "));
    let (known, _) = documented();
    for field in fields.split(", ").filter(|field| *field != "@timestamp") {
        assert!(known.contains(field), "{title}: no function prints {field}");
    }
    printed.iter().map(Printed::fields).filter(|line| passes(line, &filter)).collect()
}

fn passes(line: &Value, filter: &str) -> bool {
    let holds = |condition: &str| {
        let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        if let Some(name) = condition.strip_prefix("ispresent(") {
            return line.get(name.trim_end_matches(')')).is_some();
        }
        let (name, rest) = condition.split_once(' ').expect("a condition begins with a field");
        let value = line.get(name).and_then(Value::as_str).unwrap_or_default();
        let (operator, operand) = rest.split_once(' ').expect("a condition has an operator");
        match operator {
            "in" => quoted(operand).iter().any(|one| one == value),
            "like" => value.contains(&quoted(operand)[0]),
            "=" => value == quoted(operand)[0],
            _ => panic!("{operator} is not understood"),
        }
    };
    filter.split(" or ").any(|each| each.split(" and ").all(holds))
}

/// The fields and the outcomes that docs/operations.md has.
fn documented() -> &'static (BTreeSet<String>, BTreeSet<String>) {
    static TABLES: OnceLock<(BTreeSet<String>, BTreeSet<String>)> = OnceLock::new();
    TABLES.get_or_init(|| (first_column("## The logs"), first_column("### Outcomes")))
}

fn field_problems(fields: &Value) -> Vec<String> {
    let (known, outcomes) = documented();
    let Some(object) = fields.as_object() else { return vec![format!("no object: {fields}")] };
    let unknown = object.keys().filter(|name| !known.contains(*name));
    let mut found: Vec<String> = unknown.map(|name| format!("the field {name} is not documented: {fields}")).collect();
    let outcome = object.get("outcome").and_then(Value::as_str);
    found.extend(
        outcome.filter(|one| !outcomes.contains(*one)).map(|one| format!("the outcome {one} is not documented")),
    );
    found
}

/// Units of `MetricDatum` (CloudWatch API reference).
const UNITS: &str = "Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits \
    Megabits Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second \
    Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None";

/// What CloudWatch would not read, or would count as another metric than those of [`domain::metrics`].
///
/// Source: "Embedded metric format specification", CloudWatch user guide. The size of a line is the smaller one of the two
/// that the guide has named; the ages are those of `PutMetricData`.
fn metric_problems(line: &Value, size: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{what}: {line}"))
        }
    };
    check(size <= 256 * 1024, "a line has at most 256 KB");
    let aws = &line["_aws"];
    let age = aws["Timestamp"].as_i64().map(|at| Utc::now().timestamp_millis() - at);
    let (hour, day) = (3_600_000, 86_400_000);
    check(age.is_some_and(|age| (-2 * hour..=14 * day).contains(&age)), "the time is in ms, and not long ago or ahead");
    let directives = aws["CloudWatchMetrics"].as_array().cloned().unwrap_or_default();
    check(!directives.is_empty(), "there are metrics");
    for directive in &directives {
        let known = ["Namespace", "Dimensions", "Metrics"];
        check(
            directive.as_object().is_some_and(|all| all.keys().all(|name| known.contains(&name.as_str()))),
            "no more members",
        );
        check(directive["Namespace"] == NAMESPACE, "the namespace");
        let sets = directive["Dimensions"].as_array().cloned().unwrap_or_default();
        check(!sets.is_empty(), "there are dimensions");
        for set in &sets {
            let names: Vec<&str> = set.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            check(names.len() <= 30, "at most 30 dimensions");
            let is_one = |metric: &Metric| metric.scopes().iter().any(|scope| scope.dimensions() == names);
            let shown = |metric: &&Metric| directive["Metrics"].to_string().contains(&format!("{:?}", metric.as_str()));
            check(Metric::ALL.iter().filter(shown).all(is_one), "the dimensions of domain::metrics");
            for name in names {
                let value = line[name].as_str().unwrap_or_default();
                check((1..=1024).contains(&value.len()) && value.is_ascii(), "a dimension's value is a short text");
            }
        }
        let metrics = directive["Metrics"].as_array().cloned().unwrap_or_default();
        check((1..=100).contains(&metrics.len()), "1 to 100 metrics");
        let names: BTreeSet<&str> = metrics.iter().filter_map(|metric| metric["Name"].as_str()).collect();
        check(names.len() == metrics.len(), "each metric once, and with a name");
        for metric in &metrics {
            let name = metric["Name"].as_str().unwrap_or_default();
            let unit = metric["Unit"].as_str().unwrap_or_default();
            check(UNITS.split(' ').any(|known| known == unit), "a unit that CloudWatch knows");
            let known = Metric::ALL.iter().find(|known| known.as_str() == name);
            check(known.is_some_and(|known| format!("{:?}", known.unit()) == unit), "name and unit of domain::metrics");
            // JSON has no other numbers than finite ones.
            check(line[name].as_f64().is_some_and(|value| (0.0..1e12).contains(&value)), "the value is a number");
        }
    }
    found
}

#[test]
fn the_dashboard_is_deployed_with_its_names_in_their_place_and_shows_each_metric_that_is_printed() {
    let mut cloud = cloud();
    let stack = cloud.stack(DRILLED);
    let dashboard = cloud.dashboard(&stack, "DashboardUrl");
    let text = dashboard.to_string() + &cloud.dashboard(&stack, "DrillDashboardUrl").to_string();
    // Only labels that CloudWatch fills in are left.
    assert_eq!(text.matches("${").count(), text.matches("${PROP('Dim.BackupRegion')}").count(), "{text}");
    assert!(text.contains(stack.output("StateMachineArn")) && text.contains("\"value\":48"), "{text}");
    for metric in Metric::ALL.iter().filter(|metric| **metric != Metric::Complete) {
        assert!(text.contains(metric.as_str()), "{}", metric.as_str());
    }
    let metrics = dashboard["widgets"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|widget| widget["properties"]["metrics"].as_array().cloned().unwrap_or_default());
    let queues: BTreeSet<String> =
        metrics.filter(|one| one[0] == "AWS/SQS").map(|one| one[3].as_str().unwrap().to_owned()).collect();
    let named = |output: &str| stack.output(output).rsplit('/').next().unwrap().to_owned();
    assert!(queues.contains(&named("CopyQueueUrl")) && queues.contains(&named("HookDeadLetterQueueUrl")), "{queues:?}");
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::metrics::{Measurement, line};
    use serde_json::json;

    use super::*;

    fn printed(line: impl Into<String>) -> Vec<Printed> {
        vec![Printed { function: "copy".into(), line: line.into() }]
    }

    #[test]
    fn a_secret_in_a_line_is_found_whatever_kind_it_is() {
        let tokens = BTreeSet::from(["AQCEAAAAKgAAAAMAAAAA".to_owned()]);
        for line in [
            json!({"message": "later", "cause": "token AQCEAAAAKgAAAAMAAAAA"}),
            json!({"cause": "Value (https://ec2.eu-west-1.amazonaws.com/?X-Amz-Signature=00) is invalid"}),
            json!({"cause": "x-amz-security-token: tok"}),
            json!({"cause": "AKIDEXAMPLE AKIAIOSFODNN7EXAMPLE"}),
            json!({"task": r#"{"taskToken": "t"}"#}),
        ] {
            let found = problems(&printed(line.to_string()), &tokens);
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(!found[0].contains("AQCE") && !found[0].contains("Signature=00"), "it is not told on: {found:?}");
        }
        assert!(problems(&printed(r#"{"message":"done","run":"r"}"#), &tokens).is_empty());
    }

    #[test]
    fn the_queries_of_the_runbook_are_understood_and_find_what_they_are_for() {
        let line = |fields: Value| Printed { function: "copy".into(), line: fields.to_string() };
        let printed = [
            line(json!({"outcome": "failed", "region": "us-east-1", "snapshot": "snap-1"})),
            line(json!({"outcome": "kept", "snapshot": "snap-1 snap-2", "cause": "kept: newest"})),
            line(json!({"outcome": "begun", "run": "r"})),
            Printed { function: "copy".into(), line: "no JSON".into() },
        ];
        let found = |title: &str| {
            let lines = found_by(title, &printed, &[("snap-0123456789abcdef0", "snap-2")]);
            lines.iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("A copy failed."), ["failed"]);
        assert_eq!(found("Why is it still here?"), ["kept"]);
        assert_eq!(found("Nothing ran last night."), ["failed", "begun"]);
    }

    #[test]
    fn a_field_or_an_outcome_that_is_not_documented_is_found() {
        let none = BTreeSet::new();
        let found = |line: Value| problems(&printed(line.to_string()), &none).join(", ");
        assert!(found(json!({"message": "done", "inst": "i-1"})).contains("the field inst is not documented"));
        assert!(found(json!({"message": "done", "outcome": "finished"})).contains("the outcome finished"));
        assert_eq!(found(json!({"message": "done", "outcome": "done", "instance": "i-1", "level": "INFO"})), "");
        assert!(problems(&printed("thread main panicked"), &none)[0].contains("no JSON"));
    }

    #[test]
    fn a_line_of_metrics_that_cloudwatch_would_not_read_is_found() {
        let home = "eu-west-1".parse().unwrap();
        let measurement = Measurement { at: Utc::now(), home: &home, backup_region: Some(&home), run_id: None };
        let good: Value = serde_json::from_str(&line(&measurement, &[(Metric::BackupAgeHours, 1.5)])).unwrap();
        let found = |change: &dyn Fn(&mut Value)| {
            let mut line = good.clone();
            change(&mut line);
            metric_problems(&line, line.to_string().len()).join(", ")
        };
        assert_eq!(found(&|_| ()), "");
        let directive = "/_aws/CloudWatchMetrics/0";
        let at = |path: &str, value: Value| {
            let path = format!("{directive}{path}");
            found(&|line| *line.pointer_mut(&path).unwrap() = value.clone())
        };
        let old = (Utc::now() - TimeDelta::days(15)).timestamp_millis();
        for time in [json!(old), json!(Utc::now().timestamp()), json!("now")] {
            assert!(found(&|line| line["_aws"]["Timestamp"] = time.clone()).starts_with("the time is in ms"));
        }
        assert!(at("/Namespace", json!("AWS/Lambda")).contains("the namespace"));
        assert!(at("/Dimensions", json!([])).contains("there are dimensions"));
        assert!(at("/Dimensions/0", json!(vec!["d"; 31])).contains("at most 30 dimensions"));
        assert!(at("/Dimensions/0", json!(["Region", "Run"])).contains("the dimensions of domain::metrics"));
        assert!(at("/Metrics/0/Unit", json!("Hours")).contains("a unit that CloudWatch knows"));
        assert!(at("/Metrics/0/Unit", json!("Count")).contains("name and unit"));
        assert!(at("/Metrics", json!(vec![json!({"Name": "A"}); 101])).contains("1 to 100 metrics"));
        assert!(found(&|line| line["Region"] = json!(1)).contains("a dimension's value"));
        assert!(found(&|line| line["BackupAgeHours"] = Value::Null).contains("the value is a number"));
        assert!(found(&|line| line["_aws"]["CloudWatchMetrics"] = json!([])).contains("there are metrics"));
        assert!(!metric_problems(&good, 300_000).is_empty());
    }
}
