"""The demo's fleet, one instance per thing that tags can say, and what a run must make of it."""

import datetime
from typing import Any

from stack import Stack

Json = dict[str, Any]
CONCURRENCY = 5

# Name, tags beside Name, volumes (device, tags), state, copies expected in, days kept, days the copies are kept.
INSTANCES = [
    ("web-1", {"Backup": "Yes"}, [("/dev/sda1", {}), ("/dev/sdf", {})], "running", [], 7, None),
    ("web-2", {"Backup": "yes", "Retention": "3"}, [("/dev/sda1", {})], "running", [], 3, None),
    (
        "database-1",
        {"Backup": "Yes", "Retention": "14", "BackupCrossRegion": "us-east-1, us-west-2", "RetentionCrossRegion": "30"},
        [("/dev/sda1", {}), ("/dev/sdf", {}), ("/dev/sdg", {})],
        "running",
        ["us-east-1", "us-west-2"],
        14,
        30,
    ),
    (
        "database-2",
        {"Backup": "YES", "BackupCrossRegion": "us-east-1,us-west-2"},
        [("/dev/sda1", {}), ("/dev/sdf", {})],
        "running",
        ["us-east-1", "us-west-2"],
        7,
        7,
    ),
    (
        "queue-1",
        {"Backup": "Yes", "BackupCrossRegion": "us-east-1"},
        [("/dev/sda1", {}), ("/dev/sdf", {})],
        "stopped",
        ["us-east-1"],
        7,
        7,
    ),
    (
        "queue-2",
        {"Backup": "Yes", "BackupCrossRegion": "us-east-1"},
        [("/dev/sda1", {}), ("/dev/sdf", {})],
        "running",
        ["us-east-1"],
        7,
        7,
    ),
    ("bad-retention", {"Backup": "Yes", "Retention": "7d"}, [("/dev/sda1", {})], "running", [], 7, None),
    (
        "bad-region",
        {"Backup": "Yes", "BackupCrossRegion": "us-west-2,mars-north-1,ap-east-1"},
        [("/dev/sda1", {})],
        "running",
        ["us-west-2"],
        7,
        7,
    ),
    (
        "archive",
        {"Backup": "Yes", "KeepForever": "legal hold", "BackupCrossRegion": "us-east-1"},
        [("/dev/sda1", {})],
        "running",
        ["us-east-1"],
        7,
        7,
    ),
    ("build", {"Backup": "Yes"}, [("/dev/sda1", {}), ("/dev/sdf", {"Backup": "No"})], "running", [], 7, None),
    (
        "adopted",
        {"Backup": "Yes", "BackupCrossRegion": "us-east-1"},
        [("/dev/sda1", {})],
        "running",
        ["us-east-1"],
        7,
        7,
    ),
    ("cluster-1", {"Backup": "Yes"}, [("/dev/sda1", {}), ("/dev/sdh", {})], "running", [], 7, None),
    ("instance-store", {"Backup": "Yes"}, [], "running", [], 7, None),
    ("left-out", {"Backup": "Yes"}, [("/dev/sda1", {"Backup": "No"})], "running", [], 7, None),
    ("terminated", {"Backup": "Yes"}, [("/dev/sda1", {})], "terminated", [], 7, None),
    ("untagged", {}, [("/dev/sda1", {})], "running", [], 7, None),
]

# Instances that are rejected as a whole, and words that the summary has about each rejected thing.
REJECTED = {
    "bad-retention": ['Retention="7d"', "1 to 36500"],
    "bad-region": ["mars-north-1", "ap-east-1"],
    "instance-store": ["no EBS volume"],
    "left-out": ["Backup=No"],
    "terminated": ["terminated"],
}
NOT_SNAPSHOTTED = {"instance-store", "left-out", "terminated", "untagged"}


class Fleet:
    """What was created: instances by name, and the snapshots of the earlier scripts with what must become of them."""

    def __init__(self) -> None:
        self.instances: dict[str, Json] = {}
        self.earlier: dict[str, tuple[str, bool]] = {}

    def with_shared_volume(self, name: str) -> Json:
        """An instance with the volumes that are snapshotted with it: of two nodes that share one, the first by id."""
        own, nodes = self.instances[name], ("cluster-1", "cluster-2")
        if name not in nodes:
            return own
        shared = self.instances["cluster-1"]["volumes"][1]
        first = min(nodes, key=lambda node: self.instances[node]["id"])
        return {"id": own["id"], "volumes": [own["volumes"][0], *([shared] if name == first else [])]}


