"""What it takes to read a snapshot, however large: verify by itself, on prepared pages, as a table.

    python tests/local/measure_verify.py [--bootstrap PATH] [--tib 1 16] [--dump-gib 2]

A volume of which every block was written, which is the longest list there can be; and a dump, which is read out of an
ext4 file system. EBS takes no time here, so that what is measured is the function. It ends with an error if the
function has held more memory than it may.
"""

import argparse
import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import disk_images
import function_alone
from ec2_answers import answer

ROOT = Path(__file__).resolve().parents[2]
HOME = "eu-west-1"
SNAPSHOT = "snap-0123456789abcdef0"
BLOCKS_PER_GIB = 1 << 11
# As long as those of EBS.
TOKEN = "AAABAcs8vs" * 11
# The most that the function may hold, whatever the size.
MOST_MB = 40
BLOCK = bytes(range(256)) * 2048
CHECKSUM = base64.b64encode(hashlib.sha256(BLOCK).digest()).decode()


class Volume(Protocol):
    """What a snapshot is of."""

    level: str
    gib: int
    # More of the task.
    asked: dict[str, Any]

    def listed(self, begin: int, most: int) -> tuple[range, int | None]:
        """Blocks from one on, and where the next page begins."""

    def data(self, index: int) -> bytes: ...


@dataclass
class Written:
    """Every block was written, and all have the same bytes."""

    gib: int
    level = "probe"
    asked: dict[str, Any]

    def listed(self, begin: int, most: int) -> tuple[range, int | None]:
        blocks = self.gib * BLOCKS_PER_GIB
        end = min(begin + most, blocks)
        return range(begin, end), end if end < blocks else None

    def data(self, _: int) -> bytes:
        return BLOCK


@dataclass
class Dump(Written):
    """An ext4 file system with a large file."""

    image: BinaryIO
    level = "dump"

    def data(self, index: int) -> bytes:
        self.image.seek(index * len(BLOCK))
        return self.image.read(len(BLOCK)).ljust(len(BLOCK), b"\0")


@contextmanager
def dump(gib: int) -> Iterator[Dump]:
    with tempfile.TemporaryDirectory() as folder:
        files, image = Path(folder, "files"), Path(folder, "image")
        files.mkdir()
        digest = hashlib.sha256()
        with (files / "dump").open("wb") as file:
            for _ in range(gib * 1024):
                digest.update(part := os.urandom(1 << 20))
                file.write(part)
        disk_images.ext4(image, (gib + 1) << 30, files)
        (files / "dump").unlink()
        place = {"path": "/dump", "sha256": digest.hexdigest(), "maxGib": gib}
        with image.open("rb") as opened:
            yield Dump(gib + 1, {"dump": place, "maxBlocks": 100_000}, opened)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the reading of a snapshot.")
    default = ROOT / ".aws-sam/local/VerifyFunction/bootstrap"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the verify function")
    parser.add_argument("--tib", type=int, nargs="+", default=[1, 16], help="sizes of the volume")
    parser.add_argument("--dump-gib", type=int, default=2, help="size of the dump; 0 is none")
    given = parser.parse_args()
    print(f"{given.bootstrap}\n")
    print(f"{'level':7}{'GiB':>7}{'blocks':>12}{'lists':>8}{'read':>7}{'messages':>10}{'CPU s':>8}{'peak MB':>9}")
    peaks = [measure(given.bootstrap, Written(tib << 10, {"maxBlocks": 1000})) for tib in given.tib]
    if given.dump_gib:
        try:
            with dump(given.dump_gib) as volume:
                peaks.append(measure(given.bootstrap, volume))
        except disk_images.ImageError as why:
            print(f"The dump was not measured: {why}.")
    if max(peaks) > MOST_MB:
        raise SystemExit(f"The function held {max(peaks):.0f} MB; it may hold {MOST_MB}.")


def measure(bootstrap: Path, volume: Volume) -> float:
    """Delivers the task, and what it becomes, until it is done; the most memory that any delivery took."""
    peak_mb, cpu_seconds, deliveries = 0.0, 0.0, 0
    message = json.dumps({"version": 1, "taskToken": "token", "task": task(volume)})
    variables = {
        "QUEUE_URL": "http://sqs.invalid/1/verify",
        "DEAD_LETTER_QUEUE_URL": "http://sqs.invalid/1/verify-dead",
        "MAX_RECEIVE_COUNT": "5",
    }
    while True:
        left, mb, seconds = function_alone.run(
            bootstrap, event(message), ec2, HOME, variables=variables, ebs=lambda path, query: ebs(volume, path, query)
        )
        peak_mb, cpu_seconds, deliveries = max(peak_mb, mb), cpu_seconds + seconds, deliveries + 1
        if left.outcome != ("response", {"batchItemFailures": []}):
            raise SystemExit(f"{volume.level}: {left.outcome}")
        following = [sent["MessageBody"] for call, sent in left.sent if call == "SendMessage"]
        if not following:
            break
        message = following[0]
    record = json.loads(next(iter(left.objects.values())))
    if (record["level"], record["blocksListed"]) != (volume.level, volume.gib * BLOCKS_PER_GIB):
        raise SystemExit(f"{volume.level}: {record}")
    print(
        f"{volume.level:7}{volume.gib:>7,}{record['blocksListed']:>12,}{record['listCalls']:>8,}"
        f"{record['blocksRead']:>7,}{deliveries:>10}{cpu_seconds:>8.1f}{peak_mb:>9.1f}",
        flush=True,
    )
    return peak_mb


def task(volume: Volume) -> dict[str, Any]:
    return {
        "run": "20261122T120000Z",
        "folder": "drills/20261122T120000Z/measured",
        "region": HOME,
        "snapshot": SNAPSHOT,
        "volume": "vol-0123456789abcdef0",
        "taken": "2026-11-22T03:00:00Z",
        "level": volume.level,
        "volumeGib": volume.gib,
        **volume.asked,
    }


def event(message: str) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1795305600000"}
    return {"Records": [{"messageId": "m", "receiptHandle": "r", "body": message, "attributes": attributes}]}


def ec2(params: dict[str, str], _: str) -> bytes:
    described = {
        "snapshotId": SNAPSHOT,
        "status": "completed",
        "startTime": "2026-11-22T03:00:00.000Z",
        "tagSet": [{"key": "Type", "value": "Automated"}],
    }
    shape = {"snapshotSet": [described]} if params["Action"] == "DescribeSnapshots" else {"return": True}
    return answer(params["Action"], shape).encode()


def ebs(volume: Volume, path: str, query: dict[str, str]) -> function_alone.Answer:
    """Every token is as long as one of EBS."""
    if not path.endswith("/blocks"):
        data = volume.data(int(path.rsplit("/", 1)[1]))
        checksum = CHECKSUM if data is BLOCK else base64.b64encode(hashlib.sha256(data).digest()).decode()
        headers = {
            "x-amz-Data-Length": str(len(data)),
            "x-amz-Checksum": checksum,
            "x-amz-Checksum-Algorithm": "SHA256",
        }
        return 200, headers, data
    begin = int(query.get("pageToken") or query.get("startingBlockIndex") or 0)
    shown, following = volume.listed(begin, int(query["maxResults"]))
    listed = ",".join(f'{{"BlockIndex":{index},"BlockToken":"{TOKEN}"}}' for index in shown)
    token = "null" if following is None else f'"{following}"'
    page = f'{{"Blocks":[{listed}],"BlockSize":{len(BLOCK)},"NextToken":{token}}}'
    return 200, {"Content-Type": "application/json"}, page.encode()


if __name__ == "__main__":
    main()
