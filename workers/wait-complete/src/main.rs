use aws::{Acts, Aws, StartError, queue_worker};
use wait_complete::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let poll_seconds = aws.settings.poll_seconds;
    queue_worker(&aws, Acts::No, async |tasks, invocation| handle(&aws.ec2, poll_seconds, tasks, invocation.now).await)
        .await
}
