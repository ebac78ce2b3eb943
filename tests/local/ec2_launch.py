"""RunInstances from an image that is known here: its volumes have what its snapshots have.

From other images, which nobody has registered, instances are made by moto as ever.
"""

from typing import Any

from moto.core.responses import ActionResult

from ec2_images import Disk, Image
from ec2_instances import can_read_its_volumes
from ec2_keys import key_arn
from ec2_refusal import refusal
from ec2_resources import default_key, set_state, terminate_disks
from ec2_state import WORLD
from ec2_volume_limits import DEFAULT_TYPE, check
from ec2_volumes import completed_snapshot, new_from

DEFAULT_INSTANCE_TYPE = "m1.small"
# Families that need no ENA, and those among them that run paravirtual images too: EC2 user guide, "Amazon EC2 instance
# types", previous generations.
WITHOUT_ENA = {"t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "r3", "i2", "d2", "g2"}
PARAVIRTUAL = {"t1", "m1", "m2", "m3", "c1", "c3"}
# What makes moto make no volume.
NO_VOLUMES = [{"DeviceName": "none", "NoDevice": "", "Ebs": {}}]


def is_arm(family: str) -> bool:
    """a1, and those whose generation is followed by a g: t4g, m7gd, c6gn."""
    return family == "a1" or "g" in family.lstrip("abcdefghijklmnopqrstuvwxyz")


def check_type(image: Image, kind: str) -> None:
    family = kind.split(".")[0]
    of_type, of_image = "arm64" if is_arm(family) else "x86_64", image.architecture
    # What is registered as i386 runs on x86_64 too.
    if of_image not in (of_type, "i386" if of_type == "x86_64" else of_type):
        raise refusal(
            "InvalidParameterValue",
            f"The architecture '{of_type}' of the specified instance type does not match the architecture "
            f"'{of_image}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again.",
        )
    if image.virtualization != "hvm" and family not in PARAVIRTUAL:
        raise refusal(
            "InvalidParameterCombination",
            "Non-Windows instances with a virtualization type of 'paravirtual' are currently not supported "
            "for this instance type.",
        )
    if not image.ena and family not in WITHOUT_ENA:
        raise refusal(
            "InvalidParameterCombination",
            f"Enhanced networking with the Elastic Network Adapter (ENA) is required for the '{kind}' instance type. "
            "Ensure that you are using an AMI that is enabled for ENA.",
        )


def changed(disks: list[Disk], mappings: list[dict[str, Any]]) -> list[tuple[Disk, str | None, int | None]]:
    """The image's volumes as the call changes them, each with the key and the rate that are asked for."""
    found = {disk.device: (disk, None, None) for disk in disks}
    for mapping in mappings:
        device, ebs = mapping.get("DeviceName"), mapping.get("Ebs", {})
        if "NoDevice" in mapping:
            found.pop(device, None)
            continue
        if "Ebs" not in mapping:
            continue
        disk = found[device][0] if device in found else Disk(device, 0)
        kind = ebs.get("VolumeType") or disk.kind
        same_kind = kind == disk.kind
        disk = disk._replace(
            snapshot=ebs.get("SnapshotId", disk.snapshot),
            size=ebs.get("VolumeSize", disk.size),
            kind=kind,
            iops=ebs.get("Iops", disk.iops if same_kind else None),
            throughput=ebs.get("Throughput", disk.throughput if same_kind else None),
            deletes=ebs.get("DeleteOnTermination", disk.deletes),
            encrypted=bool(ebs.get("Encrypted", False)) or disk.encrypted,
        )
        found[device] = (disk, ebs.get("KmsKeyId"), ebs.get("VolumeInitializationRate"))
    return list(found.values())


def arrive(instance: Any) -> None:
    """With a volume whose key cannot be used it never runs: EC2 user guide, "Troubleshoot instance launch issues"."""
    if instance.state != "pending":
        return
    works = can_read_its_volumes(instance)
    if not works:
        terminate_disks(instance)
    set_state(instance, "running" if works else "terminated")


class LaunchCalls:
    """Stands before moto's EC2Response, with the parts of RequestCalls, and answers this action."""

    def run_instances(self) -> ActionResult:
        reservation = self._made_before("RunInstances")
        if reservation is None:
            image = WORLD.images.get(self.region, {}).get(self._get_param("ImageId"))
            reservation = self._launch(image) if image else super().run_instances().result
            self._remember("RunInstances", reservation)
        elif any(each.state == "terminated" for each in reservation.instances):
            raise refusal(
                "IdempotentInstanceTerminated",
                "The client token you have provided is associated with a terminated instance. "
                "Please use a different client token.",
            )
        return ActionResult(reservation)

    def _parse_block_device_mapping(self) -> list[dict[str, Any]]:
        known = self._get_param("ImageId") in WORLD.images.get(self.region, {})
        return NO_VOLUMES if known else super()._parse_block_device_mapping()

    def _launch(self, image: Image) -> Any:
        if image.state != "available":
            raise refusal("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is not available")
        check_type(image, self._get_param("InstanceType", DEFAULT_INSTANCE_TYPE))
        wanted = changed(image.disks, self._get_param("BlockDeviceMappings", []))
        wanted = [(self._checked(disk), key, rate) for disk, key, rate in wanted]
        _, of_volumes = self._specified_tags("instance", "volume", "network-interface", "spot-instances-request")[:2]
        reservation = super().run_instances().result
        for instance in reservation.instances:
            WORLD.serial(instance.id)
            self._equip(instance, image, wanted, of_volumes)
        return reservation

    def _checked(self, disk: Disk) -> Disk:
        snapshot = completed_snapshot(self.ec2_backend, disk.snapshot) if disk.snapshot else None
        if snapshot is None and not disk.size:
            raise refusal("MissingParameter", "The request must contain the parameter size or snapshotId")
        size = disk.size or snapshot.volume.size
        if snapshot and size < snapshot.volume.size:
            raise refusal(
                "InvalidBlockDeviceMapping",
                f"Volume of size {size}GB is smaller than snapshot '{disk.snapshot}', "
                f"expect size >= {snapshot.volume.size}GB",
            )
        check(disk.kind or DEFAULT_TYPE, size, disk.iops, disk.throughput)
        return disk._replace(size=size)

    def _equip(self, instance: Any, image: Image, wanted: list[Any], tags: dict[str, str]) -> None:
        backend = self.ec2_backend
        instance.root_device_name, instance.architecture = image.root_device, image.architecture
        instance.told = {"bootMode": image.boot_mode, "enaSupport": image.ena, "usageOperation": "RunInstances"}
        zone = backend.get_zone_by_name(instance.availability_zone)
        for disk, key, rate in wanted:
            snapshot = backend.get_snapshot(disk.snapshot) if disk.snapshot else None
            of_snapshot = snapshot.kms_key_id if snapshot else None
            encrypted = disk.encrypted or of_snapshot is not None
            volume = new_from(
                backend,
                zone,
                disk.size,
                disk.kind,
                snapshot,
                iops=disk.iops,
                throughput=disk.throughput,
                encrypted=encrypted,
                kms_key_id=key_arn(self.region, key or of_snapshot or default_key(self.region)) if encrypted else None,
            )
            volume.initialization_rate = rate
            backend.tags[volume.id] = dict(tags)
            backend.attach_volume(volume.id, instance.id, disk.device, disk.deletes)
        set_state(instance, "pending")
        WORLD.later(WORLD.settings["instanceSeconds"], instance.id, lambda: arrive(instance))
