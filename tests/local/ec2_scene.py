"""Instances and volumes as stories put them there, without a call of EC2."""

from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Reservation
from moto.ec2.utils import random_volume_id

from ec2_resources import (
    VOLUME_SIZE_GIB,
    FleetInstance,
    SharedVolume,
    default_key,
    set_state,
    terminate_disks,
)
from ec2_state import ACCOUNT, WORLD


def new_volume(backend: EC2Backend, wanted: dict[str, Any]) -> SharedVolume:
    """A volume as a story wants it: gp3 with 8 GiB in the region's first zone, unless it says otherwise."""
    encrypted, name = wanted.get("encrypted", False), wanted.get("zone", backend.region_name + "a")
    zone = backend.get_zone_by_name(name)
    if zone is None:
        raise ValueError(f"there is no zone {name} in {backend.region_name}")
    volume = SharedVolume(
        backend,
        random_volume_id(),
        wanted.get("size", VOLUME_SIZE_GIB),
        zone,
        encrypted=encrypted,
        kms_key_id=wanted.get("kmsKeyId", default_key(backend.region_name)) if encrypted else None,
        volume_type=wanted.get("type", "gp3"),
        iops=wanted.get("iops"),
        throughput=wanted.get("throughput"),
    )
    backend.volumes[volume.id] = volume
    if wanted.get("tags"):
        backend.tags[volume.id] = dict(wanted["tags"])
    return volume


def told_of(wanted: dict[str, Any]) -> dict[str, Any]:
    groups, codes = wanted.get("securityGroups"), wanted.get("productCodes")
    return {
        "bootMode": wanted.get("bootMode"),
        "enaSupport": wanted.get("ena", True),
        "subnetId": wanted.get("subnet"),
        "keyName": wanted.get("keyName"),
        "groupSet": groups and [{"groupId": each} for each in groups],
        "productCodes": codes and [{"productCode": each, "type": "marketplace"} for each in codes],
        "usageOperation": wanted.get("usageOperation", "RunInstances"),
    }


def new_instance(backend: EC2Backend, wanted: dict[str, Any]) -> tuple[FleetInstance, list[tuple[SharedVolume, str]]]:
    """An instance and its volumes, the first of which is the boot volume.

    The reservation is named after the instance, so that both are found by name.
    """
    volumes, state = wanted.get("volumes", []), wanted.get("state", "running")
    instance = FleetInstance(
        backend,
        wanted.get("image", "ami-00000000000000000"),
        None,
        [],
        instance_type=wanted.get("type", "t3.micro"),
        region_name=backend.region_name,
        placement=wanted.get("zone", backend.region_name + "a"),
    )
    instance.architecture = wanted.get("architecture", "x86_64")
    instance.told = told_of(wanted)
    WORLD.serial(instance.id)
    reservation = Reservation("r-" + instance.id[2:], ACCOUNT)
    reservation.instances.append(instance)
    backend.reservations[reservation.id] = reservation
    backend.tags[instance.id] = dict(wanted.get("tags") or {})
    if not volumes:
        instance.root_device_type = "instance-store"
    made = []
    for index, disk in enumerate(volumes):
        volume = new_volume(backend, {"zone": instance.availability_zone, **disk})
        if index == 0:
            instance.root_device_name = disk["device"]
        # As with RunInstances, the boot volume goes with the instance, others stay.
        backend.attach_volume(volume.id, instance.id, disk["device"], disk.get("deleteOnTermination", index == 0))
        made.append((volume, disk["device"]))
    if state == "terminated":
        terminate_disks(instance)
    set_state(instance, state)
    return instance, made
