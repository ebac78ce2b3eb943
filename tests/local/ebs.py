"""The EBS direct APIs that read snapshots: their wire (REST, JSON), on EC2's port.

ebs_blocks.py   disk images as blocks
ebs_tokens.py   tokens of blocks and pages
ec2_keys.py     whether a snapshot's key is usable
ebs_control.py  what stories set, and what they look at
ebs.py          each call, from its path to its answer

https://docs.aws.amazon.com/ebs/latest/APIReference/ and
https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-faq.html
"""

import json
import logging
import re
import time
from typing import Any
from urllib.parse import parse_qsl, unquote
from wsgiref.types import WSGIEnvironment

from werkzeug.wrappers import Response

import ebs_tokens
import ec2_keys
from ebs_blocks import BLOCK_BYTES, MAX_BLOCKS, checksum
from ec2_resources import TimedSnapshot, backend_of, forget
from ec2_state import WORLD

Json = dict[str, Any]
LOG = logging.getLogger("ebs")
SMALLEST_PAGE, PAGE = 100, 10_000
SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]+")
PATHS = {
    "ListSnapshotBlocks": re.compile(r"/snapshots/([^/]+)/blocks"),
    "GetSnapshotBlock": re.compile(r"/snapshots/([^/]+)/blocks/([^/]+)"),
}
# The error codes, each with its status and with the reason that is given where no other is.
ERRORS = {
    "AccessDeniedException": (403, "UNAUTHORIZED_ACCOUNT"),
    "ConcurrentLimitExceededException": (400, None),
    "InternalServerException": (500, None),
    "RequestThrottledException": (400, "ACCOUNT_THROTTLED"),
    "ResourceNotFoundException": (404, "SNAPSHOT_NOT_FOUND"),
    "ServiceQuotaExceededException": (402, "DEPENDENCY_SERVICE_QUOTA_EXCEEDED"),
    "ValidationException": (400, "INVALID_PARAMETER_VALUE"),
    # Of all services: https://docs.aws.amazon.com/ebs/latest/APIReference/CommonErrors.html
    "ThrottlingException": (400, None),
}
# What a key that cannot be used leads to. The reasons are those of the API's
# model; which of them is given of which state is not documented.
KEY_ERRORS = {
    "denied": ("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED"),
    "disabled": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "pendingDeletion": ("ValidationException", "INVALID_CUSTOMER_KEY"),
    "missing": ("ResourceNotFoundException", "DEPENDENCY_RESOURCE_NOT_FOUND"),
}
# The setting that says how many calls a second one region takes.
RATES = {"ListSnapshotBlocks": "blockListsPerSecond", "GetSnapshotBlock": "blocksPerSecond"}


