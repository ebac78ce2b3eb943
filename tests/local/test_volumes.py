"""Volumes are created, refused, repeated and lost as EBS does it. Run in the moto environment."""

import time
from pathlib import Path

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from scene import AWAY, HOME, client, copy, instance, local, snapshots
from volume_scene import KEY, ZONE, VolumeScene, create, described, key, volumes, with_file


class Creating(VolumeScene):
    def test_it_is_available_after_its_time(self):
        local("settings", {"volumeSeconds": 0.1})
        made = create(Size=8)
        self.assertEqual(made["State"], "creating")
        deadline = time.monotonic() + 10
        while described(made["VolumeId"])["State"] != "available":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_it_is_creating_then_available(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        tags = [{"Key": "RestoredFrom", "Value": snapshot}]
        made = create(
            SnapshotId=snapshot,
            VolumeType="gp3",
            Iops=4000,
            Throughput=500,
            Size=20,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
        )
        self.assertEqual((made["State"], made["SnapshotId"], made["Tags"]), ("creating", snapshot, tags))
        self.assertEqual(described(made["VolumeId"])["State"], "creating")
        now = self.available(made["VolumeId"])
        self.assertEqual(
            (now["VolumeType"], now["Iops"], now["Throughput"], now["Size"], now["AvailabilityZone"], now["Tags"]),
            ("gp3", 4000, 500, 20, ZONE, tags),
        )
        [listed] = volumes()
        self.assertEqual(
            (listed["id"], listed["state"], listed["type"], listed["iops"], listed["throughput"], listed["size"]),
            (made["VolumeId"], "available", "gp3", 4000, 500, 20),
        )
        [call] = local("calls?action=CreateVolume")
        self.assertEqual(call["result"], [made["VolumeId"]])

    def test_what_is_not_asked_for_is_the_default(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        made = create(SnapshotId=snapshot)
        self.assertEqual((made["VolumeType"], made["Size"], made["Iops"], made["Encrypted"]), ("gp2", 8, 100, False))
        made = create(Size=200)
        self.assertEqual((made["VolumeType"], made["SnapshotId"], made["Iops"]), ("gp2", "", 600))
        made = create(Size=8, VolumeType="gp3")
        self.assertEqual((made["Iops"], made["Throughput"]), (3000, 125))
        zones = {one["ZoneName"]: one["ZoneId"] for one in client().describe_availability_zones()["AvailabilityZones"]}
        made = client().create_volume(AvailabilityZoneId=zones[HOME + "b"], Size=8)
        self.assertEqual(made["AvailabilityZone"], HOME + "b")

    def test_limits_of_each_type(self):
        good = (
            {"VolumeType": "gp3", "Size": 65536, "Iops": 80000, "Throughput": 2000},
            {"VolumeType": "gp3", "Size": 1, "Iops": 3000, "Throughput": 750},
            {"VolumeType": "gp2", "Size": 16384},
            {"VolumeType": "io1", "Size": 4, "Iops": 200},
            {"VolumeType": "io2", "Size": 256, "Iops": 256000},
            {"VolumeType": "st1", "Size": 125},
            {"VolumeType": "sc1", "Size": 16384},
            {"VolumeType": "standard", "Size": 1024},
        )
        for wanted in good:
            create(**wanted)
        for code, wanted in (
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 65537}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 8, "Iops": 2999}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 8, "Iops": 4001}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 200, "Iops": 80001}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 8, "Throughput": 124}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 8, "Throughput": 751}),
            ("InvalidParameterValue", {"VolumeType": "gp3", "Size": 100, "Iops": 9000, "Throughput": 2001}),
            ("InvalidParameterCombination", {"VolumeType": "gp2", "Size": 8, "Iops": 3000}),
            ("InvalidParameterCombination", {"VolumeType": "io2", "Size": 8, "Iops": 300, "Throughput": 125}),
            ("MissingParameter", {"VolumeType": "io1", "Size": 8}),
            ("InvalidParameterValue", {"VolumeType": "io1", "Size": 4, "Iops": 201}),
            ("InvalidParameterValue", {"VolumeType": "st1", "Size": 124}),
            ("InvalidParameterValue", {"VolumeType": "standard", "Size": 1025}),
            ("InvalidParameterCombination", {"VolumeType": "gp3", "Size": 8, "MultiAttachEnabled": True}),
            ("UnknownVolumeType", {"VolumeType": "gp9", "Size": 8}),
            ("MissingParameter", {}),
        ):
            self.refused(code, create, **wanted)
        self.assertEqual(len(volumes()), len(good))

    def test_what_is_not_there_or_not_ready_is_refused(self):
        good, pending, broken = snapshots(
            {"volume": "vol-1"},
            {"volume": "vol-1", "state": "pending", "seconds": 60},
            {"volume": "vol-1", "state": "error"},
        )
        self.refused("IncorrectState", create, SnapshotId=pending)
        self.refused("IncorrectState", create, SnapshotId=broken)
        self.refused("InvalidSnapshot.NotFound", create, SnapshotId="snap-0123456789abcdef0")
        self.refused("InvalidSnapshot.NotFound", create, AWAY, SnapshotId=good)
        self.refused("InvalidParameterValue", create, SnapshotId=good, Size=7)
        self.refused("InvalidZone.NotFound", create, SnapshotId=good, AvailabilityZone=AWAY + "a")
        self.refused("MissingParameter", client().create_volume, SnapshotId=good)
        wrong = [{"ResourceType": "snapshot", "Tags": [{"Key": "A", "Value": "1"}]}]
        self.refused("InvalidParameterValue", create, SnapshotId=good, TagSpecifications=wrong)
        self.assertEqual(volumes(), [])

    def test_a_dry_run_makes_nothing(self):
        self.refused("DryRunOperation", create, Size=8, DryRun=True, status=412)
        local("faults", {"action": "CreateVolume", "code": "UnauthorizedOperation", "status": 403})
        self.refused("UnauthorizedOperation", create, Size=8, DryRun=True, status=403)
        self.assertEqual(volumes(), [])
        self.assertEqual(
            [call["outcome"] for call in local("calls?action=CreateVolume")],
            ["DryRunOperation", "UnauthorizedOperation"],
        )

    def test_a_broken_one_is_in_error(self):
        local("faults", {"action": "CreateVolume", "kind": "broken-volume"})
        made = create(Size=8)["VolumeId"]
        local("hurry", {"id": made})
        self.assertEqual(described(made)["State"], "error")
        self.available(create(Size=8)["VolumeId"])

    def test_the_calls_are_throttled(self):
        local("settings", {"throttle": True})
        calls, refused = 0, None
        while refused is None and calls < 1000:
            calls += 1
            try:
                create(Size=8)
            except ClientError as refusal:
                refused = refusal.response["Error"]["Code"]
        self.assertEqual(refused, "RequestLimitExceeded")
        self.assertGreaterEqual(calls, 100)


