"""What the tests of volumes share: making them, and waiting for what takes time."""

import tempfile
from pathlib import Path

from scene import HOME, Scene, client, instance, local

ZONE = HOME + "a"
KEY = f"arn:aws:kms:{HOME}:123456789012:key/k1"


def create(region=HOME, **wanted):
    return client(region).create_volume(**{"AvailabilityZone": region + "a", **wanted})


def described(volume, region=HOME):
    return client(region).describe_volumes(VolumeIds=[volume])["Volumes"][0]


def volumes(region=HOME):
    return local(f"volumes?region={region}")


def key(state, key=KEY, region=HOME):
    return local("keys", {"region": region, "key": key, "state": state})


def with_file(case, content=b"content"):
    """A volume with a disk image, and a completed snapshot of it."""
    disk = Path(case.enterContext(tempfile.TemporaryDirectory())) / "disk"
    disk.write_bytes(content)
    volume = instance()["volumes"][0]["id"]
    local("volume-file", {"region": HOME, "volume": volume, "file": str(disk)})
    snapshot = client().create_snapshot(VolumeId=volume)["SnapshotId"]
    case.until("completed", snapshot)
    return disk, volume, snapshot


class VolumeScene(Scene):
    def setUp(self):
        super().setUp()
        # Nothing that takes time ends by itself: what a test sees does not depend on how fast it looks.
        local("settings", {"volumeSeconds": 600, "attachSeconds": 600, "initializationSeconds": 600})

    def available(self, volume, region=HOME):
        local("hurry", {"id": volume})
        now = described(volume, region)
        self.assertEqual(now["State"], "available")
        return now

    def until_gone(self, volume):
        self.assertEqual(described(volume)["State"], "creating")
        local("hurry", {"id": volume})
        self.refused("InvalidVolume.NotFound", described, volume)


def attach(volume, to, device="/dev/sdf", region=HOME, **more):
    return client(region).attach_volume(VolumeId=volume, InstanceId=to, Device=device, **more)


def detach(volume, **more):
    return client().detach_volume(VolumeId=volume, **more)


def shown(identifier):
    return client().describe_instances(InstanceIds=[identifier])["Reservations"][0]["Instances"][0]


def disks(identifier):
    """Device -> volume and how it is attached, as DescribeInstances tells it."""
    return {
        one["DeviceName"]: (one["Ebs"]["VolumeId"], one["Ebs"]["Status"])
        for one in shown(identifier)["BlockDeviceMappings"]
    }


def state(identifier):
    return shown(identifier)["State"]["Name"]


def hurry(*identifiers):
    for identifier in identifiers:
        local("hurry", {"id": identifier})


class AttachmentScene(VolumeScene):
    def setUp(self):
        super().setUp()
        local("settings", {"instanceSeconds": 600})
        self.instance = instance()
        self.id = self.instance["id"]
        self.root, self.data = (one["id"] for one in self.instance["volumes"])

    def new(self, **wanted):
        made = create(**{"Size": 8, **wanted})["VolumeId"]
        return self.available(made)["VolumeId"]

    def stopped(self, identifier):
        client().stop_instances(InstanceIds=[identifier])
        hurry(identifier)
        self.assertEqual(state(identifier), "stopped")
