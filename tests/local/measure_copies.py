"""What becomes of the copy slots, from EC2's call log, as tables.

    python tests/local/measure_copies.py slots --venvs DIR [--times 3 20 200] [--poll-seconds 1]
    python tests/local/measure_copies.py overlap --venvs DIR

`slots`: how much of CopyConcurrency is in use, for copies of so many times PollSeconds.
`overlap`: two executions and messages put back by hand, all for the same copies to two regions, while EC2 shows late
what was begun; once where EC2 takes as many copies as CopyConcurrency, and once where it takes more.
"""

import argparse
import collections
import datetime
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from typing import Any

from stack import Stack, deployed

HOME, AWAY = "eu-west-1", ("us-east-1", "us-west-2")
SLOTS = 5  # CopyConcurrency
# Long copies are few, so that the measurement ends.
COPIES = {3: 40, 20: 25}
LONG_COPIES = 10
# Copies to each of two regions, of so many times PollSeconds; EC2 shows what was begun after three looks.
OVERLAP, BY_HAND, OVERLAP_FACTOR, LAG_FACTOR = 30, 10, 20, 3
# What EC2 takes at once: as many as the workers begin, or as many as it takes by default today.
LIMITS = (SLOTS, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the slots of copies.")
    parser.add_argument("what", choices=["slots", "overlap"])
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    parser.add_argument("--times", type=int, nargs="+", default=[3, 20, 200], help="copies of so many PollSeconds")
    parser.add_argument("--poll-seconds", type=int, default=1, help="PollSeconds")
    given = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="ebs-snapshots-measure-")
    settings = {"copyLimit": SLOTS, "copySeconds": 0}
    with deployed(given.venvs, scratch, HOME, settings, {"PollSeconds": given.poll_seconds}) as stack:
        # The functions' first calls start their processes.
        prepare(stack, SLOTS, 0)
        stack.end(stack.start({"phases": ["copy"]}))
        if given.what == "slots":
            measure_slots(stack, given.times, given.poll_seconds)
        else:
            measure_overlap(stack, given.poll_seconds)


def prepare(stack: Stack, count: int, seconds: float, regions: Sequence[str] = AWAY[:1], **settings: Any) -> None:
    """So many sources of one instance, none of them copied yet, in a region with nothing else."""
    stack.ec2("reset", {})
    stack.ec2("settings", {"copySeconds": seconds, **settings})
    # The claims of copies that went with the reset would take slots until they are old.
    bucket, s3 = stack.outputs["ReportBucketName"], stack.client("s3")
    for claim in s3.list_objects_v2(Bucket=bucket, Prefix="claims/").get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=claim["Key"])
    today = datetime.datetime.now(datetime.UTC).date()
    tags = {
        "Type": "Automated",
        "CreatedOn": str(today),
        "DeleteOn": str(today + datetime.timedelta(days=7)),
        "BackupRun": f"{today:%Y%m%d}T000000Z",
        "SourceInstanceId": "i-0000000000000000a",
        "BackupCrossRegion": ",".join(regions),
    }
    sources = [{"volume": f"vol-{number:017x}", "tags": tags} for number in range(count)]
    stack.ec2("snapshots", {"region": HOME, "snapshots": sources})


def table(*rows: Iterable[Any]) -> None:
    for row in rows:
        print("".join(f"{cell:>15}" for cell in row), flush=True)


# --- slots ---


def measure_slots(stack: Stack, times: Iterable[int], poll_seconds: int) -> None:
    print(f"\nSlots: {SLOTS} copies at once")
    table(
        (
            "copy seconds",
            "PollSeconds",
            "copies",
            "seconds",
            "slots in use",
            "describes each",
            "changes each",
            "most at once",
            "refused",
        )
    )
    for factor in times:
        length, count = factor * poll_seconds, COPIES.get(factor, LONG_COPIES)
        prepare(stack, count, length)
        started = time.monotonic()
        stack.end(stack.start({"phases": ["copy"]}))
        seconds = time.monotonic() - started
        calls = stack.ec2("calls")
        copies = [call for call in calls if call["action"] == "CopySnapshot"]
        begun = [call["at"] for call in copies if call["outcome"] == "ok"]
        described = sum(call["action"] == "DescribeSnapshots" for call in calls)
        changing = sum(not call["action"].startswith("Describe") for call in calls)
        table(
            (
                length,
                poll_seconds,
                len(begun),
                f"{seconds:.0f}",
                f"{utilisation(begun, length):.1%}",
                f"{described / count:.2f}",
                f"{changing / count:.2f}",
                max(call["inFlight"] for call in copies),
                len(copies) - len(begun),
            )
        )


