"""Availability zones, as EC2 tells of them."""

from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.availability_zones_and_regions import Zone

from ec2_answers import Shape, answer
from ec2_describe import chosen
from ec2_refusal import refusal
from ec2_state import WORLD


def zones(backend: EC2Backend) -> list[Zone]:
    """Those of the region, and the local zones that the account has opted in to."""
    region = backend.region_name
    local = [name for name in WORLD.settings["localZones"] if name.startswith(region + "-")]
    return [
        *backend.describe_availability_zones(),
        *(Zone(name, region, f"{name[:-1]}-az{ord(name[-1]) - 96}", "local-zone") for name in local),
    ]


def find_zone(backend: EC2Backend, name: str | None, identifier: str | None = None) -> Zone:
    for zone in zones(backend):
        if name in (None, zone.name) and identifier in (None, zone.zone_id):
            return zone
    raise refusal("InvalidZone.NotFound", f"The zone '{name or identifier}' does not exist.")


def is_local(zone: Zone) -> bool:
    return zone.zone_type != "availability-zone"


def state(zone: Zone) -> str:
    return "unavailable" if zone.name in WORLD.settings["unavailableZones"] else "available"


def group(zone: Zone) -> str:
    return zone.name[:-1] if is_local(zone) else f"{zone.region_name}-zg-1"


def opt_in(zone: Zone) -> str:
    return "opted-in" if is_local(zone) else "opt-in-not-required"


def border(zone: Zone) -> str:
    return zone.name[:-1] if is_local(zone) else zone.region_name


def zone_shape(zone: Zone) -> Shape:
    return {
        "zoneName": zone.name,
        "zoneId": zone.zone_id,
        "zoneState": state(zone),
        "regionName": zone.region_name,
        "zoneType": zone.zone_type,
        "optInStatus": opt_in(zone),
        "groupName": group(zone),
        "networkBorderGroup": border(zone),
        "messageSet": [],
    }


ZONE_FIELDS = {
    "zone-name": lambda one: one.name,
    "zone-id": lambda one: one.zone_id,
    "zone-type": lambda one: one.zone_type,
    "region-name": lambda one: one.region_name,
    "state": state,
    "opt-in-status": opt_in,
    "group-name": group,
}


class ZoneCalls:
    """Stands before moto's EC2Response, with the filters of DescribeCalls, and answers this action."""

    def describe_availability_zones(self) -> str:
        self.error_on_dryrun()
        found = zones(self.ec2_backend)
        found = self._named(found, "ZoneNames", lambda one: one.name, "availability zone")
        found = self._named(found, "ZoneIds", lambda one: one.zone_id, "availability zone-id")
        found = chosen(self.ec2_backend, found, self._get_param("Filters", []), ZONE_FIELDS)
        return answer("DescribeAvailabilityZones", {"availabilityZoneInfo": list(map(zone_shape, found))})

    def _named(self, found: list[Zone], parameter: str, field: Any, kind: str) -> list[Zone]:
        wanted = self._get_param(parameter, [])
        unknown = [each for each in wanted if each not in map(field, found)]
        if unknown:
            raise refusal("InvalidParameterValue", f"Invalid {kind}: [{', '.join(unknown)}]")
        return [one for one in found if field(one) in wanted] if wanted else found
