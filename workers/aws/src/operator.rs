//! AWS for a person at a command line: the ordinary credentials, the stack's own description, executions and letters.

mod letters;
mod restore;
mod runs;

use std::{fmt, time::Duration};

use aws_config::{
    BehaviorVersion, Region as SdkRegion, SdkConfig, profile::ProfileFileCredentialsProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_cloudformation::{error::ProvideErrorMetadata, types};
use domain::{error::Failure, ids::Region, operations::StackDescription};

use crate::{
    ec2::Ec2Client,
    sdk_error::{causes, failed},
    storage::Bucket,
};

/// The clients of a person's program.
pub struct Operator {
    /// EC2 in every region.
    pub ec2: Ec2Client,
    /// The region of the stack.
    pub home: Region,
    sfn: aws_sdk_sfn::Client,
    sqs: aws_sdk_sqs::Client,
    config: SdkConfig,
}

/// Why nothing can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotConnected {
    /// Nothing says which region is meant, or it is no region code.
    Region(String),
    /// There are no credentials.
    Credentials(String),
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(why) => write!(f, "{why}"),
            Self::Credentials(why) => write!(f, "there are no credentials that can be used: {why}"),
        }
    }
}

impl Operator {
    /// Finds credentials and region in the ordinary way, and asks nothing of AWS yet.
    pub async fn connect(profile: Option<&str>, region: Option<&Region>) -> Result<Self, NotConnected> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(20))
            .operation_timeout(Duration::from_secs(60))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
        if let Some(profile) = profile {
            // Who names a profile means its account, whatever keys the environment has; the default chain asks that first.
            let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).build();
            loader = loader.profile_name(profile).credentials_provider(credentials);
        }
        if let Some(region) = region {
            loader = loader.region(SdkRegion::new(region.to_string()));
        }
        let config = loader.load().await;
        let home = config.region().ok_or_else(|| {
            NotConnected::Region("no region is given: say --region, AWS_REGION, or the profile's region".into())
        })?;
        let home: Region =
            home.as_ref().parse().map_err(|error| NotConnected::Region(format!("the region: {error}")))?;
        let provider = config.credentials_provider().ok_or_else(|| NotConnected::Credentials("none are set".into()))?;
        if let Err(error) = provider.provide_credentials().await {
            let of_profile = profile.map_or(String::new(), |profile| format!("profile {profile}: "));
            return Err(NotConnected::Credentials(format!("{of_profile}{}", causes(&error))));
        }
        let (sfn, sqs) = (aws_sdk_sfn::Client::new(&config), aws_sdk_sqs::Client::new(&config));
        Ok(Self { ec2: Ec2Client::new(&config, home.clone()), home, sfn, sqs, config })
    }

    /// A stack of the region, by its name or ARN; none if there is none.
    pub async fn stack(&self, name: &str) -> Result<Option<StackDescription>, Failure> {
        let client = aws_sdk_cloudformation::Client::new(&self.config);
        let answer = match client.describe_stacks().stack_name(name).send().await {
            Ok(answer) => answer,
            // CloudFormation has no error of its own for it.
            Err(error) if error.as_service_error().is_some_and(is_missing) => return Ok(None),
            Err(error) => return Err(failed("DescribeStacks", error)),
        };
        // By its ARN one is described that was deleted, too (`DescribeStacks` documentation).
        let is_there = |stack: &&types::Stack| stack.stack_status() != Some(&types::StackStatus::DeleteComplete);
        let Some(stack) = answer.stacks().iter().find(is_there) else { return Ok(None) };
        let outputs = stack.outputs().iter().filter_map(|o| Some((o.output_key()?.into(), o.output_value()?.into())));
        let parameters = stack.parameters().iter();
        let parameters = parameters.filter_map(|p| Some((p.parameter_key()?.into(), p.parameter_value()?.into())));
        Ok(Some(StackDescription { outputs: outputs.collect(), parameters: parameters.collect() }))
    }

    /// A bucket; named in the path, and not in the host, where an endpoint is given whose host cannot carry its name.
    pub fn bucket(&self, name: &str, in_path: bool) -> Bucket {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(in_path).build();
        Bucket::new(aws_sdk_s3::Client::from_conf(config), name.to_owned())
    }
}

fn is_missing(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("ValidationError") && error.message().is_some_and(|text| text.contains("does not exist"))
}
