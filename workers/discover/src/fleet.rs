use domain::{
    error::{Ec2Error, Failure},
    fleet::Fleet,
    ports::{Ec2, Storage},
    run::Run,
    run_files,
};

/// Lists the whole fleet, and writes it down for the steps that follow.
pub(crate) async fn list<E: Ec2, S: Storage>(run: &Run, name: &str, ec2: &E, storage: &S) -> Result<Fleet, Failure> {
    let fleet = listed(ec2).await?;
    run_files::write_fleet(storage, run, name, &fleet).await?;
    Ok(fleet)
}

async fn listed(ec2: &impl Ec2) -> Result<Fleet, Ec2Error> {
    let regions = ec2.regions().await?;
    let (mut instances, mut volumes) = (Vec::new(), Vec::new());
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    ec2.each_volume(&mut |volume| volumes.push(volume)).await?;
    Ok(Fleet { regions, instances, volumes })
}
