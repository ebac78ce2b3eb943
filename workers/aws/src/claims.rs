//! Claims in the report bucket, and whether executions have ended, through the SDK.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_object::{PutObjectError, PutObjectOutput},
    primitives::ByteStream,
};
use aws_sdk_sfn::types::ExecutionStatus;
use chrono::{DateTime, Utc};
use domain::{
    claims::Attempt,
    error::Failure,
    ports::{Claims, ExecutionState, ExecutionStates, Listed, Stored, Written},
};

use crate::{
    executions::StepFunctions,
    sdk_error::{failed, unusable},
    storage::Bucket,
};

/// A name that no other attempt has: 128 random bits.
pub fn attempt() -> Attempt {
    Attempt::new(format!("{:032x}", fastrand::u128(..)))
}

/// The result of a conditional `PutObject` that failed (S3 user guide, "How to prevent object overwrites with conditional
/// writes"): with 412 the condition is not met, with 404 the object to replace is gone, with 409 another write came in
/// between. `None` for any other error: then it is not known what happened.
fn refused(status: Option<u16>, code: Option<&str>) -> Option<Written> {
    match (status, code) {
        (Some(412), _) | (Some(404), Some("NoSuchKey")) => Some(Written::Refused),
        (Some(409), Some("ConditionalRequestConflict")) => Some(Written::Conflict),
        _ => None,
    }
}

fn written(
    key: &str,
    answer: Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>,
) -> Result<Written, Failure> {
    match answer {
        Ok(put) => put.e_tag.map(Written::As).ok_or_else(|| unusable(key, "the answer has no ETag")),
        Err(error) => {
            let status = error.raw_response().map(|response| response.status().as_u16());
            refused(status, error.code()).ok_or_else(|| failed(key, error))
        }
    }
}

fn time(key: &str, at: Option<&aws_sdk_s3::primitives::DateTime>) -> Result<DateTime<Utc>, Failure> {
    at.and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()))
        .ok_or_else(|| unusable(key, "the answer has no readable LastModified"))
}

impl Claims for Bucket {
    async fn create(&self, key: &str, body: &str) -> Result<Written, Failure> {
        let request = self.client.put_object().bucket(&self.name).key(key).if_none_match("*");
        written(key, request.body(ByteStream::from(body.as_bytes().to_vec())).send().await)
    }

    async fn replace(&self, key: &str, body: &str, version: &str) -> Result<Written, Failure> {
        let request = self.client.put_object().bucket(&self.name).key(key).if_match(version);
        written(key, request.body(ByteStream::from(body.as_bytes().to_vec())).send().await)
    }

    async fn stored(&self, key: &str) -> Result<Option<Stored>, Failure> {
        let answer = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(failed(key, error)),
        };
        let version = answer.e_tag().map(str::to_owned).ok_or_else(|| unusable(key, "the answer has no ETag"))?;
        let written = time(key, answer.last_modified())?;
        let bytes = answer.body.collect().await.map_err(|e| unusable(key, e))?;
        // A body that is not UTF-8 is read as a claim that cannot be read.
        Ok(Some(Stored { body: String::from_utf8_lossy(&bytes.to_vec()).into_owned(), version, written }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|e| failed(prefix, e))?.contents() {
                let (Some(key), Some(version)) = (object.key(), object.e_tag()) else {
                    return Err(unusable(prefix, "an object without a key or an ETag was listed"));
                };
                let written = time(key, object.last_modified())?;
                found.push(Listed { key: key.to_owned(), version: version.to_owned(), written });
            }
        }
        Ok(found)
    }
}

impl ExecutionStates for StepFunctions {
    async fn state(&self, execution: &str) -> Result<ExecutionState, Failure> {
        let described = match self.0.describe_execution().execution_arn(execution).send().await {
            Ok(described) => described,
            // An execution that was just started may not be described yet.
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => return Ok(ExecutionState::Unknown),
            Err(error) => return Err(failed(&format!("DescribeExecution of {execution}"), error)),
        };
        Ok(match described.status() {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => ExecutionState::Running,
            ExecutionStatus::Succeeded
            | ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted => ExecutionState::Ended,
            _ => ExecutionState::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_does_not_hold_is_told_from_a_conflict_and_from_every_failure() {
        for (status, code, expected) in [
            (412, "PreconditionFailed", Some(Written::Refused)),
            (404, "NoSuchKey", Some(Written::Refused)),
            (404, "NoSuchBucket", None),
            (409, "ConditionalRequestConflict", Some(Written::Conflict)),
            (409, "OperationAborted", None),
            (403, "AccessDenied", None),
            (500, "InternalError", None),
            (503, "SlowDown", None),
        ] {
            assert_eq!(refused(Some(status), Some(code)), expected, "{status} {code}");
        }
        assert_eq!(refused(None, None), None, "no answer at all");
    }

    #[test]
    fn no_two_attempts_have_the_same_name() {
        let names: std::collections::BTreeSet<Attempt> = (0..10_000).map(|_| attempt()).collect();
        assert_eq!(names.len(), 10_000);
    }
}
