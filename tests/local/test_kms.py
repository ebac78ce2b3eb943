"""KMS tells of keys as a restore asks it, at the port of EC2. Run in the moto environment."""

from scene import AWAY, HOME, client, connect, local, snapshots
from volume_scene import KEY, VolumeScene, create, key


def kms(region=HOME):
    return connect("kms", region)


def told(name=KEY, region=HOME):
    return kms(region).describe_key(KeyId=name)["KeyMetadata"]


class DescribingKeys(VolumeScene):
    def test_a_key_is_enabled_unless_something_else_is_said(self):
        one = told()
        self.assertEqual(
            (one["Arn"], one["KeyId"], one["KeyState"], one["Enabled"], one["KeyManager"], one["AWSAccountId"]),
            (KEY, "k1", "Enabled", True, "CUSTOMER", "123456789012"),
        )
        self.assertEqual([told(name)["Arn"] for name in ("k1", "alias/k1", KEY.replace("key/", "alias/"))], [KEY] * 3)
        self.assertEqual(told("alias/aws/ebs")["KeyManager"], "AWS")
        [snapshot] = snapshots({"volume": "vol-1", "encrypted": True})
        found = client().describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["KmsKeyId"]
        self.assertEqual(told(found)["KeyManager"], "AWS")

    def test_its_states(self):
        for state, shown, enabled in (
            ("disabled", "Disabled", False),
            ("pendingDeletion", "PendingDeletion", False),
            ("withoutGrant", "Enabled", True),
            ("enabled", "Enabled", True),
        ):
            self.assertEqual(key(state)["arn"], KEY)
            one = told()
            self.assertEqual((one["KeyState"], one["Enabled"]), (shown, enabled))
            self.assertEqual("DeletionDate" in one, state == "pendingDeletion")
        self.assertEqual(local("keys"), [{"region": HOME, "arn": KEY, "state": "enabled"}])
        key("missing")
        self.refused("NotFoundException", told)
        key("denied")
        self.assertIn("kms:DescribeKey", self.refused("AccessDeniedException", told))
        self.refused("NotFoundException", told, KEY, AWAY)
        self.refused("InvalidArnException", told, "arn:aws:kms")

    def test_one_that_is_told_as_enabled_can_fail(self):
        key("withoutGrant")
        self.assertTrue(told()["Enabled"])
        self.until_gone(create(Size=8, Encrypted=True, KmsKeyId=KEY)["VolumeId"])

    def test_calls_are_logged_and_meet_faults(self):
        told()
        local("faults", {"action": "DescribeKey", "code": "ThrottlingException"})
        self.refused("ThrottlingException", told)
        local("faults", {"action": "*", "region": HOME, "kind": "down", "seconds": 600})
        self.refused("Unavailable", told, status=503)
        self.assertEqual(told(KEY.replace(HOME, AWAY), AWAY)["KeyState"], "Enabled")
        self.refused("UnrecognizedClientException", told, KEY.replace(HOME, "sa-east-1"), "sa-east-1")
        calls = local("calls?service=kms")
        self.assertEqual(
            [(call["action"], call["outcome"]) for call in calls],
            [
                ("DescribeKey", "ok"),
                ("DescribeKey", "ThrottlingException"),
                ("DescribeKey", "Unavailable"),
                ("DescribeKey", "ok"),
                ("DescribeKey", "UnrecognizedClientException"),
            ],
        )
        self.assertEqual(calls[0]["params"], {"KeyId": KEY})
        self.refused("UnknownOperationException", kms(AWAY).list_keys)
        local("reset", {})
