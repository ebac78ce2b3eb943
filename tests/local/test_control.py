"""The control API sets the scene, and prepared faults are met."""

import contextlib
import json
import tempfile
import time
import urllib.error
from pathlib import Path

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from scene import AWAY, HOME, SECONDS, Scene, client, copy, described, found, instance, local, snapshots


class Control(Scene):
    def test_a_pending_snapshot_is_completed_when_the_story_says_so(self):
        pending = snapshots({"volume": "vol-0a", "state": "pending", "seconds": 1e9})[0]
        self.assertEqual(described(pending)["State"], "pending")
        local("complete", {"region": HOME, "snapshot": pending})
        self.assertEqual(described(pending)["State"], "completed")

    def test_volumes_move(self):
        first, second = instance(), instance()
        volume = first["volumes"][1]["id"]
        local("attach", {"region": HOME, "instance": second["id"], "volume": volume, "device": "/dev/sdz"})
        shown = client().describe_volumes(VolumeIds=[volume])["Volumes"][0]
        self.assertEqual({one["InstanceId"] for one in shown["Attachments"]}, {first["id"], second["id"]})
        local("terminate", {"region": HOME, "instance": second["id"]})
        self.assertEqual(len(client().describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]), 1)
        local("detach", {"region": HOME, "volume": volume})
        shown = client().describe_volumes(VolumeIds=[volume])["Volumes"][0]
        self.assertEqual((shown["State"], shown["Attachments"]), ("available", []))
        local("delete-volume", {"region": HOME, "volume": volume})
        self.refused("InvalidVolume.NotFound", client().describe_volumes, VolumeIds=[volume])
        loose = local("volumes", {"region": HOME, "tags": {"Backup": "No"}})["id"]
        self.assertEqual(
            client().describe_volumes(VolumeIds=[loose])["Volumes"][0]["Tags"], [{"Key": "Backup", "Value": "No"}]
        )
        state = client().describe_instances(InstanceIds=[second["id"]])["Reservations"][0]["Instances"][0]["State"]
        self.assertEqual(state["Name"], "terminated")

    def test_a_snapshot_holds_what_its_volume_has_at_the_moment_when_it_is_begun(self):
        disk = Path(self.enterContext(tempfile.TemporaryDirectory())) / "disk"
        disk.write_bytes(b"before")
        volume, other = (one["id"] for one in instance()["volumes"][:2])
        local("volume-file", {"region": HOME, "volume": volume, "file": str(disk)})
        begun = client().create_snapshot(VolumeId=volume)["SnapshotId"]
        client().create_snapshot(VolumeId=other)
        disk.write_bytes(b"after")
        files = {one["id"]: one.get("file") for one in local("snapshots")}
        self.assertEqual(Path(files.pop(begun)).read_bytes(), b"before")
        self.assertEqual(list(files.values()), [None])
        with self.assertRaises(urllib.error.HTTPError):
            local("volume-file", {"region": HOME, "volume": volume, "file": str(disk) + "-none"})

    def test_tags_of_anything(self):
        made = instance(Name="web", Backup="Yes")
        local("tags", {"region": HOME, "id": made["id"], "tags": {"Backup": None, "Retention": "3"}})
        shown = client().describe_instances(InstanceIds=[made["id"]])["Reservations"][0]["Instances"][0]
        self.assertEqual({tag["Key"]: tag["Value"] for tag in shown["Tags"]}, {"Name": "web", "Retention": "3"})

    def test_prepared_snapshots_are_listed_in_order(self):
        away = snapshots(
            {"volume": "vol-1", "startTime": "2026-11-01T03:00:00Z", "description": "d", "tags": {"A": "1"}},
            region=AWAY,
        )
        home = snapshots({"volume": None, "encrypted": True})
        listed = local("snapshots")
        self.assertEqual([one["id"] for one in listed], away + home)
        self.assertEqual(
            {key: listed[0][key] for key in listed[0] if key != "id"},
            {
                "region": AWAY,
                "volume": "vol-1",
                "state": "completed",
                "progress": "100%",
                "startTime": "2026-11-01T03:00:00.000Z",
                "description": "d",
                "tags": {"A": "1"},
                "encrypted": False,
                "kmsKeyId": None,
                "stateMessage": None,
            },
        )
        self.assertTrue(listed[1]["encrypted"] and listed[1]["kmsKeyId"])

    def test_an_older_copy_can_complete_after_a_younger_one(self):
        noon, day = "2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z"
        slow, quick = snapshots(
            {"volume": None, "state": "pending", "seconds": 1e9, "startTime": noon},
            {"volume": None, "state": "pending", "seconds": 0.05, "startTime": day},
            region=AWAY,
        )
        self.until("completed", quick, AWAY)
        shown = described(slow, AWAY)
        self.assertEqual(
            (shown["State"], shown["Progress"], shown["StartTime"].isoformat()),
            ("pending", "0%", "2026-11-01T12:00:00+00:00"),
        )
        copy(snapshots({"volume": "vol-1"})[0])
        self.assertEqual(local("calls?action=CopySnapshot")[-1]["inFlight"], 2)

    def test_two_of_one_moment(self):
        noon = "2026-11-01T12:00:00Z"
        pair = snapshots(*[{"volume": "vol-1", "startTime": noon, "tags": {"Type": "Automated"}}] * 2)
        self.assertEqual(len(set(pair)), 2)
        self.assertEqual(described(pair[0])["StartTime"], described(pair[1])["StartTime"])

    def test_prepared_snapshots_can_lag(self):
        local("settings", {"describeLagSeconds": 60})
        late, seen = snapshots({"volume": "vol-1", "lag": True}, {"volume": "vol-1"})
        self.assertEqual(found(), {seen})
        self.assertEqual([one["id"] for one in local("snapshots")], [late, seen])
        local("settings", {"describeLagSeconds": 0})
        self.assertEqual(found(), {late, seen})

    def test_seconds_that_mean_nothing_are_refused(self):
        for wanted in ({"seconds": 1}, {"state": "pending", "seconds": -1}, {"state": "pending", "seconds": None}):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                snapshots({"volume": None, **wanted})
            self.assertIn("seconds", json.load(caught.exception)["error"])

    def test_settings_and_reset(self):
        self.assertEqual(local("settings")["copySeconds"], SECONDS)
        self.assertEqual(local("settings", {"copyLimit": 2})["copyLimit"], 2)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            local("settings", {"copylimit": 2})
        self.assertEqual(caught.exception.code, 400)
        self.assertIn("copylimit", json.load(caught.exception)["error"])
        snapshots({"volume": None})
        self.assertEqual(local("reset", {}), {})
        self.assertEqual((local("settings")["copyLimit"], local("snapshots"), local("calls")), (5, [], []))

    def test_throttling(self):
        local("settings", {"throttle": True})
        # Tokens come back while calls are made, so it is not said which call finds none.
        refused, calls = None, 0
        while refused is None and calls < 1000:
            calls += 1
            try:
                copy("snap-0123456789abcdef0")
            except ClientError as refusal:
                if refusal.response["Error"]["Code"] == "RequestLimitExceeded":
                    refused = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
        self.assertEqual(refused, 503)
        self.assertGreater(calls, 50)
        client().describe_snapshots(MaxResults=5)


