"""What the endpoint of EC2, SSM and EBS remembers beside moto's models and SSM's commands.

Settings, prepared faults, the log of calls, request buckets and the copies in
flight live here, behind one lock: a call is carried out while it is held, so
that every count in the log is exact, however many clients there are, and the
order of the log is that in which things were done, those of all services.

What takes time is an act that becomes due: it is done before the first call
that comes afterwards, so that between two calls nothing moves.
"""

import copy
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Json = dict[str, Any]

# Every caller has this account, whatever its credentials are.
ACCOUNT = "123456789012"
os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT

# A copy's own VolumeId is arbitrary, and EC2 shows this one.
COPY_VOLUME = "vol-ffffffff"

# Seconds may be fractions: stories run on a short clock.
DEFAULTS: Json = {
    "snapshotSeconds": 1,
    "copySeconds": 1,
    "copyLimit": 5,
    "perVolumeSeconds": 0,
    "throttle": False,
    # How long a new snapshot or volume is not described.
    "describeLagSeconds": 0,
    # How long a volume is being created, attached or detached, and then initialised from its snapshot.
    "volumeSeconds": 0.3,
    "attachSeconds": 0.1,
    "initializationSeconds": 1,
    # How long an instance is stopping, or pending as it starts.
    "instanceSeconds": 0.3,
    # How long an image that is registered is pending.
    "imageSeconds": 0.3,
    # How long a replacement of a root volume waits for its volume, and then takes.
    "rootTaskSeconds": 0.3,
    # How many volumes an instance may have; of most types of today it is 27 and more.
    "attachmentLimit": 27,
    # For so long nothing is told of a volume's initialisation: up to 5 minutes, says the API of EC2.
    "initializationLagSeconds": 0,
    # MiB/s, of all volumes of a region that are being initialised at a rate.
    "initializationRateLimit": 5000,
    # How long after SendCommand there is no invocation yet, and after a change of its status the old one is shown.
    "invocationLagSeconds": 0,
    "statusLagSeconds": 0,
    # EBS's request limits, per region (https://docs.aws.amazon.com/general/latest/gr/ebs-service.html).
    "blocksPerSecond": 1000,
    "blockListsPerSecond": 50,
    # A page of blocks may have fewer than were asked for, or none, and a token still.
    "blocksPerPage": 10000,
    "emptyBlockPages": False,
    "blockTokenSeconds": 7 * 86400,
    "pageTokenSeconds": 7 * 86400,
    # What SSM's two time-outs are multiplied by, the least of which is 30 s.
    "commandTimeScale": 1,
    "enabledRegions": ["eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-southeast-2"],
    "disabledRegions": ["ap-east-1"],
    # Zones that have the state unavailable, and local zones that the account has opted in to (us-west-2-lax-1a).
    "unavailableZones": [],
    "localZones": [],
}

FAULT_KINDS = ("refuse", "lost", "error-after", "slow", "broken-copy", "broken-volume", "broken-task", "down")
FAULT_FIELDS = {"action", "region", "times", "kind", "code", "status", "seconds", "stateMessage"}
# EBS gives a reason with most errors. A fault may be for one snapshot; "cut" is an answer that ends half-way, and
# "deleted" deletes the snapshot just before the call.
EBS_ACTIONS = ("ListSnapshotBlocks", "GetSnapshotBlock")
EBS_FAULT_KINDS = ("refuse", "lost", "cut", "deleted", "error-after", "slow", "down")
EBS_FAULT_FIELDS = {"action", "region", "times", "kind", "code", "status", "seconds", "reason", "snapshot"}
# What may become of a command after SendCommand has taken it (ssm_commands.py); a fault of this action alone.
RUN_SCRIPT = "RunScript"
SCRIPT_FAULT_KINDS = ("answer", "answer-after", "hang", "hang-after", "silent", "late", "undelivered", "undeliverable")
SCRIPT_FAULT_FIELDS = {"action", "region", "times", "kind", "seconds", "instance", "command", "exitCode", "output"}

