"""CloudFormation of the local cloud makes, updates and deletes SSM documents."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

import boto3

from stack import running
from test_ssm import document

REGION = "eu-west-1"
VENVS = Path(sys.prefix).parent


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        logs = cls.enterClassContext(tempfile.TemporaryDirectory())
        urls = cls.enterClassContext(running(VENVS, logs))
        keys = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        cls.stacks = boto3.client("cloudformation", endpoint_url=urls["aws"], **keys)
        cls.ssm = boto3.client("ssm", endpoint_url=urls["ssm"], **keys)

    def deploy(self, act, waiter, line="echo", name="-hook", **properties):
        resource = {
            "Type": "AWS::SSM::Document",
            "Properties": {
                "Name": {"Fn::Sub": "${AWS::StackName}" + name},
                "Content": document(line),
                "DocumentType": "Command",
                "UpdateMethod": "NewVersion",
                "Tags": [{"Key": "DLMScriptsAccess", "Value": "true"}],
                **properties,
            },
        }
        outputs = {"Name": {"Value": {"Ref": "Hook"}}}
        act(StackName="db", TemplateBody=json.dumps({"Resources": {"Hook": resource}, "Outputs": outputs}))
        self.stacks.get_waiter(waiter).wait(StackName="db", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        return self.stacks.describe_stacks(StackName="db")["Stacks"][0]["Outputs"][0]["OutputValue"]

    def content(self, name):
        return json.loads(self.ssm.get_document(Name=name)["Content"])

    def test_a_document_lives_with_its_stack(self):
        create = (self.stacks.create_stack, "stack_create_complete")
        update = (self.stacks.update_stack, "stack_update_complete")
        self.assertEqual(self.deploy(*create), "db-hook")
        self.assertEqual(self.content("db-hook"), document("echo"))
        tags = self.ssm.describe_document(Name="db-hook")["Document"]["Tags"]
        self.assertEqual(tags, [{"Key": "DLMScriptsAccess", "Value": "true"}])
        self.deploy(*update, line="echo new")
        described = self.ssm.describe_document(Name="db-hook")["Document"]
        self.assertEqual((described["LatestVersion"], described["DefaultVersion"]), ("2", "2"))
        self.assertEqual(self.content("db-hook"), document("echo new"))
        self.assertEqual(self.deploy(*update, line="echo new", name="-other"), "db-other")
        with self.assertRaises(self.ssm.exceptions.InvalidDocument):
            self.content("db-hook")
        self.stacks.delete_stack(StackName="db")
        self.stacks.get_waiter("stack_delete_complete").wait(
            StackName="db", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        with self.assertRaises(self.ssm.exceptions.InvalidDocument):
            self.content("db-other")
