"""The Describe calls: EC2's filters, pages and refusals over moto's models.

moto leaves these out or takes them more loosely than EC2 does.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from moto.ec2.models import EC2Backend

from ec2_answers import answer, instance_shape, snapshot_shape, volume_shape
from ec2_refusal import asked_for, refusal
from ec2_resources import SharedVolume, goes_with_instance, iso
from ec2_state import ACCOUNT, WORLD

# What a filter looks at: the value, or the list of values, that a resource has there.
Field = Callable[[Any], Any]
Fields = dict[str, Field]
MAX_FILTERS = 50
MAX_FILTER_VALUES = 200
PAGE = 1000
SMALLEST_PAGE = 5


# --- filters ---


def value_test(values: Iterable[str]) -> Callable[[str], bool]:
    """A test that any of the filter's values passes. `*` and `?` stand for
    characters unless a backslash stands before them; letters have their case."""
    exact, patterns = set(), []
    for value in values:
        if not re.search(r"[*?\\]", value):
            exact.add(value)
            continue
        parts = re.findall(r"\\.|.", value, flags=re.DOTALL)
        wild = {"*": ".*", "?": "."}
        source = "".join(wild.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
        patterns.append(re.compile(source, re.DOTALL))
    return lambda found: found in exact or any(pattern.fullmatch(found) for pattern in patterns)


def filtered_field(backend: EC2Backend, name: str, fields: Fields) -> Field:
    if name.startswith("tag:"):
        return lambda one: backend.tags.get(one.id, {}).get(name.removeprefix("tag:"))
    if name == "tag-key":
        return lambda one: list(backend.tags.get(one.id, {}))
    if name == "tag-value":
        return lambda one: list(backend.tags.get(one.id, {}).values())
    if name in fields:
        return fields[name]
    raise refusal("InvalidParameterValue", f"The filter '{name}' is invalid")


def chosen(
    backend: EC2Backend, resources: Iterable[Any], filters: Sequence[dict[str, Any]], fields: Fields
) -> list[Any]:
    """The resources that pass every filter. `fields` are the filters that are not about tags, by name."""
    if len(filters) > MAX_FILTERS:
        raise refusal("FilterLimitExceeded", f"The maximum number of filters is {MAX_FILTERS}")
    tests = []
    for each in filters:
        name, values = each.get("Name", ""), each.get("Values", [])
        if len(values) > MAX_FILTER_VALUES:
            raise refusal(
                "FilterLimitExceeded",
                f"The maximum number of filter values specified on a single call is {MAX_FILTER_VALUES}",
            )
        tests.append((filtered_field(backend, name, fields), value_test(values)))

    def passes(one: Any) -> bool:
        for found, test in tests:
            value = found(one)
            if value is None:
                return False
            if not any(map(test, value)) if isinstance(value, list) else not test(value):
                return False
        return True

    return [one for one in resources if passes(one)]


SNAPSHOT_FIELDS = {
    "snapshot-id": lambda one: one.id,
    "volume-id": lambda one: one.volume.id,
    "status": lambda one: one.status,
    "owner-id": lambda one: one.owner_id,
    "description": lambda one: one.description,
    "encrypted": lambda one: str(one.encrypted).lower(),
    # EC2 writes milliseconds, people leave them out: both are met.
    "start-time": lambda one: [iso(one.start_time), iso(one.start_time)[:-5] + "Z"],
    "progress": lambda one: one.progress,
    "volume-size": lambda one: str(one.volume.size),
}
INSTANCE_FIELDS = {
    "instance-id": lambda one: one.id,
    "instance-state-name": lambda one: one.state,
    "instance-state-code": lambda one: str(one.state_code),
    "instance-type": lambda one: one.instance_type,
    "image-id": lambda one: one.image_id,
    "availability-zone": lambda one: one.availability_zone,
    "root-device-name": lambda one: one.root_device_name,
    "root-device-type": lambda one: one.root_device_type,
    "owner-id": lambda one: one.owner_id,
    "block-device-mapping.volume-id": lambda one: [block.volume_id for _, block in one.get_block_device_mapping],
    "block-device-mapping.device-name": lambda one: [device for device, _ in one.get_block_device_mapping],
}
VOLUME_FIELDS = {
    "volume-id": lambda one: one.id,
    "status": lambda one: one.status,
    "encrypted": lambda one: str(one.encrypted).lower(),
    "availability-zone": lambda one: one.availability_zone,
    "availability-zone-id": lambda one: one.zone.zone_id,
    "create-time": lambda one: iso(one.create_time),
    "snapshot-id": lambda one: one.snapshot_id,
    "volume-type": lambda one: one.volume_type,
    "size": lambda one: str(one.size),
    "attachment.instance-id": lambda one: [each.instance.id for each in one.attachments],
    "attachment.device": lambda one: [each.device for each in one.attachments],
    "attachment.status": lambda one: [each.status for each in one.attachments],
    "attachment.delete-on-termination": lambda one: [str(goes_with_instance(each)).lower() for each in one.attachments],
}


# --- pages ---


def page(
    resources: Iterable[Any], size: int | None, token: str | None, sizes: tuple[int, int] = (SMALLEST_PAGE, PAGE)
) -> tuple[list[Any], str | None]:
    """One page of the resources in order of creation, and the next page's token.

    A token holds the serial number of the last one shown, not an offset, so that
    what is deleted between two pages shifts nothing.
    """
    smallest, largest = sizes
    if size is not None and not smallest <= size <= largest:
        raise refusal(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. "
            f"Expecting a value between {smallest} and {largest}.",
        )
    after = 0
    if token:
        try:
            after = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("after:"))
        except ValueError:
            raise refusal("InvalidNextToken", "The specified pagination token is not valid.") from None
    rest = sorted((one for one in resources if WORLD.serial(one.id) > after), key=lambda one: WORLD.serial(one.id))
    shown = rest[: size or PAGE]
    more = len(rest) > len(shown)
    return shown, base64.urlsafe_b64encode(f"after:{WORLD.serial(shown[-1].id)}".encode()).decode() if more else None


class DescribeCalls:
    """Stands before moto's EC2Response and answers these actions in its place."""

    def _no_ids_with_pages(self, ids: Sequence[str], name: str) -> None:
        if ids and self._get_param("MaxResults") is not None:
            raise refusal(
                "InvalidParameterCombination", f"The parameter {name} cannot be used with the parameter maxResults"
            )

    def _page_of(
        self, resources: Iterable[Any], fields: Fields, sizes: tuple[int, int] = (SMALLEST_PAGE, PAGE)
    ) -> tuple[list[Any], str | None]:
        """EC2 cuts pages first and filters them then: with a page size, an answer
        may be empty and still have a token."""
        size, token = self._get_param("MaxResults"), self._get_param("NextToken")
        filters = self._get_param("Filters", [])
        if size is None and not token:
            return page(chosen(self.ec2_backend, resources, filters, fields), size, token)
        shown, more = page(resources, size, token, sizes)
        return chosen(self.ec2_backend, shown, filters, fields), more

    def describe_snapshots(self) -> str:
        self.error_on_dryrun()
        wanted = self._get_param("SnapshotIds", [])
        self._no_ids_with_pages(wanted, "snapshotSet")
        described = [one for one in self.ec2_backend.snapshots.values() if one.is_described()]
        described = asked_for(described, wanted, "InvalidSnapshot.NotFound", "The snapshot '{}' does not exist.")
        owners = self._get_param("OwnerIds", [])
        if owners:
            owners = [ACCOUNT if owner == "self" else owner for owner in owners]
            described = [one for one in described if one.owner_id in owners]
        shown, token = self._page_of(described, SNAPSHOT_FIELDS)
        return answer("DescribeSnapshots", {"snapshotSet": list(map(snapshot_shape, shown)), "nextToken": token})

    def describe_instances(self) -> str:
        self.error_on_dryrun()
        wanted = self._get_param("InstanceIds", [])
        self._no_ids_with_pages(wanted, "instancesSet")
        if wanted:
            found = [self.ec2_backend.get_instance(identifier) for identifier in dict.fromkeys(wanted)]
        else:
            found = self.ec2_backend.all_instances()
        shown, token = self._page_of(found, INSTANCE_FIELDS)
        reservations = [
            {
                "reservationId": "r-" + instance.id[2:],
                "ownerId": instance.owner_id,
                "instancesSet": [instance_shape(instance)],
            }
            for instance in shown
        ]
        return answer("DescribeInstances", {"reservationSet": reservations, "nextToken": token})

    def _described_volumes(self) -> list[SharedVolume]:
        """Those that are asked for, or all, as far as eventual consistency shows them."""
        described = [one for one in self.ec2_backend.volumes.values() if one.is_described()]
        wanted = self._get_param("VolumeIds", [])
        return asked_for(described, wanted, "InvalidVolume.NotFound", "The volume '{}' does not exist.")

    def describe_volumes(self) -> str:
        self.error_on_dryrun()
        shown, token = self._page_of(self._described_volumes(), VOLUME_FIELDS)
        return answer("DescribeVolumes", {"volumeSet": list(map(volume_shape, shown)), "nextToken": token})

    def describe_regions(self) -> str:
        self.error_on_dryrun()
        regions = [(name, "opt-in-not-required") for name in WORLD.settings["enabledRegions"]]
        if self._get_param("AllRegions", False):
            regions += [(name, "not-opted-in") for name in WORLD.settings["disabledRegions"]]
        wanted = self._get_param("RegionNames", [])
        unknown = set(wanted) - {name for name, _ in regions}
        if unknown:
            raise refusal("InvalidParameterValue", f"Invalid region names: {', '.join(sorted(unknown))}")
        for each in self._get_param("Filters", []):
            place = {"region-name": 0, "opt-in-status": 1}.get(each["Name"])
            if place is None:
                raise refusal("InvalidParameterValue", f"The filter '{each['Name']}' is invalid")
            test = value_test(each.get("Values", []))
            regions = [region for region in regions if test(region[place])]
        shown = [
            {"regionName": name, "regionEndpoint": f"ec2.{name}.amazonaws.com", "optInStatus": status}
            for name, status in regions
            if not wanted or name in wanted
        ]
        return answer("DescribeRegions", {"regionInfo": shown})
