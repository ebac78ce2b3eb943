"""The EC2 endpoint: moto's EC2 with EBS's behaviour in time, limits and faults; SSM, the EBS direct APIs and KMS.

    ec2_state.py          settings, faults, the call log, counts
    ec2_resources.py      volumes, instances and snapshots
    ec2_scene.py          instances and volumes as stories put them there
    ec2_snapshots.py      creating, copying, tagging and deleting snapshots
    ec2_presigned.py      the pre-signed URL of a copy
    ec2_holds.py          locks, and that snapshots cannot be deleted for them and for images
    ec2_images.py         images, and registering them from snapshots
    ec2_keys.py           KMS keys as EBS meets them
    ec2_requests.py       tags on what a call makes, and client tokens
    ec2_volumes.py        creating and deleting volumes; ec2_volume_limits.py says of which size and speed
    ec2_volume_status.py  how much of a volume is initialised
    ec2_attachments.py    attaching and detaching volumes
    ec2_instances.py      stopping and starting instances
    ec2_launch.py         instances from images that were registered here
    ec2_zones.py          availability zones
    ec2_root.py           replacing the root volume of a running instance
    ec2_describe.py       filters, pages and the Describe calls
    ec2_answers.py        EC2's XML
    ssm.py                SSM's documents and Run Command, on the same port, with one log of calls
    ebs.py                the EBS direct APIs, likewise
    kms.py                DescribeKey of KMS, likewise
    control.py            the control API that stories set the scene with
    ec2.py                one call from the socket to the log, and the server

Each call is carried out with the world locked, is met by at most one prepared
fault, and leaves one entry in the call log.
"""

import io
import logging
import re
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.ec2 import urls
from moto.ec2.responses import EC2Response
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

import control
import ec2_presigned
from ebs import EbsCall
from ec2_answers import error_body
from ec2_attachments import AttachmentCalls
from ec2_describe import DescribeCalls
from ec2_holds import HoldCalls
from ec2_images import ImageCalls
from ec2_instances import InstanceCalls
from ec2_launch import LaunchCalls
from ec2_requests import RequestCalls
from ec2_resources import backend_of
from ec2_root import RootVolumeCalls
from ec2_snapshots import SnapshotCalls
from ec2_state import WORLD
from ec2_volume_status import VolumeStatusCalls
from ec2_volumes import VolumeCalls
from ec2_zones import ZoneCalls
from kms import KmsCall
from ssm import SsmCall

LOG = logging.getLogger("ec2")
SNAPSHOT = r"<snapshotId>(snap-[0-9a-f]+)</snapshotId>"
# Calls that make something, and how their answers name it.
MAKES = {
    "CreateSnapshot": SNAPSHOT,
    "CreateSnapshots": SNAPSHOT,
    "CopySnapshot": SNAPSHOT,
    "RunInstances": r"<instanceId>(i-[0-9a-f]+)<",
    "RegisterImage": r"<imageId>(ami-[0-9a-f]+)<",
    "CreateReplaceRootVolumeTask": r"<replaceRootVolumeTaskId>(replacevol-[0-9a-f]+)<",
    "CreateVolume": r"<volumeId>(vol-[0-9a-f]+)</volumeId>",
}
UNLOGGED_PARAMS = ("Action", "Version", "PresignedUrl")


class LocalEC2Response(
    SnapshotCalls,
    VolumeCalls,
    VolumeStatusCalls,
    AttachmentCalls,
    InstanceCalls,
    RootVolumeCalls,
    ImageCalls,
    LaunchCalls,
    ZoneCalls,
    HoldCalls,
    RequestCalls,
    DescribeCalls,
    EC2Response,
):
    """moto's EC2 with our actions before its own."""

    def get_region_from_url(self, request: Any, full_url: str) -> str | None:
        # moto looks for a region in the URL and the client's name first, where
        # something else may look like one; the signature does not lie.
        return signed_region(request.headers.get("Authorization", ""))


def signed_region(authorization: str) -> str | None:
    """The region in a signature's credential scope, or None."""
    scope = re.search(r"Credential=([^,\s]+)", authorization)
    parts = scope.group(1).split("/") if scope else []
    return parts[2] if len(parts) == 5 else None


def error(code: str, message: str, status: int = 400) -> Response:
    return Response(error_body(code, message), status=status, content_type="text/xml;charset=UTF-8")


def internal_error() -> Response:
    return error("InternalError", "An internal error has occurred", 500)


