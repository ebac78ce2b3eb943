"""moto's volumes, instances and snapshots, extended by what EBS does in time."""

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_block_store
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_block_store import Snapshot, Volume
from moto.ec2.models.instances import Instance
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix, random_snapshot_id

from ebs_blocks import BLOCK_BYTES, Image, image_of
from ec2_state import ACCOUNT, COPY_VOLUME, WORLD
from ec2_volume_limits import performance

STATE_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
VOLUME_SIZE_GIB = 8

# moto sorts its model classes by the second part of their module's name.
MOTO_MODULE = "moto.ec2.models"


class VolumeStub(NamedTuple):
    """What a snapshot keeps of its volume, which it outlives."""

    id: str
    size: int


def backend_of(region: str) -> EC2Backend:
    return ec2_backends[ACCOUNT][region]


def iso(moment: datetime) -> str:
    """A moment as EC2 writes it. moto's own times are UTC without a zone."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def default_key(region: str) -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/aws-ebs"


def copied(file: Path, owner: str) -> Path:
    """A copy of a disk image beside it, named after the volume or snapshot whose content it is."""
    copy = file.with_name(f"{file.name.split('.snap-')[0].split('.vol-')[0]}.{owner}")
    # A disk image is mostly holes.
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", "--", file, copy], check=True)
    return copy


class TimedSnapshot(Snapshot):
    """A snapshot or a copy that is pending for some seconds and then is done."""

    __module__ = MOTO_MODULE

    def __init__(
        self,
        backend: EC2Backend,
        volume: VolumeStub,
        description: str,
        seconds: float,
        *,
        encrypted: bool = False,
        kms_key_id: str | None = None,
        ends: str = "completed",
        state_message: str | None = None,
        start_time: datetime | None = None,
        lags: bool = True,
    ) -> None:
        if encrypted and not kms_key_id:
            kms_key_id = default_key(backend.region_name)
        self.ends, self.seconds, self.lags = ends, seconds, lags
        self.born, self.begun = time.monotonic(), utcnow()
        self._state_message = state_message
        super().__init__(backend, random_snapshot_id(), volume, description or "", encrypted, kms_key_id)
        self.status = ends
        self.start_time = start_time or utcnow()
        self.in_use = False
        # What it holds: its volume's file, or so many blocks that were prepared without one.
        self.file: Path | None = None
        self.blocks: int | None = None
        # Block -> how it is read otherwise (ebs_control.py).
        self.corrupt: dict[int, str] = {}
        backend.snapshots[self.id] = self
        self.serial = WORLD.serial(self.id)
        if volume.id == COPY_VOLUME and self.status == "pending":
            WORLD.copies.setdefault(backend.region_name, []).append(self)

    @property
    def status(self) -> str:
        return "pending" if time.monotonic() < self.born + self.seconds else self.ends

    @status.setter
    def status(self, value: str) -> None:
        # moto's constructor sets "completed"; how this one ends is set above.
        pass

    @property
    def progress(self) -> str:
        if self.status != "pending":
            return "100%" if self.ends == "completed" else "0%"
        return f"{min(99, int((time.monotonic() - self.born) / self.seconds * 100))}%"

    @property
    def completion_time(self) -> datetime | None:
        """EC2 tells it of completed ones. What was put there completed was so from its start on."""
        if self.status != "completed":
            return None
        return self.begun + timedelta(seconds=self.seconds) if self.seconds else self.start_time

    @property
    def state_message(self) -> str | None:
        return None if self.status == "pending" else self._state_message

    def is_in_flight(self) -> bool:
        return self.status == "pending" and self.id in self.ec2_backend.snapshots

    @property
    def image(self) -> Image:
        return image_of(self.file, self.blocks)

    @property
    def full_bytes(self) -> int:
        """All blocks that were written; where nothing is said of them, as of a volume that was written to its end."""
        if self.file is None and self.blocks is None:
            return self.volume.size * 2**30
        return len(self.image.indices) * BLOCK_BYTES

    def hold(self, file: Path) -> None:
        """Keeps what a volume's file has at this moment."""
        self.file = copied(file, self.id)

    def is_described(self) -> bool:
        """Whether eventual consistency shows it already."""
        return not self.lags or time.monotonic() >= self.born + WORLD.settings["describeLagSeconds"]


