"""The EC2 endpoint answers as EC2 does. Run in the moto environment:

python -m unittest discover -s tests/local
"""

import threading
import time

from botocore.exceptions import ClientError

from scene import AWAY, HOME, Scene, client, copy, described, found, instance, local, snapshots, tags


class Creating(Scene):
    def test_a_set_is_pending_then_completed(self):
        local("settings", {"snapshotSeconds": 1})
        made = instance()
        answer = client().create_snapshots(
            InstanceSpecification={"InstanceId": made["id"]},
            Description="nightly",
            TagSpecifications=tags(Type="Automated"),
        )["Snapshots"]
        self.assertEqual([one["VolumeId"] for one in answer], [one["id"] for one in made["volumes"]])
        self.assertEqual(len({one["StartTime"] for one in answer}), 1)
        for one in answer:
            self.assertEqual((one["State"], one["OwnerId"], one["Progress"]), ("pending", "123456789012", "0%"))
            self.assertEqual(one["Tags"], [{"Key": "Type", "Value": "Automated"}])
        now = described(answer[0]["SnapshotId"])
        self.assertEqual((now["State"], now["Description"]), ("pending", "nightly"))
        self.assertRegex(now["Progress"], r"^\d\d?%$")
        self.assertNotIn("CompletionTime", now)
        now = self.until("completed", answer[0]["SnapshotId"])
        self.assertEqual(now["Progress"], "100%")
        self.assertAlmostEqual((now["CompletionTime"] - now["StartTime"]).total_seconds(), 1, delta=0.5)

    def test_volumes_can_be_left_out(self):
        made = instance(volumes=3)
        boot, first, second = (one["id"] for one in made["volumes"])

        def ask(**more):
            wanted = {"InstanceId": made["id"], **more}
            return [one["VolumeId"] for one in client().create_snapshots(InstanceSpecification=wanted)["Snapshots"]]

        self.assertEqual(ask(ExcludeBootVolume=True), [first, second])
        self.assertEqual(ask(ExcludeDataVolumeIds=[first]), [boot, second])
        self.refused("InvalidParameterValue", ask, ExcludeDataVolumeIds=["vol-0123456789abcdef0"])
        self.refused("InvalidParameterValue", ask, ExcludeDataVolumeIds=[f"vol-{n:017x}" for n in range(41)])
        self.refused("InvalidParameterValue", ask, ExcludeBootVolume=True, ExcludeDataVolumeIds=[first, second])

    def test_what_is_not_there_is_refused(self):
        def ask(identifier):
            return client().create_snapshots(InstanceSpecification={"InstanceId": identifier})

        self.refused("InvalidInstanceID.NotFound", ask, instance(state="terminated")["id"])
        self.refused("InvalidInstanceID.NotFound", ask, "i-0123456789abcdef0")
        self.refused("InvalidParameterValue", ask, instance(volumes=0)["id"])
        self.refused("InvalidVolume.NotFound", client().create_snapshot, VolumeId="vol-0123456789abcdef0")
        self.assertEqual(local("snapshots"), [])

    def test_a_volume_has_its_pause(self):
        local("settings", {"perVolumeSeconds": 60})
        made = instance()
        one = client().create_snapshot(VolumeId=made["volumes"][1]["id"], TagSpecifications=tags(A="1"))
        self.assertEqual(one["State"], "pending")
        self.refused(
            "SnapshotCreationPerVolumeRateExceeded",
            client().create_snapshots,
            InstanceSpecification={"InstanceId": made["id"]},
        )
        self.assertEqual(len(local("snapshots")), 1)

    def test_tags(self):
        one = snapshots({"volume": None})[0]
        client().create_tags(Resources=[one], Tags=[{"Key": "KeepForever", "Value": ""}])
        self.assertEqual(local(f"snapshots?region={HOME}")[0]["tags"], {"KeepForever": ""})
        self.refused(
            "InvalidParameterValue", client().create_tags, Resources=[one], Tags=[{"Key": "aws:x", "Value": "1"}]
        )
        self.refused(
            "InvalidSnapshot.NotFound",
            client().create_tags,
            Resources=["snap-0123456789abcdef0"],
            Tags=[{"Key": "x", "Value": "1"}],
        )
        self.refused(
            "InvalidParameterValue",
            client().create_snapshot,
            VolumeId=instance()["volumes"][0]["id"],
            TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "x", "Value": "1"}]}],
        )

    def test_descriptions_are_short_and_plain(self):
        made, source = instance(), snapshots({"volume": "vol-1"})[0]
        calls = (
            lambda text: client().create_snapshot(VolumeId=made["volumes"][0]["id"], Description=text),
            lambda text: client().create_snapshots(InstanceSpecification={"InstanceId": made["id"]}, Description=text),
            lambda text: copy(source, Description=text),
        )
        for call in calls:
            for text in ("x" * 256, "Z\u00fcrich-DB - i-1", "two\nlines", "\x7f"):
                self.assertIn("Description", self.refused("InvalidParameterValue", call, text))
        self.assertEqual(len(local("snapshots")), 1)
        for call in calls:
            call(" ~" + "x" * 253)
            call("")

    def test_a_new_snapshot_is_described_late(self):
        local("settings", {"describeLagSeconds": 60})
        one = client().create_snapshot(VolumeId=instance()["volumes"][0]["id"])["SnapshotId"]
        self.refused("InvalidSnapshot.NotFound", described, one)
        self.assertEqual(found(), set())
        local("settings", {"describeLagSeconds": 0})
        self.assertEqual(found(), {one})

    def test_deleting(self):
        plain, used = snapshots({"volume": None}, {"volume": None, "inUse": True})
        client().delete_snapshot(SnapshotId=plain)
        self.refused("InvalidSnapshot.NotFound", client().delete_snapshot, SnapshotId=plain)
        self.refused("InvalidSnapshot.InUse", client().delete_snapshot, SnapshotId=used)


