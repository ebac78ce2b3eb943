//! Turns an error of the SDK into a line of text, or into a [`Failure`].
//!
//! Errors of EC2 are in `ec2::errors`: there it matters whether the call may have been carried out.

use std::error::Error;

use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use domain::error::{ErrorName, Failure};

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
