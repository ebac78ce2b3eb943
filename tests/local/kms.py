"""KMS's wire, JSON 1.1: DescribeKey, by which a restore looks at keys before it makes anything."""

import json
import time
from typing import Any

from werkzeug.wrappers import Response

from ec2_keys import key_arn, state_of
from ec2_resources import default_key
from ec2_state import ACCOUNT

Json = dict[str, Any]
CONTENT_TYPE = "application/x-amz-json-1.1"
WAITING_DAYS = 30
# The key's state, as the API names it. EBS may fail with a key that is told as enabled.
TOLD = {"enabled": "Enabled", "withoutGrant": "Enabled", "disabled": "Disabled", "pendingDeletion": "PendingDeletion"}


class KmsError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def describe_key(region: str, given: Json) -> Json:
    key = given.get("KeyId")
    if not isinstance(key, str) or not key:
        raise KmsError("ValidationException", "KeyId is missing")
    arn = key_arn(region, key)
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "kms":
        raise KmsError("InvalidArnException", f"Invalid arn {key}")
    if parts[3] != region:
        raise KmsError("NotFoundException", f"Invalid arn {parts[3]}")
    state = state_of(region, arn)
    if state == "missing":
        raise KmsError("NotFoundException", f"Key '{arn}' does not exist")
    if state == "denied":
        raise KmsError(
            "AccessDeniedException",
            f"User: arn:aws:iam::{ACCOUNT}:user/test is not authorized to perform: kms:DescribeKey on resource: {arn}",
        )
    return {"KeyMetadata": metadata(arn, TOLD[state], arn == default_key(region))}


def metadata(arn: str, state: str, is_of_aws: bool) -> Json:
    facts = {
        "AWSAccountId": arn.split(":")[4],
        "KeyId": arn.split("/", 1)[1],
        "Arn": arn,
        "CreationDate": 1700000000.0,
        "Enabled": state == "Enabled",
        "Description": "",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": state,
        "Origin": "AWS_KMS",
        "KeyManager": "AWS" if is_of_aws else "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }
    return facts | ({"DeletionDate": time.time() + WAITING_DAYS * 86400} if state == "PendingDeletion" else {})


class KmsCall:
    """One call of KMS: what the endpoint needs to know of it, and its answers."""

    service = "kms"
    target_prefix = "TrentService."
    is_logged = True
    fault_code = "KMSInternalException"
    statuses = {"KMSInternalException": 500, "DependencyTimeoutException": 503}
    about: dict[str, str] = {}

    def __init__(self, target: str, body: bytes) -> None:
        self.action = target.removeprefix(self.target_prefix)
        try:
            self.logged_params = json.loads(body or b"{}")
        except ValueError:
            self.logged_params = None

    def error(self, code: str, message: str, status: int = 400) -> Response:
        return Response(json.dumps({"__type": code, "message": message}), status=status, content_type=CONTENT_TYPE)

    def internal_error(self) -> Response:
        return self.error("KMSInternalException", "An internal error has occurred", 500)

    def not_enabled(self) -> Response:
        return self.error("UnrecognizedClientException", "The security token included in the request is invalid.")

    def carry_out(self, region: str, _: Json | None) -> Response:
        if not isinstance(self.logged_params, dict):
            return self.error("SerializationException", "the body is no JSON object")
        if self.action != "DescribeKey":
            return self.error("UnknownOperationException", f"the local KMS has no {self.action}")
        try:
            return Response(json.dumps(describe_key(region, self.logged_params)), content_type=CONTENT_TYPE)
        except KmsError as error:
            return self.error(error.code, str(error))

    def error_code(self, response: Response) -> str | None:
        return json.loads(response.get_data()).get("__type")

    def facts(self, _: str | None, __: Response) -> Json:
        return {"result": []}
