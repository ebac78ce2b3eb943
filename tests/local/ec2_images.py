"""Images: registered from snapshots, described, and taken out of the register again."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from moto.ec2.models import EC2Backend
from moto.moto_api._internal import mock_random

from ec2_answers import Shape, answer, tag_set
from ec2_refusal import asked_for, refusal
from ec2_resources import TimedSnapshot, backend_of, iso
from ec2_state import ACCOUNT, WORLD
from ec2_volume_limits import DEFAULT_TYPE, check, performance
from ec2_volumes import completed_snapshot

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
ARCHITECTURES = ("i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac")
BOOT_MODES = ("legacy-bios", "uefi", "uefi-preferred")
# EC2 user guide, "Amazon EBS volume types": HDD volumes cannot be boot volumes.
NO_BOOT_TYPES = ("st1", "sc1")


class Disk(NamedTuple):
    """A volume that each instance of the image gets; without a snapshot it is empty."""

    device: str
    size: int
    snapshot: str | None = None
    kind: str = DEFAULT_TYPE
    iops: int | None = None
    throughput: int | None = None
    deletes: bool = True
    encrypted: bool = False


class Image:
    def __init__(self, backend: EC2Backend, name: str | None, disks: Iterable[Disk]) -> None:
        self.id = f"ami-{mock_random.get_random_hex(17)}"
        self.ec2_backend, self.made_at = backend, datetime.now(UTC)
        self.name, self.disks = name or self.id, list(disks)
        self.description = ""
        self.root_device = self.disks[0].device if self.disks else "/dev/sda1"
        self.architecture, self.virtualization, self.boot_mode, self.ena = "x86_64", "hvm", None, True
        self.disabled, self.is_pending, self.with_ephemeral = False, False, False

    @property
    def snapshots(self) -> list[str]:
        return [disk.snapshot for disk in self.disks if disk.snapshot]

    @property
    def root_snapshot(self) -> str:
        return next(disk.snapshot for disk in self.disks if disk.device == self.root_device)

    @property
    def state(self) -> str:
        if self.disabled:
            return "disabled"
        return "pending" if self.is_pending else "available"

    def finish(self) -> None:
        self.is_pending = False


def keep(image: Image) -> Image:
    WORLD.serial(image.id)
    WORLD.images.setdefault(image.ec2_backend.region_name, {})[image.id] = image
    return image


def add_image(region: str, snapshots: Iterable[str], name: str | None = None, disabled: bool = False) -> Image:
    """An image as a story wants it, that also names a disk without a snapshot, as some do."""
    backend = backend_of(region)
    disks = []
    for index, identifier in enumerate(snapshots):
        snapshot = backend.get_snapshot(identifier)
        device = "/dev/sda1" if index == 0 else f"/dev/sd{chr(ord('e') + index)}"
        disks.append(Disk(device, snapshot.volume.size, identifier, "gp3", encrypted=snapshot.encrypted))
    image = Image(backend, name, disks)
    image.disabled, image.with_ephemeral = disabled, True
    return keep(image)


def known_image(region: str, identifier: str) -> Image:
    image = WORLD.images.get(region, {}).get(identifier)
    if image is None:
        raise refusal("InvalidAMIID.NotFound", f"The image id '[{identifier}]' does not exist")
    return image


def disk_shape(disk: Disk) -> Shape:
    iops, throughput = performance(disk.kind, disk.size, disk.iops, disk.throughput)
    return {
        "deviceName": disk.device,
        "ebs": {
            "deleteOnTermination": disk.deletes,
            "snapshotId": disk.snapshot,
            "volumeSize": disk.size,
            "volumeType": disk.kind,
            # EC2 tells gp2's IOPS of volumes, and not of what an image says of them.
            "iops": None if disk.kind == "gp2" else iops,
            "throughput": throughput,
            "encrypted": disk.encrypted,
        },
    }


def image_shape(image: Image) -> Shape:
    ephemeral = [{"deviceName": "/dev/sdb", "virtualName": "ephemeral0"}] if image.with_ephemeral else []
    return {
        "imageId": image.id,
        "imageLocation": f"{ACCOUNT}/{image.name}",
        "imageState": image.state,
        "imageOwnerId": ACCOUNT,
        "creationDate": image.made_at,
        "isPublic": False,
        "architecture": image.architecture,
        "imageType": "machine",
        "name": image.name,
        "description": image.description or None,
        "rootDeviceType": "ebs",
        "rootDeviceName": image.root_device,
        "blockDeviceMapping": [*map(disk_shape, image.disks), *ephemeral],
        "virtualizationType": image.virtualization,
        "hypervisor": "xen",
        "enaSupport": image.ena,
        "bootMode": image.boot_mode,
        "platformDetails": "Linux/UNIX",
        "usageOperation": "RunInstances",
        "tagSet": tag_set(image.ec2_backend, image.id),
    }


IMAGE_FIELDS = {
    "image-id": lambda one: one.id,
    "name": lambda one: one.name,
    "description": lambda one: one.description,
    "state": lambda one: one.state,
    "owner-id": lambda one: ACCOUNT,
    "is-public": lambda one: "false",
    "architecture": lambda one: one.architecture,
    "boot-mode": lambda one: one.boot_mode,
    "creation-date": lambda one: iso(one.made_at),
    "ena-support": lambda one: str(one.ena).lower(),
    "root-device-name": lambda one: one.root_device,
    "root-device-type": lambda one: "ebs",
    "virtualization-type": lambda one: one.virtualization,
    "block-device-mapping.device-name": lambda one: [disk.device for disk in one.disks],
    "block-device-mapping.snapshot-id": lambda one: one.snapshots,
}


class ImageCalls:
    """Stands before moto's EC2Response, with the parts of RequestCalls and DescribeCalls, and answers these actions."""

    def describe_images(self) -> str:
        self.error_on_dryrun()
        wanted, owners = self._get_param("ImageIds", []), self._get_param("Owners", [])
        self._no_ids_with_pages(wanted, "imageIdsSet")
        with_disabled = self._get_param("IncludeDisabled", False)
        shown = [one for one in WORLD.images.get(self.region, {}).values() if with_disabled or not one.disabled]
        shown = asked_for(shown, wanted, "InvalidAMIID.NotFound", "The image id '[{}]' does not exist")
        if owners and not {"self", ACCOUNT} & set(owners):
            shown = []
        shown, token = self._page_of(shown, IMAGE_FIELDS)
        return answer("DescribeImages", {"imagesSet": list(map(image_shape, shown)), "nextToken": token})

    def deregister_image(self) -> str:
        self.error_on_dryrun()
        image = known_image(self.region, self._get_param("ImageId"))
        del WORLD.images[self.region][image.id]
        return answer("DeregisterImage", {"return": True})

    def register_image(self) -> str:
        """The name is what makes a repetition known: there is no client token."""
        self.error_on_dryrun()
        [tags] = self._specified_tags("image")
        name = self._image_name()
        image = Image(self.ec2_backend, name, self._disks())
        image.description = self._get_param("Description") or ""
        image.architecture = self._one_of("Architecture", ARCHITECTURES) or "i386"
        image.virtualization = self._one_of("VirtualizationType", ("hvm", "paravirtual")) or "paravirtual"
        image.boot_mode = self._one_of("BootMode", BOOT_MODES)
        image.ena = bool(self._get_param("EnaSupport", False))
        self._check_root(image)
        self._check_machine(image)
        image.is_pending = True
        keep(image)
        self.ec2_backend.tags[image.id] = tags
        WORLD.later(WORLD.settings["imageSeconds"], image.id, image.finish)
        return answer("RegisterImage", {"imageId": image.id})

    def _image_name(self) -> str:
        name = self._get_param("Name")
        if not name:
            raise refusal("MissingParameter", "The request must contain the parameter name")
        if not NAME.fullmatch(name):
            raise refusal(
                "InvalidAMIName.Malformed",
                "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, "
                "'(', ')', '.', '-', '/' and '_'",
            )
        for other in WORLD.images.get(self.region, {}).values():
            if other.name == name:
                raise refusal("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {other.id}")
        return name

    def _one_of(self, parameter: str, known: tuple[str, ...]) -> str | None:
        value = self._get_param(parameter)
        if value is not None and value not in known:
            raise refusal("InvalidParameterValue", f"Value ({value}) for parameter {parameter} is invalid.")
        return value

    def _disks(self) -> list[Disk]:
        mappings = [one for one in self._get_param("BlockDeviceMappings", []) if "Ebs" in one]
        devices = [one.get("DeviceName") for one in mappings]
        if None in devices or len(set(devices)) != len(devices):
            raise refusal("InvalidBlockDeviceMapping", "Each device has to be named, and only once.")
        return [self._disk(one["DeviceName"], one["Ebs"]) for one in mappings]

    def _disk(self, device: str, ebs: dict[str, Any]) -> Disk:
        identifier, size = ebs.get("SnapshotId"), ebs.get("VolumeSize")
        kind = ebs.get("VolumeType") or DEFAULT_TYPE
        if ebs.get("KmsKeyId"):
            raise refusal("InvalidParameterCombination", "KmsKeyId is not supported by RegisterImage.")
        if not identifier and size is None:
            raise refusal("MissingParameter", "The request must contain the parameter size or snapshotId")
        snapshot = self._image_snapshot(identifier, device, ebs) if identifier else None
        if snapshot and size is not None and size < snapshot.volume.size:
            raise refusal(
                "InvalidBlockDeviceMapping",
                f"Volume of size {size}GB is smaller than snapshot '{identifier}', "
                f"expect size >= {snapshot.volume.size}GB",
            )
        size = size or snapshot.volume.size
        check(kind, size, ebs.get("Iops"), ebs.get("Throughput"))
        return Disk(
            device,
            size,
            identifier,
            kind,
            ebs.get("Iops"),
            ebs.get("Throughput"),
            ebs.get("DeleteOnTermination", True),
            snapshot.encrypted if snapshot else bool(ebs.get("Encrypted", False)),
        )

    def _image_snapshot(self, identifier: str, device: str, ebs: dict[str, Any]) -> TimedSnapshot:
        if "Encrypted" in ebs:
            raise refusal(
                "InvalidBlockDeviceMapping",
                f"the encrypted flag cannot be specified since device {device} has a snapshot specified.",
            )
        return completed_snapshot(self.ec2_backend, identifier)

    def _check_root(self, image: Image) -> None:
        """That an image needs a root device with a snapshot is documented, not what is said without it."""
        device = self._get_param("RootDeviceName")
        if not device:
            raise refusal("MissingParameter", "The request must contain the parameter rootDeviceName")
        image.root_device = device
        root = next((disk for disk in image.disks if disk.device == device), None)
        if root is None or root.snapshot is None:
            raise refusal("InvalidBlockDeviceMapping", f"No snapshot is specified for the root device {device}.")
        if root.kind in NO_BOOT_TYPES:
            raise refusal("InvalidBlockDeviceMapping", f"A {root.kind} volume cannot be the root volume.")

    def _check_machine(self, image: Image) -> None:
        """ARM boots by UEFI alone (EC2 user guide, "EC2 instance boot modes"), and ENA is for HVM alone (API)."""
        is_arm = image.architecture.startswith("arm64")
        if is_arm and image.boot_mode not in (None, "uefi"):
            raise refusal(
                "InvalidParameterCombination", f"The boot mode {image.boot_mode} is not one of {image.architecture}."
            )
        if image.virtualization != "hvm" and (is_arm or image.boot_mode or image.ena):
            raise refusal(
                "InvalidParameterCombination",
                "This architecture, boot mode or EnaSupport needs the virtualization type hvm.",
            )
