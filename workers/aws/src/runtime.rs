//! A worker's process: it builds its clients once, then answers one invocation after the other.

use std::{env, error::Error, fmt, time::Duration};

use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    creating::Context,
    error::{ErrorName, Failure},
    ids::Region,
    message::About,
    metrics::Measurement,
    outcome::Outcome,
    ports::WorkQueue,
    report::{NotifyOn, NotifyOnProblem},
    settings::Settings,
};
use lambda_runtime::{
    Diagnostic, LambdaEvent, service_fn,
    tracing::subscriber::{self, filter::LevelFilter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    claims::attempt,
    dead_letters::DeadLetterQueues,
    delivery::{Rules, deliver},
    ebs::EbsClient,
    ec2::Ec2Client,
    executions::StepFunctions,
    metrics::{forget_throttled, print_throttled},
    notifications::Topic,
    sqs_event::SqsEvent,
    ssm::SsmClient,
    storage::Bucket,
    worker_queue::WorkerQueue,
};

/// A worker that cannot start, or cannot go on.
pub type StartError = Box<dyn Error + Send + Sync>;

/// Clients and settings of a worker.
pub struct Aws {
    pub ec2: Ec2Client,
    pub home: Region,
    pub settings: Settings,
    /// Why the settings cannot be used. Then the worker does nothing, and each invocation fails with this.
    unusable: Option<Failure>,
    config: aws_config::SdkConfig,
}

impl Aws {
    /// Reads the environment and builds the clients.
    pub async fn connect() -> Result<Self, StartError> {
        write_logs_as_json();
        // After these times the answer counts as lost. To describe a thousand snapshots takes some seconds.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(Duration::from_secs(20))
            // For all attempts together, less than the time-out of any function.
            .operation_timeout(Duration::from_secs(45))
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await;
        let home: Region = config.region().ok_or("AWS_REGION is not set")?.as_ref().parse()?;
        // Each invocation fails with the problem. If the process ended, an execution's cause would be `Runtime.Unknown`.
        let (settings, unusable) = match Settings::read(|name| env::var(name).ok()) {
            Ok(settings) => (settings, None),
            Err(problem) => (Settings::read(|_| None)?, Some(Failure::new(ErrorName::InvalidSettings, problem))),
        };
        Ok(Self { ec2: Ec2Client::new(&config, home.clone()), home, settings, unusable, config })
    }

    /// The report bucket, `REPORT_BUCKET`.
    pub fn bucket(&self) -> Result<Bucket, StartError> {
        // The local cloud has no host name per bucket: there, the bucket is a part of the path.
        let path_style = env::var("S3_PATH_STYLE").is_ok();
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(path_style).build();
        Ok(Bucket::new(aws_sdk_s3::Client::from_conf(config), required("REPORT_BUCKET")?))
    }

    /// SSM Run Command, in the home region.
    pub fn ssm(&self) -> SsmClient {
        SsmClient::new(&self.config)
    }

    pub fn executions(&self) -> StepFunctions {
        StepFunctions(aws_sdk_sfn::Client::new(&self.config))
    }

    /// The blocks of snapshots, in every region.
    pub fn blocks(&self) -> EbsClient {
        EbsClient::new(&self.config)
    }

    /// The dead-letter queues: `SNAPSHOT_DEAD_LETTER_QUEUE_URL` and so on. A stack without drills has none of them.
    pub fn dead_letters(&self) -> Result<DeadLetterQueues, StartError> {
        let url = |queue| match required(&format!("{queue:?}_DEAD_LETTER_QUEUE_URL").to_uppercase()) {
            Ok(url) if queue == WorkQueue::Verify && url.is_empty() => None,
            Err(_) if queue == WorkQueue::Verify => None,
            url => Some(url.map(|url| (queue, url))),
        };
        let urls = WorkQueue::ALL.into_iter().filter_map(url).collect::<Result<_, _>>()?;
        Ok(DeadLetterQueues { client: aws_sdk_sqs::Client::new(&self.config), urls })
    }

    /// `NotifyOn`. With a word that is none, each invocation fails with what is allowed.
    pub fn notify_on(&mut self) -> Result<NotifyOn, StartError> {
        Ok(required("NOTIFY_ON")?.parse().unwrap_or_else(|problem: NotifyOnProblem| {
            self.unusable = Some(Failure::new(ErrorName::InvalidSettings, problem));
            NotifyOn::default()
        }))
    }

    /// `ScheduleExpression`.
    pub fn schedule(&self) -> Result<String, StartError> {
        required("SCHEDULE_EXPRESSION")
    }

    /// The notification topic, `NOTIFICATION_TOPIC_ARN`.
    pub fn topic(&self) -> Result<Topic, StartError> {
        Ok(Topic { client: aws_sdk_sns::Client::new(&self.config), arn: required("NOTIFICATION_TOPIC_ARN")? })
    }
}

/// One JSON object per line, with the fields of an event beside its message, so that queries name them as the code does.
///
/// Of the spans only the runtime's is written, which has the request's id. AWS adds the time.
fn write_logs_as_json() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .without_time()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .init();
}

