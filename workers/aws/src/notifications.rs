//! Notifications through SNS.

use domain::{error::Failure, ports::Notifications};

use crate::sdk_error::failed;

/// The notification topic.
pub struct Topic {
    pub client: aws_sdk_sns::Client,
    pub arn: String,
}

impl Notifications for Topic {
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure> {
        let request = self.client.publish().topic_arn(&self.arn).subject(subject).message(message);
        request.send().await.map(|_| ()).map_err(|e| failed("Publish", e))
    }
}