def create(stack: Stack, home: str, today: datetime.date) -> Fleet:
    fleet = Fleet()
    wanted = [
        {
            "tags": {"Name": name, **tags},
            "state": state,
            "volumes": [{"device": device, "tags": own, "encrypted": name == "database-2"} for device, own in volumes],
        }
        for name, tags, volumes, state, *_ in INSTANCES
    ]
    created = stack.ec2("instances", {"region": home, "instances": wanted})
    fleet.instances = {name: answer for (name, *_), answer in zip(INSTANCES, created, strict=True)}
    # A second node of the cluster shares the first one's data volume.
    node = {"tags": {"Name": "cluster-2", "Backup": "Yes"}, "state": "running", "volumes": [{"device": "/dev/sda1"}]}
    fleet.instances["cluster-2"] = stack.ec2("instances", {"region": home, "instances": [node]})[0]
    shared = fleet.instances["cluster-1"]["volumes"][1]["id"]
    instance = fleet.instances["cluster-2"]["id"]
    stack.ec2("attach", {"region": home, "instance": instance, "volume": shared, "device": "/dev/sdh"})
    create_earlier(stack, fleet, home, today)
    return fleet


def create_earlier(stack: Stack, fleet: Fleet, home: str, today: datetime.date) -> None:
    """Snapshots as the earlier scripts left them, due and not due."""
    volume = fleet.instances["adopted"]["volumes"][0]["id"]

    def day(offset: int) -> str:
        return (today + datetime.timedelta(days=offset)).isoformat()

    def earlier(
        what: str, region: str, created: int, delete_on: str, stays: bool, in_use: bool = False, **extra: str
    ) -> None:
        tags = {"Type": "Automated", "CreatedOn": day(created), "DeleteOn": delete_on, **extra}
        snapshot = {
            "volume": volume if region == home else "vol-ffffffff",
            "tags": tags,
            "description": f"adopted - {volume} (/dev/sda1)",
            "state": "completed",
            "startTime": f"{day(created)}T03:00:00Z",
            "inUse": in_use,
        }
        fleet.earlier[stack.ec2("snapshots", {"region": region, "snapshots": [snapshot]})[0]] = (what, stays)

    from_home = {"BackupFromRegion": home}
    promised = {"BackupCrossRegion": "us-east-1"}
    earlier("due since yesterday", home, -8, day(-1), False, **promised)
    earlier("due today", home, -7, day(0), False, **promised)
    earlier("due tomorrow", home, -6, day(1), True, **promised)
    earlier("its copy", "us-east-1", -6, day(1), True, **from_home)
    earlier("made yesterday and copied", home, -1, day(6), True, **promised)
    earlier("its copy", "us-east-1", -1, day(6), True, **from_home)
    earlier("due and KeepForever", home, -30, day(-23), True, KeepForever="")
    earlier("due and in use by an image", home, -20, day(-13), True, in_use=True)
    earlier("DeleteOn is not a date", home, -40, "never", True)
    earlier("due and not automated", home, -10, day(-3), True, Type="Manual")
    earlier("copy that is due", "us-east-1", -8, day(-1), False, **from_home)
    earlier("copy of another home region, due", "us-east-1", -8, day(-1), True, BackupFromRegion="eu-central-1")


def check(stack: Stack, fleet: Fleet, home: str, today: datetime.date) -> list[str]:
    """What is not as it should be, from what is in EC2 now."""
    held = stack.ec2("snapshots")
    made = [snapshot for snapshot in held if "BackupRun" in snapshot["tags"]]
    failures = []
    left = {snapshot["id"] for snapshot in held}
    for snapshot, (what, stays) in fleet.earlier.items():
        if (snapshot in left) != stays:
            failures.append(f"{snapshot} of the earlier scripts ({what}) is {'gone' if stays else 'still there'}")
    expected = 0
    for row in [*INSTANCES, ("cluster-2", {"Backup": "Yes"}, [("/dev/sda1", {})], "running", [], 7, None)]:
        if row[0] not in NOT_SNAPSHOTTED:
            wrong, count = check_instance(row, fleet.with_shared_volume(row[0]), made, home, today)
            failures += wrong
            expected += count
    if len(made) != expected:
        failures.append(f"{len(made)} snapshots and copies were made, {expected} were expected")
    runs = {snapshot["tags"]["BackupRun"] for snapshot in made}
    if len(runs) != 1:
        failures.append(f"BackupRun is not the same everywhere: {runs}")
    return failures + check_calls(stack)


