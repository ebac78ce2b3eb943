"""One function by itself: what it needs of AWS, in one HTTP server on the loopback interface.

/2018-06-01/…   the Lambda Runtime API, which hands out one event
/               EC2: answers that were prepared as bytes, so that serving them costs next to nothing
/snapshots/…    the EBS direct APIs: answers that the caller makes
/BUCKET/KEY     S3: objects, put whole or in parts
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Status, headers and body.
Answer = tuple[int, dict[str, str], bytes]
# The parameters of a call and its region -> the answer's bytes.
Ec2 = Callable[[dict[str, str], str], bytes]
# A path below /snapshots/ and its query -> the answer.
Ebs = Callable[[str, dict[str, str]], Answer]
RUNTIME = "/2018-06-01/runtime/"
BUCKET = "reports"
S3_XML = '<{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>{1}</Bucket><Key>{2}</Key>{3}</{0}>'


class Surroundings:
    """What one invocation is given, and what it left behind."""

    def __init__(self, event: Any, ec2: Ec2, ebs: Ebs | None = None) -> None:
        self.event = json.dumps(event).encode()
        self.ec2 = ec2
        self.ebs = ebs
        self.calls = 0
        # What was sent to Step Functions and SQS: the call, and its parameters.
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.started: float | None = None
        self.seconds: float | None = None
        self.outcome: tuple[str, Any] | None = None
        self.answered = threading.Event()

    def respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        if path.startswith(RUNTIME):
            return self.runtime(method, path.removeprefix(RUNTIME), body)
        if target_of_call := headers.get("X-Amz-Target"):
            return self.others(target_of_call.split(".")[1], body)
        if self.ebs and path.startswith("/snapshots/"):
            return self.ebs(path.removeprefix("/snapshots/"), query)
        if path == "/":
            self.calls += 1
            region = re.search(r"Credential=[^/]+/\d+/([^/]+)/", headers["Authorization"])[1]
            return 200, {"Content-Type": "text/xml;charset=UTF-8"}, self.ec2(dict(parse_qsl(body.decode())), region)
        return self.s3(method, path.removeprefix(f"/{BUCKET}/"), query, body)

    def runtime(self, method: str, what: str, body: bytes) -> Answer:
        if method == "GET" and self.started is not None:
            # There is one event only: the function waits for another until it is ended.
            threading.Event().wait()
        if method == "GET":
            self.started = time.monotonic()
            deadline = round((time.time() + 900) * 1000)
            return (
                200,
                {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": "00000000-0000-0000-0000-000000000001",
                    "Lambda-Runtime-Deadline-Ms": str(deadline),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:measured",
                },
                self.event,
            )
        if not self.answered.is_set():
            self.seconds = time.monotonic() - self.started if self.started else 0
            self.outcome = what.rsplit("/", 1)[-1], json.loads(body)
            self.answered.set()
        return 202, {}, b""

    def others(self, call: str, body: bytes) -> Answer:
        """Step Functions and SQS, in which there is nothing."""
        self.sent.append((call, json.loads(body)))
        answers = {"ListMapRuns": {"mapRuns": []}, "GetExecutionHistory": {"events": []}}
        return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(answers.get(call, {})).encode()

    def s3(self, method: str, key: str, query: dict[str, str], body: bytes) -> Answer:
        if method == "GET":
            if key in self.objects:
                return 200, {"ETag": '"whole"', "Last-Modified": formatdate(usegmt=True)}, self.objects[key]
            return 404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"
        if method == "POST" and "uploads" in query:
            self.uploads[key] = {}
            started = f"<UploadId>{key}</UploadId>"
            return 200, {}, S3_XML.format("InitiateMultipartUploadResult", BUCKET, key, started).encode()
        if method == "PUT" and "partNumber" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return 200, {"ETag": f'"part-{query["partNumber"]}"'}, b""
        if method == "POST":
            parts = self.uploads.pop(query["uploadId"])
            self.objects[key] = b"".join(part for _, part in sorted(parts.items()))
            return 200, {}, S3_XML.format("CompleteMultipartUploadResult", BUCKET, key, '<ETag>"whole"</ETag>').encode()
        if method == "DELETE":
            self.uploads.pop(query.get("uploadId"), None)
            return 204, {}, b""
        self.objects[key] = body
        return 200, {"ETag": '"whole"'}, b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's head and body are two writes, and the second must not wait for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def answer(self) -> None:
        body = self.body()
        if self.headers.get("x-amz-decoded-content-length"):
            body = unchunked(body)
        status, headers, answer = self.server.surroundings.respond(self.command, self.path, self.headers, body)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def log_message(self, *_: Any) -> None:
        pass


def unchunked(body: bytes) -> bytes:
    """The content of a body in aws-chunked: pieces after their sizes, and trailers that nobody reads here."""
    parts, at = [], 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, address: Any) -> None:
        # The function is ended while it waits for its next event.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, address)


def run(
    bootstrap: Path,
    event: Any,
    ec2: Ec2,
    region: str,
    most_seconds: float = 900,
    objects: dict[str, bytes] | None = None,
    variables: dict[str, str] | None = None,
    ebs: Ebs | None = None,
) -> tuple[Surroundings, float, float]:
    """Runs the function on one event in a process of its own; answers what it left behind, and what it took."""
    surroundings = Surroundings(event, ec2, ebs)
    surroundings.objects.update(objects or {})
    server = Server(("127.0.0.1", 0), Handler)
    server.surroundings = surroundings
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [bootstrap], env={**environment(server.server_port, region), **(variables or {})}, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + most_seconds
            while not surroundings.answered.wait(0.2) and process.poll() is None and time.monotonic() < deadline:
                pass
            if process.poll() is not None or not surroundings.answered.is_set():
                log.seek(0)
                raise RuntimeError(f"the function gave no answer:\n{log.read().decode()[-2000:]}")
            status = Path(f"/proc/{process.pid}/status").read_text()
            ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        finally:
            process.kill()
            process.wait()
            server.shutdown()
            server.server_close()
    peak_mb = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    return surroundings, peak_mb, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def environment(port: int, region: str) -> dict[str, str]:
    here = f"127.0.0.1:{port}"
    return {
        "PATH": os.environ["PATH"],
        "NO_PROXY": "127.0.0.1",
        "AWS_LAMBDA_RUNTIME_API": here,
        "AWS_LAMBDA_FUNCTION_NAME": "measured",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "measured",
        "AWS_LAMBDA_LOG_STREAM_NAME": "measured",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "AWS_ENDPOINT_URL": f"http://{here}",
        "AWS_REGION": region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "S3_PATH_STYLE": "1",
        "REPORT_BUCKET": BUCKET,
    }