# Capacity and refill per second of EC2's request buckets, per action and region.
BUCKETS = {
    "CreateSnapshot": (100, 5),
    "CreateSnapshots": (100, 5),
    "DeleteSnapshot": (100, 5),
    "CreateTags": (100, 10),
    "CreateVolume": (100, 5),
    "DeleteVolume": (100, 5),
    "AttachVolume": (100, 5),
    "DetachVolume": (100, 5),
    "StartInstances": (5, 2),
    "RunInstances": (5, 2),
}
MUTATING_BUCKET = (50, 5)
DESCRIBE_BUCKET = (100, 20)
UNBOUNDED_DESCRIBE_BUCKET = (50, 10)


def checked_settings(changes: Json) -> Json:
    """The changes, or a ValueError that names what is wrong with them."""
    if not isinstance(changes, dict):
        raise ValueError("settings are a JSON object")
    for name, value in changes.items():
        if name not in DEFAULTS:
            raise ValueError(f"unknown setting {name!r}; known are {', '.join(DEFAULTS)}")
        example = DEFAULTS[name]
        if isinstance(example, bool):
            fits = isinstance(value, bool)
        elif isinstance(example, list):
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        else:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        if not fits:
            raise ValueError(f"setting {name!r} cannot be {value!r}")
    return changes


class Bucket:
    """A token bucket: full at first, refilled steadily, one token a call."""

    def __init__(self, capacity: float, refill: float) -> None:
        self.capacity, self.refill = capacity, refill
        self.tokens, self.at = float(capacity), time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.refill)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def fits(fault: Json, action: str, region: str | None, about: Json) -> bool:
    """A fault that names an instance, a `command` or a snapshot meets what is about that one; "*" means calls alone."""
    actions = (action,) if action == RUN_SCRIPT else ("*", action)
    return (
        fault["action"] in actions
        and fault["region"] in (None, region)
        and all(fault.get(name) in (None, value) for name, value in about.items())
    )


class Due(NamedTuple):
    """What will be done, when, and with which resource."""

    at: float
    number: int
    resource: str
    act: Callable[[], None]


