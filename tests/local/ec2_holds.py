"""What keeps a snapshot from being deleted: images that are made of it, and locks on it."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models import EC2Backend
from moto.moto_api._internal import mock_random

from ec2_answers import answer, tag_set
from ec2_refusal import refusal
from ec2_resources import TimedSnapshot, backend_of
from ec2_state import ACCOUNT, WORLD

LOCK_MODES = ("governance", "compliance", "compliance-cooloff")
LOCK_DAYS = 7
COOL_OFF_HOURS = 24


class Image:
    def __init__(self, backend: EC2Backend, snapshots: list[str], name: str | None, disabled: bool) -> None:
        self.id = f"ami-{mock_random.get_random_hex(17)}"
        self.name, self.snapshots, self.disabled = name or self.id, snapshots, disabled
        self.ec2_backend, self.made_at = backend, datetime.now(UTC)
        self.architecture = "x86_64"

    @property
    def root_snapshot(self) -> str:
        return self.snapshots[0]

    @property
    def state(self) -> str:
        return "disabled" if self.disabled else "available"


class Lock:
    def __init__(self, snapshot: TimedSnapshot, mode: str, until: datetime | None) -> None:
        self.id, self.mode = snapshot.id, mode
        self.made_at = datetime.now(UTC)
        self.until = until or self.made_at + timedelta(days=LOCK_DAYS)

    @property
    def state(self) -> str:
        return "expired" if self.until <= datetime.now(UTC) else self.mode


def add_image(region: str, snapshots: Iterable[str], name: str | None = None, disabled: bool = False) -> Image:
    backend = backend_of(region)
    for identifier in snapshots:
        backend.get_snapshot(identifier)
    image = Image(backend, list(snapshots), name, disabled)
    WORLD.serial(image.id)
    WORLD.images.setdefault(region, {})[image.id] = image
    return image


def add_lock(region: str, snapshot: str, mode: str, until: datetime | None = None) -> None:
    if mode not in LOCK_MODES:
        raise ValueError(f"a lock's mode is one of {', '.join(LOCK_MODES)}")
    WORLD.locks.setdefault(region, {})[snapshot] = Lock(backend_of(region).get_snapshot(snapshot), mode, until)


def refuse_if_held(region: str, snapshot: TimedSnapshot) -> None:
    users = [image.id for image in WORLD.images.get(region, {}).values() if snapshot.id in image.snapshots]
    if snapshot.in_use:
        users.append("ami-00000000000000000")
    if users:
        raise refusal("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {', '.join(users)}")
    lock = WORLD.locks.get(region, {}).get(snapshot.id)
    if lock is not None and lock.state != "expired":
        # AWS documents that EC2 refuses, not with which code; whoever reads this one must not rely on it.
        raise refusal(
            "SnapshotLocked", f"The snapshot {snapshot.id} is locked in {lock.mode} mode and cannot be deleted."
        )


def image_shape(image: Image) -> dict[str, Any]:
    disks = [
        {
            "deviceName": "/dev/sda1" if index == 0 else f"/dev/sd{chr(ord('e') + index)}",
            "ebs": {
                "deleteOnTermination": True,
                "snapshotId": snapshot,
                "volumeSize": 8,
                "volumeType": "gp3",
                "encrypted": False,
            },
        }
        for index, snapshot in enumerate(image.snapshots)
    ]
    return {
        "imageId": image.id,
        "imageLocation": f"{ACCOUNT}/{image.name}",
        "imageState": image.state,
        "imageOwnerId": ACCOUNT,
        "creationDate": image.made_at,
        "isPublic": False,
        "architecture": "x86_64",
        "imageType": "machine",
        "name": image.name,
        "rootDeviceType": "ebs",
        "rootDeviceName": "/dev/sda1",
        # Images also name disks that have no snapshot.
        "blockDeviceMapping": [*disks, {"deviceName": "/dev/sdb", "virtualName": "ephemeral0"}],
        "virtualizationType": "hvm",
        "tagSet": tag_set(image.ec2_backend, image.id),
    }


def lock_shape(lock: Lock) -> dict[str, Any]:
    cools = lock.mode == "compliance-cooloff"
    return {
        "ownerId": ACCOUNT,
        "snapshotId": lock.id,
        "lockState": lock.state,
        "lockDuration": max(1, math.ceil((lock.until - lock.made_at) / timedelta(days=1))),
        "coolOffPeriod": COOL_OFF_HOURS if cools else None,
        "coolOffPeriodExpiresOn": lock.made_at + timedelta(hours=COOL_OFF_HOURS) if cools else None,
        "lockCreatedOn": lock.made_at,
        "lockDurationStartTime": lock.made_at,
        "lockExpiresOn": lock.until,
    }


IMAGE_FIELDS = {
    "image-id": lambda one: one.id,
    "name": lambda one: one.name,
    "state": lambda one: one.state,
    "owner-id": lambda one: ACCOUNT,
    "is-public": lambda one: "false",
    "block-device-mapping.snapshot-id": lambda one: one.snapshots,
}
LOCK_FIELDS = {"lock-state": lambda one: one.state}


class HoldCalls:
    """Stands before moto's EC2Response, with the pages and filters of DescribeCalls, and answers these actions."""

    def describe_images(self) -> str:
        self.error_on_dryrun()
        wanted, owners = self._get_param("ImageIds", []), self._get_param("Owners", [])
        self._no_ids_with_pages(wanted, "imageIdsSet")
        with_disabled = self._get_param("IncludeDisabled", False)
        shown = [one for one in WORLD.images.get(self.region, {}).values() if with_disabled or not one.disabled]
        if wanted:
            known = {one.id: one for one in shown}
            for identifier in wanted:
                if identifier not in known:
                    raise refusal("InvalidAMIID.NotFound", f"The image id '[{identifier}]' does not exist")
            shown = [known[identifier] for identifier in dict.fromkeys(wanted)]
        if owners and not {"self", ACCOUNT} & set(owners):
            shown = []
        shown, token = self._page_of(shown, IMAGE_FIELDS)
        return answer("DescribeImages", {"imagesSet": list(map(image_shape, shown)), "nextToken": token})

    def deregister_image(self) -> str:
        self.error_on_dryrun()
        identifier = self._get_param("ImageId")
        if WORLD.images.get(self.region, {}).pop(identifier, None) is None:
            raise refusal("InvalidAMIID.NotFound", f"The image id '[{identifier}]' does not exist")
        return answer("DeregisterImage", {"return": True})

    def describe_locked_snapshots(self) -> str:
        self.error_on_dryrun()
        wanted = self._get_param("SnapshotIds", [])
        self._no_ids_with_pages(wanted, "snapshotIdSet")
        for identifier in wanted:
            self.ec2_backend.get_snapshot(identifier)
        shown = [
            one
            for one in WORLD.locks.get(self.region, {}).values()
            if one.id in self.ec2_backend.snapshots and (not wanted or one.id in wanted)
        ]
        shown, token = self._page_of(shown, LOCK_FIELDS)
        return answer("DescribeLockedSnapshots", {"snapshotSet": list(map(lock_shape, shown)), "nextToken": token})
