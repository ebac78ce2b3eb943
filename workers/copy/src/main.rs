//! The copy function.

use aws::{Acts, Aws, StartError, attempt, queue_worker};
use chrono::Utc;
use copy::handle;
use domain::creating::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let claims = aws.bucket()?;
    queue_worker(&aws, Acts::Yes, async |tasks, invocation| {
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
