//! Turns an error of the SDK into a line of text, into a [`Failure`], or into a code that says whether the call may have
//! been carried out.

use std::error::Error;

use aws_sdk_sfn::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use domain::error::{ErrorName, Failure, LOST_ANSWER, NOT_SENT};

/// Code and message of a failed call of EC2 or SSM: the service's own, [`NOT_SENT`], or [`LOST_ANSWER`] where it may have
/// been carried out.
///
/// `is_throttle` knows the service's codes for too many calls.
pub fn code_and_message<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    is_throttle: impl FnOnce(&str) -> bool,
) -> (String, String) {
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("Unknown");
            let message = service.err().message().unwrap_or("no message");
            answered(service.raw().status().as_u16(), code, message, is_throttle)
        }
        SdkError::ConstructionFailure(_) => (NOT_SENT.into(), "the request could not be made".into()),
        SdkError::DispatchFailure(f) if f.is_io() || f.is_timeout() || f.is_other() => {
            (LOST_ANSWER.into(), "the connection failed".into())
        }
        SdkError::DispatchFailure(_) => (NOT_SENT.into(), "the request could not be sent".into()),
        SdkError::TimeoutError(_) => (LOST_ANSWER.into(), "no answer in time".into()),
        _ => (LOST_ANSWER.into(), "the answer could not be read".into()),
    }
}

/// Code and message of an answer that is an error.
///
/// Any 5xx that is not a throttle counts as a lost answer, whatever its code: the service, or something in between, may
/// have sent it after the call was carried out.
pub fn answered(status: u16, code: &str, message: &str, is_throttle: impl FnOnce(&str) -> bool) -> (String, String) {
    match status >= 500 && !is_throttle(code) {
        true => (LOST_ANSWER.into(), format!("{code}: {message}")),
        false => (code.into(), message.into()),
    }
}

/// The service's code and message; if the service did not answer, the chain of causes.
pub fn error_text<E, R>(error: SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error.as_service_error().and_then(|answer| Some((answer.code()?, answer.message().unwrap_or_default()))) {
        Some((code, message)) => format!("{code}: {message}"),
        None => causes(&error),
    }
}

/// An error and its causes, as people read them.
pub fn causes(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some say their cause themselves.
        if !texts.iter().any(|told| told.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}

/// The failure of a call of S3, SQS, SNS or Step Functions; `subject` is the call, or the key it was about.
pub fn failed<E, R>(subject: &str, error: SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    unusable(subject, error_text(error))
}

/// The failure of a call whose answer cannot be used.
pub fn unusable(subject: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorName::StorageFailed, format!("{subject}: {why}"))
}
