"""Volumes are described, and how far they are initialised, as EC2 does it. Run in the moto environment."""

from scene import AWAY, HOME, client, instance, local, snapshots
from volume_scene import VolumeScene, create, described, volumes


class Describing(VolumeScene):
    def found(self, *filters, **more):
        filters = [{"Name": name, "Values": values} for name, values in filters]
        return {one["VolumeId"] for one in client().describe_volumes(Filters=filters, **more)["Volumes"]}

    def test_filters(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        made = instance()
        boot, data = (one["id"] for one in made["volumes"])
        tags = [{"Key": "RestoredFrom", "Value": snapshot}]
        specification = [{"ResourceType": "volume", "Tags": tags}]
        restored = create(SnapshotId=snapshot, TagSpecifications=specification)["VolumeId"]
        other = create(Size=8, AvailabilityZone=HOME + "b", VolumeType="gp3")["VolumeId"]
        self.assertEqual(self.found(("status", ["creating"])), {restored, other})
        self.available(restored)
        self.available(other)
        everything = {boot, data, restored, other}
        for wanted, filters in (
            ({restored}, [("tag:RestoredFrom", [snapshot])]),
            ({restored}, [("tag-key", ["RestoredFrom"])]),
            ({restored}, [("snapshot-id", [snapshot])]),
            ({restored, other}, [("volume-id", [restored, other])]),
            ({boot, data}, [("attachment.instance-id", [made["id"]])]),
            ({boot}, [("attachment.delete-on-termination", ["true"])]),
            ({boot, data}, [("status", ["in-use"])]),
            ({restored, other}, [("status", ["available"])]),
            ({other}, [("availability-zone", [HOME + "b"])]),
            ({restored}, [("volume-type", ["gp2"])]),
            (set(), [("volume-type", ["gp2"]), ("status", ["in-use"])]),
            (everything, []),
        ):
            self.assertEqual(self.found(*filters), wanted, filters)
        self.refused("InvalidParameterValue", self.found, ("colour", ["red"]))

    def test_pages(self):
        made = [create(Size=8)["VolumeId"] for _ in range(7)]
        for name, key in (("describe_volumes", "Volumes"), ("describe_volume_status", "VolumeStatuses")):
            pages = client().get_paginator(name).paginate(PaginationConfig={"PageSize": 5})
            self.assertEqual([[one["VolumeId"] for one in page[key]] for page in pages], [made[:5], made[5:]])

    def test_a_new_volume_is_described_late(self):
        local("settings", {"describeLagSeconds": 60})
        attached = {one["id"] for one in instance()["volumes"]}
        made = create(Size=8, ClientToken="t")["VolumeId"]
        self.refused("InvalidVolume.NotFound", described, made)
        self.refused("InvalidVolume.NotFound", client().describe_volume_status, VolumeIds=[made])
        self.assertEqual(self.found(), attached)
        self.assertEqual(create(Size=8, ClientToken="t")["VolumeId"], made)
        self.assertEqual([one["id"] for one in volumes() if not one["attachments"]], [made])
        local("settings", {"describeLagSeconds": 0})
        self.assertEqual(self.found(), {made, *attached})


class Initialising(VolumeScene):
    def status(self, volume):
        return client().describe_volume_status(VolumeIds=[volume])["VolumeStatuses"][0]

    def state(self, volume):
        details = {one["Name"]: one["Status"] for one in self.status(volume)["VolumeStatus"]["Details"]}
        return details.get("initialization-state")

    def test_its_progress_is_told(self):
        [snapshot] = snapshots({"volume": "vol-1"})
        fast = create(SnapshotId=snapshot, VolumeInitializationRate=300)["VolumeId"]
        slow, empty = create(SnapshotId=snapshot)["VolumeId"], create(Size=8)["VolumeId"]
        self.assertEqual(self.status(fast)["VolumeStatus"]["Status"], "insufficient-data")
        self.assertNotIn("InitializationStatusDetails", self.status(fast))
        for volume in (fast, slow, empty):
            self.available(volume)
        shown = self.status(fast)
        self.assertEqual((shown["VolumeStatus"]["Status"], self.state(fast)), ("ok", "initializing"))
        told = shown["InitializationStatusDetails"]
        self.assertEqual(told["InitializationType"], "provisioned-rate")
        self.assertTrue(told["Progress"] < 100 and 0 < told["EstimatedTimeToCompleteInSeconds"] <= 600, told)
        told = self.status(slow)["InitializationStatusDetails"]
        self.assertEqual(told["InitializationType"], "default")
        self.assertNotIn("EstimatedTimeToCompleteInSeconds", told)
        self.assertNotIn("InitializationStatusDetails", self.status(empty))
        self.assertIsNone(self.state(empty))
        local("settings", {"initializationSeconds": 0})
        told = self.status(fast)["InitializationStatusDetails"]
        self.assertEqual((told["Progress"], told["EstimatedTimeToCompleteInSeconds"]), (100, 0))
        self.assertEqual((self.state(fast), self.state(slow)), ("completed", "completed"))
        self.assertEqual({one["id"]: one["initialized"] for one in volumes()}, {fast: 100, slow: 100, empty: None})

    def test_it_is_told_late(self):
        local("settings", {"initializationLagSeconds": 60})
        [snapshot] = snapshots({"volume": "vol-1"})
        made = create(SnapshotId=snapshot)["VolumeId"]
        self.available(made)
        self.assertNotIn("InitializationStatusDetails", self.status(made))
        local("settings", {"initializationLagSeconds": 0})
        self.assertIn("InitializationStatusDetails", self.status(made))

    def test_filters(self):
        made = create(Size=8)["VolumeId"]
        self.available(made)

        def found(name, value):
            answer = client().describe_volume_status(Filters=[{"Name": name, "Values": [value]}])
            return [one["VolumeId"] for one in answer["VolumeStatuses"]]

        self.assertEqual((found("volume-status.status", "ok"), found("availability-zone", HOME + "b")), ([made], []))
        self.refused("InvalidParameterValue", found, "colour", "red")


class Zones(VolumeScene):
    def names(self, *filters, region=HOME, **more):
        filters = [{"Name": name, "Values": [value]} for name, value in filters]
        zones = client(region).describe_availability_zones(Filters=filters, **more)["AvailabilityZones"]
        return [one["ZoneName"] for one in zones]

    def test_they_are_those_of_the_region(self):
        self.assertEqual(self.names(), [HOME + letter for letter in "abc"])
        self.assertEqual(len(self.names(region=AWAY)), 6)
        [one] = client().describe_availability_zones(ZoneNames=[HOME + "b"])["AvailabilityZones"]
        self.assertEqual(
            (one["ZoneId"], one["State"], one["OptInStatus"], one["ZoneType"], one["GroupName"]),
            ("euw1-az1", "available", "opt-in-not-required", "availability-zone", "eu-west-1-zg-1"),
        )
        self.refused("InvalidParameterValue", self.names, ZoneNames=[AWAY + "a"])
        self.refused("InvalidParameterValue", self.names, ZoneIds=["use1-az1"])
        self.refused("InvalidParameterValue", self.names, ("colour", "red"))

    def test_some_are_not_available_or_local(self):
        lax = "us-west-2-lax-1a"
        local("settings", {"unavailableZones": [HOME + "a"], "localZones": [lax]})
        self.assertEqual(self.names(("state", "available")), [HOME + "b", HOME + "c"])
        west = self.names(region="us-west-2")
        self.assertIn(lax, west)
        regional = self.names(("zone-type", "availability-zone"), region="us-west-2")
        self.assertEqual(set(west) - set(regional), {lax})
        self.assertEqual(self.names(("opt-in-status", "opted-in"), region="us-west-2"), [lax])
        [snapshot] = snapshots({"volume": "vol-1"}, region="us-west-2")
        create("us-west-2", SnapshotId=snapshot, AvailabilityZone=lax)
        self.refused(
            "InvalidParameterCombination",
            create,
            "us-west-2",
            SnapshotId=snapshot,
            AvailabilityZone=lax,
            VolumeInitializationRate=100,
        )
