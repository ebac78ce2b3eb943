"""The part of the control API that is about the EBS direct APIs: blocks and their tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ebs_blocks
import ebs_tokens
from ebs_blocks import BLOCK_BYTES, MAX_BLOCKS
from ec2_resources import VOLUME_SIZE_GIB, TimedSnapshot, backend_of
from ec2_state import WORLD

Json = dict[str, Any]
GIB = 2**30
MAX_SHOWN = 100_000
# "data": other bytes, with the checksum of the right ones; "checksum": the right bytes with another checksum;
# "short": half of the bytes; "replaced": other bytes and their checksum; "absent": it is not in the list.
HOW = ("data", "checksum", "short", "replaced", "absent")


def forget() -> None:
    ebs_blocks.forget()
    ebs_tokens.forget()


def content(wanted: Json) -> tuple[Path | None, int | None, int]:
    """What a prepared snapshot holds, a file or so many blocks without one, and its volume's size in GiB."""
    file, blocks = wanted.get("file"), wanted.get("blocks")
    if file is not None and blocks is not None:
        raise ValueError("a snapshot has a file or a number of blocks, not both")
    if blocks is not None and (type(blocks) is not int or not 0 <= blocks <= MAX_BLOCKS):
        raise ValueError(f"a snapshot's blocks are a number from 0 to {MAX_BLOCKS}")
    if file is not None and not Path(file).is_file():
        raise ValueError(f"there is no file {file}")
    used = Path(file).stat().st_size if file is not None else (blocks or 0) * BLOCK_BYTES
    size = wanted.get("size", max(VOLUME_SIZE_GIB, -(-used // GIB)))
    if type(size) is not int or size < 1 or size * GIB < used:
        raise ValueError(f"a snapshot's size is a number of GiB, {max(1, -(-used // GIB))} at least for what it holds")
    return Path(file) if file is not None else None, blocks, size


def snapshot_of(given: Json) -> TimedSnapshot:
    return backend_of(given["region"]).snapshots[given["snapshot"]]


def corrupt_block(given: Json) -> Json:
    """A block of one snapshot is read otherwise from now on: neither its file nor another snapshot changes.
    `how` is null to have it back as it was."""
    snapshot, block, how = snapshot_of(given), given["block"], given["how"]
    if how is not None and how not in HOW:
        raise ValueError(f"how a block is corrupt is one of {', '.join(HOW)}")
    if not snapshot.image.has(block):
        raise ValueError(f"{snapshot.id} has no block {block!r}")
    snapshot.corrupt.pop(block, None)
    if how:
        snapshot.corrupt[block] = how
    return {}


def end_tokens(given: Json) -> Json:
    """The tokens of a snapshot that were given out until now are no longer good; of both kinds, or one."""
    kinds = [given["kind"]] if "kind" in given else ebs_tokens.KINDS
    for kind in kinds:
        if kind not in ebs_tokens.KINDS:
            raise ValueError(f"a kind of token is one of {', '.join(ebs_tokens.KINDS)}")
        ebs_tokens.end(kind, given["region"], snapshot_of(given).id)
    return {}


def list_blocks(query: Json) -> list[Json]:
    """The blocks of one snapshot, as its file has them."""
    found = snapshot_of(query).image.indices
    if len(found) > MAX_SHOWN:
        raise ValueError(f"{len(found)} blocks are too many to be shown; {MAX_SHOWN} are not")
    return list(found)


def count_blocks(query: Json) -> list[Json]:
    """Per region and snapshot: calls that were answered, the blocks in them, and how often which error was."""
    counts: dict[tuple[str, str], Json] = {}
    for call in WORLD.calls:
        if call["service"] != "ebs" or query.get("region") not in (None, call["region"]):
            continue
        region, snapshot = call["region"], call["params"]["snapshotId"]
        count = counts.setdefault(
            (region, snapshot),
            {"region": region, "snapshot": snapshot, "lists": 0, "listed": 0, "read": 0, "refused": {}},
        )
        if call["outcome"] != "ok":
            count["refused"][call["outcome"]] = count["refused"].get(call["outcome"], 0) + 1
        elif call["action"] == "GetSnapshotBlock":
            count["read"] += 1
        else:
            count["lists"] += 1
            count["listed"] += call["blocks"]
    return list(counts.values())


ACTS: dict[tuple[str, str], Callable[[Json], Any]] = {
    ("POST", "corrupt-block"): corrupt_block,
    ("POST", "block-tokens"): end_tokens,
    ("GET", "blocks"): list_blocks,
    ("GET", "block-counts"): count_blocks,
}
