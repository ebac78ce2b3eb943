//! The pre-signed URL that goes with every `CopySnapshot`, made as boto3 makes it.
//!
//! The Rust SDK does not make it (smithy-rs issue 133); the EC2 API reference asks for it when the source is encrypted.
//! It is a credential for an hour: it is never logged.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use domain::ids::{Region, SnapshotId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::runtime::StartError;

const VALID_FOR: Duration = Duration::from_secs(3600);

/// RFC 3986's unreserved characters stay as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is signed.
pub struct Copy<'a> {
    pub from: &'a Region,
    pub to: &'a Region,
    pub source: &'a SnapshotId,
    pub kms_key: Option<&'a str>,
}

/// A GET of the same copy on the source region's endpoint, signed in its query.
pub fn presigned_url(copy: &Copy<'_>, credentials: &Credentials, now: SystemTime) -> Result<String, StartError> {
    let mut parameters = vec![
        ("Action", "CopySnapshot"),
        ("Version", "2016-11-15"),
        ("SourceRegion", copy.from.as_str()),
        ("SourceSnapshotId", copy.source.as_str()),
    ];
    if let Some(key) = copy.kms_key {
        parameters.extend([("Encrypted", "true"), ("KmsKeyId", key)]);
    }
    parameters.push(("DestinationRegion", copy.to.as_str()));
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let mut url = format!("https://{}/?{}", host(copy.from), query.join("&"));

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID_FOR);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(copy.from.as_str())
        .name("ec2")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b""))?;
    let (instructions, _signature) = sign(request, &params)?.into_parts();
    for (name, value) in instructions.params() {
        url.push_str(&format!("&{name}={}", encode(value)));
    }
    Ok(url)
}

fn encode(value: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(value, QUERY)
}

/// EC2's host in the region's partition (AWS General Reference, "Service endpoints").
fn host(region: &Region) -> String {
    let suffix = match region.as_str() {
        code if code.starts_with("cn-") => "amazonaws.com.cn",
        code if code.starts_with("us-iso-") => "c2s.ic.gov",
        code if code.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    };
    format!("ec2.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same from boto3 and from aws-sigv4.
    const GOLDEN: &str = "70543f0851c6ecc8c585eccf9c75f353d037b737ef2de45cc20a2545a199d8b4";

    #[test]
    fn the_url_is_signed_as_boto3_signs_it() {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("tok/en+==".into()),
            None,
            "test",
        );
        let copy = Copy {
            from: &"eu-west-1".parse().unwrap(),
            to: &"us-east-1".parse().unwrap(),
            source: &"snap-0123456789abcdef0".parse().unwrap(),
            kms_key: Some("arn:aws:kms:us-east-1:111122223333:key/abc"),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let url = presigned_url(&copy, &credentials, now).unwrap();
        assert!(url.starts_with("https://ec2.eu-west-1.amazonaws.com/?Action=CopySnapshot&Version=2016-11-15&"));
        assert!(url.contains(&format!("X-Amz-Signature={GOLDEN}")), "{url}");
        assert!(url.contains("X-Amz-Expires=3600") && url.contains("X-Amz-SignedHeaders=host"), "{url}");
    }

    #[test]
    fn other_partitions_have_their_own_hosts() {
        assert_eq!(host(&"cn-north-1".parse().unwrap()), "ec2.cn-north-1.amazonaws.com.cn");
        assert_eq!(host(&"us-gov-west-1".parse().unwrap()), "ec2.us-gov-west-1.amazonaws.com");
    }
}
