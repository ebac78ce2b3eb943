"""MiniStack with what it lacks. Run it with MiniStack's own Python, in place of `-m ministack`.

    recursion.py  Lambda's recursive-loop detection on queues

Its control API is JSON under /_local/ on MiniStack's port:

    GET recursive   messages that a function was not given, because their chain goes on for too long
"""

import json

import ministack.app
import recursion

PREFIX = "/_local/"
ministack_app = ministack.app.app


async def app(scope, receive, send):
    if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
        return await ministack_app(scope, receive, send)
    act = ACTS.get((scope["method"], scope["path"].removeprefix(PREFIX)))
    if act is None:
        known = ", ".join(f"{method} {PREFIX}{name}" for method, name in ACTS)
        return await reply(send, {"error": f"there is only {known}"}, 404)
    await reply(send, act())


async def reply(send, value, status=200):
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


ACTS = {
    ("GET", "recursive"): recursion.CHAINS.listed,
}


if __name__ == "__main__":
    recursion.extend_ministack()
    ministack.app.app = app
    ministack.app.main()
