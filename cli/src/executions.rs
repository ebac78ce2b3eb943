//! `executions`: the last runs, how they ended, and what they made.

use chrono::{DateTime, Utc};
use domain::{
    operations::{Execution, Operations},
    ports::Storage,
    report::{Summary, lines},
    run::Run,
    run_files,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    commands::Commands,
    context::Context,
    show::{View, ago, plain, took},
    table::{Style, Tone, cell, table, toned},
    trouble::{Code, Trouble},
};

/// The answer of `executions`.
#[derive(Clone, Debug, Serialize)]
pub struct Executions {
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The newest first.
    pub executions: Vec<Ran>,
    /// How commands are named.
    #[serde(skip)]
    pub commands: Commands,
}

/// An execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// Its ARN.
    pub execution: String,
    /// The run that it was of; none where its input cannot be used.
    pub run: Option<String>,
    /// As Step Functions names it.
    pub status: String,
    /// When it was started.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// Whether it was to act on nothing.
    pub dry_run: bool,
    /// Its phases.
    pub phases: Vec<&'static str>,
    /// The execution that was doing the same run, so that this one did nothing.
    pub duplicate_of: Option<String>,
    /// What it made; none where it wrote no report, or one that cannot be used.
    pub made: Option<Made>,
    /// Why what it made is not known, though it has a report.
    pub unknown: Option<String>,
    /// The name of its error.
    pub error: Option<String>,
    /// What it owes, the worst first.
    pub problems: Vec<String>,
    /// The command that comes next.
    #[serde(skip)]
    pub next: Option<String>,
}

/// What an execution made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Volumes with a completed snapshot of this run.
    pub snapshots: usize,
    /// Volumes that were to have one.
    pub planned: usize,
    /// Copies that were made.
    pub copies: usize,
    /// Copies that are owed.
    pub owed: usize,
    /// Snapshots that were deleted.
    pub expired: usize,
}

/// Looks at the newest executions.
pub async fn look<E, S: Storage, O: Operations>(
    context: &Context<'_, E, S, O>,
    count: usize,
) -> Result<Executions, Trouble> {
    let Context { storage, operations, stack, now, progress, .. } = context;
    progress.say("executions");
    let mut executions = Vec::new();
    for listed in operations.executions(stack.machine()?, count).await? {
        let whole = operations.execution(&listed.arn).await?;
        executions.push(ran(whole, stack.settings.run_hours, *storage).await);
    }
    Ok(Executions { now: *now, executions, commands: stack.commands.clone() })
}