class Ec2Call:
    """One call of EC2: what the endpoint needs to know of it, and its answers."""

    service = "ec2"
    is_logged = True
    fault_code = "InternalError"
    statuses: dict[str, int] = {}
    about: dict[str, str] = {}

    def __init__(self, moto: Any, environ: WSGIEnvironment, body: bytes) -> None:
        environ["wsgi.input"] = io.BytesIO(body)
        sent = body.decode() or environ.get("QUERY_STRING", "")
        self.moto, self.environ = moto, environ
        self.params = dict(parse_qsl(sent, keep_blank_values=True))
        self.action = self.params.get("Action", "")
        self.logged_params = {name: value for name, value in self.params.items() if name not in UNLOGGED_PARAMS}

    def error(self, code: str, message: str, status: int = 400) -> Response:
        return error(code, message, status)

    def internal_error(self) -> Response:
        return internal_error()

    def not_enabled(self) -> Response:
        return error("AuthFailure", "AWS was not able to validate the provided access credentials", 401)

    def carry_out(self, region: str, fault: dict[str, Any] | None) -> Response:
        if not WORLD.may_pass(self.action, region, self.params):
            return error("RequestLimitExceeded", "Request limit exceeded.", 503)
        WORLD.fault = fault
        try:
            response = Response.from_app(self.moto, self.environ, buffered=True)
        except NotImplementedError as problem:
            return error("InvalidAction", str(problem))
        except Exception:
            LOG.exception("%s failed", self.action)
            return internal_error()
        # moto refuses everything with 400.
        if response.status_code == 400 and self.error_code(response) == "DryRunOperation":
            response.status_code = 412
        return response

    def error_code(self, response: Response) -> str | None:
        code = re.search(r"<Code>(.*?)</Code>", response.get_data(as_text=True))
        return code.group(1) if code else None

    def facts(self, region: str | None, response: Response) -> dict[str, Any]:
        """What the log says of this call and not of others."""
        made = re.findall(MAKES[self.action], response.get_data(as_text=True)) if self.action in MAKES else []
        facts = {"inFlight": WORLD.in_flight(region), "result": made}
        return facts | (ec2_presigned.facts(self.params) if self.action == "CopySnapshot" else {})


Call = Ec2Call | SsmCall | EbsCall | KmsCall


class Endpoint:
    """The WSGI application: the control API, SSM, EBS, KMS, and EC2 for everything else."""

    def __init__(self) -> None:
        urls.url_paths = {"{0}/": LocalEC2Response.dispatch}
        self.moto = create_backend_app("ec2")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"].startswith("/_local/"):
            return control.answer(environ, body)(environ, start_response)
        call = self.call(environ, body)
        region = signed_region(environ.get("HTTP_AUTHORIZATION", ""))
        with WORLD.lock:
            WORLD.settle()
            fault, response = self.carry_out(call, region)
        # What follows is how the answer travels; other calls need not wait for it.
        kind = fault["kind"] if fault else None
        if kind == "slow":
            time.sleep(fault.get("seconds", 1))
        if kind == "lost":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("this answer is lost, as was asked for")
        if kind == "cut":
            whole = response.get_data()
            response = Response([whole[: len(whole) // 2]], response.status, response.headers)
        return response(environ, start_response)

    def call(self, environ: WSGIEnvironment, body: bytes) -> Call:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith(SsmCall.target_prefix):
            return SsmCall(target, body)
        if target.startswith(KmsCall.target_prefix):
            return KmsCall(target, body)
        if environ["PATH_INFO"].startswith(EbsCall.path_prefix):
            return EbsCall(environ)
        return Ec2Call(self.moto, environ, body)

    def carry_out(self, call: Call, region: str | None) -> tuple[dict[str, Any] | None, Response]:
        """The fault that was met, if any, and the answer; the call is logged."""
        entry = {
            "at": time.time(),
            "service": call.service,
            "action": call.action,
            "region": region,
            "outcome": "ok",
            "params": call.logged_params,
        }
        fault = WORLD.meet_fault(call.action, region, **call.about)
        kind = fault["kind"] if fault else None
        if kind == "refuse":
            code = fault.get("code", call.fault_code)
            status = fault.get("status", call.statuses.get(code, 400))
            reason = {"reason": fault["reason"]} if "reason" in fault else {}
            response = call.error(code, f"Refused, as was asked for: {code}", status, **reason)
        elif kind == "down":
            response = call.error("Unavailable", "The service is unavailable.", 503)
        elif not WORLD.is_enabled(region):
            response = call.not_enabled()
        else:
            response = call.carry_out(region, fault)
        entry.update(call.facts(region, response))
        if kind == "error-after":
            response = call.internal_error()
        if response.status_code >= 400:
            entry["outcome"] = call.error_code(response) or str(response.status_code)
        if kind:
            entry["fault"] = kind
        if call.is_logged:
            WORLD.calls.append(entry)
        return fault, response


class QuietRequestHandler(WSGIRequestHandler):
    def log_request(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log(self, type: str, message: str, *args: Any) -> None:
        LOG.error(message, *args)


def serve(log_file: Path | None = None, settings: dict[str, Any] | None = None) -> BaseWSGIServer:
    """Starts the endpoint on a free port of the loopback interface, in a thread.

    Answers the server; its `port` is where it listens, `shutdown()` ends it.
    """
    if log_file:
        logging.basicConfig(filename=log_file, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    WORLD.start_with(settings or {})
    server = make_server("127.0.0.1", 0, Endpoint(), threaded=True, request_handler=QuietRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True, name="ec2").start()
    # A region's model takes a moment to build: better now than in a story's first call.
    for region in WORLD.settings["enabledRegions"]:
        backend_of(region)
    return server
