"""The local cloud: MiniStack for AWS (aws.py), and our endpoint of EC2, SSM, EBS and KMS (ec2.py), on loopback.

    python tests/local/cloud.py --ministack-python PATH --log-dir DIR [--settings JSON] [--enforce-iam]

Run it with the moto environment's Python; PATH is the MiniStack environment's.
When both answer it prints one line of JSON, {"aws": URL, "ec2": URL, "ssm": URL, "ebs": URL, "kms": URL},
and then runs until its standard input ends or it gets SIGTERM or SIGINT. Whatever ends
it, MiniStack and the Lambda functions that MiniStack started end with it
(leash.py says how). MiniStack's output goes to DIR/ministack.log, what the
functions print to DIR/functions.log, the EC2 endpoint's own errors to
DIR/ec2.log. With --enforce-iam MiniStack verifies
signatures and holds callers to their policies; the EC2 endpoint never does.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
START_SECONDS = 60
STOP_SECONDS = 10
LOG_TAIL_LINES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the local cloud until standard input ends.")
    parser.add_argument("--ministack-python", required=True, help="the Python of MiniStack's environment")
    parser.add_argument("--log-dir", required=True, type=Path, help="where logs and scratch files go")
    parser.add_argument("--settings", type=json.loads, default={}, help="the EC2 endpoint's settings, in JSON")
    parser.add_argument("--enforce-iam", action="store_true", help="refuse what no policy allows")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))

    given.log_dir.mkdir(parents=True, exist_ok=True)
    log_dir = given.log_dir.resolve()
    log = log_dir / "ministack.log"
    for name in ("functions.log", "tokens.log"):
        (log_dir / name).write_text("")
    region = os.environ.get("AWS_REGION", "eu-west-1")
    ec2_port = start_ec2(log_dir / "ec2.log", given.settings)
    aws_port = free_port()
    leash = start_ministack(given.ministack_python, region, aws_port, ec2_port, given.enforce_iam, log_dir, log)
    try:
        group = leash.stdout.readline()
        wait_until_healthy(leash, aws_port, log)
        own = dict.fromkeys(("ec2", "ssm", "ebs", "kms"), url(ec2_port))
        print(json.dumps({"aws": url(aws_port), **own}), flush=True)
        run_until_told_to_stop(leash, log)
    finally:
        stop(leash, group)
        end_commands()


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_ec2(log_file: Path, settings: dict[str, Any]) -> int:
    # moto reads a developer's AWS configuration as it is imported, and must not;
    # this is also why it is imported here and not above.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    import ec2

    try:
        return ec2.serve(log_file, settings).port
    except ValueError as problem:
        sys.exit(f"--settings: {problem}")


def end_commands() -> None:
    import ssm_commands

    ssm_commands.forget()


def ministack_environment(
    region: str, aws_port: int, ec2_port: int, enforce_iam: bool, scratch: Path
) -> dict[str, str]:
    """What MiniStack runs with, and the Lambda functions, which inherit it."""
    environment = dict(os.environ)
    environment.update(
        GATEWAY_PORT=str(aws_port),
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_REGION=region,
        AWS_REGION=region,
        AWS_DEFAULT_REGION=region,
        AWS_ENDPOINT_URL=url(aws_port),
        AWS_ENDPOINT_URL_EC2=url(ec2_port),
        AWS_ENDPOINT_URL_SSM=url(ec2_port),
        AWS_ENDPOINT_URL_EBS=url(ec2_port),
        AWS_ENDPOINT_URL_KMS=url(ec2_port),
        AWS_ACCESS_KEY_ID="test",
        # Without signatures to verify it may be anything: that it is in no log is tested by looking for it.
        AWS_SECRET_ACCESS_KEY="test" if enforce_iam else "the-secret-of-the-functions",
        AWS_EC2_METADATA_DISABLED="true",
        AUTH="true" if enforce_iam else "false",
        # Wait states and retry pauses take a tenth of their time.
        SFN_WAIT_SCALE="0.1",
        # Functions stay warm for as long as the local cloud runs.
        LAMBDA_WARM_TTL_SECONDS="86400",
        LOG_LEVEL="WARNING",
        LOCAL_CLOUD_LOGS=str(scratch.parent),
        TMPDIR=str(scratch),
        STATE_DIR=str(scratch / "state"),
        S3_DATA_DIR=str(scratch / "s3"),
    )
    without_proxy = [name for name in (environment.get("NO_PROXY"), "127.0.0.1", "localhost") if name]
    environment["NO_PROXY"] = environment["no_proxy"] = ",".join(without_proxy)
    return environment


def start_ministack(
    python: str, region: str, aws_port: int, ec2_port: int, enforce_iam: bool, log_dir: Path, log: Path
) -> subprocess.Popen[bytes]:
    scratch = log_dir / f"ministack-{aws_port}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, HERE / "leash.py", scratch, python, HERE / "aws.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=ministack_environment(region, aws_port, ec2_port, enforce_iam, scratch),
            # Ctrl-C in a terminal reaches this process only, which ends the rest in order.
            start_new_session=True,
        )


def wait_until_healthy(leash: subprocess.Popen[bytes], port: int, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if leash.poll() is not None:
            fail("MiniStack ended while it started", log)
        try:
            with direct.open(f"{url(port)}/_ministack/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    fail(f"MiniStack did not become healthy in {START_SECONDS} s", log)


def run_until_told_to_stop(leash: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 65536):
            return
        if leash.poll() is not None:
            fail("MiniStack ended by itself", log)


def fail(reason: str, log: Path) -> NoReturn:
    tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    sys.exit("\n".join([f"{reason}. The end of {log}:", *tail]))


def stop(leash: subprocess.Popen[bytes], group: bytes) -> None:
    """Closes the pipe, on which the leash ends MiniStack and its functions."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    leash.stdin.close()
    try:
        leash.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        leash.kill()
        leash.wait()
    # A leash that was killed has left the functions to this process.
    if leash.returncode < 0 and group.strip():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGKILL)


if __name__ == "__main__":
    main()
