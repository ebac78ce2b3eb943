//! The discover function.

use aws::{Aws, StartError, direct};
use discover::{Context, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let storage = aws.bucket()?;
    direct(&aws, async |event, now| {
        handle(event, &Context { ec2: &aws.ec2, storage: &storage, settings: &aws.settings, home: &aws.home, now })
            .await
    })
    .await
}
