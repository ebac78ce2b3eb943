//! The hook function.

use aws::{Aws, StartError, creating_worker};
use hook::{Hooks, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    let aws = Aws::connect().await?;
    let ssm = aws.ssm();
    creating_worker(&aws, async |context, tasks| handle(&Hooks { context, ssm: &ssm }, tasks).await).await
}
