//! SSM Run Command through the SDK: parameters of documents, statuses of commands, error codes.

use std::collections::HashMap;

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_ssm::{
    Client,
    config::{self, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use domain::{
    error::{LOST_ANSWER, SsmError},
    hooks::DELIVERY_SECONDS,
    ids::InstanceId,
    ports::{Command, CommandEnd, Ended, Invocation, RunCommand},
};

use crate::sdk_error::code_and_message;

/// SSM in the home region.
pub struct SsmClient(Client);

impl SsmClient {
    /// A client for the region of this configuration.
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }
}

fn failed<E: ProvideErrorMetadata>(action: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> SsmError {
    move |error| {
        let (code, message) = code_and_message(&error, SsmError::is_throttle);
        SsmError { action, code, message }
    }
}

/// What a document is given. Those of the stack take the time-out of their script, too; of others it is their own.
fn parameters(command: &Command<'_>) -> HashMap<String, Vec<String>> {
    let mut given = HashMap::from([
        ("command".to_owned(), vec![command.script.to_string()]),
        ("executionId".to_owned(), vec![command.execution_id.to_owned()]),
    ]);
    if command.document.is_shipped {
        given.insert("executionTimeout".to_owned(), vec![command.timeout_seconds.to_string()]);
    }
    given
}

/// How a command stands, by `Status` and `StatusDetails` (`GetCommandInvocation` documentation), which is written with
/// spaces in some places and without in others. A command that has `begun` may have run, though SSM says that it was not
/// delivered: it says so, too, where an agent took it and never told the end.
fn read(status: &str, details: &str, begun: bool, exit: i32, output: &str, errors: &str) -> Invocation {
    let details = details.replace(' ', "");
    let end = match (status, details.as_str()) {
        ("Pending" | "InProgress" | "Delayed" | "Cancelling", _) => return Invocation::Running,
        ("Success", _) => CommandEnd::Success,
        (_, "DeliveryTimedOut" | "Undeliverable" | "Terminated" | "InvalidPlatform" | "AccessDenied") if !begun => {
            CommandEnd::NotDelivered
        }
        (_, "DeliveryTimedOut") => CommandEnd::TimedOut,
        ("TimedOut", _) | (_, "ExecutionTimedOut") => CommandEnd::TimedOut,
        ("Failed", _) => CommandEnd::Failed,
        _ => CommandEnd::Other,
    };
    Invocation::Ended(Ended {
        end,
        status: if details.is_empty() { status.to_owned() } else { details },
        // -1 stands for a script that was never started, or whose end is not known.
        exit: Some(exit).filter(|exit| *exit >= 0),
        output: output.to_owned(),
        errors: errors.to_owned(),
    })
}

impl RunCommand for SsmClient {
    async fn send(&self, command: &Command<'_>) -> Result<String, SsmError> {
        let action = "SendCommand";
        let answer = self
            .0
            .send_command()
            .document_name(&command.document.name)
            .instance_ids(command.instance.as_str())
            .set_parameters(Some(parameters(command)))
            .timeout_seconds(DELIVERY_SECONDS.try_into().unwrap_or(i32::MAX))
            .comment(command.comment)
            .customize()
            // It has no client token: repeated, it would run the script twice.
            .config_override(config::Builder::new().retry_config(RetryConfig::disabled()))
            .send()
            .await
            .map_err(failed(action))?;
        let id = answer.command().and_then(|command| command.command_id()).map(str::to_owned);
        id.ok_or_else(|| SsmError { action, code: LOST_ANSWER.into(), message: "the answer has no command id".into() })
    }

    async fn invocation(&self, command: &str, instance: &InstanceId) -> Result<Invocation, SsmError> {
        let request = self.0.get_command_invocation().command_id(command).instance_id(instance.as_str());
        let answer = match request.send().await {
            Ok(answer) => answer,
            // What was sent this moment may not be described yet.
            Err(error) if error.code() == Some("InvocationDoesNotExist") => return Ok(Invocation::Running),
            Err(error) => return Err(failed("GetCommandInvocation")(error)),
        };
        Ok(read(
            answer.status().map_or("", |status| status.as_str()),
            answer.status_details().unwrap_or_default(),
            // "If the plugin hasn't started to run, the string is empty."
            answer.execution_start_date_time().is_some_and(|at| !at.is_empty()),
            answer.response_code(),
            answer.standard_output_content().unwrap_or_default(),
            answer.standard_error_content().unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        error::Reaction,
        hooks::{HookDocument, Script},
    };

    use super::*;
    use crate::sdk_error::answered;

    #[test]
    fn a_document_of_the_stack_is_given_the_time_out_of_its_script_and_no_other_is() {
        for (is_shipped, timeout) in [(true, Some("45")), (false, None)] {
            let document = HookDocument { name: "d".into(), is_shipped };
            let command = Command {
                document: &document,
                instance: &"i-1".parse().unwrap(),
                script: Script::Pre,
                execution_id: "e",
                timeout_seconds: 45,
                comment: "",
            };
            let given = parameters(&command);
            assert_eq!((given["command"][0].as_str(), given["executionId"][0].as_str()), ("pre-script", "e"));
            assert_eq!(given.get("executionTimeout").map(|value| value[0].as_str()), timeout);
        }
    }

    #[test]
    fn every_status_is_an_end_or_none() {
        for (status, details, exit, expected) in [
            ("Pending", "Pending", -1, None),
            ("InProgress", "InProgress", -1, None),
            ("Delayed", "Delayed", -1, None),
            ("Success", "Success", 0, Some((CommandEnd::Success, Some(0)))),
            ("Failed", "Failed", 201, Some((CommandEnd::Failed, Some(201)))),
            ("Failed", "Failed", -1, Some((CommandEnd::Failed, None))),
            ("Failed", "Undeliverable", -1, Some((CommandEnd::NotDelivered, None))),
            ("TimedOut", "Delivery Timed Out", -1, Some((CommandEnd::NotDelivered, None))),
            ("TimedOut", "DeliveryTimedOut", -1, Some((CommandEnd::NotDelivered, None))),
            ("TimedOut", "ExecutionTimedOut", 137, Some((CommandEnd::TimedOut, Some(137)))),
            ("Failed", "Execution Timed Out", 1, Some((CommandEnd::TimedOut, Some(1)))),
            ("Cancelled", "Cancelled", 137, Some((CommandEnd::Other, Some(137)))),
            ("SomethingNew", "", 0, Some((CommandEnd::Other, Some(0)))),
        ] {
            let end = match read(status, details, false, exit, "out", "err") {
                Invocation::Running => None,
                Invocation::Ended(ended) => Some((ended.end, ended.exit)),
            };
            assert_eq!(end, expected, "{status} {details}");
        }
        let Invocation::Ended(ended) = read("TimedOut", "DeliveryTimedOut", true, -1, "", "") else {
            panic!("it has ended")
        };
        assert_eq!(ended.end, CommandEnd::TimedOut, "it had begun: it may have frozen");
    }

    #[test]
    fn a_5xx_that_is_no_throttle_may_have_been_carried_out() {
        let reaction = |status, code| {
            let (code, message) = answered(status, code, "no", SsmError::is_throttle);
            SsmError { action: "SendCommand", code, message }.reaction()
        };
        for code in ["Unknown", "InternalServerError", "SomethingNew", "InvalidInstanceId"] {
            assert_eq!(reaction(500, code), Reaction::MayHaveHappened, "{code:?}");
        }
        assert!(matches!(reaction(400, "ThrottlingException"), Reaction::Later(_)));
        assert!(matches!(reaction(400, "InvalidInstanceId"), Reaction::Never(_)));
    }
}
