"""Images are registered from snapshots, and instances launched from them, as at EC2. Run in the moto environment."""

from pathlib import Path

from scene import AWAY, HOME, client, copy, instance, local, snapshots
from volume_scene import KEY, AttachmentScene, described, hurry, key, shown, state, volumes, with_file

ROOT, DATA = "/dev/xvda", "/dev/sdf"


def disk(snapshot, device=ROOT, **ebs):
    return {"DeviceName": device, "Ebs": {"SnapshotId": snapshot, **ebs}}


def register(*disks, region=HOME, **more):
    wanted = {
        "Name": "restored",
        "Architecture": "x86_64",
        "RootDeviceName": ROOT,
        "VirtualizationType": "hvm",
        "EnaSupport": True,
        **more,
    }
    return client(region).register_image(BlockDeviceMappings=list(disks), **wanted)["ImageId"]


def image(identifier, region=HOME):
    return client(region).describe_images(ImageIds=[identifier])["Images"][0]


def run(identifier, region=HOME, **more):
    wanted = {"InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **more}
    return client(region).run_instances(ImageId=identifier, **wanted)["Instances"][0]["InstanceId"]


class ImageScene(AttachmentScene):
    def setUp(self):
        super().setUp()
        local("settings", {"imageSeconds": 600})

    def available_image(self, *disks, **more):
        made = register(*disks, **more)
        hurry(made)
        return made


class Registering(ImageScene):
    def test_it_is_pending_then_available_with_what_was_asked_for(self):
        root, data = snapshots({"volume": "vol-1"}, {"volume": "vol-2", "encrypted": True})
        made = register(
            disk(root, VolumeType="gp3", Iops=4000, Throughput=500, VolumeSize=20),
            disk(data, DATA, VolumeType="io2", Iops=200, DeleteOnTermination=False),
            BootMode="uefi-preferred",
            Description="set of the 3rd",
            TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "RestorePlan", "Value": "p1"}]}],
        )
        now = image(made)
        self.assertEqual((now["State"], now["Name"], now["Description"]), ("pending", "restored", "set of the 3rd"))
        hurry(made)
        now = image(made)
        self.assertEqual(
            (now["State"], now["Architecture"], now["BootMode"], now["EnaSupport"], now["RootDeviceName"]),
            ("available", "x86_64", "uefi-preferred", True, ROOT),
        )
        self.assertEqual((now["VirtualizationType"], now["RootDeviceType"], now["Public"]), ("hvm", "ebs", False))
        self.assertEqual(now["Tags"], [{"Key": "RestorePlan", "Value": "p1"}])
        first, second = (each["Ebs"] for each in now["BlockDeviceMappings"])
        self.assertEqual(
            (first["SnapshotId"], first["VolumeType"], first["Iops"], first["Throughput"], first["VolumeSize"]),
            (root, "gp3", 4000, 500, 20),
        )
        self.assertEqual((first["DeleteOnTermination"], first["Encrypted"]), (True, False))
        self.assertEqual(
            (second["SnapshotId"], second["VolumeSize"], second["DeleteOnTermination"], second["Encrypted"]),
            (data, 8, False, True),
        )
        self.assertEqual(local("calls?action=RegisterImage")[0]["result"], [made])
        client().create_tags(Resources=[made], Tags=[{"Key": "Team", "Value": "web"}])
        for name, value in (
            ("tag:RestorePlan", "p1"),
            ("tag-key", "Team"),
            ("name", "restored"),
            ("state", "available"),
            ("block-device-mapping.snapshot-id", data),
            ("boot-mode", "uefi-preferred"),
        ):
            found = client().describe_images(Owners=["self"], Filters=[{"Name": name, "Values": [value]}])["Images"]
            self.assertEqual([one["ImageId"] for one in found], [made], name)

    def test_it_holds_its_snapshots(self):
        [root] = snapshots({"volume": "vol-1"})
        made = register(disk(root))
        self.refused("InvalidSnapshot.InUse", client().delete_snapshot, SnapshotId=root)
        client().deregister_image(ImageId=made)
        client().delete_snapshot(SnapshotId=root)

    def test_what_is_not_said_is_of_old(self):
        [root] = snapshots({"volume": "vol-1"})
        made = client().register_image(Name="old", RootDeviceName=ROOT, BlockDeviceMappings=[disk(root)])["ImageId"]
        now = image(made)
        self.assertEqual(
            (now["Architecture"], now["VirtualizationType"], now["EnaSupport"]), ("i386", "paravirtual", False)
        )
        hurry(made)
        self.refused("InvalidParameterCombination", run, made)

    def test_what_ec2_refuses(self):
        root, pending, archived = snapshots(
            {"volume": "vol-1"},
            {"volume": "vol-1", "state": "pending", "seconds": 600},
            {"volume": "vol-1", "storageTier": "archive"},
        )
        self.refused("IncorrectState", register, disk(pending))
        self.refused("IncorrectState", register, disk(archived))
        self.refused("InvalidSnapshot.NotFound", register, disk("snap-0123456789abcdef0"))
        self.refused("InvalidSnapshot.NotFound", register, disk(root), region=AWAY)
        self.refused("InvalidBlockDeviceMapping", register, disk(root, VolumeSize=7))
        self.refused("InvalidBlockDeviceMapping", register, disk(root, Encrypted=True))
        self.refused("InvalidBlockDeviceMapping", register, disk(root, DATA))
        self.refused("InvalidBlockDeviceMapping", register, disk(root), disk(root))
        self.refused("InvalidBlockDeviceMapping", register, disk(root, VolumeType="st1", VolumeSize=125))
        self.refused("InvalidParameterValue", register, disk(root, VolumeType="gp3", Iops=4001))
        self.refused("InvalidParameterCombination", register, disk(root), Architecture="arm64", BootMode="legacy-bios")
        self.refused("InvalidParameterCombination", register, disk(root), VirtualizationType="paravirtual")
        self.refused("InvalidAMIName.Malformed", register, disk(root), Name="set: 3rd")
        self.refused("DryRunOperation", register, disk(root), DryRun=True, status=412)
        wrong = [{"ResourceType": "snapshot", "Tags": [{"Key": "A", "Value": "1"}]}]
        self.refused("InvalidParameterValue", register, disk(root), TagSpecifications=wrong)
        self.assertEqual(client().describe_images(Owners=["self"])["Images"], [])
        made = register(disk(root))
        self.assertIn(made, self.refused("InvalidAMIName.Duplicate", register, disk(root)))
        client().deregister_image(ImageId=made)
        register(disk(root))

    def test_an_answer_that_is_lost_is_found_by_its_name(self):
        [root] = snapshots({"volume": "vol-1"})
        local("faults", {"action": "RegisterImage", "kind": "error-after"})
        self.refused("InternalError", register, disk(root), status=500)
        self.refused("InvalidAMIName.Duplicate", register, disk(root))
        [made] = client().describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": ["restored"]}])["Images"]
        self.assertEqual(local("calls?action=RegisterImage")[0]["result"], [made["ImageId"]])


