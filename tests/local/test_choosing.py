"""The policies and sources of docs/choosing.md: they are text for others, and nothing else would notice a mistake."""

import fnmatch
import json
import re
import unittest
from typing import Any

from template_project import ROOT, Project, as_list

TEXT = (ROOT / "docs/choosing.md").read_text()
# What makes a resource of each type; SAM makes more of its own types.
MAKES = {
    "AWS::CloudWatch::Alarm": ["cloudwatch:PutMetricAlarm"],
    "AWS::CloudWatch::Dashboard": ["cloudwatch:PutDashboard"],
    "AWS::IAM::ManagedPolicy": ["iam:CreatePolicy"],
    "AWS::IAM::Role": ["iam:CreateRole", "iam:PutRolePolicy"],
    "AWS::Logs::QueryDefinition": ["logs:PutQueryDefinition"],
    "AWS::Logs::LogGroup": ["logs:CreateLogGroup", "logs:PutRetentionPolicy"],
    "AWS::S3::Bucket": ["s3:CreateBucket", "s3:PutLifecycleConfiguration", "s3:PutBucketPublicAccessBlock"],
    "AWS::S3::BucketPolicy": ["s3:PutBucketPolicy"],
    "AWS::SNS::Subscription": ["sns:Subscribe"],
    "AWS::SNS::Topic": ["sns:CreateTopic"],
    "AWS::SQS::Queue": ["sqs:CreateQueue"],
    "AWS::SSM::Document": ["ssm:CreateDocument", "ssm:UpdateDocumentDefaultVersion"],
    "AWS::Serverless::Function": ["lambda:CreateFunction", "lambda:CreateEventSourceMapping", "iam:PassRole"],
    "AWS::Serverless::StateMachine": ["states:CreateStateMachine", "scheduler:CreateSchedule", "iam:PassRole"],
}
# Characters of a managed policy, white space left out (IAM user guide, "IAM and AWS STS quotas").
MAX_POLICY = 6144


def blocks() -> list[Any]:
    """The JSON in the document; a block that is no JSON fails here."""
    found = re.findall(r"^```json\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    return [json.loads(block) for block in found]


class Choosing(unittest.TestCase):
    def test_who_deploys_may_make_every_resource(self):
        policy = blocks()[0]
        allowed = [action for statement in policy["Statement"] for action in as_list(statement["Action"])]
        for kind in {resource["Type"] for resource in Project().template["Resources"].values()}:
            with self.subTest(kind):
                self.assertIn(kind, MAKES, "say in MAKES what makes it, and in docs/choosing.md who may")
                for action in MAKES[kind]:
                    self.assertTrue(any(fnmatch.fnmatchcase(action, one) for one in allowed), action)
        self.assertLessEqual(len(json.dumps(policy, separators=(",", ":"))), MAX_POLICY)

    def test_a_key_allows_what_the_copy_role_asks_for(self):
        role = Project().of_type("AWS::IAM::Role")["CopyRole"]
        statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        asked = {action for one in statements for action in as_list(one["Action"]) if action.startswith("kms:")}
        copies = [one for one in blocks()[1] if "CopyRole" in one["Principal"]["AWS"]]
        self.assertEqual({action for one in copies for action in as_list(one["Action"])}, asked)

    def test_a_key_allows_what_the_verify_role_asks_for(self):
        role = Project().of_type("AWS::IAM::Role")["VerifyRole"]
        statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        asked = {action for one in statements for action in as_list(one["Action"]) if action.startswith("kms:")}
        drills = [one for one in blocks()[1] if "VerifyRole" in one["Principal"]["AWS"]]
        self.assertEqual({action for one in drills for action in as_list(one["Action"])}, asked)

    def test_every_source_is_named_once_and_used(self):
        compared, sources = TEXT.split("| | source |")
        used = {int(number) for numbers in re.findall(r"\[(\d+)\](?!\()", compared) for number in [numbers]}
        named = [int(number) for number in re.findall(r"^\| (\d+) \|", sources, flags=re.MULTILINE)]
        self.assertEqual(named, list(range(1, len(named) + 1)))
        self.assertEqual(used, set(named))


if __name__ == "__main__":
    unittest.main()
