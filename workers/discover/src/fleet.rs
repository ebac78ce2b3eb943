use domain::{
    contract::Run,
    error::{Ec2Error, ErrorName, Failure},
    fleet::Fleet,
    ports::{Ec2, Storage},
};

/// The fleet as it was when the run began: snapshots and copies are decided from it.
pub(crate) const AT_START: &str = "fleet.json";
/// The fleet as it is before anything is expired, and when the run is reported.
pub(crate) const AGAIN: &str = "fleet-again.json";

/// Lists the fleet, completely or not at all, and writes it down for the steps that follow.
pub(crate) async fn list<E: Ec2, S: Storage>(run: &Run, name: &str, ec2: &E, storage: &S) -> Result<Fleet, Failure> {
    let fleet = listed(ec2).await?;
    let json = serde_json::to_string(&fleet).map_err(|e| Failure::new(ErrorName::StorageFailed, e))?;
    storage.write(&run.key(name), json).await?;
    Ok(fleet)
}

async fn listed(ec2: &impl Ec2) -> Result<Fleet, Ec2Error> {
    let regions = ec2.regions().await?;
    let (mut instances, mut volumes) = (Vec::new(), Vec::new());
    ec2.each_instance(&mut |instance| instances.push(instance)).await?;
    ec2.each_volume(&mut |volume| volumes.push(volume)).await?;
    Ok(Fleet { regions, instances, volumes })
}

/// Reads what [`list`] wrote. One that is not there is an error: nothing is decided from an empty fleet.
pub(crate) async fn read(run: &Run, name: &str, storage: &impl Storage) -> Result<Fleet, Failure> {
    let key = run.key(name);
    let failed = |what: &str| Failure::new(ErrorName::StorageFailed, format!("{key}: {what}"));
    let body = storage.read(&key).await?.ok_or_else(|| failed("it is not there"))?;
    serde_json::from_str(&body).map_err(|e| failed(&e.to_string()))
}
