use aws::{Aws, StartError, direct};
use domain::{
    contract::ToReport,
    error::Failure,
    ports::{DeadLetter, DeadLetters, Executions, MapRun, Notifications, StateTime, WorkQueue},
};
use report::{Context, drill, handle};

/// One type for Step Functions, the topic and the dead-letter queues.
struct Services(aws::StepFunctions, aws::Topic, aws::DeadLetterQueues);

impl DeadLetters for Services {
    async fn letters(&self, queue: WorkQueue) -> Result<Vec<DeadLetter>, Failure> {
        self.2.letters(queue).await
    }

    async fn delete_letter(&self, letter: &DeadLetter) -> Result<(), Failure> {
        self.2.delete_letter(letter).await
    }

    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure> {
        self.2.put_back(letter).await
    }
}

impl Executions for Services {
    async fn map_runs(&self, execution: &str) -> Result<Vec<MapRun>, Failure> {
        self.0.map_runs(execution).await
    }

    async fn state_times(&self, execution: &str, states: &[&str]) -> Result<Vec<StateTime>, Failure> {
        self.0.state_times(execution, states).await
    }
}

impl Notifications for Services {
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure> {
        self.1.notify(subject, message).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let mut aws = Aws::connect().await?;
    let (notify_on, schedule) = (aws.notify_on()?, &aws.schedule()?);
    let (storage, services) = (&aws.bucket()?, &Services(aws.executions(), aws.topic()?, aws.dead_letters()?));
    let Aws { ec2, settings, home, .. } = &aws;
    direct(&aws, async |event, now| {
        let context = Context { ec2, storage, services, settings, schedule, notify_on, home, now };
        match event {
            ToReport::Run(event) => handle(*event, &context).await,
            ToReport::Drill(event) => drill::handle(*event, &context).await,
        }
    })
    .await
}
