//! A worker's process: everything is built once, then one invocation after the other is answered.

use std::{env, error::Error, fmt, time::Duration};

use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    creating::Context,
    error::{ErrorName, Failure},
    ids::Region,
    message::About,
    outcome::Outcome,
    ports::WorkQueue,
    settings::Settings,
};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    claims::attempt,
    dead_letters::DeadLetterQueues,
    delivery::{Delivery, Rules, deliver},
    ec2::Ec2Client,
    executions::StepFunctions,
    notifications::Topic,
    ssm::SsmClient,
    storage::Bucket,
    worker_queue::WorkerQueue,
};

/// A worker that cannot start, or cannot go on.
pub type StartError = Box<dyn Error + Send + Sync>;

/// Clients and settings of a worker.
pub struct Aws {
    /// EC2 in every region.
    pub ec2: Ec2Client,
    /// The region of the stack.
    pub home: Region,
    /// The stack's parameters.
    pub settings: Settings,
    /// Why they cannot be used as they stand: then nothing is done, and each invocation says so.
    unusable: Option<Failure>,
    config: aws_config::SdkConfig,
}

impl Aws {
    /// Reads the environment and builds the clients.
    pub async fn connect() -> Result<Self, StartError> {
        lambda_runtime::tracing::init_default_subscriber();
        // A call without an answer for so long has lost it. Describing a thousand snapshots takes seconds.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(Duration::from_secs(20))
            // With all of its attempts, less than the time-out of any function.
            .operation_timeout(Duration::from_secs(45))
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await;
        let home: Region = config.region().ok_or("AWS_REGION is not set")?.as_ref().parse()?;
        // Said by each invocation, not by a process that ends: an execution's cause would be `Runtime.Unknown`.
        let (settings, unusable) = match Settings::read(|name| env::var(name).ok()) {
            Ok(settings) => (settings, None),
            Err(problem) => (Settings::read(|_| None)?, Some(Failure::new(ErrorName::InvalidSettings, problem))),
        };
        Ok(Self { ec2: Ec2Client::new(&config, home.clone()), home, settings, unusable, config })
    }

    /// The report bucket, `REPORT_BUCKET`.
    pub fn bucket(&self) -> Result<Bucket, StartError> {
        // Buckets by path: the names of the local cloud's hosts cannot carry them.
        let path_style = env::var("S3_PATH_STYLE").is_ok();
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(path_style).build();
        Ok(Bucket::new(aws_sdk_s3::Client::from_conf(config), required("REPORT_BUCKET")?))
    }

    /// SSM Run Command, in the home region.
    pub fn ssm(&self) -> SsmClient {
        SsmClient::new(&self.config)
    }

    /// Step Functions' record of executions.
    pub fn executions(&self) -> StepFunctions {
        StepFunctions(aws_sdk_sfn::Client::new(&self.config))
    }

    /// The dead-letter queues: `SNAPSHOT_DEAD_LETTER_QUEUE_URL`, and so on.
    pub fn dead_letters(&self) -> Result<DeadLetterQueues, StartError> {
        let url = |queue| required(&format!("{queue:?}_DEAD_LETTER_QUEUE_URL").to_uppercase()).map(|url| (queue, url));
        let urls = WorkQueue::ALL.into_iter().map(url).collect::<Result<_, _>>()?;
        Ok(DeadLetterQueues { client: aws_sdk_sqs::Client::new(&self.config), urls })
    }

    /// The notification topic, `NOTIFICATION_TOPIC_ARN`.
    pub fn topic(&self) -> Result<Topic, StartError> {
        Ok(Topic { client: aws_sdk_sns::Client::new(&self.config), arn: required("NOTIFICATION_TOPIC_ARN")? })
    }
}

fn required(name: &str) -> Result<String, StartError> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A [`Failure`] as Lambda reports it: the state machine catches it by its name.
#[derive(Debug)]
struct Reported(Failure);

