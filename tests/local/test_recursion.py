"""The local cloud stops functions that send to their own queue, as Lambda does."""

import io
import json
import sys
import tempfile
import time
import unittest
import urllib.request
import zipfile
from pathlib import Path

import boto3

from recursion import MOST_CHAINS, MOST_ROUNDS, Chains
from stack import running

REGION = "eu-west-1"
VENVS = Path(sys.prefix).parent
ROUNDS = 22  # after which a message that was let through says so in the queue of those that are done

# Sends each message to its own queue again, but fails one of them once.
BOOTSTRAP = """#!PYTHON
import json, os, urllib.request

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/"

def ask(url, value=None, **headers):
    data = None if value is None else json.dumps(value).encode()
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, data, headers))

def handle(record):
    body = json.loads(record["body"])
    if body.get("failsAt") == body["round"] and record["attributes"]["ApproximateReceiveCount"] == "1":
        return False
    body["round"] += 1
    queue = os.environ["OWN" if body["round"] < int(os.environ["ROUNDS"]) else "DONE"]
    headers = {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": "application/x-amz-json-1.0"}
    message = {"QueueUrl": queue, "DelaySeconds": 0, "MessageBody": json.dumps(body)}
    ask(os.environ["AWS_ENDPOINT_URL"], message, **headers).read()
    return True

while True:
    with ask(RUNTIME + "next") as invocation:
        event, identifier = json.load(invocation), invocation.headers["Lambda-Runtime-Aws-Request-Id"]
    failed = [record["messageId"] for record in event["Records"] if not handle(record)]
    answer = {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
    ask(f"{RUNTIME}{identifier}/response", answer).read()
""".replace("PYTHON", sys.executable)


def function(name, **properties):
    """A function with its queue and dead-letter queue."""
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": f"{name}Dead.Arn"}, "maxReceiveCount": 2}
    return {
        f"{name}Dead": {"Type": "AWS::SQS::Queue"},
        f"{name}Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 1, "RedrivePolicy": redrive}},
        name: {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "CodeUri": "s3://code/function.zip",
                "Runtime": "provided.al2023",
                "Handler": "bootstrap",
                "Environment": {
                    "Variables": {"OWN": {"Ref": f"{name}Queue"}, "DONE": {"Ref": "Done"}, "ROUNDS": str(ROUNDS)}
                },
                "Events": {
                    "Messages": {
                        "Type": "SQS",
                        "Properties": {
                            "Queue": {"Fn::GetAtt": f"{name}Queue.Arn"},
                            "FunctionResponseTypes": ["ReportBatchItemFailures"],
                        },
                    }
                },
                **properties,
            },
        },
    }


def template(changed="Allow"):
    resources = {
        "Done": {"Type": "AWS::SQS::Queue"},
        **function("Stopped"),
        **function("Allowed", RecursiveLoop="Allow"),
        **function("Changed", **({"RecursiveLoop": changed} if changed else {})),
    }
    outputs = {name: {"Value": {"Ref": name}} for name in resources}
    return {"Transform": "AWS::Serverless-2016-10-31", "Resources": resources, "Outputs": outputs}


def code():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        zipped.writestr(bootstrap, BOOTSTRAP)
    return archive.getvalue()


class Deployed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        logs = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.urls = cls.enterClassContext(running(VENVS, logs))
        cls.client("s3").create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
        cls.client("s3").put_object(Bucket="code", Key="function.zip", Body=code())
        cls.deploy("create", template())
        stack = cls.client("cloudformation").describe_stacks(StackName="loops")["Stacks"][0]
        cls.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @classmethod
    def client(cls, service):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=cls.urls["aws"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @classmethod
    def deploy(cls, act, body):
        formation = cls.client("cloudformation")
        getattr(formation, f"{act}_stack")(
            StackName="loops", TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
        )
        formation.get_waiter(f"stack_{act}_complete").wait(StackName="loops", WaiterConfig={"Delay": 1})

    def send(self, queue, *bodies):
        for body in bodies:
            self.client("sqs").send_message(QueueUrl=self.outputs[queue], MessageBody=json.dumps(body))

    def arrived(self, queue, count):
        """So many messages as they came, within reasonable time."""
        found, deadline = [], time.monotonic() + 20
        while len(found) < count:
            self.assertLess(time.monotonic(), deadline, f"{found} came to {queue}, not {count} messages")
            answer = self.client("sqs").receive_message(
                QueueUrl=self.outputs[queue], WaitTimeSeconds=1, MaxNumberOfMessages=10
            )
            found += [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return found

    def detections(self, function):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.urls['aws']}/_local/recursive") as answer:
            return [one for one in json.load(answer) if one["function"] == self.outputs[function]]

    def test_each_chain_stops_after_sixteen_rounds(self):
        task = {"taskToken": "one", "round": 0, "task": {"copy": 1}}
        self.send("StoppedQueue", task, {**task, "taskToken": "two", "failsAt": 5}, {**task, "taskToken": None})
        dead = self.arrived("StoppedDead", 3)
        self.assertEqual([message["round"] for message in dead], [MOST_ROUNDS] * 3)
        self.assertEqual({message["taskToken"] for message in dead}, {"one", "two", None})
        found = self.detections("Stopped")
        self.assertEqual({one["chain"] for one in found}, {"one", "two", '{"copy": 1}'})
        self.assertEqual({one["receiveCount"] for one in found}, {1, 2})

    def test_a_function_that_may_goes_on(self):
        self.send("AllowedQueue", {"taskToken": "three", "round": 0})
        self.assertEqual(self.arrived("Done", 1)[0]["round"], ROUNDS)
        self.assertEqual(self.detections("Allowed"), [])

    def test_an_update_of_the_stack_changes_what_a_function_may(self):
        def ask():
            return self.client("lambda").get_function_recursion_config(FunctionName=self.outputs["Changed"])

        self.assertEqual(ask()["RecursiveLoop"], "Allow")
        self.deploy("update", template(changed=None))
        self.assertEqual(ask()["RecursiveLoop"], "Terminate")


class Remembered(unittest.TestCase):
    def test_a_message_that_comes_again_does_not_lengthen_its_chain(self):
        chains = Chains()
        passed = [chains.lets_pass("f", '{"taskToken": "t"}', f"m{n // 3}") for n in range(60)]
        self.assertEqual(passed, [True] * 48 + [False] * 12)
        self.assertTrue(chains.lets_pass("g", '{"taskToken": "t"}', "m16"))
        self.assertTrue(chains.lets_pass("f", "no JSON", "m16"))

    def test_memory_is_bounded(self):
        chains = Chains()
        for n in range(MOST_CHAINS + 10):
            chains.lets_pass("f", json.dumps({"taskToken": str(n)}), "m")
        self.assertEqual(len(chains.given), MOST_CHAINS)
