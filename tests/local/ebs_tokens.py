"""The tokens of blocks and pages: for which snapshot, from when, and until when they are good.

A token is sealed, so that one which was not given out is known as such.
"""

import base64
import hashlib
import secrets
import struct
import time

from ec2_state import WORLD

# A kind of token is a setting's name without "Seconds".
BLOCK, PAGE = "blockToken", "pageToken"
KINDS = (BLOCK, PAGE)
SECRET = secrets.token_bytes(32)
SEAL_LETTERS = 32
# (kind, region, snapshot) -> the moment up to which those that were given out are no longer good.
ENDED: dict[tuple[str, str, str], float] = {}


def life(kind: str) -> float:
    return WORLD.settings[f"{kind}Seconds"]


def seal(kind: str, region: str, snapshot: str, issued: float) -> str:
    """What all tokens of one answer begin with; what they are for stands behind it."""
    begin = struct.pack(">d", issued)
    sealed = hashlib.blake2b(f"{kind} {region} {snapshot} ".encode() + begin, key=SECRET, digest_size=16)
    return base64.b64encode(begin + sealed.digest()).decode()


def opened(kind: str, region: str, snapshot: str, token: str) -> str | None:
    """What a token is for, or None where it is not, or no longer, good."""
    try:
        (issued,) = struct.unpack(">d", base64.b64decode(token[:SEAL_LETTERS])[:8])
    except (ValueError, struct.error):
        return None
    if token[:SEAL_LETTERS] != seal(kind, region, snapshot, issued):
        return None
    is_over = time.time() >= issued + life(kind) or issued <= ENDED.get((kind, region, snapshot), 0)
    return None if is_over else token[SEAL_LETTERS:]


def end(kind: str, region: str, snapshot: str) -> None:
    """No token that was given out until now is good any more."""
    ENDED[kind, region, snapshot] = time.time()


def forget() -> None:
    ENDED.clear()
