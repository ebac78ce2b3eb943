"""The root volume of a running instance is replaced as EC2 does it. Run in the moto environment."""

from pathlib import Path

from scene import AWAY, HOME, client, copy, local, snapshots
from volume_scene import (
    KEY,
    AttachmentScene,
    create,
    described,
    detach,
    disks,
    hurry,
    key,
    state,
    volumes,
    with_file,
)


def replace(instance, **more):
    return client().create_replace_root_volume_task(InstanceId=instance, **more)["ReplaceRootVolumeTask"]


def task(identifier):
    return client().describe_replace_root_volume_tasks(ReplaceRootVolumeTaskIds=[identifier])["ReplaceRootVolumeTasks"][
        0
    ]


class RootScene(AttachmentScene):
    def setUp(self):
        super().setUp()
        local("settings", {"rootTaskSeconds": 600})

    def root_of(self, instance):
        return disks(instance)["/dev/sda1"][0]

    def snapshot_of(self, volume):
        made = client().create_snapshot(VolumeId=volume)["SnapshotId"]
        self.until("completed", made)
        return made

    def finished(self, made):
        identifier = made["ReplaceRootVolumeTaskId"]
        for _ in range(4):
            hurry(identifier)
        return task(identifier)


class Replacing(RootScene):
    def test_from_a_snapshot_of_its_own_root(self):
        source = self.snapshot_of(self.root)
        tags = [{"Key": "RestorePlan", "Value": "p1"}]
        made = replace(
            self.id,
            SnapshotId=source,
            TagSpecifications=[{"ResourceType": "replace-root-volume-task", "Tags": tags}],
        )
        self.assertEqual((made["TaskState"], made["SnapshotId"], made["Tags"]), ("pending", source, tags))
        [new] = [one["id"] for one in volumes() if one["snapshot"] == source]
        self.assertEqual(described(new)["State"], "creating")
        self.available(new)
        hurry(made["ReplaceRootVolumeTaskId"])
        self.assertEqual(task(made["ReplaceRootVolumeTaskId"])["TaskState"], "in-progress")
        self.assertEqual(self.root_of(self.id), self.root)
        done = self.finished(made)
        self.assertEqual((done["TaskState"], done["DeleteReplacedRootVolume"]), ("succeeded", False))
        self.assertIn("CompleteTime", done)
        self.assertEqual(disks(self.id)["/dev/sda1"], (new, "attached"))
        self.assertEqual(state(self.id), "running")
        old, now = described(self.root), described(new)
        self.assertEqual((old["State"], now["VolumeType"], now["Size"]), ("available", old["VolumeType"], old["Size"]))
        self.assertTrue(now["Attachments"][0]["DeleteOnTermination"])
        again = replace(self.id, SnapshotId=source, DeleteReplacedRootVolume=True)
        self.assertEqual(self.finished(again)["TaskState"], "succeeded")
        self.refused("InvalidVolume.NotFound", described, new)

    def test_from_a_volume_of_its_zone(self):
        new = self.new(VolumeType="gp3", Size=20)
        done = self.finished(replace(self.id, VolumeId=new))
        self.assertEqual(done["TaskState"], "succeeded")
        self.assertEqual((self.root_of(self.id), described(self.root)["State"]), (new, "available"))

    def test_to_the_state_of_its_launch(self):
        self.refused("InvalidSnapshot.NotFound", replace, self.id)
        self.finished(replace(self.id, SnapshotId=self.snapshot_of(self.root)))
        first = self.root_of(self.id)
        self.assertEqual(self.finished(replace(self.id))["TaskState"], "succeeded")
        self.assertNotEqual(self.root_of(self.id), first)

    def test_from_an_image(self):
        [source] = snapshots({"volume": "vol-1"})
        image = local("images", {"region": HOME, "snapshots": [source]})["id"]
        done = self.finished(replace(self.id, ImageId=image))
        self.assertEqual((done["TaskState"], done["ImageId"]), ("succeeded", image))
        self.assertEqual(described(self.root_of(self.id))["SnapshotId"], source)
        self.refused("InvalidAMIID.NotFound", replace, self.id, ImageId="ami-0123456789abcdef0")

    def test_it_has_what_the_snapshot_had(self):
        _, volume, source = with_file(self, b"content")
        [owner] = [one["InstanceId"] for one in described(volume)["Attachments"]]
        self.finished(replace(owner, SnapshotId=source))
        new = self.root_of(owner)
        [file] = [one["file"] for one in volumes() if one["id"] == new]
        self.assertEqual(Path(file).read_bytes(), b"content")

    def test_a_token_makes_one_task(self):
        source = self.snapshot_of(self.root)
        local("faults", {"action": "CreateReplaceRootVolumeTask", "kind": "error-after"})
        self.refused("InternalError", replace, self.id, SnapshotId=source, ClientToken="p1", status=500)
        made = replace(self.id, SnapshotId=source, ClientToken="p1")["ReplaceRootVolumeTaskId"]
        self.assertEqual(
            [call["result"] for call in local("calls?action=CreateReplaceRootVolumeTask")], [[made], [made]]
        )
        self.refused("IdempotentParameterMismatch", replace, self.id, ClientToken="p1")
        self.assertEqual(len([one for one in volumes() if one["snapshot"] == source]), 1)


