"""What S3 does and MiniStack does not: it is busy or in conflict when a story
wants it, and hides from callers who may not list that a key is missing."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from xml.sax.saxutils import escape

# As ASGI names them.
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FIELDS = {"bucket", "prefix", "method", "code", "status", "times", "after"}
EXAMPLE = {"bucket": "", "prefix": "", "method": "", "code": "", "status": 0, "times": 0, "after": False}
FAULTS: list[dict[str, Any]] = []


def add_fault(given: dict[str, Any]) -> dict[str, Any]:
    """Prepares an answer for the next `times` requests for a key that begins with
    `prefix`, of one bucket or method if these are named. The request is carried
    out first if it says `after`: the caller believes it lost."""
    unknown = set(given) - FIELDS
    if unknown:
        raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
    for name, value in given.items():
        if type(value) is not type(EXAMPLE[name]):
            raise ValueError(f"{name} of a fault cannot be {value!r}")
    if not given.get("code") or not 400 <= given.get("status", 0) <= 599:
        raise ValueError("a fault needs a code and a status from 400 to 599")
    FAULTS.append({"prefix": "", "times": 1, "after": False, **given})
    return {}


def meet_fault(scope: Scope) -> dict[str, Any] | None:
    """The first prepared fault that fits this request, used up once, or None."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    signed = headers.get(b"authorization", b"").decode("latin-1")
    bucket, _, key = scope["path"].lstrip("/").partition("/")
    if "/s3/aws4_request" not in signed or not key:
        return None
    for fault in FAULTS:
        fits = fault.get("bucket", bucket) == bucket and fault.get("method", scope["method"]) == scope["method"]
        if fits and key.startswith(fault["prefix"]):
            fault["times"] -= 1
            if fault["times"] <= 0:
                FAULTS.remove(fault)
            return fault
    return None


async def answer_with(fault: dict[str, Any], app: App, scope: Scope, receive: Receive, send: Send) -> None:
    if fault["after"]:
        await app(scope, receive, unheard)
    else:
        while (await receive()).get("more_body"):
            pass
    code = escape(fault["code"])
    said = f"<Error><Code>{code}</Code><Message>{code}, as was asked for</Message></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{said}'
    body = b"" if scope["method"] == "HEAD" else body.encode()
    headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": fault["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def unheard(_: Any) -> None:
    pass


def extend_ministack() -> None:
    """GetObject and HeadObject of a missing key are forbidden without s3:ListBucket."""
    import ministack.app
    from ministack.core.iam_actions import access_denied_response
    from ministack.core.iam_evaluator import enforce
    from ministack.core.responses import get_region
    from ministack.core.router import extract_access_key_id

    dispatch = ministack.app._dispatch_service_request

    async def dispatch_and_hide(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any], request_id: str
    ) -> tuple[Any, ...]:
        answer = await dispatch(method, path, headers, body, query_params, request_id)
        of_object = re.fullmatch(r"/([^/]+)/.+", path)
        of_s3 = "/s3/aws4_request" in headers.get("authorization", "")
        if not (ministack.app.AUTH and answer[0] == 404 and of_s3 and of_object and method in ("GET", "HEAD")):
            return answer
        bucket = f"arn:aws:s3:::{of_object[1]}"
        denied = enforce(
            extract_access_key_id(headers, query_params), "s3:ListBucket", "s3", get_region(), resource_arn=bucket
        )
        if not denied:
            return answer
        return access_denied_response(
            "s3", "s3:ListBucket", denied.principal_arn, request_id, headers=headers, resource_arn=bucket
        )

    ministack.app._dispatch_service_request = dispatch_and_hide
