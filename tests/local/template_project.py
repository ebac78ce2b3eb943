"""The project's files, as the checks of the template read them."""

import functools
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cfnlint.decode import decode_str

# A part of the template.
Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Project:
    """The texts of the project, by path. A test of a check puts a broken text in a file's place."""

    instead: dict[str, str] = field(default_factory=dict)

    def text(self, path: str) -> str:
        return self.instead[path] if path in self.instead else (ROOT / path).read_text()

    def workers(self) -> list[str]:
        """The paths of the workers' sources, tests left out."""
        found = (path.relative_to(ROOT) for path in (ROOT / "workers").glob("*/src/**/*.rs"))
        return sorted(str(path) for path in found if "tests" not in (path.stem, path.parent.name))

    @functools.cached_property
    def template(self) -> Json:
        template, problems = decode_str(self.text("template.yaml"))
        if problems:
            sys.exit("\n".join(["template.yaml:", *map(str, problems)]))
        return template

    @property
    def parameters(self) -> dict[str, Json]:
        return self.template["Parameters"]

    def of_type(self, kind: str) -> dict[str, Json]:
        """The resources of a type: name and properties."""
        resources = self.template["Resources"].items()
        return {name: resource.get("Properties", {}) for name, resource in resources if resource["Type"] == kind}

    @functools.cached_property
    def functions(self) -> dict[str, Json]:
        """The functions, with what Globals says for all of them."""
        common = self.template["Globals"]["Function"]
        return {name: merged(common, own) for name, own in self.of_type("AWS::Serverless::Function").items()}

    @property
    def queues(self) -> dict[str, Json]:
        return self.of_type("AWS::SQS::Queue")

    @functools.cached_property
    def work_queues(self) -> dict[str, str]:
        """The queues that trigger a function, and the function."""
        return {queue: name for name, function in self.functions.items() for queue in triggers(function)}

    def dead_letter_queue(self, queue: str) -> str:
        """Where a queue's dead letters go; empty if that is no queue of the template."""
        target = self.queues[queue].get("RedrivePolicy", {}).get("deadLetterTargetArn")
        return named(target) if named(target) in self.queues else ""


def merged(common: Any, own: Any) -> Any:
    """As SAM merges Globals: maps by their keys, of anything else one's own."""
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return {**common, **{key: merged(common.get(key), value) for key, value in own.items()}}


def named(value: Any) -> str:
    """The resource or parameter that a reference, or a text that begins with one, names; empty if it names none.

    Of a value that a condition chooses, what it names where the condition is met.
    """
    if not isinstance(value, dict):
        return ""
    if "Fn::If" in value:
        return named(value["Fn::If"][1])
    if "Ref" in value:
        return value["Ref"]
    if "Fn::Sub" in value:
        begins = re.match(r"\$\{(\w+)", value["Fn::Sub"])
        return begins[1] if begins else ""
    return value["Fn::GetAtt"][0]


def statements(policy: Json) -> list[Json]:
    """The statements of a policy, those that a condition adds among them."""
    found = []
    for statement in policy["PolicyDocument"]["Statement"]:
        branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
        found += [branch for branch in branches if branch != {"Ref": "AWS::NoValue"}]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def variables(function: Json) -> Json:
    return function.get("Environment", {}).get("Variables", {})


def triggers(function: Json) -> list[str]:
    """The queues that trigger a function."""
    events = function.get("Events", {}).values()
    return [named(event["Properties"]["Queue"]) for event in events if event["Type"] == "SQS"]