class World:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.start_settings = copy.deepcopy(DEFAULTS)
        self.forget()

    def start_with(self, settings: Json) -> None:
        self.start_settings = {**copy.deepcopy(DEFAULTS), **checked_settings(settings)}
        self.forget()

    def forget(self) -> None:
        self.settings = copy.deepcopy(self.start_settings)
        self.faults: list[Json] = []
        self.chances: list[tuple[float, Json]] = []  # faults that calls meet by chance, each with its share of them
        self.dice = random.Random()
        self.calls: list[Json] = []
        self.buckets: dict[tuple[Any, ...], Bucket] = {}
        self.copies: dict[str | None, list[Any]] = {}  # region -> copies that were pending when last looked at
        self.last_snapshot: dict[tuple[str, str], float] = {}  # (region, volume) -> when its last snapshot was begun
        self.serials: dict[str, int] = {}
        self.images: dict[str, Json] = {}  # region -> image id -> image
        self.locks: dict[str, Json] = {}  # region -> snapshot id -> its lock
        self.keys: dict[tuple[str, str], str] = {}  # (region, ARN of a KMS key) -> its state; others are enabled
        self.tokens: dict[tuple[str, str, str], Any] = {}  # (region, action, client token) -> what was asked and made
        self.due: list[Due] = []
        self.former_roots: dict[str, list[str]] = {}  # instance -> the volumes that once were its root
        self.root_tasks: dict[str, Json] = {}  # region -> task id -> the replacement of a root volume
        self.planned = 0
        self.fault: Json | None = None  # the fault that the present call has met

    def serial(self, identifier: str) -> int:
        """A resource's place in the order of creation; it outlives the resource,
        so that a page token stays good when what it names is deleted."""
        return self.serials.setdefault(identifier, len(self.serials) + 1)

    def later(self, seconds: float, resource: str, act: Callable[[], None]) -> None:
        """Does this before the first call that comes so many seconds from now."""
        self.planned += 1
        self.due.append(Due(time.monotonic() + seconds, self.planned, resource, act))

    def settle(self) -> None:
        """Does what is due by now, in the order of its time; what that plans waits for the next call."""
        now = time.monotonic()
        ready = sorted((each for each in self.due if each.at <= now), key=lambda each: (each.at, each.number))
        self.due = [each for each in self.due if each.at > now]
        for each in ready:
            each.act()

    def hurry(self, resource: str) -> None:
        """Ends what this resource waits for."""
        self.due = [each._replace(at=0) if each.resource == resource else each for each in self.due]

    def fault_of_kind(self, kind: str) -> Json | None:
        return self.fault if self.fault and self.fault["kind"] == kind else None

    def is_enabled(self, region: str | None) -> bool:
        return region in self.settings["enabledRegions"]

    def in_flight(self, region: str | None) -> int:
        """How many copies to this region are pending at this moment."""
        pending = [each for each in self.copies.get(region, ()) if each.is_in_flight()]
        self.copies[region] = pending
        return len(pending)

    def add_fault(self, fault: Json) -> None:
        """Prepares a fault for the next `times` calls that fit it; one that is
        "down" meets all calls for so many seconds. The action "*" fits all."""
        fault = self.checked_fault(fault)
        if fault["kind"] == "down":
            fault["until"] = time.monotonic() + fault.get("seconds", 1)
        self.faults.append(fault)

    def leave_to_chance(self, seed: int, faults: list[Json]) -> None:
        """Lets each call meet faults by chance, in place of those before: a fault
        has the `share` of the calls that fit it, and then is prepared for the
        call's region, whose next calls may meet the rest of it."""
        chances = [
            (fault["share"], self.checked_fault({k: v for k, v in fault.items() if k != "share"})) for fault in faults
        ]
        self.dice, self.chances = random.Random(seed), chances

    def checked_fault(self, fault: Json) -> Json:
        fields, kinds = FAULT_FIELDS, FAULT_KINDS
        if fault.get("action") == RUN_SCRIPT:
            fields, kinds = SCRIPT_FAULT_FIELDS, SCRIPT_FAULT_KINDS
        elif fault.get("action") in EBS_ACTIONS:
            fields, kinds = EBS_FAULT_FIELDS, EBS_FAULT_KINDS
        unknown = set(fault) - fields
        if unknown:
            known = ", ".join(sorted(fields))
            raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}; known are {known}")
        if fault.get("kind", kinds[0]) not in kinds:
            raise ValueError(f"a fault's kind is one of {', '.join(kinds)}")
        if not fault.get("action"):
            raise ValueError("a fault needs an action")
        return {"kind": kinds[0], "region": None, "times": 1, **fault}

    def meet_fault(self, action: str, region: str | None, **about: str) -> Json | None:
        """The first prepared fault that fits this call, used up once; one that
        chance has just prepared comes last."""
        for share, fault in self.chances:
            if fits(fault, action, region, about) and self.dice.random() < share:
                self.add_fault({**fault, "region": region})
        now = time.monotonic()
        self.faults = [fault for fault in self.faults if fault.get("until", now) >= now]
        for fault in self.faults:
            if fits(fault, action, region, about):
                if fault["kind"] != "down":
                    fault["times"] -= 1
                if fault["times"] <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def may_pass(self, action: str, region: str | None, params: dict[str, str]) -> bool:
        """Whether the request bucket of this action and region has a token left."""
        bounded = "MaxResults" in params or any(key.startswith("Filter.") for key in params)
        if not action.startswith("Describe"):
            size = BUCKETS.get(action, MUTATING_BUCKET)
        else:
            size = DESCRIBE_BUCKET if bounded else UNBOUNDED_DESCRIBE_BUCKET
        return self.has_token(action, region, *size)

    def has_token(self, action: str, region: str | None, capacity: float, refill: float | None = None) -> bool:
        """Takes a token of the action's bucket in a region; without a refill it is full again in a second."""
        if not self.settings["throttle"]:
            return True
        key = (action, region, capacity, refill)
        if key not in self.buckets:
            self.buckets[key] = Bucket(capacity, capacity if refill is None else refill)
        return self.buckets[key].take()


WORLD = World()
