"""What keeps a snapshot from being deleted: images that are made of it, and locks on it."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from ec2_answers import answer
from ec2_refusal import refusal
from ec2_resources import TimedSnapshot, backend_of
from ec2_state import ACCOUNT, WORLD

LOCK_MODES = ("governance", "compliance", "compliance-cooloff")
LOCK_DAYS = 7
COOL_OFF_HOURS = 24


class Lock:
    def __init__(self, snapshot: TimedSnapshot, mode: str, until: datetime | None) -> None:
        self.id, self.mode = snapshot.id, mode
        self.made_at = datetime.now(UTC)
        self.until = until or self.made_at + timedelta(days=LOCK_DAYS)

    @property
    def state(self) -> str:
        return "expired" if self.until <= datetime.now(UTC) else self.mode


def add_lock(region: str, snapshot: str, mode: str, until: datetime | None = None) -> None:
    if mode not in LOCK_MODES:
        raise ValueError(f"a lock's mode is one of {', '.join(LOCK_MODES)}")
    WORLD.locks.setdefault(region, {})[snapshot] = Lock(backend_of(region).get_snapshot(snapshot), mode, until)


def refuse_if_held(region: str, snapshot: TimedSnapshot) -> None:
    users = [image.id for image in WORLD.images.get(region, {}).values() if snapshot.id in image.snapshots]
    if snapshot.in_use:
        users.append("ami-00000000000000000")
    if users:
        raise refusal("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {', '.join(users)}")
    lock = WORLD.locks.get(region, {}).get(snapshot.id)
    if lock is not None and lock.state != "expired":
        # AWS documents that EC2 refuses, not with which code; whoever reads this one must not rely on it.
        raise refusal(
            "SnapshotLocked", f"The snapshot {snapshot.id} is locked in {lock.mode} mode and cannot be deleted."
        )


def lock_shape(lock: Lock) -> dict[str, Any]:
    cools = lock.mode == "compliance-cooloff"
    return {
        "ownerId": ACCOUNT,
        "snapshotId": lock.id,
        "lockState": lock.state,
        "lockDuration": max(1, math.ceil((lock.until - lock.made_at) / timedelta(days=1))),
        "coolOffPeriod": COOL_OFF_HOURS if cools else None,
        "coolOffPeriodExpiresOn": lock.made_at + timedelta(hours=COOL_OFF_HOURS) if cools else None,
        "lockCreatedOn": lock.made_at,
        "lockDurationStartTime": lock.made_at,
        "lockExpiresOn": lock.until,
    }


LOCK_FIELDS = {"lock-state": lambda one: one.state}


class HoldCalls:
    """Stands before moto's EC2Response, with the pages and filters of DescribeCalls, and answers this action."""

    def describe_locked_snapshots(self) -> str:
        self.error_on_dryrun()
        wanted = self._get_param("SnapshotIds", [])
        self._no_ids_with_pages(wanted, "snapshotIdSet")
        for identifier in wanted:
            self.ec2_backend.get_snapshot(identifier)
        shown = [
            one
            for one in WORLD.locks.get(self.region, {}).values()
            if one.id in self.ec2_backend.snapshots and (not wanted or one.id in wanted)
        ]
        shown, token = self._page_of(shown, LOCK_FIELDS)
        return answer("DescribeLockedSnapshots", {"snapshotSet": list(map(lock_shape, shown)), "nextToken": token})
