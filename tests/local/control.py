"""The control API: stories set the scene and look at what happened.

JSON under /_local/ on the EC2 endpoint's port. It acts on the models directly,
is not throttled, meets no faults and is not in the call log.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import WSGIEnvironment

from moto.core.exceptions import ServiceException
from moto.core.model_instances import reset_model_data
from moto.ec2.models import ec2_backends
from werkzeug.wrappers import Response

import ebs_control
import ec2_holds
import ec2_images
import ec2_volume_control
import ssm_commands
import ssm_control
from ec2_resources import (
    TimedSnapshot,
    VolumeStub,
    backend_of,
    detach_everywhere,
    forget,
    iso,
    set_state,
    terminate_disks,
)
from ec2_scene import new_instance, new_volume
from ec2_state import ACCOUNT, COPY_VOLUME, WORLD, checked_settings
from ssm_documents import Refusal

Json = dict[str, Any]


def answer(environ: WSGIEnvironment, body: bytes) -> Response:
    """The response to one request; what is wrong with a request is said in it."""
    name = environ["PATH_INFO"].removeprefix("/_local/").strip("/")
    method = environ["REQUEST_METHOD"]
    query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    act = ACTS.get((method, name))
    if act is None:
        known = ", ".join(f"{method} {name}" for method, name in ACTS)
        return reply({"error": f"there is no {method} /_local/{name}; there is {known}"}, 404)
    try:
        given = json.loads(body) if body else {}
        with WORLD.lock:
            WORLD.settle()
            return reply(act(given if method == "POST" else query))
    except (ValueError, KeyError, TypeError, ServiceException, Refusal) as problem:
        missing = "missing or unknown " if isinstance(problem, KeyError) else ""
        return reply({"error": f"{method} /_local/{name}: {missing}{problem}"}, 400)


def reply(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")


def reset(_: Json) -> Json:
    ec2_backends[ACCOUNT].reset()
    # moto also keeps a list of everything that it ever made.
    reset_model_data()
    WORLD.forget()
    ebs_control.forget()
    ssm_commands.forget()
    return {}


def get_settings(_: Json) -> Json:
    return WORLD.settings


def change_settings(given: Json) -> Json:
    WORLD.settings.update(checked_settings(given))
    return WORLD.settings


def add_instances(given: Json) -> list[Json]:
    """Instances, which may have a zone, image, type, architecture, bootMode, ena, subnet, securityGroups, keyName,
    usageOperation and productCodes; and their volumes, each of which may have a size, type, iops, throughput,
    deleteOnTermination and tags, and be encrypted with a kmsKeyId."""
    backend = backend_of(given["region"])
    added = []
    for wanted in given["instances"]:
        instance, volumes = new_instance(backend, wanted)
        added.append(
            {
                "id": instance.id,
                "volumes": [{"id": volume.id, "device": device} for volume, device in volumes],
            }
        )
    return added


def attach(given: Json) -> Json:
    backend_of(given["region"]).attach_volume(given["volume"], given["instance"], given["device"])
    return {}


def detach(given: Json) -> Json:
    detach_everywhere(backend_of(given["region"]).get_volume(given["volume"]))
    return {}


def add_volume(given: Json) -> Json:
    return {"id": new_volume(backend_of(given["region"]), given).id}


def give_file(given: Json) -> Json:
    """The disk image that is a volume's content: a snapshot copies it at the moment when it is begun."""
    file = Path(given["file"])
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    backend_of(given["region"]).get_volume(given["volume"]).file = file
    return {}


def delete_volume(given: Json) -> Json:
    backend = backend_of(given["region"])
    detach_everywhere(backend.get_volume(given["volume"]))
    forget(backend, backend.volumes, given["volume"])
    return {}


def terminate(given: Json) -> Json:
    instance = backend_of(given["region"]).get_instance(given["instance"])
    terminate_disks(instance)
    set_state(instance, "terminated")
    return {}


