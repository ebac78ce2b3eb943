//! The calls that change something, or ask whether they would be allowed to.

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::{
    Client, config,
    types::{
        ArchitectureValues, BlockDeviceMapping, BootModeValues, EbsBlockDevice, EbsInstanceBlockDeviceSpecification,
        InstanceBlockDeviceMappingSpecification, ResourceType, TagSpecification, VolumeType,
    },
};
use domain::{
    error::{Ec2Error, LOST_ANSWER, NOT_SENT},
    fleet::Tags,
    ids::Region,
    restore::ports::{Change, Changed, ImageOrder, ImageVolume, Permission, VolumeOrder},
};

use crate::ec2::{
    errors::{failed, unreadable},
    never_repeated, tag_list,
};

/// Whether a call is to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is, and never repeated by the SDK: some calls have no token, and whoever sends it looks first what became of it.
    Act,
    /// It is not (`DryRun`), and so it may be repeated.
    Ask,
}

impl Mode {
    fn dry_run(self) -> Option<bool> {
        (self == Self::Ask).then_some(true)
    }

    fn retries(self) -> config::Builder {
        match self {
            Self::Act => never_repeated(),
            Self::Ask => config::Builder::new().retry_config(RetryConfig::standard()),
        }
    }
}

pub(super) async fn send(client: &Client, region: &Region, change: &Change, mode: Mode) -> Result<Changed, Ec2Error> {
    let action = change.action();
    let without = |what: &'static str| move || unreadable(action, region, what);
    // Each is sent in the same way, and has a type of its own.
    macro_rules! sent {
        ($request:expr) => {
            $request
                .set_dry_run(mode.dry_run())
                .customize()
                .config_override(mode.retries())
                .send()
                .await
                .map_err(failed(action, region))?
        };
    }
    match change {
        Change::CreateVolume(order) => {
            let answer = sent!(create_volume(client, order));
            let id = answer.volume_id().and_then(|id| id.parse().ok());
            return Ok(Changed::Volume(id.ok_or_else(without("no volume id"))?));
        }
        Change::RegisterImage(order) => {
            let answer = sent!(register_image(client, order));
            let id = answer.image_id().map(str::to_owned);
            return Ok(Changed::Image(id.ok_or_else(without("no image id"))?));
        }
        Change::ReplaceRoot { instance, volume, client_token, tags } => {
            let request = client.create_replace_root_volume_task().instance_id(instance.as_str());
            let request = request.volume_id(volume.as_str()).client_token(client_token);
            let request = request.delete_replaced_root_volume(false);
            let answer = sent!(request.tag_specifications(specification(ResourceType::ReplaceRootVolumeTask, tags)));
            let id = answer.replace_root_volume_task().and_then(|task| task.replace_root_volume_task_id());
            return Ok(Changed::Task(id.map(str::to_owned).ok_or_else(without("no task id"))?));
        }
        Change::Tag { resources, tags } => {
            let request = client.create_tags().set_resources(Some(resources.clone()));
            sent!(request.set_tags(Some(tag_list(tags))));
        }
        Change::Attach { volume, instance, device } => {
            let request = client.attach_volume().volume_id(volume.as_str());
            sent!(request.instance_id(instance.as_str()).device(device));
        }
        Change::Detach { volume, instance, device } => {
            let request = client.detach_volume().volume_id(volume.as_str());
            sent!(request.instance_id(instance.as_str()).device(device));
        }
        Change::DeleteOnTermination { instance, device, on } => {
            let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(*on).build();
            let mapping = InstanceBlockDeviceMappingSpecification::builder().device_name(device).ebs(ebs).build();
            let request = client.modify_instance_attribute().instance_id(instance.as_str());
            sent!(request.block_device_mappings(mapping));
        }
        Change::Stop { instance } => {
            sent!(client.stop_instances().instance_ids(instance.as_str()));
        }
        Change::Start { instance } => {
            sent!(client.start_instances().instance_ids(instance.as_str()));
        }
    }
    Ok(Changed::Done)
}

fn specification(of: ResourceType, own: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(of).set_tags(Some(tag_list(own))).build()
}

