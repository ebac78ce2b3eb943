"""What a run costs in calls and transitions: a fault-free run on the local cloud, as a table.

python tests/local/measure.py --venvs DIR [--instances 50] [--copy-seconds 20]
"""

import argparse
import collections
import tempfile
import time
from typing import Any

from stack import Stack, deployed

HOME, DESTINATION = "eu-west-1", "us-east-1"
# Those that are enabled for every account.
REGIONS = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures a fault-free run.")
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    parser.add_argument("--instances", type=int, default=50, help="each with two volumes, copied to one region")
    parser.add_argument("--copy-seconds", type=float, default=20, help="what a copy takes; PollSeconds is 1")
    given = parser.parse_args()
    settings = {"snapshotSeconds": 5, "copySeconds": given.copy_seconds, "enabledRegions": REGIONS}
    with deployed(given.venvs, tempfile.mkdtemp(prefix="ebs-snapshots-measure-"), HOME, settings) as stack:
        volumes = [{"device": "/dev/sda1"}, {"device": "/dev/sdf"}]
        tags = {"Backup": "Yes", "BackupCrossRegion": DESTINATION}
        instances = [{"tags": tags, "state": "running", "volumes": volumes}] * given.instances
        stack.ec2("instances", {"region": HOME, "instances": instances})
        for phase, count, what in (
            ("snapshot", given.instances, "instance"),
            ("copy", 2 * given.instances, "copy"),
            ("expire", len(REGIONS), "region"),
        ):
            measure(stack, phase, count, what)


def measure(stack: Stack, phase: str, count: int, what: str) -> None:
    states = stack.client("stepfunctions")
    before, started = len(stack.ec2("calls")), time.monotonic()
    arn = stack.start({"phases": [phase]})
    stack.end(arn)
    seconds = time.monotonic() - started
    calls = collections.Counter(call["action"] for call in stack.ec2("calls")[before:])
    changing = sum(number for action, number in calls.items() if not action.startswith("Describe"))
    total = sum(calls.values())
    children, transitions = count_children(states, arn)
    print(f"\n{phase}: {count} x {what}, {children} children, {seconds:.1f} s")
    print(f"{'':34}{'in all':>10}{'per ' + what:>16}")
    for name, number in [
        *sorted(calls.items()),
        ("EC2 calls", total),
        ("EC2 calls that change something", changing),
        ("state transitions of the children", transitions),
        ("state transitions of the run itself", count_entered(states, arn)),
    ]:
        print(f"{name:34}{number:>10}{number / count:>16.2f}")
    print_utilisation(stack.ec2("calls")[before:])


def count_children(states: Any, arn: str) -> tuple[int, int]:
    """A child's states are all tasks: each is one transition."""
    children = transitions = 0
    for run in states.list_map_runs(executionArn=arn)["mapRuns"]:
        for page in states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"]):
            for child in page["executions"]:
                events = states.get_execution_history(executionArn=child["executionArn"], maxResults=1000)["events"]
                children += 1
                transitions += sum(event["type"] == "TaskScheduled" for event in events)
    return children, transitions


def count_entered(states: Any, arn: str) -> int:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    return sum(event["type"].endswith("StateEntered") for event in events)


def print_utilisation(calls: list[dict[str, Any]]) -> None:
    copies = [call for call in calls if call["action"] == "CopySnapshot"]
    if copies:
        refused = sum(call["outcome"] != "ok" for call in copies)
        most = max(call["inFlight"] for call in copies)
        print(f"{'most copies in flight':34}{most:>10}\n{'copies that EC2 refused':34}{refused:>10}")


if __name__ == "__main__":
    main()
