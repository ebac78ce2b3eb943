"""Images and locks hold snapshots, and are described as EC2 describes them."""

import json
import urllib.error
from datetime import UTC, datetime, timedelta

from scene import AWAY, HOME, Scene, client, local, snapshots


def image(*used, region=HOME, **more):
    return local("images", {"region": region, "snapshots": list(used), **more})["id"]


def lock(snapshot, mode="governance", region=HOME, **more):
    return local("locks", {"region": region, "snapshot": snapshot, "mode": mode, **more})


def images(region=HOME, **more):
    return client(region).describe_images(Owners=["self"], **more)["Images"]


def locks(region=HOME, **more):
    return client(region).describe_locked_snapshots(**more)["Snapshots"]


def delete(snapshot, region=HOME):
    client(region).delete_snapshot(SnapshotId=snapshot)


class Images(Scene):
    def test_an_image_holds_its_snapshots(self):
        first, second, free = snapshots(*[{"volume": "vol-1"}] * 3)
        made = image(first, second, name="golden")
        other = image(second)
        self.assertIn(made, self.refused("InvalidSnapshot.InUse", delete, first))
        said = self.refused("InvalidSnapshot.InUse", delete, second)
        self.assertTrue(made in said and other in said, said)
        delete(free)
        client().deregister_image(ImageId=made)
        delete(first)
        self.refused("InvalidSnapshot.InUse", delete, second)
        self.refused("InvalidAMIID.NotFound", client().deregister_image, ImageId=made)

    def test_they_are_described(self):
        used = snapshots(*[{"volume": "vol-1"}] * 2)
        made = image(*used, name="golden")
        local("tags", {"region": HOME, "id": made, "tags": {"Team": "web"}})
        shown = images()[0]
        self.assertEqual(
            (shown["ImageId"], shown["Name"], shown["State"], shown["OwnerId"]),
            (made, "golden", "available", "123456789012"),
        )
        self.assertEqual(shown["Tags"], [{"Key": "Team", "Value": "web"}])
        disks = [disk.get("Ebs", {}).get("SnapshotId") for disk in shown["BlockDeviceMappings"]]
        self.assertEqual(disks, [*used, None])

        def ask(value):
            return images(Filters=[{"Name": "block-device-mapping.snapshot-id", "Values": [value]}])

        self.assertEqual((len(ask(used[1])), ask("snap-0123456789abcdef0")), (1, []))
        self.assertEqual(len(images(ImageIds=[made])), 1)
        self.assertEqual(client().describe_images(Owners=["amazon"])["Images"], [])
        self.assertEqual(len(client().describe_images(Owners=["123456789012"])["Images"]), 1)

    def test_a_disabled_one_is_shown_to_who_asks_for_it_and_holds(self):
        used = snapshots({"volume": "vol-1"})[0]
        made = image(used, disabled=True)
        self.assertEqual(images(), [])
        self.assertEqual([(one["ImageId"], one["State"]) for one in images(IncludeDisabled=True)], [(made, "disabled")])
        self.assertIn(made, self.refused("InvalidSnapshot.InUse", delete, used))

    def test_pages_regions_and_reset(self):
        used = snapshots({"volume": "vol-1"})[0]
        made = [image(used) for _ in range(7)]
        pages = client().get_paginator("describe_images").paginate(Owners=["self"], PaginationConfig={"PageSize": 5})
        self.assertEqual([[one["ImageId"] for one in page["Images"]] for page in pages], [made[:5], made[5:]])
        self.assertEqual(images(region=AWAY), [])
        local("reset", {})
        self.assertEqual(images(), [])

    def test_an_image_of_nothing_is_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            image("snap-0123456789abcdef0")
        self.assertIn("snap-0123456789abcdef0", json.load(caught.exception)["error"])


class Locks(Scene):
    def test_a_locked_snapshot_cannot_be_deleted(self):
        modes = ("governance", "compliance", "compliance-cooloff")
        locked, free = snapshots(*[{"volume": "vol-1"}] * 3), snapshots({"volume": "vol-1"})[0]
        for snapshot, mode in zip(locked, modes, strict=True):
            lock(snapshot, mode)
            self.assertIn("lock", self.refused("SnapshotLocked", delete, snapshot))
        delete(free)
        self.assertEqual([one["LockState"] for one in locks()], list(modes))
        self.assertEqual(
            ["CoolOffPeriod" in one and "CoolOffPeriodExpiresOn" in one for one in locks()], [False, False, True]
        )

    def test_they_are_described(self):
        snapshot, other = snapshots({"volume": "vol-1"}, {"volume": "vol-1"})
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        lock(snapshot, until=until.isoformat())
        shown = locks()[0]
        self.assertEqual(
            (shown["SnapshotId"], shown["OwnerId"], shown["LockDuration"], shown["LockExpiresOn"]),
            (snapshot, "123456789012", 30, until),
        )
        self.assertEqual(shown["LockCreatedOn"], shown["LockDurationStartTime"])
        self.assertEqual((len(locks(SnapshotIds=[snapshot, other])), locks(SnapshotIds=[other])), (1, []))

        def ask(state):
            return locks(Filters=[{"Name": "lock-state", "Values": [state]}])

        self.assertEqual((len(ask("governance")), ask("expired")), (1, []))
        self.refused("InvalidSnapshot.NotFound", locks, SnapshotIds=["snap-0123456789abcdef0"])

    def test_one_that_has_expired_is_shown_and_holds_nothing(self):
        snapshot = snapshots({"volume": "vol-1"})[0]
        lock(snapshot, "compliance", until="2026-01-01T00:00:00Z")
        self.assertEqual([one["LockState"] for one in locks()], ["expired"])
        delete(snapshot)
        self.assertEqual(locks(), [])

    def test_pages_regions_and_reset(self):
        made = snapshots(*[{"volume": "vol-1"}] * 7)
        for snapshot in made:
            lock(snapshot)
        first = client().describe_locked_snapshots(MaxResults=5)
        rest = client().describe_locked_snapshots(MaxResults=5, NextToken=first["NextToken"])
        self.assertEqual([one["SnapshotId"] for page in (first, rest) for one in page["Snapshots"]], made)
        self.assertNotIn("NextToken", rest)
        self.assertEqual(locks(region=AWAY), [])
        local("reset", {})
        self.assertEqual(locks(), [])

    def test_an_unknown_mode_is_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            lock(snapshots({"volume": "vol-1"})[0], "eternal")
        self.assertIn("compliance-cooloff", json.load(caught.exception)["error"])
