"""A fleet with its snapshots, prepared as the pages in which EC2 describes it."""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ec2_answers import GIB, answer
from ec2_state import ACCOUNT, COPY_VOLUME

# As ec2_answers.py writes it in XML.
Shape = dict[str, Any]
HOME, AWAY = "eu-west-1", "us-east-1"
PAGE = 1000
# A snapshot a day of each volume for a hundred days, wanted for 97: three of them are due.
DAYS, RETENTION = 100, 97
KEPT_EVERY = 10
NOW = datetime.datetime.now(datetime.UTC)
RUN_ID = NOW.strftime("%Y%m%dT030000Z")
FOLDER = f"runs/{RUN_ID}/measured/"


def run(**phases: bool) -> Shape:
    """A run, as a function that is measured by itself gets it; the phases that are not named are off."""
    now = NOW.isoformat()
    return {
        "id": RUN_ID,
        "scheduled": now,
        "execution": f"arn:aws:states:{HOME}:{ACCOUNT}:execution:ebs-snapshots-backup:measured",
        "started": now,
        "deadline": now,
        "dryRun": False,
        "phases": {"snapshot": False, "copy": False, "expire": False, **phases},
        "allowMassExpire": False,
    }


@dataclass
class Scene:
    """A fleet with its snapshots, and the region of them that is judged."""

    snapshots: int
    region: str = HOME
    copied: bool = True
    days: int = DAYS
    retention: int = RETENTION
    # Whether the oldest snapshot of every tenth volume is kept for ever.
    keeps: bool = True

    @property
    def volumes(self) -> range:
        return range(self.snapshots // self.days)

    def __str__(self) -> str:
        if self.region == AWAY:
            return "copies"
        return "sources with copies" if self.copied else "sources without"

    def sources(self) -> Iterator[Shape]:
        return (source(self, volume, age) for volume in self.volumes for age in reversed(range(self.days)))

    def instances(self) -> Iterator[Shape]:
        return (instance(volume, self.copied) for volume in self.volumes[::2])


class Pages:
    """What EC2 answers about a scene, a call's parameters and region given, every page of it prepared."""

    def __init__(self, scene: Scene) -> None:
        sources = list(scene.sources())
        of_home = snapshots(sources)
        self.due = {one["snapshotId"]: one for one in sources if is_due(one)}
        self.pages = {
            ("DescribeRegions", HOME, ""): regions(),
            ("DescribeInstances", HOME, ""): rendered("DescribeInstances", "reservationSet", scene.instances()),
            ("DescribeVolumes", HOME, ""): rendered("DescribeVolumes", "volumeSet", map(volume_shape, scene.volumes)),
            ("DescribeSnapshots", HOME, ""): of_home,
            ("DescribeSnapshots", HOME, "tag:Type"): of_home,
            ("DescribeSnapshots", HOME, "tag-key"): snapshots(filter(is_kept, sources)),
        }
        of_away = snapshots(map(copy, sources) if scene.copied else [])
        for filtered in ("", "tag:Type", "tag:BackupFromRegion"):
            self.pages["DescribeSnapshots", AWAY, filtered] = of_away
        for region in (HOME, AWAY):
            # Nothing is being restored.
            self.pages["DescribeVolumes", region, "tag-key"] = rendered("DescribeVolumes", "volumeSet", [])
            self.pages["DescribeImages", region, ""] = rendered("DescribeImages", "imagesSet", [])
            self.pages["DescribeLockedSnapshots", region, ""] = rendered("DescribeLockedSnapshots", "snapshotSet", [])

    def goes(self, region: str) -> set[str]:
        """What is due there: a copy stays where its source is kept for ever."""
        sources = {name for name, shape in self.due.items() if not is_kept(shape)}
        return sources if region == HOME else set(map(copy_of, sources))

    def __call__(self, params: dict[str, str], region: str) -> bytes:
        filtered = params.get("Filter.1.Name", "")
        if filtered == "snapshot-id":
            asked = [value for name, value in params.items() if name.startswith("Filter.1.Value.")]
            return snapshots(self.due[one] for one in asked)[0]
        return self.pages[params["Action"], region, filtered][int(params.get("NextToken", 0))]


def fleet(scene: Scene) -> Shape:
    """The scene's fleet as discover writes it into the run's folder."""
    tags = {"Backup": "Yes", **({"BackupCrossRegion": AWAY} if scene.copied else {})}
    instances = [
        {
            "id": identifier("i", volume // 2),
            "state": "running",
            "tags": tags,
            "rootDevice": "/dev/sda1",
            "volumes": attachments(volume // 2),
        }
        for volume in scene.volumes[::2]
    ]
    volumes = [
        {"id": identifier("vol", volume), "tags": {}, "attachedTo": [identifier("i", volume // 2)]}
        for volume in scene.volumes
    ]
    regions = {"home": HOME, "enabled": [HOME, AWAY], "disabled": []}
    return {"regions": regions, "instances": instances, "volumes": volumes}


def attachments(instance_number: int) -> list[dict[str, str]]:
    return [{"device": device, "volume": identifier("vol", one)} for device, one in devices(instance_number)]


def snapshots(shapes: Iterable[Shape]) -> list[bytes]:
    return rendered("DescribeSnapshots", "snapshotSet", shapes)


def rendered(action: str, name: str, items: Iterable[Shape]) -> list[bytes]:
    items, pages = iter(items), []
    page, following = list(islice(items, PAGE)), list(islice(items, PAGE))
    while True:
        pages.append(answer(action, {name: page, "nextToken": len(pages) + 1 if following else None}).encode())
        if not following:
            return pages
        page, following = following, list(islice(items, PAGE))


def regions() -> list[bytes]:
    names = [
        {"regionName": name, "regionEndpoint": f"ec2.{name}.amazonaws.com", "optInStatus": "opt-in-not-required"}
        for name in (HOME, AWAY)
    ]
    return rendered("DescribeRegions", "regionInfo", names)


def identifier(kind: str, number: int) -> str:
    return f"{kind}-{number:017x}"


def tag_set(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def devices(instance_number: int) -> list[tuple[str, int]]:
    return [(device, instance_number * 2 + n) for n, device in enumerate(("/dev/sda1", "/dev/sdf"))]


def source(scene: Scene, volume: int, age: int) -> Shape:
    begun = NOW - datetime.timedelta(days=age)
    owner = identifier("i", volume // 2)
    tags = {
        "Name": f"server-{volume // 2}",
        "CreatedOn": str(begun.date()),
        "DeleteOn": str(begun.date() + datetime.timedelta(days=scene.retention)),
        "Type": "Automated",
        "BackupRun": begun.strftime("%Y%m%dT030000Z"),
        "SourceInstanceId": owner,
        "Devices": " ".join(f"{device}={identifier('vol', number)}" for device, number in devices(volume // 2)),
    }
    if scene.copied:
        # Kept for longer there: a due source stays while its copy is owed, so that the copies are looked for.
        tags.update(BackupCrossRegion=AWAY, RetentionCrossRegion="3650")
    if scene.keeps and age == scene.days - 1 and volume % KEPT_EVERY == 0:
        tags["KeepForever"] = "audit"
    number = volume * scene.days + age
    return snapshot(identifier("snap", number), identifier("vol", volume), begun, f"{tags['Name']} - {owner}", tags)


def is_kept(shape: Shape) -> bool:
    return any(tag["key"] == "KeepForever" for tag in shape["tagSet"])


def is_due(shape: Shape) -> bool:
    return any(tag["key"] == "DeleteOn" and tag["value"] <= str(NOW.date()) for tag in shape["tagSet"])


def copy(shape: Shape) -> Shape:
    """A copy as the copy worker tags it, of a source whose KeepForever came later than the copy."""
    tags = {tag["key"]: tag["value"] for tag in shape["tagSet"]}
    for key in ("BackupCrossRegion", "Devices", "KeepForever"):
        tags.pop(key, None)
    tags.update(
        BackupFromRegion=HOME,
        SourceSnapshotId=shape["snapshotId"],
        SourceVolumeId=shape["volumeId"],
        SourceDevice="/dev/sda1",
    )
    return snapshot(copy_of(shape["snapshotId"]), COPY_VOLUME, shape["startTime"], shape["description"], tags)


def copy_of(snapshot_id: str) -> str:
    return "snap-1" + snapshot_id.removeprefix("snap-0")


def snapshot(own: str, volume: str, begun: datetime.datetime, description: str, tags: dict[str, str]) -> Shape:
    return {
        "snapshotId": own,
        "volumeId": volume,
        "status": "completed",
        "startTime": begun,
        "completionTime": begun,
        "progress": "100%",
        "ownerId": ACCOUNT,
        "volumeSize": 100,
        "fullSnapshotSizeInBytes": 100 * GIB,
        "description": description,
        "encrypted": False,
        "storageTier": "standard",
        "tagSet": tag_set(tags),
    }


def instance(volume: int, copied: bool) -> Shape:
    number = volume // 2
    tags = {"Backup": "Yes", "Name": f"server-{number}", **({"BackupCrossRegion": AWAY} if copied else {})}
    attached = [
        {"deviceName": device, "ebs": {"volumeId": identifier("vol", one), "status": "attached"}}
        for device, one in devices(number)
    ]
    shape = {
        "instanceId": identifier("i", number),
        "instanceState": {"code": 16, "name": "running"},
        "rootDeviceName": "/dev/sda1",
        "rootDeviceType": "ebs",
        "blockDeviceMapping": attached,
        "tagSet": tag_set(tags),
    }
    return {"reservationId": identifier("r", number), "ownerId": ACCOUNT, "instancesSet": [shape]}


def volume_shape(volume: int) -> Shape:
    attachment = {
        "volumeId": identifier("vol", volume),
        "instanceId": identifier("i", volume // 2),
        "device": ("/dev/sda1", "/dev/sdf")[volume % 2],
        "status": "attached",
    }
    return {
        "volumeId": identifier("vol", volume),
        "size": 100,
        "status": "in-use",
        "volumeType": "gp3",
        "attachmentSet": [attachment],
        "tagSet": [],
    }
