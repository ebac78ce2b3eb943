"""The part of the control API that is about SSM: agents, documents and commands."""

import json
from collections.abc import Callable
from typing import Any

from ssm_commands import AGENTS, COMMANDS, PING_STATUSES, Agent
from ssm_documents import DOCUMENTS, create

Json = dict[str, Any]


def put_agent(given: Json) -> Json:
    """What SSM hears of an instance from now on, and the environment that its scripts run with."""
    known = ", ".join(PING_STATUSES)
    environment, ping = given.get("environment", {}), given.get("pingStatus", "Online")
    if ping not in PING_STATUSES:
        raise ValueError(f"a pingStatus is one of {known}")
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise ValueError("an environment is an object of strings")
    agent = Agent(given["region"], given["instance"], environment, ping)
    AGENTS[agent.region, agent.instance] = agent
    return {}


def remove_agent(given: Json) -> Json:
    del AGENTS[given["region"], given["instance"]]
    return {}


def list_commands(query: Json) -> list[Json]:
    """Each command as it is, not as SSM tells it by now."""
    return [
        {
            "id": each.id,
            "at": each.requested,
            "region": each.agent.region,
            "instance": each.agent.instance,
            "document": each.document.name,
            "parameters": {name: values[0] if len(values) == 1 else values for name, values in each.values.items()},
            **{name: each.history[-1][1][name] for name in ("status", "details", "code", "output", "errors")},
        }
        for each in COMMANDS.values()
        if query.get("instance") in (None, each.agent.instance)
    ]


def add_document(given: Json) -> Json:
    """A document besides those that a stack deploys; one of its name goes."""
    region, content = given["region"], given["content"]
    DOCUMENTS.pop((region, given["name"]), None)
    text = content if isinstance(content, str) else json.dumps(content)
    return {"arn": create(region, {"Name": given["name"], "Content": text}).arn}


def list_documents(_: Json) -> list[Json]:
    return [
        {
            "region": each.region,
            "name": each.name,
            "arn": each.arn,
            "version": each.default,
            "tags": each.tags,
            "content": each.content(each.default),
        }
        for each in DOCUMENTS.values()
    ]


ACTS: dict[tuple[str, str], Callable[[Json], Any]] = {
    ("POST", "agents"): put_agent,
    ("POST", "remove-agent"): remove_agent,
    ("GET", "commands"): list_commands,
    ("POST", "documents"): add_document,
    ("GET", "documents"): list_documents,
}