class Repeating(VolumeScene):
    def test_one_token_makes_one_volume(self):
        first = create(Size=8, ClientToken="plan-1")["VolumeId"]
        self.assertEqual(create(Size=8, ClientToken="plan-1")["VolumeId"], first)
        self.available(first)
        self.assertEqual(create(Size=8, ClientToken="plan-1")["VolumeId"], first)
        self.assertNotEqual(create(Size=8, ClientToken="plan-2")["VolumeId"], first)
        self.assertNotEqual(create(AWAY, Size=8, ClientToken="plan-1")["VolumeId"], first)
        self.refused("IdempotentParameterMismatch", create, Size=9, ClientToken="plan-1")
        self.refused("InvalidParameterValue", create, Size=8, ClientToken="x" * 65)
        self.assertEqual(len(volumes()), 2)

    def test_what_was_made_and_not_answered_is_found_by_its_token(self):
        local("faults", {"action": "CreateVolume", "kind": "lost"})
        local("faults", {"action": "CreateVolume", "kind": "error-after"})
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            create(Size=8, ClientToken="plan-1")
        self.refused("InternalError", create, Size=8, ClientToken="plan-1", status=500)
        made = create(Size=8, ClientToken="plan-1")["VolumeId"]
        self.assertEqual([one["id"] for one in volumes()], [made])
        self.assertEqual([call["result"] for call in local("calls?action=CreateVolume")], [[made]] * 3)

    def test_the_token_of_a_volume_that_is_gone_is_used_up(self):
        made = create(Size=8, ClientToken="plan-1")["VolumeId"]
        self.available(made)
        client().delete_volume(VolumeId=made)
        said = self.refused("IdempotentParameterMismatch", create, Size=8, ClientToken="plan-1")
        self.assertIn("already deleted", said)


