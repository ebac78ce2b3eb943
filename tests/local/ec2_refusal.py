"""How EC2 refuses a call."""

from collections.abc import Iterable
from typing import Any

from moto.ec2.exceptions import EC2ClientError


def refusal(code: str, message: str) -> EC2ClientError:
    return EC2ClientError(code, message)


def asked_for(shown: Iterable[Any], wanted: Iterable[str], code: str, text: str) -> list[Any]:
    """What has the ids that are wanted, each once, or all where none is; an id that nothing has is refused."""
    shown, wanted = list(shown), list(wanted)
    if not wanted:
        return shown
    known = {one.id: one for one in shown}
    for identifier in wanted:
        if identifier not in known:
            raise refusal(code, text.format(identifier))
    return [known[identifier] for identifier in dict.fromkeys(wanted)]
