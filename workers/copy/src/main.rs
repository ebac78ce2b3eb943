use aws::{Aws, StartError, creating_worker};
use copy::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    creating_worker(&Aws::connect().await?, async |context, tasks| handle(context, tasks).await).await
}
