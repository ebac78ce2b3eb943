"""EC2's XML, written by hand for what is asked for often.

moto's serializer takes two seconds for a thousand snapshots, this a few
hundredths. The names in the shapes are those of EC2's XML, not of its SDKs.
"""

from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.ec2.models import EC2Backend

from ec2_resources import FleetInstance, SharedVolume, TimedSnapshot, goes_with_instance, iso

# An element of the XML: its children by name.
Shape = dict[str, Any]
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
GIB = 1 << 30
REQUEST_ID = "00000000-0000-0000-0000-000000000000"


def answer(action: str, fields: Shape) -> str:
    return (
        f'{HEAD}<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>{REQUEST_ID}</requestId>{inner(fields)}</{action}Response>"
    )


def error_body(code: str, message: str) -> str:
    return (
        f"{HEAD}<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        f"</Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
    )


def inner(value: Any) -> str:
    """The content of an element. What is None is left out, as EC2 leaves it out."""
    if isinstance(value, dict):
        return "".join(f"<{name}>{inner(each)}</{name}>" for name, each in value.items() if each is not None)
    if isinstance(value, list):
        return "".join(f"<item>{inner(each)}</item>" for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value)
    return escape(str(value))


def tag_set(backend: EC2Backend, identifier: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in backend.tags.get(identifier, {}).items()]


def snapshot_shape(snapshot: TimedSnapshot) -> Shape:
    return {
        "snapshotId": snapshot.id,
        "volumeId": snapshot.volume.id,
        "status": snapshot.status,
        "statusMessage": snapshot.state_message,
        "startTime": snapshot.start_time,
        "completionTime": snapshot.completion_time,
        "progress": snapshot.progress,
        "ownerId": snapshot.owner_id,
        "volumeSize": snapshot.volume.size,
        # EC2 tells it of completed ones.
        "fullSnapshotSizeInBytes": snapshot.full_bytes if snapshot.status == "completed" else None,
        "description": snapshot.description,
        "encrypted": snapshot.encrypted,
        "kmsKeyId": snapshot.kms_key_id,
        "storageTier": snapshot.storage_tier,
        "tagSet": tag_set(snapshot.ec2_backend, snapshot.id),
    }


def instance_shape(instance: FleetInstance) -> Shape:
    return {
        "instanceId": instance.id,
        "imageId": instance.image_id,
        "instanceType": instance.instance_type,
        "architecture": instance.architecture,
        "launchTime": instance.launch_time,
        "placement": {"availabilityZone": instance.availability_zone, "tenancy": "default"},
        "instanceState": {"code": instance.state_code, "name": instance.state},
        "virtualizationType": "hvm",
        "hypervisor": "xen",
        **getattr(instance, "told", {}),
        "currentInstanceBootMode": booted_as(instance),
        "rootDeviceName": instance.root_device_name,
        "rootDeviceType": instance.root_device_type,
        "blockDeviceMapping": [
            {
                "deviceName": device,
                "ebs": {
                    "volumeId": block.volume_id,
                    "status": attachment_status(instance, block.volume_id),
                    "attachTime": block.attach_time,
                    "deleteOnTermination": bool(block.delete_on_termination),
                },
            }
            for device, block in instance.get_block_device_mapping
        ],
        "tagSet": tag_set(instance.ec2_backend, instance.id),
    }


def booted_as(instance: FleetInstance) -> str:
    """The mode of its image, or else that of its type: EC2 user guide, "Determine the boot mode of an EC2 instance"."""
    asked = getattr(instance, "told", {}).get("bootMode") or ("uefi" if instance.architecture == "arm64" else "")
    return "uefi" if asked.startswith("uefi") else "legacy-bios"


def attachment_status(instance: FleetInstance, volume: str) -> str:
    found = instance.ec2_backend.volumes[volume].attached
    return next((each.status for each in found if each.instance is instance), "attached")


def volume_shape(volume: SharedVolume) -> Shape:
    return {
        "volumeId": volume.id,
        "size": volume.size,
        "status": volume.status,
        "volumeType": volume.volume_type,
        "iops": volume.iops,
        "throughput": volume.throughput,
        "volumeInitializationRate": volume.initialization_rate,
        "availabilityZone": volume.availability_zone,
        "availabilityZoneId": volume.zone.zone_id,
        "createTime": volume.create_time,
        "encrypted": volume.encrypted,
        "kmsKeyId": volume.kms_key_id,
        "snapshotId": volume.snapshot_id or "",
        "multiAttachEnabled": bool(volume.multi_attach_enabled) or len(volume.attachments) > 1,
        "attachmentSet": [
            {
                "volumeId": volume.id,
                "instanceId": each.instance.id,
                "device": each.device,
                "status": each.status,
                "attachTime": each.attach_time,
                "deleteOnTermination": goes_with_instance(each),
            }
            for each in volume.attachments
        ],
        "tagSet": tag_set(volume.ec2_backend, volume.id),
    }
