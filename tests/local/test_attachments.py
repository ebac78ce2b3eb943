"""Volumes move between instances, and instances stop and start, as at EC2. Run in the moto environment."""

from scene import AWAY, HOME, client, instance, local
from volume_scene import (
    KEY,
    AttachmentScene,
    attach,
    create,
    described,
    detach,
    disks,
    hurry,
    key,
    shown,
    state,
    volumes,
)


class Attaching(AttachmentScene):
    def test_it_is_attaching_then_attached(self):
        volume = self.new()
        said = attach(volume, self.id)
        self.assertEqual((said["State"], said["Device"], said["InstanceId"]), ("attaching", "/dev/sdf", self.id))
        [attachment] = described(volume)["Attachments"]
        self.assertEqual((described(volume)["State"], attachment["State"]), ("in-use", "attaching"))
        self.assertEqual(disks(self.id)["/dev/sdf"], (volume, "attaching"))
        hurry(volume)
        [attachment] = described(volume)["Attachments"]
        self.assertEqual((attachment["State"], attachment["DeleteOnTermination"]), ("attached", False))
        self.assertEqual(disks(self.id)["/dev/sdf"], (volume, "attached"))
        [listed] = [one for one in volumes() if one["id"] == volume]
        self.assertEqual(
            listed["attachments"],
            [{"instance": self.id, "device": "/dev/sdf", "state": "attached", "deleteOnTermination": False}],
        )

    def test_what_ec2_refuses(self):
        volume, elsewhere = self.new(), self.new(AvailabilityZone=HOME + "b")
        creating = create(Size=8)["VolumeId"]
        self.refused("InvalidVolume.ZoneMismatch", attach, elsewhere, self.id)
        self.refused("IncorrectState", attach, creating, self.id)
        self.refused("VolumeInUse", attach, self.data, self.id)
        self.refused("VolumeInUse", attach, self.data, instance()["id"])
        self.refused("InvalidVolume.NotFound", attach, "vol-0123456789abcdef0", self.id)
        self.refused("InvalidInstanceID.NotFound", attach, volume, "i-0123456789abcdef0")
        self.refused("InvalidInstanceID.NotFound", attach, volume, instance(state="terminated")["id"])
        self.refused("IncorrectState", attach, volume, instance(state="pending")["id"])
        for device in ("/dev/sda1", "/dev/sdb1"):
            self.assertIn("already in use" if device == "/dev/sda1" else "not a valid", self.wrong(volume, device))
        self.assertIn("not a valid", self.wrong(volume, "disk1"))
        self.refused("DryRunOperation", attach, volume, self.id, DryRun=True, status=412)
        self.assertEqual(described(volume)["Attachments"], [])
        attach(volume, self.id, "/dev/xvdf")

    def wrong(self, volume, device):
        return self.refused("InvalidParameterValue", attach, volume, self.id, device)

    def test_an_instance_has_a_limit(self):
        local("settings", {"attachmentLimit": 3})
        attach(self.new(), self.id)
        self.refused("AttachmentLimitExceeded", attach, self.new(), self.id, "/dev/sdg")

    def test_a_volume_for_several(self):
        shared = self.new(VolumeType="io2", Iops=100, MultiAttachEnabled=True)
        other = instance()["id"]
        attach(shared, self.id)
        self.refused("VolumeInUse", attach, shared, self.id, "/dev/sdg")
        attach(shared, other)
        self.assertEqual([one["InstanceId"] for one in described(shared)["Attachments"]], [self.id, other])

    def test_an_answer_that_is_lost_leaves_it_attached(self):
        volume = self.new()
        local("faults", {"action": "AttachVolume", "kind": "error-after"})
        self.refused("InternalError", attach, volume, self.id, status=500)
        self.refused("VolumeInUse", attach, volume, self.id)
        self.assertEqual(
            [call["outcome"] for call in local("calls?action=AttachVolume")], ["InternalError", "VolumeInUse"]
        )

    def test_a_region_that_is_down_takes_all_of_it_along(self):
        volume = self.new()
        local("faults", {"action": "*", "region": HOME, "kind": "down", "seconds": 600})
        for call, wanted in (
            ("create_volume", {"AvailabilityZone": HOME + "a", "Size": 8}),
            ("attach_volume", {"VolumeId": volume, "InstanceId": self.id, "Device": "/dev/sdf"}),
            ("detach_volume", {"VolumeId": self.data}),
            ("delete_volume", {"VolumeId": volume}),
            ("stop_instances", {"InstanceIds": [self.id]}),
            ("start_instances", {"InstanceIds": [self.id]}),
            ("describe_volumes", {}),
            ("describe_volume_status", {}),
            ("describe_availability_zones", {}),
        ):
            self.refused("Unavailable", getattr(client(), call), status=503, **wanted)
        create(AWAY, Size=8)
        local("reset", {})


