use domain::{ids::Region, operations::Operations, report::console_link};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    args::{self, Phase},
    commands::Commands,
    context::Context,
    executions::{Ran, next},
    show::{View, plain},
    table::{Style, Tone},
    trouble::{Code, Trouble},
};

/// The answer of `run`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The execution's ARN.
    pub execution: String,
    /// Its page in the console.
    pub console: Option<String>,
    /// What it was started with.
    pub input: Value,
    /// How it ended; none where it was not watched.
    pub ended: Option<Ran>,
    /// How commands are named.
    #[serde(skip)]
    pub commands: Commands,
}

/// The input of an execution.
pub fn input(asked: &args::Run) -> Value {
    let mut input = json!({});
    if !asked.phases.is_empty() {
        let name = |phase: &Phase| match phase {
            Phase::Snapshot => "snapshot",
            Phase::Copy => "copy",
            Phase::Expire => "expire",
        };
        input["phases"] = json!(asked.phases.iter().map(name).collect::<Vec<_>>());
    }
    if asked.dry_run {
        input["dryRun"] = json!(true);
    }
    if let Some(time) = &asked.scheduled_time {
        input["scheduledTime"] = json!(time);
    }
    if !asked.allow_mass_expire.is_empty() {
        input["allowMassExpire"] = json!(asked.allow_mass_expire.iter().map(Region::as_str).collect::<Vec<_>>());
    }
    input
}

/// Starts an execution. An input that it would refuse is refused before.
pub async fn start<E, S, O: Operations>(context: &Context<'_, E, S, O>, asked: &args::Run) -> Result<Started, Trouble> {
    let Context { operations, stack, now, .. } = context;
    let input = input(asked);
    domain::run::Run::read(&input, "", *now, stack.settings.run_hours).map_err(|f| Trouble::Usage(f.cause))?;
    let execution = operations.start(stack.machine()?, &input.to_string()).await?;
    Ok(Started { console: console_link(&execution), execution, input, ended: None, commands: stack.commands.clone() })
}

impl Started {
    /// What is said at once.
    pub fn head(&self) -> String {
        let link = self.console.as_ref().map_or(String::new(), |link| format!("{link}\n"));
        format!("started {} with {}\n{link}", self.execution, self.input)
    }
}

impl View for Started {
    const COMMAND: &'static str = "run";

    fn code(&self) -> Code {
        match &self.ended {
            None => Code::Well,
            // What the other execution makes of the run is not known here.
            Some(ended) if ended.duplicate_of.is_some() => Code::Owed,
            Some(ended) if ended.status == "SUCCEEDED" => Code::Well,
            Some(ended) if ended.error.as_deref() == Some("InvalidInput") => Code::Usage,
            Some(_) => Code::Owed,
        }
    }

    fn text(&self, style: &Style) -> String {
        let Some(ended) = &self.ended else { return String::new() };
        let tone = if self.code() == Code::Well { Tone::Good } else { Tone::Bad };
        let error = ended.error.as_ref().map_or(String::new(), |error| format!(" {}", plain(error)));
        let mut text = format!("{}\n", style.paint(&format!("{}{error}", ended.status), tone));
        if let Some(other) = &ended.duplicate_of {
            text.push_str(&format!("It did nothing: {} does this run.\n", plain(other)));
        }
        if ended.made.is_some() {
            text.push_str(&format!("{}\n", ended.made_words()));
        }
        for problem in &ended.problems {
            text.push_str(&format!("  {}\n", style.wrapped(&plain(problem), 4)));
        }
        text.push_str(&next(ended, style, &self.commands));
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_stands_in_the_input() {
        assert_eq!(input(&args::Run::default()), json!({}));
        let asked = args::Run {
            phases: vec![Phase::Copy, Phase::Expire],
            dry_run: true,
            scheduled_time: Some("20261122T030000Z".into()),
            allow_mass_expire: vec!["eu-west-1".parse().unwrap()],
            watch: true,
        };
        let expected = json!({"phases": ["copy", "expire"], "dryRun": true, "scheduledTime": "20261122T030000Z",
            "allowMassExpire": ["eu-west-1"]});
        assert_eq!(input(&asked), expected);
    }
}