pub(crate) async fn ran(execution: Execution, run_hours: u32, storage: &impl Storage) -> Ran {
    let input: Value = serde_json::from_str(&execution.input).unwrap_or_default();
    let run = Run::read(&input, &execution.arn, execution.started, run_hours).ok();
    let report = match &run {
        Some(run) => report_of(run, storage).await,
        None => None,
    };
    // How it ended is known, whatever its report says.
    let (summary, unknown) = match report {
        Some(Ok(summary)) => (Some(summary), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let problems = match &summary {
        Some(summary) => lines(&summary.problems, summary.run.deadline),
        None if execution.cause.is_empty() => Vec::new(),
        None => vec![execution.cause.clone()],
    };
    let phases = run.as_ref().map(|run| run.phases);
    let names = phases.map_or(Vec::new(), |phases| {
        let named = [(phases.snapshot, "snapshot"), (phases.copy, "copy"), (phases.expire, "expire")];
        named.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect()
    });
    Ran {
        execution: execution.arn,
        status: execution.status,
        started: execution.started,
        ended: execution.ended,
        dry_run: run.as_ref().is_some_and(|run| run.dry_run),
        run: run.map(|run| run.id),
        phases: names,
        duplicate_of: duplicate_of(&execution.output),
        made: summary.as_ref().map(Made::from),
        unknown,
        error: Some(execution.error).filter(|error| !error.is_empty()),
        next: summary.as_ref().map(Summary::next_step),
        problems,
    }
}

/// The execution that was doing the same run, where the output of one that succeeded names it.
pub(crate) fn duplicate_of(output: &str) -> Option<String> {
    let output: Value = serde_json::from_str(output).ok()?;
    Some(output.get("duplicateOf")?.as_str()?.to_owned())
}

/// The report of an execution, or of an earlier version its summary; why it cannot be used; none where it wrote none.
async fn report_of(run: &Run, storage: &impl Storage) -> Option<Result<Summary, String>> {
    for name in [run_files::REPORT, run_files::EARLIER_REPORT] {
        match storage.read(&run.key(name)).await {
            Ok(Some(json)) => return Some(Summary::read(&json)),
            Ok(None) => {}
            Err(failure) => return Some(Err(format!("its report cannot be read: {failure}"))),
        }
    }
    None
}

impl From<&Summary> for Made {
    fn from(summary: &Summary) -> Self {
        let (planned, snapshots) = summary.volumes();
        Self {
            snapshots,
            planned,
            copies: summary.copies.iter().map(|copies| copies.made).sum(),
            owed: summary.copies.iter().map(|copies| copies.owed).sum(),
            expired: summary.expiries.iter().map(|expiry| expiry.deleted.len()).sum(),
        }
    }
}

impl Ran {
    pub(crate) fn made_words(&self) -> String {
        match self.made {
            Some(made) if self.dry_run => format!("would snapshot {} volumes", made.planned),
            Some(Made { snapshots, planned, copies, owed, expired }) => {
                let owed = if owed > 0 { format!(", {owed} owed") } else { String::new() };
                format!("{snapshots} of {planned} snapshots, {copies} copies{owed}, {expired} expired")
            }
            None if self.ended.is_none() => String::new(),
            None if self.duplicate_of.is_some() => "nothing: another execution did this run".into(),
            None => {
                self.unknown.as_ref().map_or_else(|| "no report".into(), |why| format!("not known: {}", plain(why)))
            }
        }
    }

    fn what(&self) -> String {
        let phases = match self.phases.len() {
            0 => String::new(),
            3 => "full".into(),
            _ => self.phases.join(", "),
        };
        if self.dry_run { format!("dry run, {phases}") } else { phases }
    }
}

/// What to look at after an execution that did not succeed.
pub(crate) fn next(ran: &Ran, style: &Style, commands: &Commands) -> String {
    // An input that was refused is told by its cause, and left nothing behind.
    if ran.status == "SUCCEEDED" || ran.run.is_none() {
        return String::new();
    }
    // Without a report it is only known that something has to be looked at.
    let next = commands.line(ran.next.as_deref().unwrap_or("dlq list"));
    format!("\n{}\n", style.wrapped(&format!("Run next: {next}"), 0))
}

impl View for Executions {
    const COMMAND: &'static str = "executions";

    fn code(&self) -> Code {
        let last = self.executions.iter().find(|ran| ran.ended.is_some() && ran.duplicate_of.is_none());
        Code::owed_if(last.is_some_and(|ran| ran.status != "SUCCEEDED"))
    }

    fn text(&self, style: &Style) -> String {
        if self.executions.is_empty() {
            return format!("there was no execution yet: {} starts one\n", self.commands.line("run --watch"));
        }
        let row = |ran: &Ran| {
            let tone = match ran.status.as_str() {
                "SUCCEEDED" => Tone::Good,
                "RUNNING" => Tone::Plain,
                _ => Tone::Bad,
            };
            let time = took(ran.ended.unwrap_or(self.now) - ran.started);
            let error = ran.error.as_ref().map_or(String::new(), |error| format!(" {}", plain(error)));
            let mut row = vec![
                cell(ran.run.clone().unwrap_or_default()),
                cell(ago(self.now - ran.started)),
                toned(format!("{}{error}", ran.status), tone),
                cell(ran.what()),
                cell(ran.made_words()),
            ];
            if style.is_wide() {
                row.insert(2, cell(time));
                row.push(cell(ran.execution.rsplit(':').next().unwrap_or_default()));
            }
            row
        };
        let heads: &[&str] = match style.is_wide() {
            true => &["run", "started", "took", "status", "phases", "made", "execution"],
            false => &["run", "started", "status", "phases", "made"],
        };
        let mut text = table(style, heads, self.executions.iter().map(row).collect());
        if let Some(last) =
            self.executions.iter().find(|ran| ran.ended.is_some()).filter(|ran| !ran.problems.is_empty())
        {
            text.push_str("\nThe last one that has ended\n");
            for problem in &last.problems {
                text.push_str(&format!("  {}\n", style.wrapped(&plain(problem), 4)));
            }
            text.push_str(&next(last, style, &self.commands));
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fake::golden;
    use domain::fake::FakeStorage;
    use serde_json::json;

    const ARN: &str = "arn:aws:states:eu-west-1:1:execution:b:e1";

    fn execution(status: &str, input: &Value) -> Execution {
        Execution {
            arn: ARN.into(),
            started: "2026-11-22T03:00:07Z".parse().unwrap(),
            ended: Some("2026-11-22T03:10:07Z".parse().unwrap()),
            status: status.into(),
            input: input.to_string(),
            output: String::new(),
            error: String::new(),
            cause: "the cause".into(),
        }
    }

    #[tokio::test]
    async fn a_duplicate_did_nothing_and_says_nothing_of_the_run() {
        let duplicate = Execution {
            output: json!({"duplicateOf": "arn:aws:states:eu-west-1:1:execution:b:e0"}).to_string(),
            cause: String::new(),
            ..execution("SUCCEEDED", &json!({}))
        };
        let failed = execution("FAILED", &json!({}));
        let storage = FakeStorage::default();
        let mut executions = Vec::new();
        for each in [duplicate, failed] {
            executions.push(ran(each, 20, &storage).await);
        }
        let view =
            Executions { now: "2026-11-22T12:00:00Z".parse().unwrap(), executions, commands: Default::default() };
        assert_eq!(view.code(), Code::Owed, "the one before counts");
        let watched = crate::run::Started {
            execution: ARN.into(),
            console: None,
            input: json!({}),
            ended: Some(view.executions[0].clone()),
            commands: Default::default(),
        };
        let text = watched.text(&Style { width: Some(80), colour: false });
        assert!(watched.code() == Code::Owed && text.contains("did nothing") && text.contains(":e0"), "{text}");
    }

    #[tokio::test]
    async fn one_without_a_summary_shows_its_cause() {
        let storage = FakeStorage::default();
        let ran = ran(execution("FAILED", &json!({"phases": ["copy"]})), 20, &storage).await;
        assert_eq!((ran.run.as_deref(), ran.phases.clone(), ran.made), (Some("20261122T030007Z"), vec!["copy"], None));
        assert_eq!(ran.problems, ["the cause"]);
        let view = Executions {
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            executions: vec![ran],
            commands: Default::default(),
        };
        assert_eq!(view.code(), Code::Owed);
        let text = view.text(&Style { width: Some(80), colour: false });
        assert!(text.contains("FAILED") && text.contains("no report") && text.contains("the cause"), "{text}");
    }

    #[tokio::test]
    async fn what_it_made_is_read_from_reports_of_this_version_and_of_earlier_ones_and_else_not_known() {
        let input = json!({"scheduledTime": "2026-11-22T03:00:00Z"});
        let run = Run::read(&input, ARN, "2026-11-22T03:00:07Z".parse().unwrap(), 20).unwrap();
        let mut summary = Summary::new(run.clone(), "eu-west-1".parse().unwrap(), run.started, "reports");
        let mut look = async |name: &str, version: Option<u32>| {
            summary.version = version.unwrap_or(0);
            let mut report = json!(summary);
            if version.is_none() {
                // The summary of an earlier version has less in it.
                report.as_object_mut().unwrap().retain(|field, _| field != "version" && field != "timeline");
            }
            let storage = FakeStorage::default();
            storage.0.borrow_mut().insert(run.key(name), report.to_string());
            ran(execution("SUCCEEDED", &input), 20, &storage).await
        };
        let none = Some(Made { snapshots: 0, planned: 0, copies: 0, owed: 0, expired: 0 });
        assert_eq!(look("report.json", Some(1)).await.made, none);
        assert_eq!(look("summary.json", None).await.made, none);
        let newer = look("report.json", Some(2)).await;
        assert_eq!(newer.made, None);
        assert!(newer.made_words().starts_with("not known: its report has the version 2"), "{}", newer.made_words());
    }

    #[tokio::test]
    async fn executions_of_each_kind_fit_the_terminal() {
        let storage = FakeStorage::default();
        let running = Execution { ended: None, cause: String::new(), ..execution("RUNNING", &json!({})) };
        let failed = Execution {
            error: "BackupIncomplete".into(),
            cause: "1 problem: us-east-1: 2 copies are owed: AccessDenied: UnauthorizedOperation: You are not \
                authorized to perform this operation. Grant the permission. The next run makes them"
                .into(),
            ..execution("FAILED", &json!({}))
        };
        let well = |input| Execution { cause: String::new(), ..execution("SUCCEEDED", input) };
        let (full, dry) = (json!({}), json!({"dryRun": true}));
        let refused = Execution {
            error: "InvalidInput".into(),
            cause: "phases: \"delete\" is none of snapshot, copy, expire".into(),
            ..execution("FAILED", &json!({"phases": ["delete"]}))
        };
        let mut executions = Vec::new();
        for each in [running, failed, well(&full), well(&dry), execution("TIMED_OUT", &full), refused] {
            executions.push(ran(each, 20, &storage).await);
        }
        let made = Made { snapshots: 120, planned: 120, copies: 238, owed: 2, expired: 117 };
        executions[1].made = Some(made);
        executions[2].made = Some(Made { copies: 240, owed: 0, ..made });
        executions[3].made = Some(made);
        let view =
            Executions { now: "2026-11-22T12:00:00Z".parse().unwrap(), executions, commands: Default::default() };
        golden("executions", &view);
        let ended = Some(view.executions[1].clone());
        let started = crate::run::Started {
            execution: ARN.into(),
            console: None,
            input: full,
            ended,
            commands: Default::default(),
        };
        golden("run-ended", &started);
        golden("executions-empty", &Executions { executions: Vec::new(), ..view });
    }
}