def utilisation(begun: Sequence[float], length: float) -> float:
    """The share of the slots in use, on average, for as long as there is enough left to fill them."""
    ends = sorted(at + length for at in begun)
    first, last = min(begun), ends[len(ends) - SLOTS]
    in_use = sum(min(at + length, last) - min(at, last) for at in begun)
    return in_use / (SLOTS * (last - first))


# --- overlap ---


def measure_overlap(stack: Stack, poll_seconds: int) -> None:
    length, lag = OVERLAP_FACTOR * poll_seconds, LAG_FACTOR * poll_seconds
    print(
        f"\nOverlap: two executions of {OVERLAP} copies of {length} s to each of {len(AWAY)} regions, "
        f"{BY_HAND} of them also by hand; EC2 shows them after {lag} s"
    )
    table(
        (
            "EC2 allows",
            "seconds",
            "carried out",
            "in excess",
            "most at once",
            "slots in use",
            "refused",
            "failed",
            "dead letters",
            "looks each",
        )
    )
    for limit in LIMITS:
        prepare(stack, OVERLAP, length, AWAY, describeLagSeconds=lag, copyLimit=limit)
        by_hand = [task for region in AWAY for task in owed(stack, region)[-BY_HAND // len(AWAY) :]]
        started, now = time.monotonic(), datetime.datetime.now(datetime.UTC)
        times = [now - datetime.timedelta(hours=ago) for ago in (1, 2)]
        arns = [stack.start({"phases": ["copy"], "scheduledTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}) for at in times]
        for task in by_hand:
            body = json.dumps({"version": 1, "task": task})
            stack.client("sqs").send_message(QueueUrl=stack.outputs["CopyQueueUrl"], MessageBody=body)
        failed = sum(stack.end(arn) != "SUCCEEDED" for arn in arns)
        while stack.messages("CopyQueueUrl"):
            time.sleep(0.2)
        seconds = time.monotonic() - started
        made = [copy for region in AWAY for copy in stack.ec2(f"snapshots?region={region}") if copy["state"] != "error"]
        of_source = collections.Counter((copy["region"], copy["tags"]["SourceSnapshotId"]) for copy in made)
        calls = stack.ec2("calls")
        tried = [call for call in calls if call["action"] == "CopySnapshot"]
        done = [call for call in tried if call["outcome"] == "ok"]
        in_use = [utilisation([call["at"] for call in done if call["region"] == region], length) for region in AWAY]
        looks = sum(call["action"] == "DescribeSnapshots" for call in calls)
        table(
            (
                limit,
                f"{seconds:.0f}",
                len(done),
                of_source.total() - len(of_source),
                max(call["inFlight"] for call in tried),
                f"{sum(in_use) / len(in_use):.1%}",
                len(tried) - len(done),
                failed,
                stack.messages("CopyDeadLetterQueueUrl"),
                f"{looks / len(made):.2f}",
            )
        )


def owed(stack: Stack, region: str) -> list[dict[str, Any]]:
    """The lines of the manifest that a dry run writes."""
    arn = stack.start({"phases": ["copy"], "dryRun": True})
    stack.end(arn)
    bucket, s3 = stack.outputs["ReportBucketName"], stack.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="runs/")["Contents"]
    ending = f"/{arn.rsplit(':', 1)[-1]}/copies-{region}.jsonl"
    key = next(item["Key"] for item in listed if item["Key"].endswith(ending))
    return [json.loads(line) for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()]


if __name__ == "__main__":
    main()
