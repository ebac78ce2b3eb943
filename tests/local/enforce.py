"""Makes requests as the functions' deployed roles, on a local cloud that enforces IAM.

    python tests/local/enforce.py --venvs DIR --log-dir DIR < REQUESTS

Run it with the moto environment's Python; DIR is where the environments are.
REQUESTS is JSON, a list of requests, each with a "role" of the template, a
"service" and a "call" of it as boto3 names them, and its "parameters", in which
{Name} stands for a resource of the template. It prints the answers as a JSON
list: "ok", or an error's code. EC2 is not to be asked here: it enforces nothing.
"""

import argparse
import functools
import json
import sys
from typing import Any

from botocore.exceptions import ClientError

from stack import Stack, deployed


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes requests as the functions' deployed roles.")
    parser.add_argument("--venvs", required=True, help="where the Python environments are")
    parser.add_argument("--log-dir", required=True, help="where logs and scratch files go")
    given = parser.parse_args()
    requests = json.load(sys.stdin)
    with deployed(given.venvs, given.log_dir, enforce_iam=True) as stack:
        listed = stack.client("cloudformation").describe_stack_resources(StackName="ebs-snapshots")["StackResources"]
        names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}
        assumed = functools.cache(lambda role: credentials(stack, names[role]))
        print(json.dumps([answer(stack, assumed(request["role"]), request, names) for request in requests]))


def credentials(stack: Stack, name: str) -> tuple[str, str, str]:
    """A role's temporary credentials. It trusts Lambda alone, for which the local cloud takes the account's root."""
    role = stack.client("iam").get_role(RoleName=name)["Role"]["Arn"]
    given = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="story")["Credentials"]
    return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]


def answer(stack: Stack, caller: tuple[str, str, str], request: dict[str, Any], names: dict[str, str]) -> str:
    client = stack.client(request["service"], *caller)
    # The bucket refuses plain HTTP to everyone, which is not what is asked: this is what a proxy says of TLS.
    client.meta.events.register("before-sign", say_tls)
    parameters = {name: value.format_map(names) for name, value in request["parameters"].items()}
    try:
        getattr(client, request["call"])(**parameters)
        return "ok"
    except ClientError as refusal:
        return refusal.response["Error"]["Code"]


def say_tls(request: Any, **_: Any) -> None:
    request.headers["X-Forwarded-Proto"] = "https"


if __name__ == "__main__":
    main()
