"""MiniStack with what it lacks. Run it with MiniStack's own Python, in place of `-m ministack`.

    function_logs.py       what the functions print, as files
    logs_cloudformation.py the type AWS::Logs::QueryDefinition of CloudFormation
    recursion.py           Lambda's recursive-loop detection on queues
    s3.py                  prepared faults of S3, and missing keys
    ssm_cloudformation.py  the type AWS::SSM::Document of CloudFormation, made in the local SSM

Its control API is JSON under /_local/ on MiniStack's port:

    GET recursive   messages that a function was not given, because their chain goes on for too long
    POST s3-faults  {"prefix": "claims/", "code": "SlowDown", "status": 503, "times": 2}; also "bucket", "method",
                    and "after": true for a request that is carried out all the same
    GET s3-faults   those that were not met yet
    POST reset      forgets chains, detections and faults
"""

import json
from typing import Any

import ministack.app

import function_logs
import logs_cloudformation
import recursion
import s3
import ssm_cloudformation
from s3 import Receive, Scope, Send

PREFIX = "/_local/"
ministack_app = ministack.app.app


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    of_http = scope["type"] == "http"
    if of_http and scope["path"].startswith(PREFIX):
        await control(scope, receive, send)
    elif of_http and (fault := s3.meet_fault(scope)):
        await s3.answer_with(fault, ministack_app, scope, receive, send)
    else:
        await ministack_app(scope, receive, send)


async def control(scope: Scope, receive: Receive, send: Send) -> None:
    method, name = scope["method"], scope["path"].removeprefix(PREFIX)
    act = ACTS.get((method, name))
    if act is None:
        known = ", ".join(f"{method} {name}" for method, name in ACTS)
        await reply(send, {"error": f"there is no {method} {PREFIX}{name}; there is {known}"}, 404)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    try:
        value, status = act(json.loads(body) if body else {}), 200
    except (ValueError, TypeError, AttributeError) as problem:
        value, status = {"error": f"{method} {PREFIX}{name}: {problem}"}, 400
    await reply(send, value, status)


async def reply(send: Send, value: Any, status: int = 200) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def reset(_: Any) -> dict[str, Any]:
    recursion.CHAINS.forget()
    s3.FAULTS.clear()
    return {}


ACTS = {
    ("GET", "recursive"): lambda _: recursion.CHAINS.listed(),
    ("GET", "s3-faults"): lambda _: s3.FAULTS,
    ("POST", "s3-faults"): s3.add_fault,
    ("POST", "reset"): reset,
}


if __name__ == "__main__":
    function_logs.extend_ministack()
    logs_cloudformation.extend_ministack()
    recursion.extend_ministack()
    s3.extend_ministack()
    ssm_cloudformation.extend_ministack()
    ministack.app.app = app
    ministack.app.main()
