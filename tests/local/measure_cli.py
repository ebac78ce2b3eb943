"""What `status` and `plan` take of a large fleet: the built program by itself, on prepared pages, as a table.

    python tests/local/measure_cli.py [--program PATH] [--volumes 1000 10000]

AWS takes no time here, so that what is measured is the program: reading, deciding, writing. Every volume has a
snapshot a day for a week and one that is due, and a copy of each in another region.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import function_alone
from ec2_state import ACCOUNT
from function_alone import BUCKET, Answer
from prepared_pages import AWAY, HOME, KEPT_EVERY, NOW, Pages, Scene

ROOT = Path(__file__).resolve().parents[2]
DAYS, RETENTION = 8, 7
STACK = "ebs-snapshots"
MACHINE = f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:{STACK}-backup"
XML = {"Content-Type": "text/xml;charset=UTF-8"}
JSON = {"Content-Type": "application/x-amz-json-1.0"}
STACKS = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>\
<Stacks><member><StackName>{name}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult>\
</DescribeStacksResponse>"""
OUTPUT = "<member><OutputKey>{}</OutputKey><OutputValue>{}</OutputValue></member>"
NO_KEY = "<Error><Code>NoSuchKey</Code><Message>There is none.</Message><Key>{}</Key></Error>"


class Account:
    """The answers of AWS to a program that only looks."""

    def __init__(self, volumes: int) -> None:
        self.calls, self.ec2 = 0, Pages(Scene(volumes * DAYS, days=DAYS, retention=RETENTION))

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.calls += 1
        if target != "/":
            return 404, XML, NO_KEY.format(target).encode()
        if "X-Amz-Target" in headers:
            return 200, JSON, json.dumps(execution(headers["X-Amz-Target"])).encode()
        params = dict(parse_qsl(body.decode()))
        if params["Action"] == "DescribeStacks":
            named = {"StateMachineArn": MACHINE, "ReportBucketName": BUCKET}
            outputs = "".join(OUTPUT.format(*output) for output in named.items())
            return 200, XML, STACKS.format(name=STACK, outputs=outputs).encode()
        region = re.search(r"Credential=[^/]+/\d+/([^/]+)/", headers["Authorization"])[1]
        return 200, XML, self.ec2(params, region)


def execution(target: str) -> dict[str, Any]:
    """A full run that was complete some moments ago."""
    ended = {
        "executionArn": f"{MACHINE.replace('stateMachine', 'execution')}:measured",
        "stateMachineArn": MACHINE,
        "name": "measured",
        "status": "SUCCEEDED",
        "startDate": NOW.timestamp() - 600,
        "stopDate": NOW.timestamp() - 60,
    }
    return {"executions": [ended]} if target.endswith("ListExecutions") else {**ended, "input": "{}", "output": "{}"}


@dataclass
class Took:
    """What the program wrote, and what it took."""

    out: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


@contextmanager
def serving(account: Account) -> Iterator[int]:
    server = function_alone.Server(("127.0.0.1", 0), function_alone.Handler)
    server.surroundings = account
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def run(program: Path, arguments: list[str], port: int) -> Took:
    environment = {**function_alone.environment(port, HOME), "COLUMNS": "80"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.monotonic()
        process = subprocess.Popen([program, *arguments], env=environment, stdout=out, stderr=err)
        peak = 0
        # What the system says of a child that has ended counts the memory of its parent before it began, too.
        while not (ended := os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = ended.si_status
        out.seek(0)
        err.seek(0)
        if ended.si_status:
            raise SystemExit(f"{' '.join(arguments)} ended with {ended.si_status}: {err.read()}{out.read()[-2000:]}")
        return Took(out.read(), seconds, usage.ru_utime + usage.ru_stime, peak / 1024)


def check(command: str, took: Took, volumes: int, pages: Pages) -> None:
    """That it was the whole answer."""
    data = json.loads(took.out)["data"]
    if command == "status":
        shown, wanted = len(data["volumes"]), volumes
    else:
        goes = {one["region"]: {judged["snapshot"] for judged in one["expires"]} for one in data["expiries"]}
        copies = [(one["region"], one["ofNewSnapshots"], len(one["keepForever"])) for one in data["copies"]]
        shown = sum(len(one["volumes"]) for one in data["instances"]), copies, goes
        # A snapshot that is kept for ever, and whose copy does not say it yet.
        kept = len(range(0, volumes, KEPT_EVERY))
        wanted = volumes, [(AWAY, volumes, kept)], {region: pages.goes(region) for region in (HOME, AWAY)}
    if shown != wanted:
        raise SystemExit(f"{command} of {volumes} volumes: {str(shown)[:500]}\ninstead of {str(wanted)[:500]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the command line on a large fleet.")
    parser.add_argument("--program", type=Path, required=True, help="the built command line")
    parser.add_argument("--volumes", type=int, nargs="+", default=[1000, 10_000], help="even numbers")
    given = parser.parse_args()
    print(f"{given.program}, {DAYS} snapshots and {DAYS} copies of every volume\n")
    print(
        f"{'command':26}{'volumes':>9}{'snapshots':>11}{'calls':>7}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'output MB':>11}"
    )
    for volumes in given.volumes:
        account = Account(volumes)
        with serving(account) as port:
            for arguments in (["status"], ["plan"], ["status", "--output", "json"], ["plan", "--output", "json"]):
                account.calls = 0
                took = run(given.program.resolve(), arguments, port)
                if "json" in arguments:
                    check(arguments[0], took, volumes, account.ec2)
                print(
                    f"{' '.join(arguments):26}{volumes:>9,}{2 * DAYS * volumes:>11,}{account.calls:>7}"
                    f"{took.seconds:>8.2f}{took.cpu_seconds:>8.2f}{took.peak_mb:>9.0f}{len(took.out) / 1e6:>11.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
