use aws::{Acts, Aws, StartError, queue_worker};
use verify::{Ports, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let (blocks, bucket) = (aws.blocks(), aws.bucket()?);
    let ports = Ports { ec2: &aws.ec2, blocks: &blocks, storage: &bucket, retry_seconds: aws.settings.retry_seconds };
    queue_worker(&aws, Acts::Yes, async |tasks, invocation| {
        handle(&ports, tasks, invocation.now, || invocation.has_time()).await
    })
    .await
}
