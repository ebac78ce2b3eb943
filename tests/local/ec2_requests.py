"""What the calls that make something have in common: tags on what is made, and client tokens."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ec2_refusal import refusal
from ec2_state import WORLD

MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
MAX_CLIENT_TOKEN = 64
# What may differ between a request and its repetition.
NOT_COMPARED = {"Action", "Version", "ClientToken", "DryRun"}


class Remembered(NamedTuple):
    """What a client token was used for."""

    asked: dict[str, list[str]]
    made: Any


def checked_tags(tags: Iterable[dict[str, str]]) -> dict[str, str]:
    """A list of Key and Value as a dictionary, refused as EC2 refuses it."""
    checked = {}
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value") or ""
        if not key or len(key) > MAX_TAG_KEY:
            raise refusal("InvalidParameterValue", f"Tag keys have 1 to {MAX_TAG_KEY} characters.")
        if key.lower().startswith("aws:"):
            raise refusal(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. Tag keys starting with 'aws:' "
                "are reserved for internal use",
            )
        if len(value) > MAX_TAG_VALUE:
            raise refusal(
                "InvalidParameterValue",
                f"Value ( {value} ) for parameter value is invalid. "
                f"Tag value exceeds the maximum length of {MAX_TAG_VALUE} characters",
            )
        if key in checked:
            raise refusal("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        checked[key] = value
    if len(checked) > MAX_TAGS:
        raise refusal("TagLimitExceeded", f"More than {MAX_TAGS} tags specified.")
    return checked


class RequestCalls:
    """Stands before moto's EC2Response, for the calls of the other classes there."""

    def _specified_tags(self, *kinds: str) -> list[dict[str, str]]:
        """The tags that TagSpecifications has for each kind of resource; other kinds are refused."""
        found: dict[str, list[dict[str, str]]] = {kind: [] for kind in kinds}
        for specification in self._get_param("TagSpecifications", []):
            kind = specification.get("ResourceType")
            if kind not in found:
                raise refusal(
                    "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
                )
            found[kind] += specification.get("Tags", [])
        return [checked_tags(found[kind]) for kind in kinds]

    def _made_before(self, action: str) -> Any:
        """What an earlier request with this client token made, or None; another request with it is refused."""
        token = self._get_param("ClientToken")
        if token and len(token) > MAX_CLIENT_TOKEN:
            raise refusal(
                "InvalidParameterValue", f"The client token {token} has more than {MAX_CLIENT_TOKEN} characters."
            )
        known = WORLD.tokens.get((self.region, action, token))
        if known is None:
            return None
        if known.asked != self._compared():
            raise refusal(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return known.made

    def _remember(self, action: str, made: Any) -> None:
        token = self._get_param("ClientToken")
        if token:
            WORLD.tokens[self.region, action, token] = Remembered(self._compared(), made)

    def _compared(self) -> dict[str, list[str]]:
        return {name: values for name, values in self.querystring.items() if name not in NOT_COMPARED}
