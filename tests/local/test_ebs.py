"""The EBS direct APIs as boto3 talks to them: pages of blocks, their data, tokens, limits and faults."""

import base64
import functools
import hashlib
import tempfile
import urllib.error
from pathlib import Path

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError

from scene import AWAY, HOME, Scene, client, connect, copy, described, local, snapshots

BLOCK = 512 * 1024
KEY = f"arn:aws:kms:{HOME}:123456789012:key/of-backups"


@functools.cache
def ebs(region=HOME):
    return connect("ebs", region, parameter_validation=False)


class EbsScene(Scene):
    def setUp(self):
        super().setUp()
        self.ebs = ebs()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def image(self, name="disk", blocks=40, **written):
        """A sparse file with these bytes at the beginnings of blocks."""
        file = self.folder / name
        with file.open("wb") as opened:
            for index, content in written.items():
                opened.seek(int(index.removeprefix("b")) * BLOCK)
                opened.write(content)
            opened.truncate(blocks * BLOCK)
        return str(file)

    def prepared(self, region=HOME, **wanted):
        return snapshots({"volume": "vol-0a", **wanted}, region=region)[0]

    def blocks(self, snapshot, client=None, **more):
        """All pages: the index and token of each block."""
        found, sizes = {}, []
        while True:
            page = (client or self.ebs).list_snapshot_blocks(SnapshotId=snapshot, **more)
            sizes.append(len(page["Blocks"]))
            found |= {one["BlockIndex"]: one["BlockToken"] for one in page["Blocks"]}
            if "NextToken" not in page:
                self.assertEqual(sum(sizes), len(found))
                self.assertEqual(list(found), sorted(found))
                self.sizes = sizes
                return found
            more["NextToken"] = page["NextToken"]

    def read(self, snapshot, index, token, client=None):
        return (client or self.ebs).get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=token)

    def read_first(self, snapshot, client=None):
        index, token = next(iter(self.blocks(snapshot, client).items()))
        return self.read(snapshot, index, token, client)

    def refused(self, code, reason, status, call, *args, **kwargs):
        with self.assertRaises(ClientError) as caught:
            call(*args, **kwargs)
        response = caught.exception.response
        self.assertEqual(
            (response["Error"]["Code"], response.get("Reason"), response["ResponseMetadata"]["HTTPStatusCode"]),
            (code, reason, status),
        )

    def is_whole(self, block):
        data = block["BlockData"].read()
        return len(data) == block["DataLength"] and block["Checksum"] == sha256(data)


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class Blocks(EbsScene):
    def test_written_blocks_are_listed_and_read_with_their_checksums(self):
        snapshot = self.prepared(file=self.image(b0=b"first", b17=b"\0" * 4096 + b"late", b39=b"last"), size=20)
        page = self.ebs.list_snapshot_blocks(SnapshotId=snapshot)
        self.assertEqual((page["VolumeSize"], page["BlockSize"]), (20, BLOCK))
        self.assertNotIn("NextToken", page)
        found = self.blocks(snapshot)
        self.assertEqual(list(found), [0, 17, 39])
        for index, begin in ((0, b"first"), (17, b"\0" * 4096 + b"late"), (39, b"last")):
            block = self.read(snapshot, index, found[index])
            data = block["BlockData"].read()
            self.assertEqual(data, begin.ljust(BLOCK, b"\0"))
            self.assertEqual(
                (block["DataLength"], block["Checksum"], block["ChecksumAlgorithm"]), (BLOCK, sha256(data), "SHA256")
            )
        self.assertEqual(list(self.blocks(snapshot, StartingBlockIndex=1)), [17, 39])
        local("settings", {"blocksPerPage": 1})
        self.assertEqual((list(self.blocks(snapshot)), self.sizes), ([0, 17, 39], [1, 1, 1]))
        self.assertEqual(described(snapshot)["FullSnapshotSizeInBytes"], 3 * BLOCK)
        self.assertEqual(local(f"blocks?region={HOME}&snapshot={snapshot}"), [0, 17, 39])

    def test_blocks_of_zeros_are_absent_and_the_end_of_a_file_is_filled_up(self):
        file = self.folder / "disk"
        file.write_bytes(bytes(3 * BLOCK) + b"x" * 1000)
        snapshot = self.prepared(file=str(file))
        self.assertEqual(list(self.blocks(snapshot)), [3])
        self.assertEqual(self.read_first(snapshot)["BlockData"].read(), (b"x" * 1000).ljust(BLOCK, b"\0"))
        empty = self.prepared(file=self.image("empty"))
        self.assertEqual((self.blocks(empty), self.blocks(self.prepared())), ({}, {}))

    def test_a_snapshot_and_its_copy_show_what_the_volume_had(self):
        volume = local("volumes", {"region": HOME})["id"]
        file = self.image(b2=b"before")
        local("volume-file", {"region": HOME, "volume": volume, "file": file})
        source = client().create_snapshot(VolumeId=volume)["SnapshotId"]
        self.image(b3=b"after")
        self.until("completed", source)
        away = copy(source)
        self.until("completed", away, AWAY)
        here, there = self.read_first(source), self.read_first(away, ebs(AWAY))
        self.assertEqual(here["Checksum"], there["Checksum"])
        self.assertEqual(there["BlockData"].read(6), b"before")
        files = {one["id"]: one["file"] for one in local("snapshots")}
        self.assertEqual(files[source], files[away])

    def test_many_snapshots_share_a_file(self):
        file = self.image(b0=b"first", b1=b"second")
        many = snapshots(*[{"volume": f"vol-{n:x}", "file": file} for n in range(50)])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["disk"])
        self.assertEqual({tuple(self.blocks(one)) for one in many}, {(0, 1)})

    def test_pages_are_as_large_as_asked_for_and_may_be_smaller_or_empty(self):
        snapshot = self.prepared(blocks=250)
        self.assertEqual(len(self.blocks(snapshot)), 250)
        self.assertEqual(self.sizes, [250])
        for asked, given in ((100, [100, 100, 50]), (7, [100, 100, 50]), (240, [240, 10])):
            self.blocks(snapshot, MaxResults=asked)
            self.assertEqual(self.sizes, given)
        self.assertEqual(list(self.blocks(snapshot, StartingBlockIndex=245)), [245, 246, 247, 248, 249])
        local("settings", {"blocksPerPage": 90, "emptyBlockPages": True})
        self.assertEqual(list(self.blocks(snapshot, MaxResults=100)), list(range(250)))
        self.assertEqual(self.sizes, [0, 90, 0, 90, 0, 70])
        for size in (0, 10_001, "ten"):
            self.refused(
                "ValidationException",
                "INVALID_PARAMETER_VALUE",
                400,
                self.ebs.list_snapshot_blocks,
                SnapshotId=snapshot,
                MaxResults=size,
            )

    def test_a_list_of_32_million_blocks_is_made_as_it_is_read(self):
        blocks = 2**25
        snapshot = self.prepared(blocks=blocks)
        page = self.ebs.list_snapshot_blocks(SnapshotId=snapshot, StartingBlockIndex=blocks - 10_001)
        self.assertEqual((len(page["Blocks"]), page["VolumeSize"]), (10_000, 2**14))
        last = self.ebs.list_snapshot_blocks(SnapshotId=snapshot, NextToken=page["NextToken"])
        self.assertEqual([one["BlockIndex"] for one in last["Blocks"]], [blocks - 1])
        block, again = (self.read(snapshot, blocks - 1, last["Blocks"][0]["BlockToken"]) for _ in range(2))
        self.assertTrue(self.is_whole(block))
        self.assertEqual(block["Checksum"], again["Checksum"])
        self.assertEqual(described(snapshot)["FullSnapshotSizeInBytes"], blocks * BLOCK)
        with self.assertRaises(urllib.error.HTTPError):
            local(f"blocks?region={HOME}&snapshot={snapshot}")
        first = self.read(snapshot, 0, self.ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"][0]["BlockToken"])
        self.assertNotEqual(first["Checksum"], block["Checksum"])

    def test_what_is_not_there_is_not_found(self):
        snapshot = self.prepared(blocks=3)
        token = self.blocks(snapshot)[1]
        pending = self.prepared(blocks=3, state="pending", seconds=1e9)
        failed = self.prepared(blocks=3, state="error")
        elsewhere = self.prepared(AWAY, blocks=3)
        for identifier in (pending, failed, elsewhere, "snap-0123456789abcdef0"):
            missing = ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404)
            self.refused(*missing, self.ebs.list_snapshot_blocks, SnapshotId=identifier)
            self.refused(*missing, self.read, identifier, 1, token)
        self.refused(
            "ValidationException", "INVALID_SNAPSHOT_ID", 400, self.ebs.list_snapshot_blocks, SnapshotId="vol-0a"
        )
        client().delete_snapshot(SnapshotId=snapshot)
        self.refused("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404, self.read, snapshot, 1, token)
        self.refused("UnknownOperationException", None, 404, self.ebs.start_snapshot, VolumeSize=1)

    def test_a_region_that_is_not_enabled_takes_no_call(self):
        self.refused(
            "UnrecognizedClientException", None, 403, ebs("ap-east-1").list_snapshot_blocks, SnapshotId="snap-0a"
        )


class Tokens(EbsScene):
    invalid_block = ("ValidationException", "INVALID_BLOCK_TOKEN", 400)
    invalid_page = ("ValidationException", "INVALID_PAGE_TOKEN", 400)

    def test_a_token_is_for_one_block_of_one_snapshot(self):
        first, second = self.prepared(blocks=3), self.prepared(blocks=3)
        found = self.blocks(first)
        self.assertTrue(self.is_whole(self.read(first, 1, found[1])))
        self.refused(*self.invalid_block, self.read, first, 2, found[1])
        self.refused(*self.invalid_block, self.read, second, 1, found[1])
        self.refused(*self.invalid_block, self.read, first, 1, "AAAA")
        self.refused(*self.invalid_block, self.read, first, 3, found[1][:-1] + "3")
        for token in found.values():
            self.assertRegex(token, "^[A-Za-z0-9+/=]{1,256}$")

    def test_a_page_token_is_for_one_snapshot(self):
        first, second = self.prepared(blocks=300), self.prepared(blocks=300)
        token = self.ebs.list_snapshot_blocks(SnapshotId=first, MaxResults=100)["NextToken"]
        self.assertRegex(token, "^[A-Za-z0-9+/=]{1,256}$")
        for snapshot, given in ((second, token), (first, "AAAA"), (first, self.blocks(first)[0])):
            self.refused(*self.invalid_page, self.ebs.list_snapshot_blocks, SnapshotId=snapshot, NextToken=given)
        # It says where to go on, whatever else is asked for.
        page = self.ebs.list_snapshot_blocks(SnapshotId=first, NextToken=token, StartingBlockIndex=7)
        self.assertEqual(page["Blocks"][0]["BlockIndex"], 100)

    def test_tokens_are_good_for_seven_days(self):
        page = self.ebs.list_snapshot_blocks(SnapshotId=self.prepared(blocks=1))
        at = page["ResponseMetadata"]["HTTPHeaders"]["date"]
        self.assertIsNotNone(at)
        left = page["ExpiryTime"].timestamp() - local("calls?action=ListSnapshotBlocks")[0]["at"]
        self.assertAlmostEqual(left, 7 * 86400, delta=60)

    def test_tokens_expire(self):
        local("settings", {"blockTokenSeconds": 0})
        snapshot = self.prepared(blocks=300)
        page = self.ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100)
        self.refused(*self.invalid_block, self.read, snapshot, 0, page["Blocks"][0]["BlockToken"])
        self.ebs.list_snapshot_blocks(SnapshotId=snapshot, NextToken=page["NextToken"])
        local("settings", {"blockTokenSeconds": 60, "pageTokenSeconds": 0})
        self.assertTrue(self.is_whole(self.read_first(self.prepared(blocks=1))))
        self.refused(
            *self.invalid_page, self.ebs.list_snapshot_blocks, SnapshotId=snapshot, NextToken=page["NextToken"]
        )

    def test_a_story_ends_the_tokens_that_were_given_out(self):
        snapshot, other = self.prepared(blocks=300), self.prepared(blocks=300)
        page, of_other = (self.ebs.list_snapshot_blocks(SnapshotId=one, MaxResults=100) for one in (snapshot, other))
        local("block-tokens", {"region": HOME, "snapshot": snapshot, "kind": "blockToken"})
        self.refused(*self.invalid_block, self.read, snapshot, 0, page["Blocks"][0]["BlockToken"])
        self.ebs.list_snapshot_blocks(SnapshotId=snapshot, NextToken=page["NextToken"])
        local("block-tokens", {"region": HOME, "snapshot": snapshot})
        self.refused(
            *self.invalid_page, self.ebs.list_snapshot_blocks, SnapshotId=snapshot, NextToken=page["NextToken"]
        )
        self.assertTrue(self.is_whole(self.read(other, 0, of_other["Blocks"][0]["BlockToken"])))
        self.assertTrue(self.is_whole(self.read_first(snapshot)))