def moment(text: str | None) -> datetime | None:
    """A moment in UTC; one without a zone is that already."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def add_snapshots(given: Json) -> list[str]:
    """Prepared snapshots. One without a volume is a copy, and has the volume id
    that EC2 gives to copies. A pending one lives on as if it had begun now,
    whatever its start time is, and for as many seconds as it says itself, or the
    settings. All are described at once, but for those that say that they lag.
    What it holds is a `file`, which is not copied, or so many `blocks` without one.
    Its storageTier may be archive, of which no volume is made."""
    backend, added = backend_of(given["region"]), []
    for wanted in given["snapshots"]:
        state = wanted.get("state", "completed")
        if state not in ("completed", "pending", "error"):
            raise ValueError("a snapshot's state is completed, pending or error")
        volume = wanted.get("volume") or COPY_VOLUME
        seconds = wanted.get("seconds", WORLD.settings["copySeconds" if volume == COPY_VOLUME else "snapshotSeconds"])
        if "seconds" in wanted and state != "pending":
            raise ValueError("only a pending snapshot has seconds")
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
            raise ValueError("a snapshot's seconds are a number, and not negative")
        file, blocks, size = ebs_control.content(wanted)
        started = moment(wanted.get("startTime"))
        # moto keeps its times in UTC and without a zone.
        started = started and started.replace(tzinfo=None)
        snapshot = TimedSnapshot(
            backend,
            VolumeStub(volume, size),
            wanted.get("description", ""),
            seconds if state == "pending" else 0,
            encrypted=wanted.get("encrypted", False),
            kms_key_id=wanted.get("kmsKeyId"),
            ends="error" if state == "error" else "completed",
            state_message=wanted.get("stateMessage"),
            start_time=started,
            lags=wanted.get("lag", False),
        )
        snapshot.file, snapshot.blocks = file, blocks
        snapshot.in_use = wanted.get("inUse", False)
        snapshot.storage_tier = wanted.get("storageTier", "standard")
        backend.tags[snapshot.id] = dict(wanted.get("tags") or {})
        added.append(snapshot.id)
    return added


def add_image(given: Json) -> Json:
    """An image that is made of snapshots, which it holds even while it is disabled."""
    return {
        "id": ec2_images.add_image(
            given["region"], given["snapshots"], given.get("name"), given.get("disabled", False)
        ).id
    }


def add_lock(given: Json) -> Json:
    """A lock on a snapshot, for a week or until a moment, which may be past."""
    ec2_holds.add_lock(given["region"], given["snapshot"], given["mode"], moment(given.get("until")))
    return {}


def complete(given: Json) -> Json:
    """Ends a snapshot that is pending, as it was to end."""
    backend_of(given["region"]).snapshots[given["snapshot"]].seconds = 0
    return {}


def list_snapshots(query: Json) -> list[Json]:
    regions = [query["region"]] if query.get("region") else WORLD.settings["enabledRegions"]
    found = [one for region in regions for one in backend_of(region).snapshots.values()]
    return [
        {
            "region": one.ec2_backend.region_name,
            "id": one.id,
            "volume": one.volume.id,
            "state": one.status,
            "progress": one.progress,
            "startTime": iso(one.start_time),
            "description": one.description,
            "tags": dict(one.ec2_backend.tags.get(one.id, {})),
            "encrypted": one.encrypted,
            "kmsKeyId": one.kms_key_id,
            "stateMessage": one.state_message,
            **({"file": str(one.file)} if one.file else {}),
        }
        for one in sorted(found, key=lambda one: one.serial)
    ]


def change_tags(given: Json) -> Json:
    tags = backend_of(given["region"]).tags.setdefault(given["id"], {})
    for key, value in given["tags"].items():
        if value is None:
            tags.pop(key, None)
        else:
            tags[key] = value
    return {}


def list_calls(query: Json) -> list[Json]:
    return [call for call in WORLD.calls if all(query.get(key) in (None, call[key]) for key in ("action", "service"))]


def add_fault(given: Json) -> Json:
    WORLD.add_fault(given)
    return {}


def leave_to_chance(given: Json) -> Json:
    WORLD.leave_to_chance(given["seed"], given["faults"])
    return {}


ACTS = {
    ("POST", "reset"): reset,
    ("GET", "settings"): get_settings,
    ("POST", "settings"): change_settings,
    ("POST", "instances"): add_instances,
    ("POST", "attach"): attach,
    ("POST", "detach"): detach,
    ("POST", "volumes"): add_volume,
    ("POST", "volume-file"): give_file,
    ("POST", "delete-volume"): delete_volume,
    ("POST", "terminate"): terminate,
    ("POST", "snapshots"): add_snapshots,
    ("GET", "snapshots"): list_snapshots,
    ("POST", "complete"): complete,
    ("POST", "images"): add_image,
    ("POST", "locks"): add_lock,
    ("POST", "tags"): change_tags,
    ("GET", "calls"): list_calls,
    ("POST", "faults"): add_fault,
    ("POST", "chance"): leave_to_chance,
    **ebs_control.ACTS,
    **ec2_volume_control.ACTS,
    **ssm_control.ACTS,
}
