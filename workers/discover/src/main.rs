use aws::{Aws, StartError, direct};
use discover::{Context, StartContext, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let (storage, executions) = (aws.bucket()?, aws.executions());
    direct(&aws, async |event, now| {
        let context = Context { ec2: &aws.ec2, storage: &storage, settings: &aws.settings, home: &aws.home, now };
        handle(event, &context, &StartContext { claims: &storage, executions: &executions }).await
    })
    .await
}
