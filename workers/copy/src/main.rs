use aws::{Aws, StartError, creating_worker, print_metrics};
use copy::handle;
use domain::metrics::{Measurement, Metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StartError> {
    creating_worker(&Aws::connect().await?, async |context, tasks| {
        let measure = |region: &_, in_flight| {
            let measurement =
                Measurement { at: context.now(), home: context.home, backup_region: Some(region), run_id: None };
            #[allow(clippy::cast_precision_loss)] // At most 20 by `CopyConcurrency`.
            print_metrics(&measurement, &[(Metric::CopySlotsInUse, in_flight as f64)]);
        };
        handle(context, tasks, measure).await
    })
    .await
}
