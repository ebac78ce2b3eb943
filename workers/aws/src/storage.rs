//! The report bucket through the SDK.

use aws_sdk_s3::{Client, primitives::ByteStream};
use domain::{error::Failure, ports::Storage};

use crate::sdk_error::{failed, unusable};

/// The report bucket.
pub struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Bucket {
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

/// The content type of what people open in a browser: without it, a report would be saved instead.
fn kind(key: &str) -> Option<String> {
    let (_, ending) = key.rsplit_once('.')?;
    let kind = match ending {
        "html" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        _ => return None,
    };
    Some(kind.into())
}

impl Storage for Bucket {
    async fn write(&self, key: &str, body: String) -> Result<(), Failure> {
        let body = ByteStream::from(body.into_bytes());
        let request = self.client.put_object().bucket(&self.name).key(key).set_content_type(kind(key)).body(body);
        request.send().await.map(|_| ()).map_err(|e| failed(key, e))
    }

    async fn read(&self, key: &str) -> Result<Option<String>, Failure> {
        let answer = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(e) if e.as_service_error().is_some_and(|e| e.is_no_such_key()) => return Ok(None),
            Err(e) => return Err(failed(key, e)),
        };
        let bytes = answer.body.collect().await.map_err(|e| unusable(key, e))?;
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|e| unusable(key, e))
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request.send().await.map(|_| ()).map_err(|e| failed(key, e))
    }

    fn bucket(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_open_has_its_content_type() {
        assert_eq!(kind("runs/r/e/report.html").as_deref(), Some("text/html; charset=utf-8"));
        assert_eq!(kind("latest.json").as_deref(), Some("application/json"));
        for key in ["claims/run/r.e", "holds/eu-west-1", "runs/r/e/instances.jsonl"] {
            assert_eq!(kind(key), None, "{key}");
        }
    }
}