class Launching(ImageScene):
    def test_an_instance_has_what_the_snapshots_had(self):
        _, _, root = with_file(self, b"content")
        away = copy(root)
        self.until("completed", away, AWAY)
        [data] = snapshots({"volume": "vol-2"}, region=AWAY)
        made = self.available_image(
            disk(away, VolumeType="gp3"), disk(data, DATA, DeleteOnTermination=False), region=AWAY, BootMode="uefi"
        )
        tags = [{"ResourceType": "volume", "Tags": [{"Key": "RestoredFrom", "Value": away}]}]
        wanted = [{"DeviceName": DATA, "Ebs": {"VolumeSize": 30, "VolumeType": "gp3"}}]
        one = run(made, AWAY, TagSpecifications=tags, BlockDeviceMappings=wanted, ClientToken="p1")
        self.assertEqual(
            run(made, AWAY, TagSpecifications=tags, BlockDeviceMappings=wanted, ClientToken="p1"),
            one,
        )
        found = client(AWAY).describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
        self.assertEqual(
            (found["ImageId"], found["State"]["Name"], found["RootDeviceName"], found["BootMode"]),
            (made, "pending", ROOT, "uefi"),
        )
        hurry(one)
        found = client(AWAY).describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]
        self.assertEqual(found["State"]["Name"], "running")
        self.assertEqual([each["DeviceName"] for each in found["BlockDeviceMappings"]], [ROOT, DATA])
        first, second = volumes(AWAY)
        self.assertEqual(Path(first["file"]).read_bytes(), b"content")
        self.assertEqual(
            [(each["snapshot"], each["size"], each["type"], each["state"]) for each in (first, second)],
            [(away, 8, "gp3", "in-use"), (data, 30, "gp3", "in-use")],
        )
        self.assertEqual(first["tags"], {"RestoredFrom": away})
        self.assertEqual([each["attachments"][0]["deleteOnTermination"] for each in (first, second)], [True, False])

    def test_what_does_not_fit_is_refused(self):
        [root] = snapshots({"volume": "vol-1"})
        pending = register(disk(root))
        self.refused("InvalidAMIID.Unavailable", run, pending)
        arm = self.available_image(disk(root), Name="arm", Architecture="arm64")
        self.refused("InvalidParameterValue", run, arm)
        old = self.available_image(disk(root), Name="without ENA", EnaSupport=False)
        self.refused("InvalidParameterCombination", run, old)
        small = [{"DeviceName": ROOT, "Ebs": {"VolumeSize": 7}}]
        good = self.available_image(disk(root), Name="good")
        self.refused("InvalidBlockDeviceMapping", run, good, BlockDeviceMappings=small)
        self.refused("DryRunOperation", run, good, DryRun=True, status=412)
        self.assertEqual(len(client().describe_instances()["Reservations"]), 1)
        for identifier, kind in ((arm, "t4g.micro"), (arm, "m7gd.large"), (old, "m4.large"), (good, "g4dn.xlarge")):
            run(identifier, InstanceType=kind)

    def test_with_a_key_that_cannot_be_used_it_never_runs(self):
        [root] = snapshots({"volume": "vol-1", "encrypted": True, "kmsKeyId": KEY})
        made = self.available_image(disk(root))
        key("disabled")
        one = run(made, ClientToken="p1")
        hurry(one)
        self.assertEqual((state(one), [each["id"] for each in volumes() if each["snapshot"]]), ("terminated", []))
        self.refused("IdempotentInstanceTerminated", run, made, ClientToken="p1")

    def test_its_root_can_be_swapped_and_replaced(self):
        [root] = snapshots({"volume": "vol-1"})
        one = run(self.available_image(disk(root)))
        hurry(one)
        self.stopped(one)
        [volume] = [each["Ebs"]["VolumeId"] for each in shown(one)["BlockDeviceMappings"]]
        self.assertEqual(described(volume)["SnapshotId"], root)
        client().detach_volume(VolumeId=volume)
        hurry(volume)
        client().attach_volume(VolumeId=volume, InstanceId=one, Device=ROOT)
        hurry(volume)
        client().start_instances(InstanceIds=[one])
        hurry(one)
        client().create_replace_root_volume_task(InstanceId=one)

    def test_from_an_image_that_nobody_registered_moto_makes_it(self):
        one = run("ami-12345678")
        self.assertEqual((state(one), len(shown(one)["BlockDeviceMappings"])), ("running", 1))


