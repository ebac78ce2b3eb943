"""DescribeVolumeStatus: how a volume does, and how much of its snapshot has reached it."""

import math
import time

from ec2_answers import Shape, answer
from ec2_resources import SharedVolume
from ec2_state import WORLD

PROVISIONED_TYPES = ("io1", "io2")


def progress(volume: SharedVolume) -> int | None:
    """How much of it is initialised, in per cent; None of an empty volume."""
    left = volume.initialization_left()
    if left is None:
        return None
    return 100 if left == 0 else min(99, int((1 - left / WORLD.settings["initializationSeconds"]) * 100))


def details(volume: SharedVolume) -> list[dict[str, str]]:
    """EBS user guide, "Monitor the status of Amazon EBS volume initialization", has the names."""
    done = progress(volume)
    shown = [
        {"name": "io-enabled", "status": "passed"},
        {
            "name": "io-performance",
            "status": "normal" if volume.volume_type in PROVISIONED_TYPES and volume.attached else "not-applicable",
        },
    ]
    if done is not None:
        shown.append({"name": "initialization-state", "status": "completed" if done == 100 else "initializing"})
    return shown


def overall(volume: SharedVolume) -> str:
    return "insufficient-data" if volume.status == "creating" else "ok"


def initialization(volume: SharedVolume) -> Shape | None:
    """None of an empty volume, and of one that it is not told of yet."""
    if volume.ready_at is None or time.monotonic() < volume.ready_at + WORLD.settings["initializationLagSeconds"]:
        return None
    done, with_rate = progress(volume), volume.initialization_rate is not None
    if done is None:
        return None
    return {
        "initializationType": "provisioned-rate" if with_rate else "default",
        "progress": done,
        "estimatedTimeToCompleteInSeconds": math.ceil(volume.initialization_left()) if with_rate else None,
    }


def status_shape(volume: SharedVolume) -> Shape:
    return {
        "volumeId": volume.id,
        "availabilityZone": volume.availability_zone,
        "availabilityZoneId": volume.zone.zone_id,
        "volumeStatus": {"status": overall(volume), "details": details(volume)},
        "initializationStatusDetails": initialization(volume),
        "actionsSet": [],
        "eventsSet": [],
    }


FIELDS = {
    "availability-zone": lambda one: one.availability_zone,
    "volume-status.status": overall,
    "volume-status.details-name": lambda one: [each["name"] for each in details(one)],
    "volume-status.details-status": lambda one: [each["status"] for each in details(one)],
}


class VolumeStatusCalls:
    """Stands before moto's EC2Response, with the pages and filters of DescribeCalls, and answers this action."""

    def describe_volume_status(self) -> str:
        self.error_on_dryrun()
        shown, token = self._page_of(self._described_volumes(), FIELDS)
        return answer("DescribeVolumeStatus", {"volumeStatusSet": list(map(status_shape, shown)), "nextToken": token})
