"""Creating and deleting volumes, as EBS does it.

A volume is "creating" for a while. Its key is looked at only then: with one that
cannot be used the call has succeeded, and the volume is gone (aws-sdk-ruby issue
1222, kubernetes issue 62171).
"""

import time
from typing import Any

from moto.core.responses import EmptyResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.availability_zones_and_regions import Zone
from moto.ec2.utils import random_volume_id

from ec2_answers import answer, volume_shape
from ec2_keys import is_usable, key_arn
from ec2_refusal import refusal
from ec2_resources import SharedVolume, TimedSnapshot, copied, default_key, forget
from ec2_state import WORLD
from ec2_volume_limits import DEFAULT_TYPE, MULTI_ATTACH_TYPES, check
from ec2_zones import find_zone, is_local

# MiB/s.
MIN_RATE, MAX_RATE = 100, 300


def finish_creating(volume: SharedVolume, keys: list[tuple[str, str]]) -> None:
    """What becomes of a volume that was being created."""
    backend = volume.ec2_backend
    if volume.id not in backend.volumes:
        return
    if not all(is_usable(region, key) for region, key in keys):
        forget(backend, backend.volumes, volume.id)
    elif volume.state == "creating":
        volume.state, volume.ready_at = "available", time.monotonic()


def new_from(
    backend: EC2Backend, zone: Any, size: int, kind: str, snapshot: TimedSnapshot | None = None, **more: Any
) -> SharedVolume:
    """A volume with what its snapshot has."""
    volume = SharedVolume(
        backend,
        random_volume_id(),
        size,
        zone,
        snapshot_id=snapshot.id if snapshot else None,
        volume_type=kind,
        **more,
    )
    if snapshot and snapshot.file:
        volume.file = copied(snapshot.file, volume.id)
    backend.volumes[volume.id] = volume
    return volume


def begin(
    backend: EC2Backend, zone: Any, size: int, kind: str, snapshot: TimedSnapshot | None = None, **more: Any
) -> SharedVolume:
    """One that is being created."""
    volume = new_from(backend, zone, size, kind, snapshot, **more)
    volume.state, volume.lags = "error" if WORLD.fault_of_kind("broken-volume") else "creating", True
    volume.ready_at = None
    region = backend.region_name
    keys = [(region, key) for key in (volume.kms_key_id, snapshot.kms_key_id if snapshot else None) if key]
    WORLD.later(WORLD.settings["volumeSeconds"], volume.id, lambda: finish_creating(volume, keys))
    return volume


def completed_snapshot(backend: EC2Backend, identifier: str) -> TimedSnapshot:
    snapshot = backend.get_snapshot(identifier)
    if snapshot.storage_tier == "archive":
        raise refusal("IncorrectState", f"Snapshot {identifier} is archived. Restore it before you use it.")
    if snapshot.status != "completed":
        raise refusal("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")
    return snapshot


def check_rate(backend: EC2Backend, rate: int) -> int:
    """Refuses a rate that EBS refuses: EBS user guide, "Initialize Amazon EBS volumes", which names no codes."""
    limit = WORLD.settings["initializationRateLimit"]
    if not MIN_RATE <= rate <= MAX_RATE:
        raise refusal(
            "InvalidParameterValue",
            f"Volume initialization rate of {rate} is invalid; it is from {MIN_RATE} to {MAX_RATE} MiBps.",
        )
    busy = sum(one.initialization_rate or 0 for one in backend.volumes.values() if one.initialization_left())
    if busy + rate > limit:
        raise refusal(
            "VolumeInitializationRateLimitExceeded",
            f"The cumulative volume initialization rate of {busy + rate} MiBps exceeds the limit of {limit} MiBps.",
        )
    return rate