class SharedVolume(Volume):
    """A volume that is made in time and initialised, and knows several
    attachments (Multi-Attach); moto's is there at once and knows one."""

    __module__ = MOTO_MODULE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.attached = []
        # What is on it, where a story gives it a disk image.
        self.file: Path | None = None
        # "creating", "available" or "error" while it is not attached.
        self.state = "available"
        self.initialization_rate: int | None = None
        self.lags = False
        super().__init__(*args, **kwargs)
        self.iops, self.throughput = performance(self.volume_type, self.size, self.iops, self.throughput)
        self.born = time.monotonic()
        # From when on it is initialised from its snapshot: not yet while it is being created.
        self.ready_at: float | None = self.born
        WORLD.serial(self.id)

    @property
    def status(self) -> str:
        return "in-use" if self.attached else self.state

    def is_described(self) -> bool:
        """Whether eventual consistency shows it already."""
        return not self.lags or time.monotonic() >= self.born + WORLD.settings["describeLagSeconds"]

    def initialization_left(self) -> float | None:
        """The seconds until it is initialised, 0 when it is, None of an empty volume."""
        if not self.snapshot_id or self.state == "error":
            return None
        if self.ready_at is None:
            return WORLD.settings["initializationSeconds"]
        return max(0.0, self.ready_at + WORLD.settings["initializationSeconds"] - time.monotonic())

    @property
    def attachments(self) -> list[Any]:
        return list(self.attached)

    @property
    def attachment(self) -> Any:
        return self.attached[0] if self.attached else None

    @attachment.setter
    def attachment(self, value: Any) -> None:
        if value is None:
            self.attached = self.attached[1:]
        else:
            self.attached.append(value)


class FleetInstance(Instance):
    """An instance without network interfaces: a fleet of thousands is made in
    seconds, and does not run out of the default subnet's addresses."""

    __module__ = MOTO_MODULE
    # What DescribeInstances tells of it besides, by its names in EC2's XML.
    told: dict[str, Any] = {}

    def prep_nics(self, *args: Any, **kwargs: Any) -> None:
        self.nics = {}

    def teardown_defaults(self) -> None:
        terminate_disks(self)


def set_state(instance: Instance, state: str) -> None:
    if state not in STATE_CODES:
        raise ValueError(f"an instance's state is one of {', '.join(STATE_CODES)}")
    instance._state.name, instance._state.code = state, STATE_CODES[state]


def terminate_disks(instance: Instance) -> None:
    backend = instance.ec2_backend
    for device, block in instance.get_block_device_mapping:
        volume = backend.volumes.get(block.volume_id)
        if volume is not None:
            volume.attached = [each for each in volume.attached if each.instance is not instance]
            if block.delete_on_termination and not volume.attached:
                forget(backend, backend.volumes, volume.id)
        del instance.block_device_mapping[device]


def goes_with_instance(attachment: Any) -> bool:
    block = attachment.instance.block_device_mapping.get(attachment.device)
    return bool(block and block.delete_on_termination)


def detach_everywhere(volume: SharedVolume) -> None:
    for attachment in volume.attachments:
        attachment.instance.block_device_mapping.pop(attachment.device, None)
    volume.attached = []


def forget(backend: EC2Backend, resources: dict[str, Any], identifier: str) -> None:
    del resources[identifier]
    backend.tags.pop(identifier, None)


def extend_moto() -> None:
    """Puts these models in the places of moto's own, once per process."""
    slow_get_instance = EC2Backend.get_instance

    def get_instance(self: EC2Backend, instance_id: str) -> Instance:
        # moto walks through all instances; ours are found by their reservation's name.
        reservation = self.reservations.get("r-" + str(instance_id)[2:])
        return reservation.instances[0] if reservation else slow_get_instance(self, instance_id)

    def get_tags(self: TaggedEC2Resource) -> list[dict[str, str]]:
        # moto walks through the tags of all resources to find those of one.
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "")
        return [
            {"resource_id": self.id, "key": key, "value": value, "resource_type": kind}
            for key, value in self.ec2_backend.tags.get(self.id, {}).items()
        ]

    def get_snapshot(self: EC2Backend, snapshot_id: str) -> Snapshot:
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None:
            raise EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        return snapshot

    def do_resources_exist(self: EC2Backend, resource_ids: list[str]) -> bool:
        images = WORLD.images.get(self.region_name, {})
        for identifier in resource_ids:
            if identifier.startswith("ami-") and identifier not in images:
                raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{identifier}]' does not exist")
        return of_moto(self, [each for each in resource_ids if each not in images])

    of_moto = EC2Backend.do_resources_exist
    EC2Backend.do_resources_exist = do_resources_exist
    EC2Backend.get_instance = get_instance
    EC2Backend.get_snapshot = get_snapshot
    TaggedEC2Resource.get_tags = get_tags
    elastic_block_store.Volume = SharedVolume
    # Otherwise moto makes some 1,300 images in each region, each with a snapshot.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"


extend_moto()
