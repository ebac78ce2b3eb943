"""The part of the control API that is about volumes as restores make them, and the keys they need."""

from collections.abc import Callable
from typing import Any

import ec2_keys
from ec2_resources import SharedVolume, backend_of, goes_with_instance, iso
from ec2_state import WORLD
from ec2_volume_status import progress

Json = dict[str, Any]


def list_volumes(query: Json) -> list[Json]:
    """Each volume as it is, not as EC2 tells it by now."""
    regions = [query["region"]] if query.get("region") else WORLD.settings["enabledRegions"]
    found = [one for region in regions for one in backend_of(region).volumes.values()]
    return [volume_facts(one) for one in sorted(found, key=lambda one: WORLD.serial(one.id))]


def volume_facts(volume: SharedVolume) -> Json:
    return {
        "region": volume.ec2_backend.region_name,
        "id": volume.id,
        "state": volume.status,
        "zone": volume.availability_zone,
        "size": volume.size,
        "type": volume.volume_type,
        "iops": volume.iops,
        "throughput": volume.throughput,
        "snapshot": volume.snapshot_id,
        "encrypted": volume.encrypted,
        "kmsKeyId": volume.kms_key_id,
        "createTime": iso(volume.create_time),
        "tags": dict(volume.ec2_backend.tags.get(volume.id, {})),
        "attachments": [
            {
                "instance": each.instance.id,
                "device": each.device,
                "state": each.status,
                "deleteOnTermination": goes_with_instance(each),
            }
            for each in volume.attachments
        ],
        "initializationRate": volume.initialization_rate,
        "initialized": progress(volume),
        "file": str(volume.file) if volume.file else None,
    }


def put_key(given: Json) -> Json:
    """Says in which state a key of KMS is from now on; it is named by its id, alias or ARN."""
    return {"arn": ec2_keys.put_key(given["region"], given["key"], given["state"])}


def list_keys(_: Json) -> list[Json]:
    return [{"region": region, "arn": arn, "state": state} for (region, arn), state in WORLD.keys.items()]


def hurry(given: Json) -> Json:
    """Ends what a volume, an instance or a task waits for: it is created, attached, stopped or done."""
    WORLD.hurry(given["id"])
    return {}


ACTS: dict[tuple[str, str], Callable[[Json], Any]] = {
    ("GET", "volumes"): list_volumes,
    ("POST", "hurry"): hurry,
    ("POST", "keys"): put_key,
    ("GET", "keys"): list_keys,
}