class Copying(Scene):
    def test_a_copy_has_only_the_tags_it_is_given(self):
        local("settings", {"copySeconds": 1})
        source = snapshots({"volume": "vol-1", "tags": {"Name": "web"}})[0]
        one = copy(source, TagSpecifications=tags(BackupFromRegion=HOME), Description="copy", DestinationRegion=AWAY)
        now = described(one, AWAY)
        self.assertEqual((now["State"], now["VolumeId"], now["Description"]), ("pending", "vol-ffffffff", "copy"))
        self.assertEqual(now["Tags"], [{"Key": "BackupFromRegion", "Value": HOME}])
        self.until("completed", one, AWAY)
        self.assertEqual(found(), {source})

    def test_sources_that_cannot_be_copied(self):
        pending, broken = snapshots(
            {"volume": "vol-1", "state": "pending", "seconds": 60}, {"volume": "vol-2", "state": "error"}
        )
        self.refused("IncorrectState", copy, pending)
        self.refused("IncorrectState", copy, broken)
        self.refused("InvalidSnapshot.NotFound", copy, "snap-0123456789abcdef0")
        self.refused("InvalidParameterValue", copy, pending, DestinationRegion="us-west-2")

    def test_the_sixth_copy_is_refused_per_region(self):
        local("settings", {"copySeconds": 60})
        source = snapshots({"volume": "vol-1"})[0]
        outcomes = []

        def attempt():
            try:
                outcomes.append(copy(source))
            except ClientError as refusal:
                outcomes.append(refusal.response["Error"]["Code"])

        client(AWAY)
        threads = [threading.Thread(target=attempt) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(outcomes.count("ResourceLimitExceeded"), 7)
        self.assertEqual(max(call["inFlight"] for call in local("calls?action=CopySnapshot")), 5)
        self.assertEqual(
            self.refused("ResourceLimitExceeded", copy, source),
            "Too many snapshot copies in progress. The limit is 5 for this destination region.",
        )
        copy(source, to="us-west-2")

    def test_a_key_encrypts_the_copy(self):
        source = snapshots({"volume": "vol-1"})[0]
        one = copy(source, Encrypted=True, KmsKeyId="arn:aws:kms:us-east-1:1:key/k")
        self.assertEqual(described(one, AWAY)["KmsKeyId"], "arn:aws:kms:us-east-1:1:key/k")
        self.refused("InvalidParameterDependency", copy, source, KmsKeyId="arn:aws:kms:us-east-1:1:key/k")


class Detaching(Scene):
    def attachments(self, volume):
        return [one["InstanceId"] for one in client().describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]]

    def test_the_only_instance_need_not_be_named(self):
        made = instance(volumes=3)
        boot, first, second = (one["id"] for one in made["volumes"])
        said = client().detach_volume(VolumeId=first)
        self.assertEqual(
            (said["VolumeId"], said["InstanceId"], said["Device"], said["State"]),
            (first, made["id"], made["volumes"][1]["device"], "detaching"),
        )
        client().detach_volume(VolumeId=second, InstanceId=made["id"], Device=made["volumes"][2]["device"])
        self.assertEqual([self.attachments(one) for one in (boot, first, second)], [[made["id"]], [], []])
        shown = client().describe_instances(InstanceIds=[made["id"]])["Reservations"][0]["Instances"][0]
        self.assertEqual([one["Ebs"]["VolumeId"] for one in shown["BlockDeviceMappings"]], [boot])
        self.assertEqual(
            self.refused("IncorrectState", client().detach_volume, VolumeId=first),
            f"Volume '{first}' is in the 'available' state.",
        )

    def test_one_of_several_has_to_be_named(self):
        first, second, third = instance(), instance(), instance()
        volume = first["volumes"][1]["id"]
        local("attach", {"region": HOME, "instance": second["id"], "volume": volume, "device": "/dev/sdz"})
        self.refused("MissingParameter", client().detach_volume, VolumeId=volume)
        self.refused("InvalidAttachment.NotFound", client().detach_volume, VolumeId=volume, InstanceId=third["id"])
        client().detach_volume(VolumeId=volume, InstanceId=second["id"])
        self.assertEqual(self.attachments(volume), [first["id"]])

    def test_what_is_not_there_is_refused(self):
        volume = instance()["volumes"][0]["id"]
        self.refused("InvalidVolume.NotFound", client().detach_volume, VolumeId="vol-0123456789abcdef0")
        self.refused(
            "InvalidInstanceID.NotFound", client().detach_volume, VolumeId=volume, InstanceId="i-0123456789abcdef0"
        )
        self.refused("InvalidAttachment.NotFound", client().detach_volume, VolumeId=volume, Device="/dev/sdx")


