"""A local cloud with the deployed stack that stays up, to try things by hand with the AWS CLI.

    python tests/local/playground.py --venvs DIR

It prints what another terminal needs: exports, and the commands of CONTRIBUTING.md.
SIGINT (Ctrl-C) and SIGTERM end it and everything that it started.
"""

import argparse
import os
import re
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from stack import ROOT, Stack, deployed

HOME = "eu-west-1"
# Slow enough to be looked at.
SETTINGS = {"snapshotSeconds": 2, "copySeconds": 3}
# Version 1 of the AWS CLI asks AWS itself for SQS, whatever AWS_ENDPOINT_URL says.
AWS = """#!/bin/sh
for word; do
    if [ "$word" = sqs ]; then
        set -- "$@" --endpoint-url "$AWS_ENDPOINT_URL"
        break
    fi
done
exec {aws} "$@"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Keeps a local cloud with the deployed stack up.")
    parser.add_argument("--venvs", required=True, type=Path, help="where make has put the Python environments")
    given = parser.parse_args()
    end_by_signals()
    with tempfile.TemporaryDirectory(prefix="ebs-snapshots-cloud-") as scratch:
        directory = Path(scratch)
        print("Starting the local cloud, and deploying template.yaml with sam deploy (about half a minute)", flush=True)
        with deployed(given.venvs, directory / "logs", HOME, SETTINGS) as stack:
            (directory / "environment").write_text(environment(stack, commands(given.venvs, directory / "bin")))
            print(welcome(directory), flush=True)
            wait()


def end_by_signals() -> None:
    # Also where SIGINT was ignored at the start, as it is for what a script puts into the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def end(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    print("\nStopping the local cloud", flush=True)
    sys.exit(0)


def wait() -> NoReturn:
    """Until the local cloud ends, which is the only child that is left, or until this is ended."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    sys.exit("The local cloud has ended by itself.")


def commands(venvs: Path, directory: Path) -> Path:
    """A directory with the pinned AWS and SAM CLI and nothing else, so that a terminal keeps its own Python."""
    tools = venvs.resolve() / "tools/bin"
    directory.mkdir(parents=True)
    (directory / "sam").symlink_to(tools / "sam")
    (directory / "aws").write_text(AWS.format(aws=shlex.quote(str(tools / "aws"))))
    (directory / "aws").chmod(0o755)
    return directory


def environment(stack: Stack, commands: Path) -> str:
    """A script for a shell that is to talk to the local cloud, and with no account of AWS."""
    exports = {
        "AWS_ENDPOINT_URL": stack.urls["aws"],
        "AWS_ENDPOINT_URL_EC2": stack.urls["ec2"],
        "AWS_ENDPOINT_URL_SSM": stack.urls["ssm"],
        "AWS_ENDPOINT_URL_EBS": stack.urls["ebs"],
        "AWS_ENDPOINT_URL_KMS": stack.urls["kms"],
        "AWS_REGION": stack.region,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
        "SAM_CLI_TELEMETRY": "0",
        "STACK": "ebs-snapshots",
        **stack.outputs,
    }
    lines = [
        "unset AWS_PROFILE $(env | sed -n 's/^\\(AWS_[A-Z0-9_]*\\)=.*/\\1/p')",
        f'export PATH={shlex.quote(str(commands))}:"$PATH"',
        'export NO_PROXY="127.0.0.1,${NO_PROXY:-}" no_proxy="127.0.0.1,${no_proxy:-}"',
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        # As in docs/operations.md, whose commands can be pasted, too.
        'out() { printenv "$1"; }',
    ]
    return "".join(f"{line}\n" for line in lines)


def welcome(directory: Path) -> str:
    script = directory / "environment"
    return "\n".join(
        [
            "\n== Exports for another terminal\n",
            script.read_text(),
            "== Commands to try there, from CONTRIBUTING.md\n",
            guide((ROOT / "CONTRIBUTING.md").read_text()),
            f"== The local cloud is up until Ctrl-C, with its logs in {directory / 'logs'}. In another terminal:\n",
            f"source {script}\n",
        ]
    )


def guide(text: str) -> str:
    """What CONTRIBUTING.md says to do once the local cloud is up."""
    found = re.search(r"^## Try things by hand\n.*?^(### .*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit('CONTRIBUTING.md has no section "## Try things by hand" with parts ("### …") to follow')
    return found[1]


if __name__ == "__main__":
    main()
