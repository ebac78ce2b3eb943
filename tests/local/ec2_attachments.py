"""Attaching and detaching volumes as EC2 does it; both take a moment."""

import re
from typing import Any

from ec2_answers import Shape, answer
from ec2_refusal import refusal
from ec2_resources import FleetInstance, SharedVolume, goes_with_instance
from ec2_state import WORLD

# Of one volume; it is for io1 and io2 that have Multi-Attach enabled.
MAX_MULTI_ATTACHMENTS = 16
# EC2 user guide, "Device names for volumes on Amazon EC2 instances", for virtualization type HVM.
DEVICE = re.compile(r"/dev/sd[b-z]|/dev/sda1|/dev/xvda|/dev/xvd[b-z]|/dev/xvd[bcd][a-z]|xvd[b-z]|xvd[bcd][a-z]")


def attachment_shape(attachment: Any) -> Shape:
    return {
        "volumeId": attachment.volume.id,
        "instanceId": attachment.instance.id,
        "device": attachment.device,
        "status": attachment.status,
        "attachTime": attachment.attach_time,
        "deleteOnTermination": goes_with_instance(attachment),
    }


def finish_attaching(attachment: Any) -> None:
    if attachment.status == "attaching":
        attachment.status = "attached"


def finish_detaching(attachment: Any) -> None:
    # A story may have taken the volume away in the meantime.
    if attachment.status == "detaching" and attachment in attachment.volume.attached:
        take_off(attachment)


def take_off(attachment: Any) -> None:
    volume, instance = attachment.volume, attachment.instance
    if is_root(attachment):
        WORLD.former_roots.setdefault(instance.id, []).append(volume.id)
    attachment.status = "detached"
    volume.attached.remove(attachment)
    block = instance.block_device_mapping.get(attachment.device)
    if block is not None and block.volume_id == volume.id:
        del instance.block_device_mapping[attachment.device]


def is_root(attachment: Any) -> bool:
    return attachment.device == attachment.instance.root_device_name


class AttachmentCalls:
    """Stands before moto's EC2Response and answers these actions in its place."""

    def attach_volume(self) -> str:
        self.error_on_dryrun()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        device = self._get_param("Device")
        self._refuse_instance(instance)
        if volume.availability_zone != instance.availability_zone:
            raise refusal(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
            )
        self._refuse_volume(volume, instance)
        self._refuse_device(device, instance)
        attachment = self.ec2_backend.attach_volume(volume.id, instance.id, device)
        attachment.status = "attaching"
        WORLD.later(WORLD.settings["attachSeconds"], volume.id, lambda: finish_attaching(attachment))
        return answer("AttachVolume", attachment_shape(attachment))

    def _refuse_instance(self, instance: FleetInstance) -> None:
        if instance.state == "terminated":
            raise refusal("InvalidInstanceID.NotFound", f"The instance ID '{instance.id}' does not exist")
        if instance.state not in ("running", "stopped"):
            raise refusal("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
        limit = WORLD.settings["attachmentLimit"]
        if len(instance.block_device_mapping) >= limit:
            raise refusal(
                "AttachmentLimitExceeded",
                f"You may attach up to {limit} devices for this instance type. "
                "Please use a larger instance size to attach more volumes.",
            )

    def _refuse_volume(self, volume: SharedVolume, instance: FleetInstance) -> None:
        if volume.status not in ("available", "in-use"):
            raise refusal("IncorrectState", f"{volume.id} is not 'available'.")
        users = [each.instance.id for each in volume.attached]
        if users and (not volume.multi_attach_enabled or instance.id in users):
            raise refusal("VolumeInUse", f"{volume.id} is already attached to an instance")
        if len(users) >= MAX_MULTI_ATTACHMENTS:
            raise refusal("AttachmentLimitExceeded", f"{volume.id} has {MAX_MULTI_ATTACHMENTS} attachments.")

    def _refuse_device(self, device: str | None, instance: FleetInstance) -> None:
        if not device:
            raise refusal("MissingParameter", "The request must contain the parameter device")
        if not DEVICE.fullmatch(device) and device != instance.root_device_name:
            raise refusal(
                "InvalidParameterValue",
                f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.",
            )
        if device in instance.block_device_mapping:
            raise refusal(
                "InvalidParameterValue",
                f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
            )

    def detach_volume(self) -> str:
        """An instance need not be named where there is only one."""
        self.error_on_dryrun()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        named, device = self._get_param("InstanceId"), self._get_param("Device")
        if named:
            self.ec2_backend.get_instance(named)
        if not volume.attachments:
            raise refusal("IncorrectState", f"Volume '{volume.id}' is in the '{volume.status}' state.")
        if not named and len(volume.attachments) > 1:
            # AWS documents that the instance is needed then, not what is said without it.
            raise refusal("MissingParameter", "The request must contain the parameter instanceId")
        found = [one for one in volume.attachments if named in (None, one.instance.id) and device in (None, one.device)]
        if not found:
            raise refusal(
                "InvalidAttachment.NotFound",
                f"The volume '{volume.id}' is not attached to instance '{named}' as device '{device}'.",
            )
        attachment = found[0]
        if is_root(attachment) and attachment.instance.state != "stopped":
            # That it cannot be done is documented; this code is that of a refusal that Terraform has shown.
            raise refusal(
                "IncorrectState",
                f"Unable to detach root volume '{volume.id}' from instance '{attachment.instance.id}'",
            )
        attachment.status = "detaching"
        WORLD.later(WORLD.settings["attachSeconds"], volume.id, lambda: finish_detaching(attachment))
        return answer("DetachVolume", attachment_shape(attachment))
