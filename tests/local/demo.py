"""The demo: a sample fleet is backed up, copied and expired by the deployed stack, live.

    python tests/local/demo.py --venvs DIR [--keep PROGRAM]

It ends with the run's own summary, with what was checked in EC2, and with the path of its report
for a browser; its exit status says whether everything is as it should be. With --keep, the local
cloud stays up until Ctrl-C, for PROGRAM, the built command line, and the AWS CLI in another
terminal.
"""

import argparse
import datetime
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import playground
import sample
from stack import Stack, deployed

HOME = "eu-west-1"
COPY_SECONDS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the whole system on a sample fleet.")
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    parser.add_argument("--keep", type=Path, help="keep the local cloud up, for this program")
    given = parser.parse_args()
    if given.keep:
        playground.end_by_signals()
    log_dir = Path(tempfile.mkdtemp(prefix="ebs-snapshots-demo-"))
    started = time.monotonic()
    say("Starting the local cloud, and deploying template.yaml with sam deploy (about half a minute)")
    settings = {"snapshotSeconds": 2, "copySeconds": COPY_SECONDS}
    with deployed(given.venvs, log_dir, HOME, settings) as stack:
        fleet = sample.create(stack, HOME, today())
        say(f"{len(fleet.instances)} instances and {len(fleet.earlier)} snapshots of the earlier scripts are there")
        status, files = run(stack)
        summary = files.get("summary.txt", f"There is no summary, of {', '.join(files) or 'no files at all'}")
        failures = sample.check(stack, fleet, HOME, today()) + sample.check_summary(fleet, summary)
        page = log_dir / "report.html"
        page.write_text(files.get("report.html", ""))
        print(f"\n{summary}")
        if status != "SUCCEEDED":
            failures.insert(0, f"the execution ended as {status}")
        if "report.html" not in files:
            failures.append("the run has written no report.html")
        result = judge(failures, time.monotonic() - started, log_dir)
        say(f"The report of this run, for a browser: {page}")
        if given.keep:
            keep(stack, Path(given.venvs), log_dir, given.keep)
    return result


def judge(failures: list[str], seconds: float, log_dir: Path) -> int:
    if not failures:
        say(f"As it should be: every snapshot, copy, tag and deletion was checked in EC2 ({seconds:.0f} s)")
        return 0
    say("NOT as it should be:")
    for failure in failures:
        print(f"   - {failure}")
    print(f"   Logs: {log_dir}")
    return 1


def keep(stack: Stack, venvs: Path, directory: Path, program: Path) -> None:
    """Says how to look further, and waits for Ctrl-C."""
    commands = playground.commands(venvs, directory / "bin")
    (commands / "ebs-snapshots").symlink_to(program.resolve())
    script = directory / "environment"
    script.write_text(playground.environment(stack, commands))
    say("The local cloud is up until Ctrl-C. In another terminal:")
    for command in (
        f"source {script}",
        "ebs-snapshots status",
        "ebs-snapshots executions",
        "ebs-snapshots run --watch",
        'aws s3 ls "s3://$ReportBucketName/runs/" --recursive',
    ):
        print(f"   {command}", flush=True)
    playground.wait()


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(stack: Stack) -> tuple[str, dict[str, str]]:
    """Starts one execution and shows what happens until it ends; returns its status and its files."""
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
            if execution["status"] != "SUCCEEDED":
                print(f"   {execution.get('error')}: {execution.get('cause')}")
            return execution["status"], read_files(stack)
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


def read_files(stack: Stack) -> dict[str, str]:
    """What the only run has written for people, by name."""
    objects = stack.client("s3").list_objects_v2(Bucket=stack.outputs["ReportBucketName"], Prefix="runs/")
    keys = {Path(item["Key"]).name: item["Key"] for item in objects.get("Contents", [])}
    return {name: read(stack, keys[name]) for name in ("summary.txt", "report.html") if name in keys}


def read(stack: Stack, key: str) -> str:
    body = stack.client("s3").get_object(Bucket=stack.outputs["ReportBucketName"], Key=key)["Body"]
    return body.read().decode()


if __name__ == "__main__":
    sys.exit(main())
