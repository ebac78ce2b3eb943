"""AWS::Logs::QueryDefinition for MiniStack's CloudFormation, which does not know it.

What CloudFormation would refuse is refused; the queries themselves are kept nowhere,
since nothing here runs them.
"""

import uuid
from typing import Any

Json = dict[str, Any]
KNOWN = {"Name", "QueryString", "LogGroupNames", "QueryLanguage", "Parameters"}
MAX_NAME, MAX_QUERY = 255, 10_000


def check(properties: Json) -> None:
    from ministack.services import cloudwatch_logs

    unknown = set(properties) - KNOWN
    if unknown:
        raise ValueError(f"the local AWS::Logs::QueryDefinition does not know {', '.join(sorted(unknown))}")
    if not 1 <= len(properties.get("Name", "")) <= MAX_NAME:
        raise ValueError(f"a query definition's Name has 1 to {MAX_NAME} characters")
    if not 1 <= len(properties.get("QueryString", "")) <= MAX_QUERY:
        raise ValueError(f"a query definition's QueryString has 1 to {MAX_QUERY} characters")
    for group in properties.get("LogGroupNames", []):
        if group not in cloudwatch_logs._log_groups:
            raise ValueError(f"there is no log group {group}")


def create(_: str, properties: Json, __: str) -> tuple[str, Json]:
    check(properties)
    return str(uuid.uuid4()), {}


def update(physical_id: str, _: Json, after: Json, __: str) -> tuple[str, Json]:
    check(after)
    return physical_id, {}


def delete(_: str, __: Json) -> None:
    return


def extend_ministack() -> None:
    from ministack.services.cloudformation import provisioners

    handlers = {"create": create, "update": update, "delete": delete}
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = handlers
