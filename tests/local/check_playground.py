"""Does what CONTRIBUTING.md says to try on a local cloud that `make cloud` keeps up, and looks at what came of it.

    python tests/local/check_playground.py --venvs DIR

The commands are run by bash as they stand there. In the end Ctrl-C has to stop all that was started.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import playground
from stack import ROOT, Stack

MOST_SECONDS = 240
STOP_SECONDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the commands of CONTRIBUTING.md.")
    parser.add_argument("--venvs", required=True, help="where make has put the Python environments")
    given = parser.parse_args()
    program = Path(playground.__file__)
    process = subprocess.Popen([sys.executable, program, f"--venvs={given.venvs}"], stdout=subprocess.PIPE, text=True)
    try:
        script = announced(process)
        shown = follow(script)
        failures = [*look(shown, stack_of(script)), *stop(process, script)]
    finally:
        process.terminate()
        process.wait()
    if failures:
        print(shown)
        sys.exit("\n".join(["CONTRIBUTING.md, tried on a local cloud:", *failures]))
    print("CONTRIBUTING.md: a fleet, two runs, a fault and a retried dead letter are as it says, and all is stopped")


def announced(process: subprocess.Popen[str]) -> Path:
    """The script that another terminal is to read."""
    for line in process.stdout:
        if found := re.match(r"source (\S+)$", line):
            return Path(found[1])
    sys.exit("the local cloud ended before it was up")


def stack_of(script: Path) -> Stack:
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", script.read_text(), re.MULTILINE))
    return Stack({"aws": exported["AWS_ENDPOINT_URL"], "ec2": exported["AWS_ENDPOINT_URL_EC2"]}, playground.HOME)


def follow(script: Path) -> str:
    """Runs the commands in one shell; answers what they printed."""
    text = playground.guide((ROOT / "CONTRIBUTING.md").read_text())
    commands = "".join(re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"source {script}\n{commands}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MOST_SECONDS,
    )
    if done.returncode != 0:
        sys.exit(
            f"{done.stdout}\nThe last of these commands of CONTRIBUTING.md failed (exit status {done.returncode})."
        )
    return done.stdout


def look(shown: str, stack: Stack) -> Iterator[str]:
    """What did not happen, or was not shown."""
    listed = stack.client("stepfunctions").list_executions(stateMachineArn=stack.outputs["StateMachineArn"])
    ends = sorted(execution["status"] for execution in listed["executions"])
    if ends != ["FAILED", "SUCCEEDED"]:
        yield f"The executions ended as {ends}."
    refused = sorted(call["outcome"] for call in stack.ec2("calls?action=CopySnapshot") if call["outcome"] != "ok")
    if refused != ["RequestLimitExceeded", "UnauthorizedOperation"]:
        yield f"The copies that EC2 refused: {refused}."
    deadline = time.monotonic() + 2 * playground.SETTINGS["copySeconds"]
    while (states := copies(stack)) != ["completed"] * 8 and time.monotonic() < deadline:
        time.sleep(0.2)
    if states != ["completed"] * 8:
        yield f"Two runs and a retry should have made 8 copies: {states}."
    if left := stack.messages("CopyDeadLetterQueueUrl"):
        yield f"There are {left} dead letters."
    for words in ("BackupIncomplete", "Copies: 4 made", "ReceiptHandle", "AccessDenied", '"copySeconds": 60', "REPORT"):
        if words not in shown:
            yield f"{words!r} was not shown."


def copies(stack: Stack) -> list[str]:
    return [snapshot["state"] for snapshot in stack.ec2("snapshots?region=us-east-1")]


def stop(process: subprocess.Popen[str], script: Path) -> Iterator[str]:
    """What Ctrl-C leaves behind."""
    started = descendants(process.pid)
    if not any(Path(f"/proc/{one}/comm").read_text().strip() == "bootstrap" for one in started):
        yield "No function is running, so that stopping shows nothing."
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        yield f"It was not stopped within {STOP_SECONDS} s."
        return
    if process.returncode != 0:
        yield f"Ctrl-C ended it with exit status {process.returncode}."
    deadline = time.monotonic() + STOP_SECONDS
    while (left := [one for one in started if is_running(one)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        yield f"It left {len(left)} processes of {len(started)}."
    if script.parent.exists():
        yield f"It left {script.parent}."


def descendants(pid: int) -> list[int]:
    of_threads = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for of_thread in of_threads for child in of_thread]
    return [one for child in children for one in (child, *descendants(child))]


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not merely to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main()
