"""What it takes to read a snapshot, however large: verify by itself, on prepared pages, as a table.

    python tests/local/measure_verify.py [--bootstrap PATH] [--tib 1 16]

A volume of which every block was written, which is the longest list there can be. EBS takes no time here, so that what
is measured is the function. It ends with an error if the function has held more memory than it may.
"""

import argparse
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import function_alone
from ec2_answers import answer

ROOT = Path(__file__).resolve().parents[2]
HOME = "eu-west-1"
SNAPSHOT = "snap-0123456789abcdef0"
BLOCKS_PER_TIB = 1 << 21
# As long as those of EBS.
TOKEN = "AAABAcs8vs" * 11
# The most that the function may hold, whatever the size.
MOST_MB = 40
BLOCK = bytes(range(256)) * 2048
CHECKSUM = base64.b64encode(hashlib.sha256(BLOCK).digest()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the reading of a snapshot.")
    default = ROOT / ".aws-sam/local/VerifyFunction/bootstrap"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the verify function")
    parser.add_argument("--tib", type=int, nargs="+", default=[1, 16], help="sizes of the volume")
    given = parser.parse_args()
    print(f"{given.bootstrap}\n")
    print(f"{'TiB':>4}{'blocks':>12}{'lists':>8}{'read':>6}{'messages':>10}{'CPU s':>8}{'peak MB':>9}")
    peaks = [measure(given.bootstrap, tib) for tib in given.tib]
    if max(peaks) > MOST_MB:
        raise SystemExit(f"The function held {max(peaks):.0f} MB; it may hold {MOST_MB}.")


def measure(bootstrap: Path, tib: int) -> float:
    """Delivers the task, and what it becomes, until it is done; the most memory that any delivery took."""
    blocks, peak_mb, cpu_seconds, deliveries = tib * BLOCKS_PER_TIB, 0.0, 0.0, 0
    message = json.dumps({"version": 1, "taskToken": "token", "task": task(tib)})
    variables = {
        "QUEUE_URL": "http://sqs.invalid/1/verify",
        "DEAD_LETTER_QUEUE_URL": "http://sqs.invalid/1/verify-dead",
        "MAX_RECEIVE_COUNT": "5",
    }
    while True:
        left, mb, seconds = function_alone.run(
            bootstrap, event(message), ec2, HOME, variables=variables, ebs=lambda path, query: ebs(blocks, path, query)
        )
        peak_mb, cpu_seconds, deliveries = max(peak_mb, mb), cpu_seconds + seconds, deliveries + 1
        if left.outcome != ("response", {"batchItemFailures": []}):
            raise SystemExit(f"{tib} TiB: {left.outcome}")
        following = [sent["MessageBody"] for call, sent in left.sent if call == "SendMessage"]
        if not following:
            break
        message = following[0]
    record = json.loads(next(iter(left.objects.values())))
    if (record["level"], record["blocksListed"]) != ("probe", blocks):
        raise SystemExit(f"{tib} TiB: {record}")
    print(
        f"{tib:>4}{blocks:>12,}{record['listCalls']:>8,}{record['blocksRead']:>6}{deliveries:>10}"
        f"{cpu_seconds:>8.1f}{peak_mb:>9.1f}",
        flush=True,
    )
    return peak_mb


def task(tib: int) -> dict[str, Any]:
    return {
        "run": "20261122T120000Z",
        "folder": "drills/20261122T120000Z/measured",
        "region": HOME,
        "snapshot": SNAPSHOT,
        "volume": "vol-0123456789abcdef0",
        "taken": "2026-11-22T03:00:00Z",
        "level": "probe",
        "volumeGib": tib << 10,
        "maxBlocks": 1000,
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


def ebs(blocks: int, path: str, query: dict[str, str]) -> function_alone.Answer:
    """Every block has the same bytes, and every token is as long as one of EBS."""
    if not path.endswith("/blocks"):
        headers = {
            "x-amz-Data-Length": str(len(BLOCK)),
            "x-amz-Checksum": CHECKSUM,
            "x-amz-Checksum-Algorithm": "SHA256",
        }
        return 200, headers, BLOCK
    begin = int(query.get("pageToken") or query.get("startingBlockIndex") or 0)
    end = min(begin + int(query["maxResults"]), blocks)
    listed = ",".join(f'{{"BlockIndex":{index},"BlockToken":"{TOKEN}"}}' for index in range(begin, end))
    following = f'"{end}"' if end < blocks else "null"
    page = f'{{"Blocks":[{listed}],"BlockSize":{len(BLOCK)},"NextToken":{following}}}'
    return 200, {"Content-Type": "application/json"}, page.encode()


if __name__ == "__main__":
    main()
