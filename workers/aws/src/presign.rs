//! The pre-signed URL of every `CopySnapshot`, the same as boto3 makes.
//!
//! The Rust SDK does not make it (smithy-rs issue 133); the EC2 API reference asks for it if the source is encrypted.
//! For an hour the URL is a credential: it must never be logged.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use domain::{ids::Region, ports::CopyOrder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const VALID_FOR: Duration = Duration::from_secs(3600);

/// RFC 3986's unreserved characters stay as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A GET of the same `CopySnapshot` at the endpoint of the source region, with its signature in the query.
///
/// It carries every parameter of the call: for a URL without the tags, the source region would see a copy without tags,
/// which the copy role forbids.
pub fn presigned_url(
    copy: &CopyOrder<'_>,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut parameters: Vec<(String, &str)> = vec![
        ("Action".into(), "CopySnapshot"),
        ("Version".into(), "2016-11-15"),
        ("SourceRegion".into(), copy.from.as_str()),
        ("SourceSnapshotId".into(), copy.source.as_str()),
    ];
    if !copy.description.is_empty() {
        parameters.push(("Description".into(), copy.description));
    }
    if let Some(key) = copy.kms_key {
        parameters.extend([("Encrypted".into(), "true"), ("KmsKeyId".into(), key)]);
    }
    if !copy.tags.is_empty() {
        parameters.push(("TagSpecification.1.ResourceType".into(), "snapshot"));
    }
    for (n, (key, value)) in (1..).zip(copy.tags) {
        parameters.push((format!("TagSpecification.1.Tag.{n}.Key"), key));
        parameters.push((format!("TagSpecification.1.Tag.{n}.Value"), value));
    }
    parameters.push(("DestinationRegion".into(), copy.to.as_str()));
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
    use domain::tags::tags;

    use super::*;

    const KEY: Option<&str> = Some("arn:aws:kms:us-east-1:111122223333:key/abc");

    /// The URL and its signature, for an order with this description, these tags and this key.
    fn signed(description: &str, own: &[(&str, &str)], kms_key: Option<&str>) -> (String, String) {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("tok/en+==".into()),
            None,
            "test",
        );
        let order = CopyOrder {
            from: &"eu-west-1".parse().unwrap(),
            to: &"us-east-1".parse().unwrap(),
            source: &"snap-0123456789abcdef0".parse().unwrap(),
            description,
            tags: &tags(own.iter().copied()),
            kms_key,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let url = presigned_url(&order, &credentials, now).unwrap();
        let signature =
            url.split(&['?', '&']).find_map(|part| part.strip_prefix("X-Amz-Signature=")).unwrap().to_owned();
        (url, signature)
    }

    #[test]
    fn the_url_carries_every_parameter_of_the_call_and_is_signed_as_botocore_signs_it() {
        let (url, signature) = signed("db - i-1", &[("Name", "Zürich db"), ("Type", "Automated")], KEY);
        assert!(url.starts_with("https://ec2.eu-west-1.amazonaws.com/?Action=CopySnapshot&Version=2016-11-15&"));
        assert!(url.contains("X-Amz-Expires=3600") && url.contains("X-Amz-SignedHeaders=host"), "{url}");
        assert!(url.contains("&TagSpecification.1.Tag.1.Value=Z%C3%BCrich%20db&"), "{url}");
        assert_eq!(signature, "a1ec537f7023194846fe657693a9b34d0692342476784d60d83a7816ef99a4cf");
    }

    #[test]
    fn a_call_without_description_and_tags_is_signed_as_boto3_signs_it() {
        let (_, signature) = signed("", &[], KEY);
        assert_eq!(signature, "70543f0851c6ecc8c585eccf9c75f353d037b737ef2de45cc20a2545a199d8b4");
    }

    /// More than nine tags (as text, 10 sorts before 2), an empty value, and odd characters.
    #[test]
    fn many_and_odd_tags_are_signed_as_botocore_signs_them() {
        let odd = [("odd +/&=%~*:", "a+b c/d&e=f%g~h*i:j"), ("k9", ""), ("Ω", "ü")];
        let numbered: Vec<(String, String)> = (0..10).map(|n| (format!("a{n}"), format!("v{n}"))).collect();
        let all: Vec<(&str, &str)> =
            numbered.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(odd).collect();
        let (url, signature) = signed("", &all, None);
        assert!(!url.contains("Encrypted") && !url.contains("KmsKeyId"), "{url}");
        assert_eq!(signature, "2f54d3da19717c2af08ecc14d253025be15af9307f9f3be341f80218138b6b4a");
    }

    #[test]
    fn other_partitions_have_their_own_hosts() {
        assert_eq!(host(&"cn-north-1".parse().unwrap()), "ec2.cn-north-1.amazonaws.com.cn");
        assert_eq!(host(&"us-gov-west-1".parse().unwrap()), "ec2.us-gov-west-1.amazonaws.com");
    }
}