class Describing(Scene):
    def test_filters(self):
        first, second, third = snapshots(
            {
                "volume": "vol-1",
                "tags": {"Type": "Automated", "CreatedOn": "2026-11-01"},
                "startTime": "2026-11-01T03:00:00Z",
            },
            {
                "volume": "vol-2",
                "tags": {"Type": "Automated", "CreatedOn": "2026-11-02"},
                "state": "error",
                "stateMessage": "broken",
            },
            {"volume": "vol-3", "tags": {"Type": "manual"}},
        )
        self.assertEqual(found(("snapshot-id", [first, third])), {first, third})
        self.assertEqual(found(("tag:CreatedOn", ["2026-11-01", "2026-11-02"])), {first, second})
        self.assertEqual(found(("tag:CreatedOn", ["2026-11-0?"]), ("tag:Type", ["Auto*"])), {first, second})
        self.assertEqual(found(("tag:Type", ["automated"])), set())
        self.assertEqual(found(("tag-key", ["CreatedOn"])), {first, second})
        self.assertEqual(found(("status", ["error"])), {second})
        self.assertEqual(found(("volume-id", ["vol-3"])), {third})
        self.assertEqual(found(("owner-id", ["123456789012"])), {first, second, third})
        self.assertEqual(found(("start-time", ["2026-11-01T*"])), {first})
        self.assertEqual(found(OwnerIds=["self"]), {first, second, third})
        self.assertEqual(found(OwnerIds=["000000000000"]), set())
        self.assertEqual(described(second)["StateMessage"], "broken")
        self.refused("InvalidParameterValue", found, ("colour", ["red"]))

    def test_refusals(self):
        one = snapshots({"volume": None})[0]
        self.refused("FilterLimitExceeded", found, ("snapshot-id", [f"snap-{n}" for n in range(201)]))
        self.refused("InvalidParameterCombination", client().describe_snapshots, SnapshotIds=[one], MaxResults=5)
        self.refused(
            "InvalidParameterCombination", client().describe_instances, InstanceIds=[instance()["id"]], MaxResults=5
        )
        self.refused("InvalidParameterValue", client().describe_snapshots, MaxResults=4)
        self.refused(
            "InvalidSnapshot.NotFound", client().describe_snapshots, SnapshotIds=[one, "snap-0123456789abcdef0"]
        )
        self.refused("InvalidInstanceID.NotFound", client().describe_instances, InstanceIds=["i-0123456789abcdef0"])

    def test_with_a_page_size_pages_are_cut_before_they_are_filtered(self):
        for number in range(6):
            snapshots({"volume": "vol-0a", "tags": {"Which": "last" if number == 5 else "other"}})
        wanted = [{"Name": "tag:Which", "Values": ["last"]}]
        first = client().describe_snapshots(Filters=wanted, MaxResults=5)
        self.assertEqual(first["Snapshots"], [])
        second = client().describe_snapshots(Filters=wanted, MaxResults=5, NextToken=first["NextToken"])
        self.assertEqual(len(second["Snapshots"]), 1)
        self.assertEqual(len(client().describe_snapshots(Filters=wanted)["Snapshots"]), 1)

    def test_pages(self):
        ids = snapshots(*[{"volume": "vol-1"}] * 12)
        pages = client().get_paginator("describe_snapshots").paginate(PaginationConfig={"PageSize": 5})
        seen = [[one["SnapshotId"] for one in page["Snapshots"]] for page in pages]
        self.assertEqual(seen, [ids[:5], ids[5:10], ids[10:]])
        made = local(
            "instances", {"region": HOME, "instances": [{"volumes": [{"device": "/dev/xvda"}]} for _ in range(7)]}
        )
        for action, key in (("describe_instances", "Reservations"), ("describe_volumes", "Volumes")):
            pages = client().get_paginator(action).paginate(PaginationConfig={"PageSize": 5})
            self.assertEqual([len(page[key]) for page in pages], [5, 2])
        self.refused("InvalidNextToken", client().describe_snapshots, NextToken="nonsense")
        self.assertEqual(len(made), 7)

    def test_a_thousand_are_one_answer(self):
        snapshots(*[{"volume": "vol-1", "tags": {"Type": "Automated", "Name": str(n)}} for n in range(1001)])
        answer = client().describe_snapshots(OwnerIds=["self"])
        self.assertEqual(len(answer["Snapshots"]), 1000)
        self.assertEqual(len(client().describe_snapshots(NextToken=answer["NextToken"])["Snapshots"]), 1)

    def test_instances_and_volumes(self):
        started = time.monotonic()
        made = local(
            "instances",
            {
                "region": HOME,
                "instances": [
                    {
                        "tags": {"Name": f"web{n}", "Backup": "Yes"},
                        "state": "stopped",
                        "volumes": [{"device": "/dev/sda1"}, {"device": "/dev/sdf", "tags": {"Backup": "No"}}],
                    }
                    for n in range(1000)
                ],
            },
        )
        self.assertLess(time.monotonic() - started, 5)
        bare = instance(volumes=0)
        shown = client().describe_instances(Filters=[{"Name": "tag:Name", "Values": ["web7"]}])["Reservations"]
        one = shown[0]["Instances"][0]
        self.assertEqual(
            (one["InstanceId"], one["State"]["Name"], one["RootDeviceName"]), (made[7]["id"], "stopped", "/dev/sda1")
        )
        self.assertEqual({"Key": "Backup", "Value": "Yes"} in one["Tags"], True)
        self.assertEqual(
            [each["Ebs"]["VolumeId"] for each in one["BlockDeviceMappings"]],
            [each["id"] for each in made[7]["volumes"]],
        )
        volumes = client().describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made[7]["id"]]}])
        self.assertEqual([each["VolumeId"] for each in volumes["Volumes"]], [each["id"] for each in made[7]["volumes"]])
        shown = client().describe_instances(InstanceIds=[bare["id"]])["Reservations"][0]["Instances"][0]
        self.assertEqual(shown.get("BlockDeviceMappings", []), [])

    def test_regions(self):
        def names(**more):
            return {one["RegionName"]: one["OptInStatus"] for one in client().describe_regions(**more)["Regions"]}

        self.assertEqual(len(names()), 5)
        self.assertEqual(names(AllRegions=True)["ap-east-1"], "not-opted-in")
        self.refused("AuthFailure", client("ap-east-1").describe_snapshots, status=401)
        self.refused("AuthFailure", client("sa-east-1").describe_instances, status=401)
