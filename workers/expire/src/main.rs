use aws::{Acts, Aws, StartError, queue_worker};
use expire::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    queue_worker(&aws, Acts::Yes, async |tasks, invocation| {
        handle(&aws.ec2, &aws.home, &aws.settings, tasks, invocation.now, || invocation.has_time()).await
    })
    .await
}
