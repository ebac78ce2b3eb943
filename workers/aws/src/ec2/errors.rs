//! The error code and message of a failed call of EC2.

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use domain::{
    error::{Ec2Error, LOST_ANSWER, NOT_SENT, Reaction},
    ids::Region,
};

pub(super) fn failed<E: ProvideErrorMetadata>(
    action: &'static str,
    region: &Region,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Ec2Error {
    move |error| {
        let (code, message) = match &error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                answered(status, service.err().code(), service.err().message().unwrap_or("no message"))
            }
            SdkError::ConstructionFailure(_) => (NOT_SENT.into(), "the request could not be made".into()),
            SdkError::DispatchFailure(f) if f.is_io() || f.is_timeout() || f.is_other() => {
                (LOST_ANSWER.into(), "the connection failed".into())
            }
            SdkError::DispatchFailure(_) => (NOT_SENT.into(), "the request could not be sent".into()),
            SdkError::TimeoutError(_) => (LOST_ANSWER.into(), "no answer in time".into()),
            _ => (LOST_ANSWER.into(), "the answer could not be read".into()),
        };
        Ec2Error { action, region: region.to_string(), code, message }
    }
}

/// Code and message of an error answer.
///
/// Any 5xx that is not a throttle counts as a lost answer, whatever its code: EC2, or something in between, may have sent
/// it after the call was carried out.
fn answered(status: u16, code: Option<&str>, message: &str) -> (String, String) {
    let code = code.unwrap_or("Unknown");
    let error = Ec2Error { action: "", region: String::new(), code: code.into(), message: message.into() };
    match error.reaction() {
        Reaction::Never(_) | Reaction::Transient | Reaction::Later(_) if status >= 500 && !error.is_throttle() => {
            (LOST_ANSWER.into(), format!("{code}: {message}"))
        }
        _ => (error.code, error.message),
    }
}

/// Removes the pre-signed URL, which is a credential, from an error: EC2 may quote a parameter that it refuses.
pub(super) fn without_credential(error: Ec2Error, url: &str) -> Ec2Error {
    let message = error.message.replace(url, "(the pre-signed URL)");
    let message = if message.contains("X-Amz-") { "about the pre-signed URL".into() } else { message };
    Ec2Error { message, ..error }
}

pub(super) fn unreadable(action: &'static str, region: &Region, what: &str) -> Ec2Error {
    Ec2Error { action, region: region.to_string(), code: LOST_ANSWER.into(), message: format!("the answer has {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_carries_the_pre_signed_url() {
        let url = "https://ec2.eu-west-1.amazonaws.com/?Action=CopySnapshot&X-Amz-Signature=00";
        for message in [format!("Value ({url}) for parameter PresignedUrl is invalid"), "bad X-Amz-Signature=00".into()]
        {
            let error = Ec2Error {
                action: "CopySnapshot",
                region: "us-east-1".into(),
                code: "InvalidParameterValue".into(),
                message,
            };
            let shown = without_credential(error, url).to_string();
            assert!(!shown.contains("X-Amz-") && shown.contains("re-signed URL"), "{shown}");
        }
    }

    #[test]
    fn a_5xx_that_is_no_throttle_may_have_been_carried_out_whatever_its_code() {
        let reaction = |status, code| {
            let (code, message) = answered(status, code, "no");
            Ec2Error { action: "CopySnapshot", region: "us-east-1".into(), code, message }.reaction()
        };
        for code in
            [None, Some("ServerInternal"), Some("SomethingNew"), Some("UnauthorizedOperation"), Some("IncorrectState")]
        {
            assert_eq!(reaction(500, code), Reaction::MayHaveHappened, "{code:?}");
        }
        assert!(matches!(reaction(503, Some("RequestLimitExceeded")), Reaction::Later(_)));
        assert!(matches!(reaction(400, Some("SomethingNew")), Reaction::Never(_)));
    }
}