impl From<Reported> for Diagnostic {
    fn from(Reported(failure): Reported) -> Self {
        Diagnostic { error_type: failure.name.to_string(), error_message: failure.cause }
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Answers invocations by the state machine.
pub async fn direct<E, R>(
    aws: &Aws,
    handle: impl AsyncFn(E, DateTime<Utc>) -> Result<R, Failure>,
) -> Result<(), StartError>
where
    E: DeserializeOwned,
    R: Serialize,
{
    let handle = &handle;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        if let Some(failure) = &aws.unusable {
            tracing::error!(error = %failure.name, cause = failure.cause, "failed");
            return Err(Reported(failure.clone()));
        }
        // Decoded here, so that what is wrong with an event has a name of ours.
        let event: E = serde_json::from_value(event.payload)
            .map_err(|e| Reported(Failure::new(ErrorName::InvalidInput, format!("the event: {e}"))))?;
        // Boxed: the compiler gives up on the layout of futures nested this deep.
        Box::pin(handle(event, Utc::now())).await.map_err(|failure| {
            tracing::error!(error = %failure.name, cause = failure.cause, "failed");
            Reported(failure)
        })
    }))
    .await
}

/// Whether a worker changes anything in EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// It does: it asks before whether somebody still waits for it.
    Yes,
    /// It only looks.
    No,
}

/// Seconds before a function's time-out in which nothing more is begun: as long as a call that is never answered takes.
const RESERVE: TimeDelta = TimeDelta::seconds(50);

/// One invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// When it began.
    pub now: DateTime<Utc>,
    /// When the function is ended.
    until: DateTime<Utc>,
}

impl Invocation {
    /// Whether there is time to begin something more that may end in a call without an answer.
    pub fn has_time(&self) -> bool {
        self.until - Utc::now() > RESERVE
    }
}

/// Answers batches of messages.
pub async fn queue_worker<T>(
    aws: &Aws,
    acts: Acts,
    handle: impl AsyncFn(Vec<T>, Invocation) -> Vec<Outcome>,
) -> Result<(), StartError>
where
    T: DeserializeOwned + Serialize + Clone + About,
{
    let line = &WorkerQueue {
        sfn: aws_sdk_sfn::Client::new(&aws.config),
        sqs: aws_sdk_sqs::Client::new(&aws.config),
        queue_url: required("QUEUE_URL")?,
        dead_letter_queue_url: required("DEAD_LETTER_QUEUE_URL")?,
    };
    let rules = Rules {
        acts: acts == Acts::Yes,
        max_receives: required("MAX_RECEIVE_COUNT")?.parse()?,
        retry_seconds: aws.settings.retry_seconds,
    };
    let handle = &handle;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let invocation = Invocation { now: Utc::now(), until: event.context.deadline().into() };
        let batch = event.payload.records.into_iter().map(Delivery::from).collect();
        let again = deliver(batch, line, rules, invocation.now, async |tasks: Vec<T>| match &aws.unusable {
            Some(failure) => vec![Outcome::Fail(failure.clone()); tasks.len()],
            None => Box::pin(handle(tasks, invocation)).await,
        })
        .await;
        let failures: Vec<Value> = again.into_iter().map(|id| json!({"itemIdentifier": id})).collect();
        Ok::<_, StartError>(json!({"batchItemFailures": failures}))
    }))
    .await
}

/// Answers batches of messages of a worker that creates snapshots or copies.
pub async fn creating_worker<T>(
    aws: &Aws,
    handle: impl AsyncFn(&Context<'_, Ec2Client, Bucket>, Vec<T>) -> Vec<Outcome>,
) -> Result<(), StartError>
where
    T: DeserializeOwned + Serialize + Clone + About,
{
    let claims = aws.bucket()?;
    queue_worker(aws, Acts::Yes, async |tasks, invocation| {
        let context = Context {
            ec2: &aws.ec2,
            claims: &claims,
            home: &aws.home,
            settings: &aws.settings,
            attempt: &attempt(),
            began: invocation.now,
            clock: &Utc::now,
        };
        handle(&context, tasks).await
    })
    .await
}

/// What Lambda hands over for SQS, as far as it is used here.
#[derive(Deserialize)]
struct SqsEvent {
    #[serde(rename = "Records")]
    records: Vec<SqsRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: SqsAttributes,
}

/// Numbers in decimal, as SQS writes them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsAttributes {
    approximate_receive_count: String,
    sent_timestamp: String,
}

impl From<SqsRecord> for Delivery {
    fn from(record: SqsRecord) -> Self {
        let attributes = record.attributes;
        Self {
            id: record.message_id,
            receipt: record.receipt_handle,
            body: record.body,
            receive_count: attributes.approximate_receive_count.parse().unwrap_or(1),
            // Milliseconds since 1970.
            sent: attributes
                .sent_timestamp
                .parse()
                .ok()
                .and_then(DateTime::from_timestamp_millis)
                .unwrap_or_else(Utc::now),
        }
    }
}
