//! The stack that a command is about: its outputs, and its parameters as the functions read them.

use std::collections::BTreeMap;

use domain::{ids::Region, operations::StackDescription, settings::Settings};

use crate::{args::Queue, commands::Commands, trouble::Trouble};

/// The stack that a command is about.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its region.
    pub home: Region,
    /// What decides what is done.
    pub settings: Settings,
    /// `ScheduleExpression`.
    pub schedule: String,
    /// Whether the schedule is on.
    pub is_scheduled: bool,
    /// `MaxHoursWithoutRun`; none where it is off.
    pub max_hours_without_run: Option<u32>,
    /// How messages name commands about it.
    pub commands: Commands,
    outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Reads a stack; one that is not of this system is a usage error.
    pub fn read(name: &str, home: Region, described: StackDescription) -> Result<Self, Trouble> {
        let StackDescription { outputs, parameters } = described;
        let variables: BTreeMap<String, &String> =
            parameters.iter().map(|(name, value)| (variable(name), value)).collect();
        let settings = Settings::read(|variable| match variable {
            "STACK_NAME" => Some(name.to_owned()),
            _ => variables.get(variable).map(|value| (*value).clone()),
        })
        .map_err(|problem| {
            Trouble::Usage(format!("the stack {name} has a parameter that cannot be used: {problem}"))
        })?;
        let parameter = |name: &str, default: &str| parameters.get(name).map_or(default, String::as_str).to_owned();
        let stack = Self {
            name: name.to_owned(),
            home,
            settings,
            schedule: parameter("ScheduleExpression", "cron(0 3 * * ? *)"),
            is_scheduled: parameter("ScheduleState", "ENABLED") == "ENABLED",
            max_hours_without_run: parameter("MaxHoursWithoutRun", "48").parse().ok().filter(|hours| *hours > 0),
            commands: Commands::default(),
            outputs,
        };
        stack.output("StateMachineArn")?;
        Ok(stack)
    }

    /// An output; that it is missing is told with what to do.
    pub fn output(&self, output: &str) -> Result<&str, Trouble> {
        self.outputs.get(output).map(String::as_str).ok_or_else(|| {
            Trouble::Usage(format!(
                "the stack {} in {} has no output {output}: it is another one's, or of an older version",
                self.name, self.home
            ))
        })
    }

    /// The state machine.
    pub fn machine(&self) -> Result<&str, Trouble> {
        self.output("StateMachineArn")
    }

    /// The queue that a worker takes its tasks from; the schedule has none.
    pub fn queue(&self, queue: Queue) -> Result<&str, Trouble> {
        self.output(&format!("{queue:?}QueueUrl"))
    }

    /// Whether it has this queue: that of drills is only there where they are on.
    pub fn has(&self, queue: Queue) -> bool {
        queue != Queue::Verify || self.dead_letter_queue(queue).is_ok()
    }

    /// The dead-letter queue beside it.
    pub fn dead_letter_queue(&self, queue: Queue) -> Result<&str, Trouble> {
        self.output(&format!("{queue:?}DeadLetterQueueUrl"))
    }
}

/// The name of the variable by which the functions get a parameter: `COPY_CONCURRENCY` of `CopyConcurrency`.
fn variable(parameter: &str) -> String {
    let mut name = String::new();
    // GiB is one word.
    for letter in parameter.replace("GiB", "Gib").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A stack with these parameters.
    pub(crate) fn stack(parameters: &[(&str, &str)]) -> Stack {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let outputs =
            ["Snapshot", "Hook", "Wait", "Copy", "Expire", "Verify", "Schedule"].into_iter().flat_map(|queue| {
                [
                    (format!("{queue}QueueUrl"), format!("https://{queue}")),
                    (format!("{queue}DeadLetterQueueUrl"), format!("https://{queue}-dead")),
                ]
            });
        let machine = ("StateMachineArn".to_owned(), "arn:aws:states:eu-west-1:1:stateMachine:b".to_owned());
        let described = StackDescription {
            outputs: outputs.chain([machine]).collect(),
            parameters: parameters.iter().map(own).collect(),
        };
        Stack::read("ebs-snapshots", "eu-west-1".parse().unwrap(), described).unwrap()
    }

    #[test]
    fn parameters_are_read_as_the_functions_read_them() {
        let read = stack(&[("CopyConcurrency", "3"), ("MaxHoursWithoutRun", "0"), ("DestinationKmsKeys", "")]);
        assert_eq!((read.settings.copy_concurrency, read.max_hours_without_run), (3, None));
        assert_eq!(stack(&[]).max_hours_without_run, Some(48));
    }

    #[test]
    fn a_stack_of_something_else_is_refused_by_name() {
        let refused = Stack::read("web", "eu-west-1".parse().unwrap(), StackDescription::default()).unwrap_err();
        assert!(
            matches!(&refused, Trouble::Usage(why) if why.contains("web") && why.contains("StateMachineArn")),
            "{refused}"
        );
    }
}
