"""The calls that create, copy, tag and delete snapshots, as EBS answers them."""

import time
from collections.abc import Iterable
from typing import Any

from moto.core.responses import EmptyResult
from moto.core.utils import utcnow

import ec2_presigned
from ec2_answers import answer, snapshot_shape, tag_set
from ec2_holds import refuse_if_held
from ec2_keys import is_usable
from ec2_refusal import refusal
from ec2_requests import checked_tags
from ec2_resources import SharedVolume, TimedSnapshot, VolumeStub, backend_of, default_key, forget
from ec2_state import COPY_VOLUME, WORLD

MAX_EXCLUDED_VOLUMES = 40
MAX_DESCRIPTION = 255
KEY_NOT_ACCESSIBLE = "Given key ID is not accessible"


def checked_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise refusal(
            "InvalidParameterValue",
            f"Value ({text}) for parameter Description is invalid. The maximum length is {MAX_DESCRIPTION} characters.",
        )
    # EC2 says this of security groups' descriptions; that it holds for snapshots is likely, not documented.
    if not all(" " <= letter <= "~" for letter in text):
        raise refusal(
            "InvalidParameterValue",
            f"Value ({text}) for parameter Description is invalid. Character sets beyond ASCII are not supported.",
        )
    return text


class SnapshotCalls:
    """Stands before moto's EC2Response and answers these actions in its place."""

    def _description(self) -> str:
        return checked_description(self._get_param("Description") or "")

    def _begin(self, volumes: Iterable[SharedVolume], tags: dict[str, str], description: str) -> list[dict[str, Any]]:
        """A snapshot of each volume with one start time, or none of any."""
        backend, pause, now = self.ec2_backend, WORLD.settings["perVolumeSeconds"], time.monotonic()
        for volume in volumes:
            last = WORLD.last_snapshot.get((self.region, volume.id))
            if pause and last is not None and now - last < pause:
                raise refusal(
                    "SnapshotCreationPerVolumeRateExceeded",
                    "The maximum per volume CreateSnapshot request rate has been exceeded. "
                    "Use an increasing or variable sleep interval between requests.",
                )
        start_time = utcnow()
        copied = (self._get_param("CopyTagsFromSource") or "") == "volume"
        made = []
        for volume in volumes:
            WORLD.last_snapshot[self.region, volume.id] = now
            snapshot = TimedSnapshot(
                backend,
                VolumeStub(volume.id, volume.size),
                description,
                WORLD.settings["snapshotSeconds"],
                encrypted=volume.encrypted,
                kms_key_id=volume.kms_key_id,
                start_time=start_time,
            )
            if volume.file:
                snapshot.hold(volume.file)
            of_volume = backend.tags.get(volume.id, {}) if copied else {}
            backend.tags[snapshot.id] = {
                **{key: value for key, value in of_volume.items() if not key.startswith("aws:")},
                **tags,
            }
            made.append(snapshot)
        # The answer says pending, however short the clock of a story is.
        return [{**snapshot_shape(one), "status": "pending", "progress": "0%"} for one in made]

    def create_snapshot(self) -> str:
        self.error_on_dryrun()
        [tags], description = self._specified_tags("snapshot"), self._description()
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        return answer("CreateSnapshot", self._begin([volume], tags, description)[0])

    def create_snapshots(self) -> str:
        self.error_on_dryrun()
        [tags], description = self._specified_tags("snapshot"), self._description()
        specification = self._get_param("InstanceSpecification", {})
        identifier = specification.get("InstanceId")
        excluded = specification.get("ExcludeDataVolumeIds", [])
        if len(excluded) > MAX_EXCLUDED_VOLUMES:
            raise refusal(
                "InvalidParameterValue",
                f"You can exclude at most {MAX_EXCLUDED_VOLUMES} data volumes, got {len(excluded)}.",
            )
        instance = self.ec2_backend.get_instance(identifier)
        if instance.state == "terminated":
            raise refusal("InvalidInstanceID.NotFound", f"The instance ID '{identifier}' does not exist")
        attached = instance.get_block_device_mapping
        data = [block.volume_id for device, block in attached if device != instance.root_device_name]
        for volume in excluded:
            if volume not in data:
                raise refusal(
                    "InvalidParameterValue",
                    f"Volume '{volume}' is not a data volume attached to instance '{identifier}'.",
                )
        without_boot = str(specification.get("ExcludeBootVolume", False)).lower() == "true"
        wanted = [
            self.ec2_backend.get_volume(block.volume_id)
            for device, block in attached
            if block.volume_id not in excluded and not (without_boot and device == instance.root_device_name)
        ]
        if not wanted:
            raise refusal("InvalidParameterValue", f"Instance '{identifier}' has no volumes to snapshot.")
        # EC2 names the state otherwise here than in its other answers.
        begun = [{"state": one.pop("status"), **one} for one in self._begin(wanted, tags, description)]
        return answer("CreateSnapshots", {"snapshotSet": begun})

    def _copy_source(self) -> TimedSnapshot:
        region, identifier = self._get_param("SourceRegion"), self._get_param("SourceSnapshotId")
        source = backend_of(region).snapshots.get(identifier) if WORLD.is_enabled(region) else None
        if source is None:
            raise refusal("InvalidSnapshot.NotFound", f"The snapshot '{identifier}' does not exist.")
        if source.status != "completed":
            raise refusal("IncorrectState", f"Snapshot {identifier} is not in the completed state: {source.status}.")
        return source

    def copy_snapshot(self) -> str:
        self.error_on_dryrun()
        [tags], description = self._specified_tags("snapshot"), self._description()
        destination = self._get_param("DestinationRegion")
        if destination and destination != self.region:
            raise refusal(
                "InvalidParameterValue",
                f"DestinationRegion {destination} is not the region that was called, {self.region}.",
            )
        presigned = ec2_presigned.facts({name: values[0] for name, values in self.querystring.items()})
        if presigned["presignedBytes"] > ec2_presigned.MAX_BYTES:
            raise refusal(
                "InvalidParameterValue",
                f"The parameter PresignedUrl is invalid: it is longer than {ec2_presigned.MAX_BYTES} bytes.",
            )
        source = self._copy_source()
        key, limit = self._get_param("KmsKeyId"), WORLD.settings["copyLimit"]
        encrypted = source.encrypted or bool(self._get_param("Encrypted", False))
        if key and not encrypted:
            raise refusal(
                "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
            )
        if WORLD.in_flight(self.region) >= limit:
            raise refusal(
                "ResourceLimitExceeded",
                f"Too many snapshot copies in progress. The limit is {limit} for this destination region.",
            )
        key = (key or default_key(self.region)) if encrypted else None
        message = KEY_NOT_ACCESSIBLE if source.encrypted and not ec2_presigned.is_good(presigned) else None
        if not (is_usable(self.region, key) and is_usable(source.ec2_backend.region_name, source.kms_key_id)):
            message = KEY_NOT_ACCESSIBLE
        if fault := WORLD.fault_of_kind("broken-copy"):
            message = fault.get("stateMessage") or KEY_NOT_ACCESSIBLE
        snapshot = TimedSnapshot(
            self.ec2_backend,
            VolumeStub(COPY_VOLUME, source.volume.size),
            description,
            WORLD.settings["copySeconds"],
            encrypted=encrypted,
            kms_key_id=key,
            ends="error" if message else "completed",
            state_message=message,
        )
        # What a snapshot holds never changes, so that its copies need none of their own.
        snapshot.file, snapshot.blocks = source.file, source.blocks
        self.ec2_backend.tags[snapshot.id] = tags
        return answer("CopySnapshot", {"snapshotId": snapshot.id, "tagSet": tag_set(self.ec2_backend, snapshot.id)})

    def delete_snapshot(self) -> EmptyResult:
        self.error_on_dryrun()
        snapshot = self.ec2_backend.get_snapshot(self._get_param("SnapshotId"))
        refuse_if_held(self.region, snapshot)
        forget(self.ec2_backend, self.ec2_backend.snapshots, snapshot.id)
        return EmptyResult()

    def create_tags(self) -> Any:
        checked_tags(self._get_param("Tags", []))
        return super().create_tags()
