"""S3 of the local cloud, for roles that are held to their policies, and with prepared faults."""

import json
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from stack import running

REGION = "eu-west-1"
VENVS = Path(sys.prefix).parent
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}


class S3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        logs = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.urls = cls.enterClassContext(running(VENVS, logs, enforce_iam=True))
        cls.s3 = cls.client("s3", "test", "test")
        cls.s3.create_bucket(Bucket="claims", CreateBucketConfiguration={"LocationConstraint": REGION})

    def setUp(self):
        self.local("reset", {})

    @classmethod
    def client(cls, service, key, secret, token=None):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=cls.urls["aws"],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=50),
        )

    def role(self, name, *allowed):
        """S3 for who may do these actions on these resources."""
        iam, sts = self.client("iam", "test", "test"), self.client("sts", "test", "test")
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{what}"} for action, what in allowed
        ]
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=json.dumps({"Statement": statements}))
        given = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return self.client("s3", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def local(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(urllib.request.Request(f"{self.urls['aws']}/_local/{path}", data)) as answer:
            return json.load(answer)

    def said(self, call, **parameters):
        """The status and the code of an answer."""
        try:
            return call(Bucket="claims", **parameters)["ResponseMetadata"]["HTTPStatusCode"], None
        except ClientError as refusal:
            return refusal.response["ResponseMetadata"]["HTTPStatusCode"], refusal.response["Error"]["Code"]

    def test_one_of_many_writers_creates(self):
        def put(_):
            return self.said(self.s3.put_object, Key="race", Body=b"", IfNoneMatch="*")

        with ThreadPoolExecutor(50) as pool:
            said = list(pool.map(put, range(50)))
        self.assertEqual(sorted(said), [(200, None)] + [(412, "PreconditionFailed")] * 49)

    def test_a_missing_key_is_hidden_from_who_may_not_list(self):
        self.s3.put_object(Bucket="claims", Key="there", Body=b"")
        reads = ("s3:GetObject", "claims/*")
        blind, seeing = self.role("blind", reads), self.role("seeing", reads, ("s3:ListBucket", "claims"))
        for s3, get, head in ((blind, (403, "AccessDenied"), (403, "403")), (seeing, (404, "NoSuchKey"), (404, "404"))):
            self.assertEqual(self.said(s3.get_object, Key="there"), (200, None))
            self.assertEqual(self.said(s3.get_object, Key="missing"), get)
            self.assertEqual(self.said(s3.head_object, Key="missing"), head)

    def test_faults_are_met_as_often_as_asked(self):
        self.local("s3-faults", {"prefix": "runs/", "code": "SlowDown", "status": 503, "times": 2})
        self.local("s3-faults", {"prefix": "", "method": "PUT", "code": "ConditionalRequestConflict", "status": 409})
        self.assertEqual(self.said(self.s3.put_object, Key="runs/1", Body=b""), (503, "SlowDown"))
        self.assertEqual(self.said(self.s3.get_object, Key="runs/1"), (503, "SlowDown"))
        self.assertEqual(self.said(self.s3.get_object, Key="runs/1"), (404, "NoSuchKey"))
        self.assertEqual([fault["code"] for fault in self.local("s3-faults")], ["ConditionalRequestConflict"])
        self.assertEqual(self.said(self.s3.put_object, Key="runs/1", Body=b""), (409, "ConditionalRequestConflict"))
        self.assertEqual(self.local("s3-faults"), [])
        self.assertEqual(self.said(self.s3.put_object, Key="runs/1", Body=b""), (200, None))

    def test_a_request_can_be_carried_out_and_its_answer_lost(self):
        self.local("s3-faults", {"prefix": "lost", "code": "InternalError", "status": 500, "after": True})

        def put():
            return self.said(self.s3.put_object, Key="lost", Body=b"1", IfNoneMatch="*")

        self.assertEqual([put(), put()], [(500, "InternalError"), (412, "PreconditionFailed")])

    def test_what_a_fault_cannot_be_is_refused(self):
        for fault in (
            {"prefix": "a"},
            {"code": "SlowDown", "status": 200},
            {"code": "SlowDown", "status": 503, "Times": 1},
        ):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.local("s3-faults", fault)
            self.assertIn("fault", json.load(caught.exception)["error"])
