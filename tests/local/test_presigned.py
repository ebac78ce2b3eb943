"""The URL of a copy has to be the copy itself, signed for the source's region."""

import json

from scene import AWAY, Scene, copy, copy_signed, local, snapshots, tags

WHAT = {
    "Description": "db - i-1",
    "Encrypted": True,
    "KmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/abc",
    "TagSpecifications": tags(Name="Z\u00fcrich db", KeepForever=""),
}
NOT_ACCESSIBLE = "Given key ID is not accessible"


class Presigned(Scene):
    def setUp(self):
        super().setUp()
        local("settings", {"copySeconds": 0.05})
        self.plain, self.encrypted = snapshots({"volume": "vol-1"}, {"volume": "vol-2", "encrypted": True})

    def logged(self):
        return local("calls?action=CopySnapshot")[-1]

    def broken(self, made):
        """A copy breaks, and EC2 says why only later."""
        self.assertEqual(self.until("error", made, AWAY)["StateMessage"], NOT_ACCESSIBLE)

    def test_the_url_that_boto3_makes_is_good(self):
        self.assertTrue(self.until("completed", copy_signed(self.encrypted, **WHAT), AWAY)["Encrypted"])
        call = self.logged()
        self.assertEqual({call[f"presigned{what}"] for what in ("", "Action", "Signature", "Parameters")}, {True})
        self.assertGreater(call["presignedBytes"], 500)
        for secret in ("PresignedUrl", "AWS4-HMAC-SHA256"):
            self.assertNotIn(secret, json.dumps(call))

    def test_only_an_encrypted_source_needs_one(self):
        self.broken(copy(self.encrypted))
        call = self.logged()
        self.assertEqual((call["presigned"], call["presignedParameters"], call["presignedBytes"]), (False, False, 0))
        self.until("completed", copy(self.plain), AWAY)
        self.until("completed", copy_signed(self.plain, change=lambda url: url.replace("i-1", "i-2"), **WHAT), AWAY)

    def test_every_parameter_is_in_it_with_its_value(self):
        for there, instead in (
            ("Description=db%20-%20i-1&", ""),
            ("Description=db%20-%20i-1&", "Description=db%20-%20i-2&"),
            ("Encrypted=true&", "Encrypted=True&"),
            ("KmsKeyId=", "kmsKeyId="),
            ("TagSpecification.1.Tag.2.Value=&", ""),
            ("Z%C3%BCrich", "Zuerich"),
            ("DestinationRegion=us-east-1&", ""),
            ("Version=2016-11-15&", "Version=2016-11-15&DryRun=true&"),
        ):
            with self.subTest(f"{there} -> {instead}"):
                self.broken(copy_signed(self.encrypted, change=self.replacing(there, instead), **WHAT))
                call = self.logged()
                self.assertEqual((call["presignedSignature"], call["presignedParameters"]), (True, False))

    def test_it_is_signed_for_the_source_region(self):
        for there, instead in (
            ("https://", "http://"),
            ("ec2.eu-west-1.", "ec2.us-east-1."),
            ("%2Feu-west-1%2Fec2%2F", "%2Fus-east-1%2Fec2%2F"),
            ("%2Fec2%2Faws4_request", "%2Fs3%2Faws4_request"),
            ("X-Amz-Expires=3600&", ""),
            ("X-Amz-SignedHeaders=host&", ""),
            ("X-Amz-Signature=", "X-Amz-Signature=g"),
        ):
            with self.subTest(f"{there} -> {instead}"):
                self.broken(copy_signed(self.encrypted, change=self.replacing(there, instead), **WHAT))
                call = self.logged()
                self.assertEqual((call["presignedSignature"], call["presignedParameters"]), (False, True))

    def replacing(self, there, instead):
        def change(url):
            self.assertIn(there, url)
            return url.replace(there, instead)

        return change

    def test_there_is_a_longest_one(self):
        def filled(size):
            return lambda url: url + "&X-Amz-Filler=" + "x" * (size - len(url) - len("&X-Amz-Filler="))

        copy_signed(self.plain, change=filled(8192))
        self.assertEqual((self.logged()["presignedBytes"], self.logged()["outcome"]), (8192, "ok"))
        said = self.refused("InvalidParameterValue", copy_signed, self.plain, change=filled(8193))
        self.assertNotIn("Signature", said)
        self.assertEqual(self.logged()["presignedBytes"], 8193)