class EbsError(Exception):
    def __init__(self, code: str, reason: str | None, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def invalid(reason: str, message: str) -> EbsError:
    return EbsError("ValidationException", reason, message)


def number(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise invalid("INVALID_PARAMETER_VALUE", f"{name} is {text!r}; a number from {least} to {most} is allowed")
    return int(text)


def snapshot_of(region: str, identifier: str) -> TimedSnapshot:
    if not SNAPSHOT_ID.fullmatch(identifier) or len(identifier) > 64:
        raise invalid("INVALID_SNAPSHOT_ID", f"{identifier!r} is no id of a snapshot")
    found = backend_of(region).snapshots.get(identifier)
    # Only a completed one can be read; what is said of another one is not documented.
    if found is None or found.status != "completed":
        raise EbsError(
            "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", f"The snapshot '{identifier}' does not exist."
        )
    return found


def list_snapshot_blocks(region: str, snapshot: TimedSnapshot, query: dict[str, str]) -> tuple[bytes, int]:
    """The answer, and how many blocks it lists. It is put together by hand: a page has up to 10,000 of them."""
    # Of a number below the smallest it is documented that as many as that are given.
    size = max(SMALLEST_PAGE, number(query, "maxResults", PAGE, 1, PAGE))
    start, is_second = number(query, "startingBlockIndex", 0, 0, MAX_BLOCKS), False
    if token := query.get("pageToken"):
        rest = ebs_tokens.opened(ebs_tokens.PAGE, region, snapshot.id, token)
        if rest is None:
            raise invalid("INVALID_PAGE_TOKEN", "The page token is invalid or has expired.")
        start, is_second = int(rest[:-1], 16), rest[-1] == "1"
    now = time.time()
    if WORLD.settings["emptyBlockPages"] and not is_second:
        shown, following = [], f"{start:08x}1"
    else:
        shown, after = snapshot.image.page(start, min(size, int(WORLD.settings["blocksPerPage"]) or PAGE))
        shown = [index for index in shown if snapshot.corrupt.get(index) != "absent"]
        following = None if after is None else f"{after:08x}0"
    sealed = ebs_tokens.seal(ebs_tokens.BLOCK, region, snapshot.id, now)
    answer = {
        "BlockSize": BLOCK_BYTES,
        "ExpiryTime": round(now + ebs_tokens.life(ebs_tokens.BLOCK), 3),
        "VolumeSize": snapshot.volume.size,
    }
    if following:
        answer["NextToken"] = ebs_tokens.seal(ebs_tokens.PAGE, region, snapshot.id, now) + following
    blocks = ",".join([f'{{"BlockIndex":{index},"BlockToken":"{sealed}{index:08x}"}}' for index in shown])
    return f'{{"Blocks":[{blocks}],{json.dumps(answer)[1:]}'.encode(), len(shown)


def get_snapshot_block(region: str, snapshot: TimedSnapshot, index: int, token: str) -> tuple[bytes, str]:
    """The data and its checksum."""
    if snapshot.encrypted and (error := KEY_ERRORS.get(ec2_keys.state_of(region, snapshot.kms_key_id))):
        raise EbsError(*error, f"The key {snapshot.kms_key_id} cannot be used.")
    image, corrupt = snapshot.image, snapshot.corrupt.get(index)
    rest = ebs_tokens.opened(ebs_tokens.BLOCK, region, snapshot.id, token)
    if rest != f"{index:08x}" or not image.has(index) or corrupt == "absent":
        raise invalid("INVALID_BLOCK_TOKEN", "The block token is invalid or has expired.")
    data = image.data(index)
    told = image.checksum(index, data)
    if corrupt in ("data", "replaced"):
        data = bytes([data[0] ^ 0xFF]) + data[1:-1] + bytes([data[-1] ^ 0xFF])
    if corrupt == "short":
        data = data[: BLOCK_BYTES // 2]
    if corrupt == "checksum":
        told = checksum(b"of something else")
    return data, checksum(data) if corrupt == "replaced" else told


class EbsCall:
    """One call of the EBS direct APIs: what the endpoint needs to know of it, and its answers."""

    service = "ebs"
    path_prefix = "/snapshots"
    is_logged = True
    fault_code = "InternalServerException"
    statuses = {code: status for code, (status, _) in ERRORS.items()}

    def __init__(self, environ: WSGIEnvironment) -> None:
        path, self.action, self.identifier, self.index = environ["PATH_INFO"], "", "", ""
        self.query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        for action, pattern in PATHS.items():
            if environ["REQUEST_METHOD"] == "GET" and (found := pattern.fullmatch(path)):
                self.action, (self.identifier, *index) = action, map(unquote, found.groups())
                self.index = "".join(index)
        self.logged_params = {"snapshotId": self.identifier} | (
            {"blockIndex": self.index} if self.index else self.query
        )
        self.about = {"snapshot": self.identifier}
        self.code: str | None = None
        self.blocks = 0

    def error(self, code: str, message: str, status: int | None = None, reason: str | None = None) -> Response:
        usual, usual_reason = ERRORS.get(code, (400, None))
        reason = reason or usual_reason
        self.code, self.blocks = code, 0
        return Response(
            json.dumps({"Message": message, **({"Reason": reason} if reason else {})}),
            status=status or usual,
            content_type="application/json",
            headers={"x-amzn-ErrorType": code},
        )

    def internal_error(self) -> Response:
        return self.error("InternalServerException", "An internal error has occurred")

    def not_enabled(self) -> Response:
        return self.error("UnrecognizedClientException", "The security token included in the request is invalid.", 403)

    def carry_out(self, region: str, fault: Json | None) -> Response:
        if fault and fault["kind"] == "deleted":
            forget(backend_of(region), backend_of(region).snapshots, self.identifier)
        if not self.action:
            return self.error("UnknownOperationException", "the local EBS has no such call", 404)
        if not WORLD.has_token(self.action, region, WORLD.settings[RATES[self.action]]):
            return self.error("RequestThrottledException", "Request limit exceeded.")
        try:
            snapshot = snapshot_of(region, self.identifier)
            if self.action == "ListSnapshotBlocks":
                answer, self.blocks = list_snapshot_blocks(region, snapshot, self.query)
                return Response(answer, content_type="application/json")
            index = number({"blockIndex": self.index}, "blockIndex", 0, 0, MAX_BLOCKS)
            data, told = get_snapshot_block(region, snapshot, index, self.query.get("blockToken", ""))
        except EbsError as error:
            return self.error(error.code, str(error), reason=error.reason)
        except Exception:
            LOG.exception("%s of %s failed", self.action, self.identifier)
            return self.internal_error()
        self.blocks = 1
        headers = {
            "x-amz-Data-Length": str(BLOCK_BYTES),
            "x-amz-Checksum": told,
            "x-amz-Checksum-Algorithm": "SHA256",
        }
        return Response(data, content_type="application/octet-stream", headers=headers)

    def error_code(self, _: Response) -> str | None:
        return self.code

    def facts(self, _: str | None, __: Response) -> Json:
        """What the log says of this call and not of others: how many blocks were listed or read."""
        return {"blocks": self.blocks, "result": []}