class Faults(EbsScene):
    def test_a_corrupt_block_is_one_of_one_snapshot(self):
        file = self.image(b0=b"first", b1=b"second")
        bad, good = self.prepared(file=file), self.prepared(file=file)
        right = self.read_first(good)["Checksum"]

        def corrupt(how):
            local("corrupt-block", {"region": HOME, "snapshot": bad, "block": 0, "how": how})
            return self.read_first(bad)

        for how in ("data", "checksum", "short"):
            self.assertFalse(self.is_whole(corrupt(how)), how)
        self.assertEqual(corrupt("data")["Checksum"], right)
        replaced = corrupt("replaced")
        self.assertNotEqual(replaced["Checksum"], right)
        self.assertTrue(self.is_whole(replaced))
        self.assertTrue(self.is_whole(self.read(bad, 1, self.blocks(bad)[1])))
        token = self.blocks(bad)[0]
        local("corrupt-block", {"region": HOME, "snapshot": bad, "block": 0, "how": "absent"})
        self.assertEqual(list(self.blocks(bad)), [1])
        self.refused("ValidationException", "INVALID_BLOCK_TOKEN", 400, self.read, bad, 0, token)
        self.assertTrue(self.is_whole(self.read_first(good)))
        self.assertTrue(self.is_whole(corrupt(None)))
        for wrong in ({"how": "badly"}, {"block": 2}, {"snapshot": "snap-0"}):
            with self.assertRaises(urllib.error.HTTPError):
                local("corrupt-block", {"region": HOME, "snapshot": bad, "block": 0, "how": "data", **wrong})

    def test_a_key_that_cannot_be_used_stops_reading_and_not_listing(self):
        closed, plain = self.prepared(blocks=1, encrypted=True, kmsKeyId=KEY), self.prepared(blocks=1)
        self.assertTrue(self.is_whole(self.read_first(closed)))
        for state, error in (
            ("denied", ("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED", 403)),
            ("disabled", ("ValidationException", "INVALID_CUSTOMER_KEY", 400)),
            ("pendingDeletion", ("ValidationException", "INVALID_CUSTOMER_KEY", 400)),
            ("missing", ("ResourceNotFoundException", "DEPENDENCY_RESOURCE_NOT_FOUND", 404)),
        ):
            local("keys", {"region": HOME, "key": "of-backups", "state": state})
            token = self.blocks(closed)[0]
            self.refused(*error, self.read, closed, 0, token)
            self.assertTrue(self.is_whole(self.read_first(plain)))
        local("keys", {"region": HOME, "key": KEY, "state": "enabled"})
        self.assertTrue(self.is_whole(self.read_first(closed)))
        with self.assertRaises(urllib.error.HTTPError):
            local("keys", {"region": HOME, "key": KEY, "state": "lost"})

    def test_blocks_and_lists_have_a_rate_of_their_own(self):
        snapshot = self.prepared(blocks=1)
        token = self.blocks(snapshot)[0]
        local("settings", {"throttle": True, "blocksPerSecond": 3, "blockListsPerSecond": 0})
        throttled = ("RequestThrottledException", "ACCOUNT_THROTTLED", 400)
        self.refused(*throttled, self.ebs.list_snapshot_blocks, SnapshotId=snapshot)
        for _ in range(3):
            self.assertTrue(self.is_whole(self.read(snapshot, 0, token)))
        with self.assertRaises(ClientError):
            # So many are read within a second by no machine.
            for _ in range(50_000):
                self.read(snapshot, 0, token)
        self.assertEqual(local("block-counts")[0]["refused"], {"RequestThrottledException": 2})
        local("settings", {"blocksPerSecond": 1000, "blockListsPerSecond": 1000})
        self.assertTrue(self.is_whole(self.read_first(snapshot)))

    def test_faults_are_met_by_action_and_by_snapshot(self):
        snapshot, other = self.prepared(blocks=1), self.prepared(blocks=1)
        token = self.blocks(snapshot)[0]
        for code, reason, status in (
            ("ThrottlingException", None, 400),
            ("RequestThrottledException", "ACCOUNT_THROTTLED", 400),
            ("ServiceQuotaExceededException", "DEPENDENCY_SERVICE_QUOTA_EXCEEDED", 402),
            ("AccessDeniedException", "UNAUTHORIZED_ACCOUNT", 403),
            ("InternalServerException", None, 500),
        ):
            local("faults", {"action": "GetSnapshotBlock", "code": code})
            self.blocks(snapshot)
            self.refused(code, reason, status, self.read, snapshot, 0, token)
        of_one = {"action": "ListSnapshotBlocks", "snapshot": snapshot, "times": 1}
        local("faults", {**of_one, "code": "AccessDeniedException", "reason": "DEPENDENCY_ACCESS_DENIED"})
        self.blocks(other)
        self.refused("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED", 403, self.blocks, snapshot)
        self.blocks(snapshot)
        local("faults", {"action": "GetSnapshotBlock", "kind": "error-after"})
        self.refused("InternalServerException", None, 500, self.read, snapshot, 0, token)
        local("faults", {"action": "GetSnapshotBlock", "kind": "lost"})
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            self.read(snapshot, 0, token)
        local("faults", {"action": "GetSnapshotBlock", "kind": "cut"})
        with self.assertRaises((ResponseStreamingError, HTTPClientError)):
            self.read(snapshot, 0, token)["BlockData"].read()
        self.assertTrue(self.is_whole(self.read(snapshot, 0, token)))
        local("faults", {"action": "GetSnapshotBlock", "kind": "deleted", "snapshot": other})
        self.read(snapshot, 0, token)
        gone = ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", 404)
        self.refused(*gone, self.read, other, 0, token)
        self.assertNotIn(other, [one["id"] for one in local(f"snapshots?region={HOME}")])
        for wrong in ({"kind": "broken-copy"}, {"stateMessage": "no"}):
            with self.assertRaises(urllib.error.HTTPError):
                local("faults", {"action": "GetSnapshotBlock", **wrong})
        with self.assertRaises(urllib.error.HTTPError):
            local("faults", {"action": "CopySnapshot", "reason": "UNAUTHORIZED_ACCOUNT"})

    def test_calls_are_logged_without_data_and_counted(self):
        snapshot = self.prepared(blocks=250)
        found = self.blocks(snapshot, MaxResults=100)
        self.read(snapshot, 7, found[7])["BlockData"].read()
        with self.assertRaises(ClientError):
            self.read(snapshot, 8, found[7])
        calls = local("calls?service=ebs")
        self.assertEqual(
            [(one["action"], one["region"], one["outcome"], one["blocks"]) for one in calls],
            [("ListSnapshotBlocks", HOME, "ok", n) for n in (100, 100, 50)]
            + [("GetSnapshotBlock", HOME, "ok", 1), ("GetSnapshotBlock", HOME, "ValidationException", 0)],
        )
        self.assertEqual(calls[3]["params"], {"snapshotId": snapshot, "blockIndex": "7"})
        self.assertEqual(
            local("block-counts"),
            [
                {
                    "region": HOME,
                    "snapshot": snapshot,
                    "lists": 3,
                    "listed": 250,
                    "read": 1,
                    "refused": {"ValidationException": 1},
                }
            ],
        )

    def test_prepared_snapshots_that_mean_nothing_are_refused(self):
        file = self.image(blocks=2049 * 2)
        for wanted in (
            {"file": file, "blocks": 1},
            {"file": str(self.folder / "none")},
            {"file": file, "size": 1},
            {"blocks": -1},
            {"blocks": 2**27 + 1},
            {"blocks": 1, "size": "8"},
        ):
            with self.assertRaises(urllib.error.HTTPError):
                self.prepared(**wanted)
        self.assertEqual(Path(file).stat().st_blocks, 0)