fn required(name: &str) -> Result<String, StartError> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A [`Failure`] for Lambda: the state machine catches it by its name.
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
        let text = |path: &str| event.payload.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let (run, step, region) = (text("/run/id").or_else(|| text("/drill/id")), text("/step"), text("/region"));
        let is_dry = ["/run/dryRun", "/input/dryRun"].map(|path| event.payload.pointer(path) == Some(&json!(true)));
        let answer = answer(aws, event.payload, handle).await;
        if is_dry.contains(&true) {
            forget_throttled();
        } else {
            let run_id = run.as_deref();
            print_throttled(&Measurement { at: Utc::now(), home: &aws.home, backup_region: None, run_id });
        }
        answer.map_err(|failure| {
            let (outcome, cause) = ("failed", &failure.cause);
            tracing::error!(run, step, region, outcome, error = %failure.name, cause, "the step failed");
            Reported(failure)
        })
    }))
    .await
}

async fn answer<E: DeserializeOwned, R>(
    aws: &Aws,
    event: Value,
    handle: impl AsyncFn(E, DateTime<Utc>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    if let Some(failure) = &aws.unusable {
        return Err(failure.clone());
    }
    // Decoded here, so that a bad event fails with one of our error names.
    let event: E =
        serde_json::from_value(event).map_err(|e| Failure::new(ErrorName::InvalidInput, format!("the event: {e}")))?;
    // Boxed: the compiler gives up on the layout of futures nested this deep.
    Box::pin(handle(event, Utc::now())).await
}

/// Whether a worker changes anything in EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// It does. First it asks whether the task's token is alive.
    Yes,
    /// It only reads.
    No,
}

/// In this time before a function's time-out nothing new is begun: a call without an answer takes almost as long.
const RESERVE: TimeDelta = TimeDelta::seconds(50);

#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// When it began.
    pub now: DateTime<Utc>,
    /// The function's time-out.
    until: DateTime<Utc>,
}

impl Invocation {
    /// Whether there is time for one more call, even if it gets no answer.
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
        let batch = event.payload.deliveries();
        let again = deliver(batch, line, rules, invocation.now, async |tasks: Vec<T>| match &aws.unusable {
            Some(failure) => vec![Outcome::Fail(failure.clone()); tasks.len()],
            None => Box::pin(handle(tasks, invocation)).await,
        })
        .await;
        print_throttled(&Measurement { at: Utc::now(), home: &aws.home, backup_region: None, run_id: None });
        let failures: Vec<Value> = again.into_iter().map(|id| json!({"itemIdentifier": id})).collect();
        Ok::<_, StartError>(json!({"batchItemFailures": failures}))
    }))
    .await
}

/// Answers batches of messages; for a worker that creates snapshots or copies.
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
