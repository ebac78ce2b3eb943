"""The demo: a sample fleet is backed up, copied and expired by the deployed stack, live.

    python tests/local/demo.py --venvs DIR

It ends with the run's own summary and with what was checked in EC2; its exit
status says whether everything is as it should be.
"""

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sample
from stack import Stack, deployed

HOME = "eu-west-1"
COPY_SECONDS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the whole system on a sample fleet.")
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    given = parser.parse_args()
    log_dir = Path(tempfile.mkdtemp(prefix="ebs-snapshots-demo-"))
    started = time.monotonic()
    say("Starting the local cloud, and deploying template.yaml with sam deploy (about half a minute)")
    settings = {"snapshotSeconds": 2, "copySeconds": COPY_SECONDS}
    with deployed(given.venvs, log_dir, HOME, settings) as stack:
        fleet = sample.create(stack, HOME, today())
        say(f"{len(fleet.instances)} instances and {len(fleet.earlier)} snapshots of the earlier scripts are there")
        status, summary = run(stack)
        failures = sample.check(stack, fleet, HOME, today()) + sample.check_summary(fleet, summary)
    print(f"\n{summary}")
    if status != "SUCCEEDED":
        failures.insert(0, f"the execution ended as {status}")
    if failures:
        say("NOT as it should be:")
        for failure in failures:
            print(f"   - {failure}")
        print(f"   Logs: {log_dir}")
        return 1
    seconds = time.monotonic() - started
    say(f"As it should be: every snapshot, copy, tag and deletion was checked in EC2 ({seconds:.0f} s)")
    return 0


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(stack: Stack) -> tuple[str, str]:
    """Starts one execution and shows what happens until it ends; returns its status and its summary."""
    states = stack.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=stack.outputs["StateMachineArn"], input="{}")["executionArn"]
    say("One execution of the state machine")
    started, shown = time.monotonic(), None
    while True:
        execution = states.describe_execution(executionArn=arn)
        line = progress(states, arn, stack)
        if line != shown:
            print(f"   {time.monotonic() - started:5.1f} s  {line}", flush=True)
            shown = line
        if execution["status"] != "RUNNING":
            return execution["status"], read_summary(stack, execution)
        time.sleep(0.3)


def progress(states: Any, arn: str, stack: Stack) -> str:
    events = states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    counts = {}
    for snapshot in stack.ec2("snapshots"):
        if "BackupRun" in snapshot["tags"]:
            of_region = counts.setdefault(snapshot["region"], {"completed": 0, "pending": 0, "error": 0})
            of_region[snapshot["state"]] += 1
    parts = [f"{region}: {of['completed']} complete, {of['pending']} pending" for region, of in sorted(counts.items())]
    return f"{entered[-1] if entered else 'starting':18} {'; '.join(parts)}"


def read_summary(stack: Stack, execution: dict[str, Any]) -> str:
    objects = stack.client("s3").list_objects_v2(Bucket=stack.outputs["ReportBucketName"], Prefix="runs/")
    for item in objects.get("Contents", []):
        if item["Key"].endswith("/summary.txt"):
            body = stack.client("s3").get_object(Bucket=stack.outputs["ReportBucketName"], Key=item["Key"])["Body"]
            return body.read().decode()
    return f"There is no summary: {execution.get('error')}: {execution.get('cause')}"


if __name__ == "__main__":
    sys.exit(main())
