use domain::{
    error::Failure,
    fleet::Fleet,
    ports::{Ec2, Storage},
    run::Run,
    run_files, survey,
};

/// Lists the whole fleet, and writes it down for the steps that follow.
pub(crate) async fn list<E: Ec2, S: Storage>(run: &Run, name: &str, ec2: &E, storage: &S) -> Result<Fleet, Failure> {
    let fleet = survey::fleet(ec2).await?;
    run_files::write_fleet(storage, run, name, &fleet).await?;
    Ok(fleet)
}
