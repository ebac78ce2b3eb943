"""How fast a backlog of due snapshots is deleted while EC2 allows 5 deletions a second, as a table.

python tests/local/measure_pace.py --venvs DIR [--snapshots 1000]
"""

import argparse
import collections
import datetime
import tempfile
from collections.abc import Sequence
from typing import Any

from ec2_state import BUCKETS
from stack import Stack, deployed

HOME = "eu-west-1"
# Snapshots that the control API is given at once.
SHEAF = 500


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the pace of expiry within EC2's request limits.")
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    parser.add_argument("--snapshots", type=int, default=1000, help="all of them due")
    given = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="ebs-snapshots-measure-")
    with deployed(given.venvs, scratch, HOME, {"throttle": True}, {"ExpireRegions": HOME}) as stack:
        due = [due_snapshot(number) for number in range(given.snapshots)]
        for start in range(0, len(due), SHEAF):
            stack.ec2("snapshots", {"region": HOME, "snapshots": due[start : start + SHEAF]})
        arn = stack.start({"phases": ["expire"], "allowMassExpire": True})
        status = stack.end(arn)
        show(stack, arn, status)


def due_snapshot(number: int) -> dict[str, Any]:
    """Of a volume that is gone: nothing but its date keeps it."""
    today = datetime.datetime.now(datetime.UTC).date()
    tags = {
        "Type": "Automated",
        "CreatedOn": str(today - datetime.timedelta(days=8)),
        "DeleteOn": str(today - datetime.timedelta(days=1)),
        "SourceInstanceId": "i-0000000000000000a",
    }
    return {"volume": f"vol-{number:017x}", "startTime": f"{tags['CreatedOn']}T03:00:00Z", "tags": tags}


def show(stack: Stack, arn: str, status: str) -> None:
    calls = stack.ec2("calls")
    outcomes = collections.Counter(call["outcome"] for call in calls if call["action"] == "DeleteSnapshot")
    at = [call["at"] for call in calls if call["action"] == "DeleteSnapshot" and call["outcome"] == "ok"]
    seconds, deletions = max(at) - min(at), len(at)
    capacity, refill = BUCKETS["DeleteSnapshot"]
    allowed = max(deletions - capacity, 0) / refill
    described = collections.Counter(call["action"] for call in calls if call["action"].startswith("Describe"))
    refused = sum(call["outcome"] != "ok" for call in calls if call["action"].startswith("Describe"))
    states = stack.client("stepfunctions")
    runs = [
        states.describe_map_run(mapRunArn=run["mapRunArn"]) for run in states.list_map_runs(executionArn=arn)["mapRuns"]
    ]
    rows = [
        ("the execution", status),
        ("deletions", deletions),
        ("seconds from the first to the last", f"{seconds:.0f}"),
        ("seconds that the bucket asks for", f"{allowed:.0f}"),
        ("ratio", f"{seconds / allowed:.2f}" if allowed else "-"),
        *((f"DeleteSnapshot: {code}", count) for code, count in sorted(outcomes.items()) if code != "ok"),
        *sorted(described.items()),
        ("describes that EC2 refused", refused),
        ("failed items of the Map Run", sum(run["itemCounts"]["failed"] for run in runs)),
        ("messages in the queue", stack.messages("ExpireQueueUrl")),
        ("messages in the dead-letter queue", stack.messages("ExpireDeadLetterQueueUrl")),
        ("snapshots left", len(stack.ec2("snapshots"))),
    ]
    print(f"\n{BUCKETS['DeleteSnapshot'][0]} deletions at once, then {refill} a second:")
    for name, number in rows:
        print(f"{name:42}{number:>10}")
    print_progress(at)


def print_progress(at: Sequence[float]) -> None:
    """Deletions in each tenth of the time: where the pace is lost."""
    begun, whole = min(at), max(at) - min(at)
    tenths = collections.Counter(min(int((moment - begun) / whole * 10), 9) for moment in at)
    print("deletions per tenth of the time          " + " ".join(str(tenths[tenth]) for tenth in range(10)))


if __name__ == "__main__":
    main()
