"""A local cloud with the deployed stack, for programs in Python: `with deployed(...) as stack`."""

import contextlib
import json
import os
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


class Stack:
    """The deployed stack: its outputs, clients of its services, and the control of its EC2."""

    def __init__(self, urls: dict[str, str], region: str) -> None:
        self.urls, self.region = urls, region
        stacks = self.client("cloudformation").describe_stacks(StackName="ebs-snapshots")["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}

    def client(self, service: str, key: str = "test", secret: str = "test", token: str | None = None) -> Any:
        """A client of the account's root, or of whose credentials are given."""
        return boto3.client(
            service,
            region_name=self.region,
            endpoint_url=self.urls["aws"],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )

    def start(self, given: Json) -> str:
        """Starts an execution with this input; answers its ARN."""
        return self.client("stepfunctions").start_execution(
            stateMachineArn=self.outputs["StateMachineArn"], input=json.dumps(given)
        )["executionArn"]

    def end(self, arn: str) -> str:
        """Waits until an execution has ended; answers its status."""
        states = self.client("stepfunctions")
        while (status := states.describe_execution(executionArn=arn)["status"]) == "RUNNING":
            time.sleep(0.2)
        return status

    def messages(self, output: str) -> int:
        """How many messages a queue holds, those that are delayed or being worked on among them."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        held = self.client("sqs").get_queue_attributes(QueueUrl=self.outputs[output], AttributeNames=names)
        return sum(int(held["Attributes"][name]) for name in names)

    def ec2(self, path: str, body: Any = None) -> Any:
        """Asks the EC2 endpoint's control API (control.py)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.urls['ec2']}/_local/{path}", data)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running(
    venvs: Path | str, log_dir: Path | str, settings: Json | None = None, enforce_iam: bool = False
) -> Iterator[dict[str, str]]:
    """Starts a local cloud, answers its URLs, and stops everything at the end. `settings` are the EC2 endpoint's."""
    cloud = subprocess.Popen(
        [
            sys.executable,
            ROOT / "tests/local/cloud.py",
            f"--ministack-python={venvs}/ministack/bin/python",
            f"--log-dir={log_dir}",
            f"--settings={json.dumps(settings or {})}",
            *(["--enforce-iam"] if enforce_iam else []),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = cloud.stdout.readline()
        if not line:
            sys.exit("the local cloud did not start")
        yield json.loads(line)
    finally:
        cloud.stdin.close()
        cloud.stdout.close()
        cloud.wait()


@contextlib.contextmanager
def deployed(
    venvs: Path | str,
    log_dir: Path | str,
    region: str = "eu-west-1",
    settings: Json | None = None,
    parameters: Json | None = None,
    enforce_iam: bool = False,
) -> Iterator[Stack]:
    """A local cloud with what `make build` has built; `parameters` are the template's."""
    with running(venvs, log_dir, settings, enforce_iam) as urls:
        deploy(venvs, urls, region, parameters or {})
        yield Stack(urls, region)


def deploy(venvs: Path | str, urls: dict[str, str], region: str, parameters: Json) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update(
        PATH=f"{venvs}/tools/bin:{environment['PATH']}",
        AWS_ENDPOINT_URL=urls["aws"],
        AWS_DEFAULT_REGION=region,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        SAM_CLI_TELEMETRY="0",
    )
    own = " ".join(f"{name}={value}" for name, value in parameters.items())
    # SAM takes those of the command line instead of those of the file: of two with one name it takes the later.
    overrides = f"{local_parameters()} {own}".strip()
    command = ["sam", "deploy", "--config-env", "local", "--region", region, "--parameter-overrides", overrides]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"sam deploy failed:\n{done.stdout}{done.stderr}")


def local_parameters() -> str:
    """The parameters of every deployment on the local cloud, as samconfig.toml has them."""
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return settings["local"]["deploy"]["parameters"]["parameter_overrides"]