class Keys(VolumeScene):
    def test_a_volume_vanishes_whose_key_cannot_be_used(self):
        [snapshot] = snapshots({"volume": "vol-1", "encrypted": True, "kmsKeyId": KEY})
        for state in ("disabled", "pendingDeletion", "denied", "missing"):
            key(state)
            self.until_gone(create(SnapshotId=snapshot)["VolumeId"])
            self.until_gone(create(Size=8, Encrypted=True, KmsKeyId=KEY)["VolumeId"])
        key("enabled")
        made = self.available(create(SnapshotId=snapshot)["VolumeId"])
        self.assertEqual((made["Encrypted"], made["KmsKeyId"]), (True, KEY))
        self.until_gone(create(Size=8, Encrypted=True, KmsKeyId=KEY.replace(HOME, AWAY))["VolumeId"])

    def test_the_key_of_the_snapshot_and_the_new_one_are_both_needed(self):
        other = KEY.replace("k1", "k2")
        [snapshot] = snapshots({"volume": "vol-1", "encrypted": True, "kmsKeyId": KEY})
        made = create(SnapshotId=snapshot, Encrypted=True, KmsKeyId="k2")["VolumeId"]
        self.assertEqual(self.available(made)["KmsKeyId"], other)
        key("disabled")
        self.until_gone(create(SnapshotId=snapshot, Encrypted=True, KmsKeyId=other)["VolumeId"])
        self.refused("InvalidParameterDependency", create, SnapshotId=snapshot, KmsKeyId=other)

    def test_a_copy_ends_in_error_whose_keys_cannot_be_used(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        away = KEY.replace(HOME, AWAY)
        self.until("completed", copy(snapshot, Encrypted=True, KmsKeyId=away), AWAY)
        key("disabled", away, AWAY)
        one = self.until("error", copy(snapshot, Encrypted=True, KmsKeyId=away), AWAY)
        self.assertEqual(one["StateMessage"], "Given key ID is not accessible")


class Files(VolumeScene):
    def test_a_volume_has_what_its_snapshot_had(self):
        disk, source, snapshot = with_file(self, b"before")
        disk.write_bytes(b"after")
        made = [create(SnapshotId=snapshot)["VolumeId"] for _ in range(2)]
        files = {one["id"]: one["file"] for one in volumes()}
        for volume in made:
            self.assertEqual(Path(files[volume]).read_bytes(), b"before")
        self.assertEqual((files[source], len({files[volume] for volume in made})), (str(disk), 2))
        empty = create(Size=8)["VolumeId"]
        self.assertIsNone({one["id"]: one["file"] for one in volumes()}[empty])
        Path(files[made[0]]).write_bytes(b"of the first")
        again = client().create_snapshot(VolumeId=made[0])["SnapshotId"]
        self.until("completed", again)
        held = {one["id"]: one.get("file") for one in local("snapshots")}
        self.assertEqual(Path(held[again]).read_bytes(), b"of the first")
        self.assertEqual(Path(files[made[1]]).read_bytes(), b"before")

    def test_a_copy_has_what_its_source_had(self):
        _, _, snapshot = with_file(self, b"content")
        one = copy(snapshot)
        self.until("completed", one, AWAY)
        create(AWAY, SnapshotId=one)
        [made] = volumes(AWAY)
        self.assertEqual(Path(made["file"]).read_bytes(), b"content")

    def test_holes_stay_holes(self):
        disk, volume, _ = with_file(self)
        with disk.open("r+b") as file:
            file.truncate(1 << 30)
        snapshot = client().create_snapshot(VolumeId=volume)["SnapshotId"]
        self.until("completed", snapshot)
        create(SnapshotId=snapshot)
        [made] = [one for one in volumes() if one["snapshot"] == snapshot]
        size = Path(made["file"]).stat()
        self.assertEqual(size.st_size, 1 << 30)
        self.assertLess(size.st_blocks * 512, 1 << 20)


class Rates(VolumeScene):
    def test_the_rate_has_limits_and_a_quota_of_the_region(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        self.refused("InvalidParameterValue", create, SnapshotId=snapshot, VolumeInitializationRate=99)
        self.refused("InvalidParameterValue", create, SnapshotId=snapshot, VolumeInitializationRate=301)
        self.refused("InvalidParameterCombination", create, Size=8, VolumeInitializationRate=100)
        for _ in range(16):
            made = create(SnapshotId=snapshot, VolumeInitializationRate=300)
        self.assertEqual(made["VolumeInitializationRate"], 300)
        self.refused("VolumeInitializationRateLimitExceeded", create, SnapshotId=snapshot, VolumeInitializationRate=300)
        create(SnapshotId=snapshot, VolumeInitializationRate=200)
        create(SnapshotId=snapshot)
        [away] = snapshots({"volume": "vol-1"}, region=AWAY)
        create(AWAY, SnapshotId=away, VolumeInitializationRate=300)
        local("settings", {"initializationSeconds": 0})
        self.available(made["VolumeId"])
        create(SnapshotId=snapshot, VolumeInitializationRate=300)


class Deleting(VolumeScene):
    def test_one_that_is_attached_is_not_deleted(self):
        attached = instance()["volumes"][1]["id"]
        self.refused("VolumeInUse", client().delete_volume, VolumeId=attached)
        made = create(Size=8)["VolumeId"]
        client().delete_volume(VolumeId=made)
        self.refused("InvalidVolume.NotFound", client().delete_volume, VolumeId=made)
        self.assertEqual(len(volumes()), 2)
