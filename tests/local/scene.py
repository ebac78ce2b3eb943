"""What the tests of the EC2 endpoint share: one endpoint, its clients and its scenes."""

import json
import time
import unittest
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.handlers import inject_presigned_url_ec2

import ec2

HOME, AWAY = "eu-west-1", "us-east-1"
SECONDS = 0.2
SERVER = ec2.serve(settings={"snapshotSeconds": SECONDS, "copySeconds": SECONDS, "attachSeconds": 0})
URL = f"http://127.0.0.1:{SERVER.port}"
CLIENTS = {}


def connect(service, region=HOME, **more):
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=URL,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, proxies={}, **more),
    )


def client(region=HOME):
    if region not in CLIENTS:
        CLIENTS[region] = connect("ec2", region)
        # boto3 signs a URL into every copy; these tests choose for themselves.
        CLIENTS[region].meta.events.unregister("before-call.ec2.CopySnapshot", inject_presigned_url_ec2)
    return CLIENTS[region]


def local(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"{URL}/_local/{path}", data)) as answer:
        return json.load(answer)


def instance(volumes=2, state="running", region=HOME, encrypted=False, **tags):
    disks = [
        {"device": f"/dev/sd{chr(97 + n)}1", "tags": {"Disk": str(n)}, "encrypted": encrypted} for n in range(volumes)
    ]
    return local("instances", {"region": region, "instances": [{"tags": tags, "state": state, "volumes": disks}]})[0]


def snapshots(*wanted, region=HOME):
    return local("snapshots", {"region": region, "snapshots": list(wanted)})


def tags(**given):
    return [{"ResourceType": "snapshot", "Tags": [{"Key": k, "Value": v} for k, v in given.items()]}]


def copy(source, to=AWAY, **more):
    return client(to).copy_snapshot(SourceRegion=HOME, SourceSnapshotId=source, **more)["SnapshotId"]


def copy_signed(source, to=AWAY, change=lambda url: url, **more):
    """A copy with the URL that boto3 signs into it at AWS, as a test changes it."""

    def sign(params, **named):
        at_aws = {**params, "url": f"https://ec2.{to}.amazonaws.com/", "body": dict(params["body"])}
        inject_presigned_url_ec2(at_aws, **named)
        url = change(at_aws["body"]["PresignedUrl"])
        params["body"].update(at_aws["body"], PresignedUrl=url)

    events = client(to).meta.events
    events.register("before-call.ec2.CopySnapshot", sign)
    try:
        return copy(source, to, **more)
    finally:
        events.unregister("before-call.ec2.CopySnapshot", sign)


def described(identifier, region=HOME):
    return client(region).describe_snapshots(SnapshotIds=[identifier])["Snapshots"][0]


def found(*filters, **more):
    filters = [{"Name": name, "Values": values} for name, values in filters]
    return {one["SnapshotId"] for one in client().describe_snapshots(Filters=filters, **more)["Snapshots"]}


class Scene(unittest.TestCase):
    def setUp(self):
        local("reset", {})

    def refused(self, code, call, *args, status=400, **kwargs):
        with self.assertRaises(ClientError) as caught:
            call(*args, **kwargs)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], status)
        return caught.exception.response["Error"]["Message"]

    def until(self, state, identifier, region=HOME):
        deadline = time.monotonic() + 10
        while (now := described(identifier, region))["State"] != state:
            self.assertLess(time.monotonic(), deadline, f"{identifier} is {now['State']}, not {state}")
            time.sleep(0.02)
        return now