class VolumeCalls:
    """Stands before moto's EC2Response, with the parts of RequestCalls and DescribeCalls, and answers these actions."""

    def create_volume(self) -> str:
        self.error_on_dryrun()
        [tags] = self._specified_tags("volume")
        made = self._made_before("CreateVolume")
        if made is None:
            made = self._create_volume(tags)
            self._remember("CreateVolume", made)
        elif made.id not in self.ec2_backend.volumes:
            # As seen of a volume that vanished for its key: crossplane's provider-aws issue 1858.
            raise refusal(
                "IdempotentParameterMismatch",
                "The client token you have provided is associated with a resource that is already deleted. "
                "Please use a different client token.",
            )
        shape = volume_shape(made)
        # The answer says creating, however short the clock of a story is.
        return answer("CreateVolume", {**shape, "status": "creating", "attachmentSet": None})

    def _create_volume(self, tags: dict[str, str]) -> SharedVolume:
        backend, source = self.ec2_backend, self._get_param("SnapshotId")
        snapshot = completed_snapshot(backend, source) if source else None
        kind = self._get_param("VolumeType") or DEFAULT_TYPE
        iops, throughput = self._get_param("Iops"), self._get_param("Throughput")
        zone, size = self._zone(), self._size(snapshot)
        check(kind, size, iops, throughput)
        shared = bool(self._get_param("MultiAttachEnabled", False))
        if shared and kind not in MULTI_ATTACH_TYPES:
            raise refusal("InvalidParameterCombination", f"Multi-Attach is not supported for {kind} volumes.")
        encrypted, key = self._encryption(snapshot)
        rate = self._initialization_rate(snapshot, zone)
        volume = begin(
            backend,
            zone,
            size,
            kind,
            snapshot,
            iops=iops,
            throughput=throughput,
            encrypted=encrypted,
            kms_key_id=key,
            multi_attach_enabled=shared,
        )
        volume.initialization_rate = rate
        backend.tags[volume.id] = tags
        return volume

    def _zone(self) -> Zone:
        name, identifier = self._get_param("AvailabilityZone"), self._get_param("AvailabilityZoneId")
        if not name and not identifier:
            raise refusal("MissingParameter", "The request must contain the parameter zone")
        if name and identifier:
            raise refusal(
                "InvalidParameterCombination",
                "Either AvailabilityZone or AvailabilityZoneId must be specified, but not both.",
            )
        return find_zone(self.ec2_backend, name, identifier)

    def _size(self, snapshot: TimedSnapshot | None) -> int:
        size = self._get_param("Size")
        if size is None and snapshot is None:
            raise refusal("MissingParameter", "The request must contain the parameter size/snapshot")
        if snapshot is None:
            return size
        if size is not None and size < snapshot.volume.size:
            # RunInstances says it so, with another code; of CreateVolume only the rule is documented.
            raise refusal(
                "InvalidParameterValue",
                f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', "
                f"expect size >= {snapshot.volume.size}GB",
            )
        return size or snapshot.volume.size

    def _encryption(self, snapshot: TimedSnapshot | None) -> tuple[bool, str | None]:
        """Whether it is encrypted, and with which key: that of its snapshot, unless another one is named.

        "If KmsKeyId is specified, the encrypted state must be true", says the
        API, and not whether an encrypted snapshot is enough: it is not, here.
        """
        asked, key = bool(self._get_param("Encrypted", False)), self._get_param("KmsKeyId")
        if key and not asked:
            raise refusal(
                "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
            )
        if key:
            return True, key_arn(self.region, key)
        if snapshot and snapshot.encrypted:
            return True, snapshot.kms_key_id
        return asked, default_key(self.region) if asked else None

    def _initialization_rate(self, snapshot: TimedSnapshot | None, zone: Zone) -> int | None:
        rate = self._get_param("VolumeInitializationRate")
        if rate is not None and snapshot is None:
            raise refusal(
                "InvalidParameterCombination",
                "The parameter VolumeInitializationRate is supported only for volumes created from snapshots.",
            )
        if rate is not None and is_local(zone):
            raise refusal(
                "InvalidParameterCombination",
                "The parameter VolumeInitializationRate is not supported for volumes in Local Zones.",
            )
        return None if rate is None else check_rate(self.ec2_backend, rate)

    def delete_volume(self) -> EmptyResult:
        self.error_on_dryrun()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        if volume.attached:
            raise refusal(
                "VolumeInUse", f"Volume {volume.id} is currently attached to {volume.attached[0].instance.id}"
            )
        forget(self.ec2_backend, self.ec2_backend.volumes, volume.id)
        return EmptyResult()