/// As the SDK takes numbers. What is larger than EC2 knows is refused by EC2.
fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn create_volume(
    client: &Client,
    order: &VolumeOrder,
) -> aws_sdk_ec2::operation::create_volume::builders::CreateVolumeFluentBuilder {
    client
        .create_volume()
        .availability_zone(&order.zone)
        .snapshot_id(order.snapshot.as_str())
        .volume_type(VolumeType::from(order.performance.volume_type.as_str()))
        .set_iops(order.performance.iops.map(number))
        .set_throughput(order.performance.throughput.map(number))
        .size(number(order.gib))
        // "If KmsKeyId is specified, the encrypted state must be true" (API reference).
        .set_encrypted(order.kms_key.as_ref().map(|_| true))
        .set_kms_key_id(order.kms_key.clone())
        .set_volume_initialization_rate(order.initialization_rate.map(number))
        .tag_specifications(specification(ResourceType::Volume, &order.tags))
        .client_token(&order.client_token)
}

fn register_image(
    client: &Client,
    order: &ImageOrder,
) -> aws_sdk_ec2::operation::register_image::builders::RegisterImageFluentBuilder {
    client
        .register_image()
        .name(&order.name)
        .description(&order.description)
        .architecture(ArchitectureValues::from(order.architecture.as_str()))
        .set_boot_mode(order.boot_mode.as_deref().map(BootModeValues::from))
        .root_device_name(&order.root_device)
        // The default is paravirtual (API reference), from which no present type of instance starts.
        .virtualization_type("hvm")
        .set_ena_support(order.ena.then_some(true))
        .set_block_device_mappings(Some(order.volumes.iter().map(mapping).collect()))
        .tag_specifications(specification(ResourceType::Image, &order.tags))
}

fn mapping(volume: &ImageVolume) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder()
        .snapshot_id(volume.snapshot.as_str())
        .volume_type(VolumeType::from(volume.performance.volume_type.as_str()))
        .set_iops(volume.performance.iops.map(number))
        .set_throughput(volume.performance.throughput.map(number))
        .volume_size(number(volume.gib))
        .delete_on_termination(volume.delete_on_termination)
        .build();
    BlockDeviceMapping::builder().device_name(&volume.device).ebs(ebs).build()
}

/// What the answer to a dry run says of the permission.
///
/// Source: the EC2 API reference, the parameter `DryRun` of each call.
pub(super) fn permission(
    answer: Result<Changed, Ec2Error>,
    region: &Region,
    change: &Change,
) -> Result<Permission, Ec2Error> {
    let error = match answer {
        // EC2 never answers like this.
        Ok(_) => {
            return Err(unreadable(change.action(), region, "no error to a dry run: it may have been carried out"));
        }
        Err(error) => error,
    };
    match error.code.as_str() {
        "DryRunOperation" => Ok(Permission::Granted),
        "UnauthorizedOperation" => Ok(Permission::Denied(error.message)),
        LOST_ANSWER | NOT_SENT => Err(error),
        code if Ec2Error::is_throttle(code) => Err(error),
        _ => Ok(Permission::NotTold(format!("{}: {}", error.code, error.message))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(answer: Result<Changed, &str>) -> Result<Permission, Ec2Error> {
        let change = Change::Stop { instance: "i-0a".parse().unwrap() };
        let error = |code: &str| Ec2Error {
            action: change.action(),
            region: "us-east-1".into(),
            code: code.into(),
            message: "why".into(),
        };
        permission(answer.map_err(error), &"us-east-1".parse().unwrap(), &change)
    }

    #[test]
    fn only_ec2s_own_word_is_a_permission() {
        assert_eq!(asked(Err("DryRunOperation")), Ok(Permission::Granted));
        assert_eq!(asked(Err("UnauthorizedOperation")), Ok(Permission::Denied("why".into())));
        assert_eq!(asked(Err("InvalidState")), Ok(Permission::NotTold("InvalidState: why".into())));
        for unknown in [LOST_ANSWER, NOT_SENT, "RequestLimitExceeded"] {
            assert!(asked(Err(unknown)).is_err(), "{unknown}");
        }
        assert!(asked(Ok(Changed::Done)).is_err(), "a dry run that is carried out is none");
    }
}
