"""KMS keys as EBS meets them: each is enabled, unless a story says otherwise."""

import re

from ec2_state import ACCOUNT, WORLD

# "denied" is a key whose policy lets nobody look at it or use it, "withoutGrant" one that KMS tells as enabled and that
# EBS cannot use, since the caller may not give it a grant.
STATES = ("enabled", "withoutGrant", "disabled", "pendingDeletion", "denied", "missing")


def key_arn(region: str, key: str) -> str:
    """The ARN of a key that is named by its id, its alias or an ARN. An alias is that of the key of its name."""
    if key.startswith("arn:"):
        return re.sub(r":alias/(.*)$", lambda alias: f":key/{key_id(alias.group(1))}", key)
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key_id(key.removeprefix('alias/'))}"


def key_id(alias: str) -> str:
    return alias.replace("/", "-")


def state_of(region: str, key: str) -> str:
    """A key of another region is none here."""
    arn = key_arn(region, key)
    if not arn.startswith(f"arn:aws:kms:{region}:"):
        return "missing"
    return WORLD.keys.get((region, arn), "enabled")


def is_usable(region: str, key: str | None) -> bool:
    """Whether EBS can use this key; what is not encrypted needs none."""
    return key is None or state_of(region, key) == "enabled"


def put_key(region: str, key: str, state: str) -> str:
    if state not in STATES:
        raise ValueError(f"a key's state is one of {', '.join(STATES)}")
    arn = key_arn(region, key)
    WORLD.keys[region, arn] = state
    return arn
