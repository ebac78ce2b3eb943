//! The error code and message of a failed call of EC2.

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use domain::{
    error::{Ec2Error, LOST_ANSWER},
    ids::Region,
};

use crate::sdk_error::code_and_message;

pub(crate) fn failed<E: ProvideErrorMetadata>(
    action: &'static str,
    region: &Region,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Ec2Error {
    move |error| {
        let (code, message) = code_and_message(&error, Ec2Error::is_throttle);
        Ec2Error { action, region: region.to_string(), code, message }
    }
}

/// Removes the pre-signed URL, which is a credential, from an error: EC2 may quote a parameter that it refuses.
pub(super) fn without_credential(error: Ec2Error, url: &str) -> Ec2Error {
    let message = error.message.replace(url, "(the pre-signed URL)");
    let message = if message.contains("X-Amz-") { "about the pre-signed URL".into() } else { message };
    Ec2Error { message, ..error }
}

pub(crate) fn unreadable(action: &'static str, region: &Region, what: &str) -> Ec2Error {
    Ec2Error { action, region: region.to_string(), code: LOST_ANSWER.into(), message: format!("the answer has {what}") }
}

#[cfg(test)]
mod tests {
    use domain::error::Reaction;

    use super::*;
    use crate::sdk_error::answered;

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
            let (code, message) = answered(status, code, "no", Ec2Error::is_throttle);
            Ec2Error { action: "CopySnapshot", region: "us-east-1".into(), code, message }.reaction()
        };
        for code in ["Unknown", "ServerInternal", "SomethingNew", "UnauthorizedOperation", "IncorrectState"] {
            assert_eq!(reaction(500, code), Reaction::MayHaveHappened, "{code:?}");
        }
        assert!(matches!(reaction(503, "RequestLimitExceeded"), Reaction::Later(_)));
        assert!(matches!(reaction(400, "SomethingNew"), Reaction::Never(_)));
    }
}
