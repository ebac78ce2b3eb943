"""Makes the pictures of README: the demo's fleet on a local cloud, looked at with the built command line.

    python tests/local/pictures.py --venvs DIR --program PROGRAM [--into docs/pictures]

`status` and `run --watch` are drawn as they are on a terminal, and the begin of the run's report as Chromium shows it.
"""

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import browser
import sample
from demo import HOME, read_files, today
from stack import ROOT, Stack, deployed
from terminal import moments

COLUMNS = 110
# Slow enough for all five slots to be seen in use.
SETTINGS = {"snapshotSeconds": 3, "copySeconds": 8}
MAX_BYTES = 150_000
# Of the report's page.
WIDTH, HEIGHT = 1100, 1500
# Too young for a backup.
NEW = {"tags": {"Name": "new-server", "Backup": "Yes"}, "state": "running", "volumes": [{"device": "/dev/sda1"}]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the pictures of README.")
    parser.add_argument("--venvs", required=True, type=Path, help="where make has put the Python environments")
    parser.add_argument("--program", required=True, type=Path, help="the built command line")
    parser.add_argument("--into", type=Path, default=ROOT / "docs/pictures", help="folder")
    given = parser.parse_args()
    given.into.mkdir(exist_ok=True)
    if not browser.found():
        sys.exit(
            f"there is no browser for the picture of the report: one of {', '.join(browser.NAMES)} has to be installed"
        )
    with tempfile.TemporaryDirectory(prefix="ebs-snapshots-pictures-") as scratch:
        logs = Path(scratch) / "logs"
        with deployed(given.venvs, logs, HOME, SETTINGS) as stack:
            sample.create(stack, HOME, today())
            program = given.program.resolve()
            draw(given, "run-watch", "ebs-snapshots run --watch", watched(stack, program))
            page = Path(scratch) / "report.html"
            page.write_text(read_files(stack)["report.html"])
            keep(given.into / "report.webp", photographed(page))
            stack.ec2("instances", {"region": HOME, "instances": [NEW]})
            *_, status = moments([program, "status"], environment(stack), COLUMNS)
            draw(given, "status", "ebs-snapshots status", status)
    return 0


def environment(stack: Stack) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "AWS_ENDPOINT_URL": stack.urls["aws"],
        "AWS_ENDPOINT_URL_EC2": stack.urls["ec2"],
        "AWS_REGION": HOME,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


def watched(stack: Stack, program: Path) -> str:
    """The last moment at which as many copies are in flight as ever."""
    best, most = "", -1
    for screen in moments([program, "run", "--watch"], environment(stack), COLUMNS):
        # What a program writes first may be a control sequence alone.
        shown = screen.splitlines()[-1:]
        in_flight = sum(map(int, re.findall(r"(\d+)/\d+ in flight", "".join(shown))))
        if in_flight >= most:
            best, most = screen, in_flight
    if most < 1:
        sys.exit(f"no copies were seen in flight:\n{screen}")
    if "SUCCEEDED" not in screen:
        sys.exit(f"the run was not complete:\n{screen}")
    return best


def photographed(page: Path) -> bytes:
    with browser.browser(browser.found()) as tab:
        tab.open(page, WIDTH, "light")
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
        shot = tab.call("Page.captureScreenshot", format="webp", quality=80, clip=clip, captureBeyondViewport=True)
    return base64.b64decode(shot["data"])


def draw(given: argparse.Namespace, name: str, command: str, text: str) -> None:
    done = subprocess.run(
        [given.venvs / "tools/bin/python", ROOT / "tests/local/terminal_picture.py", command, str(COLUMNS)],
        input=f"$ {command}\n{text}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    keep(given.into / f"{name}.svg", done.stdout.encode())


def keep(path: Path, picture: bytes) -> None:
    if len(picture) > MAX_BYTES:
        sys.exit(f"{path.name} has {len(picture):,} bytes, more than {MAX_BYTES:,}")
    path.write_bytes(picture)
    print(f"{path}: {len(picture):,} bytes")


if __name__ == "__main__":
    sys.exit(main())