def check_instance(
    row: tuple[Any, ...], instance: Json, made: list[Json], home: str, today: datetime.date
) -> tuple[list[str], int]:
    """Every volume has one completed snapshot, and one completed copy in each region, with exactly the right tags."""
    name, tags, volumes, _, regions, days, copy_days = row
    left_out = {device for device, own in volumes if own.get("Backup") == "No"}
    backed_up = [volume for volume in instance["volumes"] if volume["device"] not in left_out]
    failures, count = [], 0
    for volume in backed_up:
        instance_as = f"image=ami-00000000000000000 type=t3.micro zone={home}a arch=x86_64 boot=legacy-bios"
        common = {
            "Name": name,
            "Type": "Automated",
            "CreatedOn": today.isoformat(),
            "SourceInstanceId": instance["id"],
            "InstanceAs": instance_as,
            **{key: tags[key] for key in ("RetentionCrossRegion", "KeepForever") if key in tags},
        }
        in_home = {
            **common,
            "DeleteOn": (today + datetime.timedelta(days=days)).isoformat(),
            "Devices": " ".join(f"{v['device']}={v['id']}" for v in backed_up),
            "Volumes": " ".join(map(provisioned, backed_up)),
            **{key: tags[key] for key in ("BackupCrossRegion",) if key in tags},
        }
        of_volume = [s for s in made if s["region"] == home and s["volume"] == volume["id"]]
        failures += compare(f"{name} {volume['device']}", of_volume, in_home)
        count += 1
        source = of_volume[0] if of_volume else {"id": "none", "startTime": "none", "tags": {"BackupRun": "none"}}
        for region in regions:
            copy = {
                **common,
                "DeleteOn": (today + datetime.timedelta(days=copy_days)).isoformat(),
                "BackupFromRegion": home,
                "SourceSnapshotId": source["id"],
                "SourceRun": source["tags"]["BackupRun"],
                "SourceStarted": source["startTime"],
                "SourceVolumes": str(len(backed_up)),
                "Volumes": provisioned(volume),
                "SourceVolumeId": volume["id"],
                "SourceDevice": volume["device"],
            }
            copies = [s for s in made if s["region"] == region and s["tags"].get("SourceVolumeId") == volume["id"]]
            failures += compare(f"{name} {volume['device']} in {region}", copies, copy)
            count += 1
    return failures, count


def provisioned(volume: Json) -> str:
    """As the local EC2 makes volumes; the root volume goes with its instance."""
    return f"{volume['id']}:gp3:3000:125:8" + (":d" if volume["device"] == "/dev/sda1" else "")


def compare(what: str, snapshots: list[Json], tags: dict[str, str]) -> list[str]:
    if len(snapshots) != 1:
        return [f"{what}: {len(snapshots)} snapshots, not one"]
    failures = []
    if snapshots[0]["state"] != "completed":
        failures.append(f"{what}: {snapshots[0]['id']} is {snapshots[0]['state']}")
    own = {key: value for key, value in snapshots[0]["tags"].items() if key != "BackupRun"}
    if own != tags:
        failures.append(f"{what}: the tags are {own}, not {tags}")
    return failures


def check_calls(stack: Stack) -> list[str]:
    """No call that had to be refused, and never more copies in flight than the limit."""
    calls = stack.ec2("calls")
    copies = [call for call in calls if call["action"] == "CopySnapshot"]
    failures = [
        f"{call['action']} in {call['region']} was refused: {call['outcome']}"
        for call in calls
        if call["outcome"] not in ("ok", "InvalidSnapshot.InUse")
    ]
    if any(call["inFlight"] > CONCURRENCY for call in copies):
        failures.append(f"more than {CONCURRENCY} copies were in flight")
    if not all(call["presigned"] for call in copies):
        failures.append("a copy had no pre-signed URL")
    return failures


def check_summary(fleet: Fleet, summary: str) -> list[str]:
    """What was rejected stands in the summary, with the instance and what is allowed."""
    failures = []
    for name, words in REJECTED.items():
        lines = [line for line in summary.splitlines() if fleet.instances[name]["id"] in line and ":" in line]
        for word in words:
            if not any(word in line for line in lines):
                failures.append(f"the summary does not say {word!r} of {name}")
    return failures