class Detaching(AttachmentScene):
    def test_it_is_detaching_then_gone(self):
        said = detach(self.data)
        self.assertEqual(said["State"], "detaching")
        self.assertEqual(described(self.data)["State"], "in-use")
        self.assertEqual(disks(self.id)["/dev/sdb1"], (self.data, "detaching"))
        self.assertEqual(detach(self.data)["State"], "detaching")
        self.refused("VolumeInUse", attach, self.data, self.id)
        hurry(self.data)
        now = described(self.data)
        self.assertEqual((now["State"], now["Attachments"], list(disks(self.id))), ("available", [], ["/dev/sda1"]))
        self.refused("IncorrectState", detach, self.data)

    def test_the_root_of_a_running_instance_stays(self):
        self.refused("IncorrectState", detach, self.root)
        client().stop_instances(InstanceIds=[self.id])
        self.refused("IncorrectState", detach, self.root)
        self.refused("IncorrectState", detach, self.root, Force=True)
        hurry(self.id)
        detach(self.root)

    def test_the_root_is_swapped(self):
        new = self.new()
        self.stopped(self.id)
        detach(self.root)
        self.refused("InvalidParameterValue", attach, new, self.id, "/dev/sda1")
        hurry(self.root)
        said = self.refused("InvalidParameterValue", client().start_instances, InstanceIds=[self.id])
        self.assertIn("/dev/sda1", said)
        attach(new, self.id, "/dev/sda1")
        hurry(new)
        client().start_instances(InstanceIds=[self.id])
        hurry(self.id)
        now = shown(self.id)
        self.assertEqual((now["State"]["Name"], now["RootDeviceName"]), ("running", "/dev/sda1"))
        self.assertEqual(disks(self.id), {"/dev/sdb1": (self.data, "attached"), "/dev/sda1": (new, "attached")})
        self.assertEqual(described(self.root)["State"], "available")
        self.refused("IncorrectState", detach, new)

    def test_whether_it_goes_with_the_instance_is_changed(self):
        def change(device, goes):
            mapping = [{"DeviceName": device, "Ebs": {"DeleteOnTermination": goes}}]
            client().modify_instance_attribute(InstanceId=self.id, BlockDeviceMappings=mapping)

        self.assertEqual(described(self.root)["Attachments"][0]["DeleteOnTermination"], True)
        change("/dev/sda1", False)
        change("/dev/sdb1", True)
        self.refused("InvalidInstanceAttributeValue", change, "/dev/sdx", True)
        blocks = shown(self.id)["BlockDeviceMappings"]
        self.assertEqual(
            {one["DeviceName"]: one["Ebs"]["DeleteOnTermination"] for one in blocks},
            {"/dev/sda1": False, "/dev/sdb1": True},
        )
        local("terminate", {"region": HOME, "instance": self.id})
        self.assertEqual([one["id"] for one in volumes()], [self.root])


class StoppingAndStarting(AttachmentScene):
    def change(self, call, *identifiers):
        answer = getattr(client(), call)(InstanceIds=list(identifiers))
        key = "StoppingInstances" if call == "stop_instances" else "StartingInstances"
        return [(one["PreviousState"]["Name"], one["CurrentState"]["Name"]) for one in answer[key]]

    def test_both_take_time(self):
        self.assertEqual(self.change("stop_instances", self.id), [("running", "stopping")])
        self.assertEqual(self.change("stop_instances", self.id), [("stopping", "stopping")])
        self.refused("IncorrectInstanceState", self.change, "start_instances", self.id)
        hurry(self.id)
        self.assertEqual(self.change("stop_instances", self.id), [("stopped", "stopped")])
        self.assertEqual(self.change("start_instances", self.id), [("stopped", "pending")])
        self.refused("IncorrectInstanceState", self.change, "stop_instances", self.id)
        self.assertEqual(state(self.id), "pending")
        hurry(self.id)
        self.assertEqual(self.change("start_instances", self.id), [("running", "running")])

    def test_one_that_is_not_there_stops_none(self):
        gone, bare = instance(state="terminated")["id"], instance(volumes=0)["id"]
        self.refused("IncorrectInstanceState", self.change, "stop_instances", self.id, gone)
        self.refused("IncorrectInstanceState", self.change, "start_instances", gone)
        self.refused("UnsupportedOperation", self.change, "stop_instances", bare)
        self.refused("InvalidInstanceID.NotFound", self.change, "stop_instances", self.id, "i-0123456789abcdef0")
        self.refused("DryRunOperation", client().stop_instances, InstanceIds=[self.id], DryRun=True, status=412)
        self.assertEqual(state(self.id), "running")

    def test_with_a_key_that_cannot_be_used_it_stops_again(self):
        locked = self.new(Encrypted=True, KmsKeyId=KEY)
        attach(locked, self.id)
        self.stopped(self.id)
        key("disabled")
        self.change("start_instances", self.id)
        hurry(self.id)
        self.assertEqual(state(self.id), "stopped")
        key("enabled")
        self.change("start_instances", self.id)
        hurry(self.id)
        self.assertEqual(state(self.id), "running")