class Faults(Scene):
    def prepare(self, **fault):
        local("faults", {"action": "CreateSnapshot", **fault})

    def attempt(self):
        return client().create_snapshot(VolumeId=self.volume)["SnapshotId"]

    def setUp(self):
        super().setUp()
        self.volume = instance()["volumes"][0]["id"]

    def test_refused_as_often_as_asked_in_order(self):
        self.prepare(region=AWAY, code="Elsewhere")
        self.prepare(times=2, kind="refuse", code="RequestLimitExceeded", status=503)
        self.prepare(code="UnauthorizedOperation", status=403)
        for _ in range(2):
            self.refused("RequestLimitExceeded", self.attempt, status=503)
        self.refused("UnauthorizedOperation", self.attempt, status=403)
        one = self.attempt()
        calls = local("calls?action=CreateSnapshot")
        self.assertEqual(
            [call["outcome"] for call in calls], ["RequestLimitExceeded"] * 2 + ["UnauthorizedOperation", "ok"]
        )
        self.assertEqual([call.get("fault") for call in calls], ["refuse"] * 3 + [None])
        self.assertEqual(
            (calls[3]["result"], calls[3]["params"], calls[3]["region"]), ([one], {"VolumeId": self.volume}, HOME)
        )

    def test_carried_out_but_not_answered_well(self):
        self.prepare(kind="lost")
        self.prepare(kind="error-after")
        self.prepare(kind="slow", seconds=SECONDS)
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            self.attempt()
        self.refused("InternalError", self.attempt, status=500)
        started = time.monotonic()
        self.attempt()
        self.assertGreaterEqual(time.monotonic() - started, SECONDS)
        self.assertEqual(len(local("snapshots")), 3)
        calls = local("calls?action=CreateSnapshot")
        self.assertEqual([len(call["result"]) for call in calls], [1, 1, 1])
        self.assertEqual(
            [(call["fault"], call["outcome"]) for call in calls],
            [("lost", "ok"), ("error-after", "InternalError"), ("slow", "ok")],
        )

    def test_a_copy_that_breaks_later(self):
        local("faults", {"action": "CopySnapshot", "kind": "broken-copy", "stateMessage": "Too bad"})
        source = snapshots({"volume": "vol-1"})[0]
        self.assertEqual(self.until("error", copy(source), AWAY)["StateMessage"], "Too bad")
        self.until("completed", copy(source), AWAY)

    def test_a_region_is_down_for_a_while(self):
        local("faults", {"action": "*", "region": HOME, "kind": "down", "seconds": 1})
        self.refused("Unavailable", self.attempt, status=503)
        self.refused("Unavailable", client().describe_snapshots, status=503)
        client(AWAY).describe_snapshots(MaxResults=5)
        deadline = time.monotonic() + 10
        while local("snapshots") == []:
            self.assertLess(time.monotonic(), deadline)
            try:
                self.attempt()
            except ClientError:
                time.sleep(0.02)

    def test_faults_by_chance_are_the_same_for_the_same_seed(self):
        def outcomes(seed):
            burst = {"action": "CreateSnapshot", "kind": "refuse", "code": "RequestLimitExceeded", "times": 2}
            local("chance", {"seed": seed, "faults": [{**burst, "share": 0.3}]})
            for _ in range(20):
                with contextlib.suppress(ClientError):
                    self.attempt()
            calls = [call["outcome"] for call in local("calls?action=CreateSnapshot")][-20:]
            local("reset", {})
            self.volume = instance()["volumes"][0]["id"]
            return calls

        first = outcomes(1)
        self.assertEqual({"ok", "RequestLimitExceeded"}, set(first))
        self.assertEqual(first, outcomes(1))
        self.assertNotEqual(first, outcomes(2))
        self.attempt()

    def test_an_unknown_fault_is_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.prepare(kind="meteor")
        self.assertIn("broken-copy", json.load(caught.exception)["error"])