class Telling(ImageScene):
    def test_an_instance_tells_what_its_scene_says(self):
        wanted = {
            "image": "ami-0123456789abcdef0",
            "type": "m7g.large",
            "zone": HOME + "b",
            "architecture": "arm64",
            "bootMode": "uefi",
            "subnet": "subnet-1",
            "securityGroups": ["sg-1", "sg-2"],
            "keyName": "ops",
            "usageOperation": "RunInstances:0010",
            "productCodes": ["abc"],
            "volumes": [{"device": ROOT, "type": "io2", "iops": 500, "size": 30, "deleteOnTermination": False}],
        }
        one = local("instances", {"region": HOME, "instances": [wanted]})[0]["id"]
        now = shown(one)
        self.assertEqual(
            (now["ImageId"], now["InstanceType"], now["Architecture"], now["BootMode"], now["KeyName"]),
            ("ami-0123456789abcdef0", "m7g.large", "arm64", "uefi", "ops"),
        )
        self.assertEqual(
            (now["SubnetId"], [each["GroupId"] for each in now["SecurityGroups"]], now["UsageOperation"]),
            ("subnet-1", ["sg-1", "sg-2"], "RunInstances:0010"),
        )
        self.assertEqual([each["ProductCodeId"] for each in now["ProductCodes"]], ["abc"])
        volume = described(now["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])
        self.assertEqual(
            (volume["VolumeType"], volume["Iops"], volume["Size"], volume["AvailabilityZone"]),
            ("io2", 500, 30, HOME + "b"),
        )
        self.assertFalse(volume["Attachments"][0]["DeleteOnTermination"])
        self.assertNotIn("BootMode", shown(instance()["id"]))
