"""The KMS keys of the local cloud, as EC2 and EBS find them: usable, unless a story says otherwise.

There is no KMS here: nothing is encrypted, and what a key's state stops is refused.
"""

import re
from typing import Any

Json = dict[str, Any]

# What a key may be. Of "revoked" the caller's permission or grant is gone; "missing" is in no region.
STATES = ("enabled", "disabled", "pending-deletion", "revoked", "missing")
KEYS: dict[tuple[str, str], str] = {}


def name_of(key: str) -> str:
    """What an id, an ARN and an alias of a key have in common: `aws-ebs` of `arn:aws:kms:…:key/aws-ebs`."""
    return re.sub(r"^(arn:[^:]*:kms:[^:]*:[^:]*:)?(key/)?", "", key)


def state(region: str, key: str) -> str:
    return KEYS.get((region, name_of(key)), "enabled")


def set_state(region: str, key: str, state: str) -> None:
    if state not in STATES:
        raise ValueError(f"a key's state is one of {', '.join(STATES)}")
    KEYS[region, name_of(key)] = state


def forget() -> None:
    KEYS.clear()


def put_key(given: Json) -> Json:
    """A key's state from now on, in its region."""
    set_state(given["region"], given["key"], given["state"])
    return {}


ACTS = {("POST", "keys"): put_key}