class Refusing(RootScene):
    def test_snapshots_of_other_volumes(self):
        own, other = self.snapshot_of(self.root), self.snapshot_of(self.data)
        away = copy(own)
        self.until("completed", away, AWAY)
        back = client().copy_snapshot(SourceRegion=AWAY, SourceSnapshotId=away)["SnapshotId"]
        self.until("completed", back)
        for snapshot in (other, back):
            said = self.refused("InvalidParameterValue", replace, self.id, SnapshotId=snapshot)
            self.assertIn("root volumes attached to the instance in the past", said)
        self.refused("InvalidSnapshot.NotFound", replace, self.id, SnapshotId=away)
        # Of a root that it once had, by whatever way it went.
        new = self.new()
        self.stopped(self.id)
        detach(self.root)
        hurry(self.root)
        client().attach_volume(VolumeId=new, InstanceId=self.id, Device="/dev/sda1")
        hurry(new)
        client().start_instances(InstanceIds=[self.id])
        hurry(self.id)
        self.assertEqual(self.finished(replace(self.id, SnapshotId=own))["TaskState"], "succeeded")

    def test_what_cannot_be_done(self):
        source, volume = self.snapshot_of(self.root), self.new()
        self.refused("InvalidParameterCombination", replace, self.id, SnapshotId=source, VolumeId=volume)
        self.refused("InvalidVolume.ZoneMismatch", replace, self.id, VolumeId=self.new(AvailabilityZone=HOME + "b"))
        self.refused("IncorrectState", replace, self.id, VolumeId=create(Size=8)["VolumeId"])
        self.refused("VolumeInUse", replace, self.id, VolumeId=self.data)
        self.refused("InvalidVolume.NotFound", replace, self.id, VolumeId="vol-0123456789abcdef0")
        self.refused("DryRunOperation", replace, self.id, VolumeId=volume, DryRun=True, status=412)
        self.stopped(self.id)
        self.refused("IncorrectInstanceState", replace, self.id, VolumeId=volume)
        secret = self.instance_with_encrypted_root()
        self.refused("InvalidParameterValue", replace, secret, VolumeId=volume)
        self.assertEqual(client().describe_replace_root_volume_tasks()["ReplaceRootVolumeTasks"], [])

    def instance_with_encrypted_root(self):
        disk = {"device": "/dev/sda1", "encrypted": True, "kmsKeyId": KEY}
        return local("instances", {"region": HOME, "instances": [{"volumes": [disk]}]})[0]["id"]

    def test_a_task_that_fails_changes_nothing(self):
        source = self.snapshot_of(self.root)
        local("faults", {"action": "CreateReplaceRootVolumeTask", "kind": "broken-task"})
        made = replace(self.id, SnapshotId=source)
        self.assertEqual(self.finished(made)["TaskState"], "failed")
        secret = self.instance_with_encrypted_root()
        root = self.root_of(secret)
        key("disabled")
        made = replace(secret, SnapshotId=self.snapshot_of(root))
        hurry(*[one["id"] for one in volumes()])
        self.assertEqual(self.finished(made)["TaskState"], "failed")
        self.assertEqual((self.root_of(self.id), self.root_of(secret)), (self.root, root))
        self.assertEqual([one["id"] for one in volumes() if one["snapshot"]], [])

    def test_tasks_are_described(self):
        made = [replace(self.id, VolumeId=self.new())["ReplaceRootVolumeTaskId"] for _ in range(3)]
        pages = client().get_paginator("describe_replace_root_volume_tasks").paginate(PaginationConfig={"PageSize": 2})
        seen = [[one["ReplaceRootVolumeTaskId"] for one in page["ReplaceRootVolumeTasks"]] for page in pages]
        self.assertEqual(seen, [made[:2], made[2:]])

        def of(instance):
            wanted = [{"Name": "instance-id", "Values": [instance]}]
            answer = client().describe_replace_root_volume_tasks(Filters=wanted)
            return len(answer["ReplaceRootVolumeTasks"])

        self.assertEqual((of(self.id), of("i-0123456789abcdef0")), (3, 0))
        self.refused("InvalidReplaceRootVolumeTaskId.NotFound", task, "replacevol-0123456789abcdef0")
