"""Checks of the dashboard: its JSON is read as CloudWatch gets it, with names and parameters in their place.

Source: "Dashboard body structure and syntax" and "Using search expressions in graphs", Amazon CloudWatch user guide.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from template_project import Json, Project
from template_signals import NAMESPACE, is_known, own_metrics

COLUMNS, MAX_HEIGHT, MAX_WIDGETS = 24, 1000, 500
HOME, ACCOUNT = "eu-west-1", "111122223333"
STATISTICS = {"Average", "Maximum", "Minimum", "SampleCount", "Sum"}
# A dashboard with more is none of those that are free.
FREE_METRICS = 50
# Destinations with which that is still so.
DESTINATIONS = 2
PSEUDO = {"AWS::Region": HOME, "AWS::AccountId": ACCOUNT, "AWS::StackName": "ebs-snapshots", "AWS::Partition": "aws"}


class NotReadable(Exception):
    pass


@dataclass(frozen=True)
class Shown:
    """A metric that a widget shows."""

    widget: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]

    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.dimensions)


def value_of(project: Project, name: str) -> str:
    """What stands in the place of a name: of a resource what looks like its ARN, URL or name."""
    if name in PSEUDO:
        return PSEUDO[name]
    if name in project.parameters:
        return str(project.parameters[name].get("Default", ""))
    resource, _, attribute = name.partition(".")
    if resource not in project.template["Resources"]:
        raise NotReadable(f"names {name}, which is neither a parameter nor a resource")
    kind = project.template["Resources"][resource]["Type"]
    if kind == "AWS::Serverless::StateMachine" and not attribute:
        return f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:{resource}"
    return resource


def substituted(project: Project, text: str) -> str:
    """As Fn::Sub does it; `${!Literal}` stays as `${Literal}`."""
    return re.sub(
        r"\$\{(!?)([^}]*)\}",
        lambda found: f"${{{found[2]}}}" if found[1] else value_of(project, found[2].strip()),
        text,
    )


def dashboards(project: Project) -> Iterator[tuple[str, Json]]:
    """The bodies, by their resources' names."""
    for name, properties in project.of_type("AWS::CloudWatch::Dashboard").items():
        body = properties["DashboardBody"]
        text = substituted(project, body["Fn::Sub"] if isinstance(body, dict) else body)
        try:
            yield name, json.loads(text)
        except ValueError as problem:
            raise NotReadable(f"is no JSON: {problem}") from None


def title(widget: Json) -> str:
    return widget["properties"].get("title", widget["type"])


def searched(expression: str) -> tuple[str, str, tuple[tuple[str, str], ...]] | None:
    """The metric, and what its dimensions are bound to, in a search; none if that is not well-formed."""
    found = re.fullmatch(r"SEARCH\('\{([^{}]+)\} ([^']+)', '(\w+)', (\d+)\)", expression)
    if found is None or found[3] not in STATISTICS or int(found[4]) % 60:
        return None
    namespace, *dimensions = found[1].split(",")
    bound = dict(re.findall(r'(\w+)="([^"]+)"', found[2]))
    if re.sub(r'\w+="[^"]+"', "", found[2]).strip() or set(bound) - {"MetricName", *dimensions}:
        return None
    return namespace, bound.get("MetricName", ""), tuple((name, bound.get(name, "")) for name in dimensions)


def read(widget: Json) -> tuple[list[Shown], list[str]]:
    """The metrics of a widget, and what is wrong with them."""
    shown, wrong = [], []
    ids = {one[-1]["id"] for one in widget["properties"]["metrics"] if isinstance(one[-1], dict) and "id" in one[-1]}
    for metric in widget["properties"]["metrics"]:
        *parts, last = [*metric, {}] if not isinstance(metric[-1], dict) else metric
        expression = last.get("expression")
        if expression is None:
            if len(parts) < 2 or len(parts) % 2 or not all(isinstance(one, str) and len(one) > 1 for one in parts):
                wrong.append(f"has a metric that is no namespace, name and pairs: {metric}")
            else:
                pairs = tuple(zip(parts[2::2], parts[3::2], strict=True))
                shown.append(Shown(title(widget), parts[0], parts[1], pairs))
        elif expression.startswith("SEARCH"):
            found = searched(expression)
            if found is None:
                wrong.append(f"has a search that is not well-formed: {expression}")
            else:
                shown.append(Shown(title(widget), *found))
        else:
            names = set(re.findall(r"[a-z]\w*", expression))
            if (
                not re.fullmatch(r"[\w\s()*/+.-]+", expression)
                or names - ids
                or expression.count("(") != expression.count(")")
            ):
                wrong.append(f"has an expression that is not of its own metrics: {expression}")
    return shown, wrong


def metrics_are_printed_or_of_aws(project: Project) -> Iterator[str]:
    """A chart of a metric that nobody sends is empty for ever, and looks like a quiet night."""
    all_shown: list[Shown] = []
    try:
        for name, body in dashboards(project):
            every: list[Shown] = []
            for widget in body["widgets"]:
                if widget["type"] != "metric":
                    continue
                shown, wrong = read(widget)
                every += shown
                yield from (f"{name}: {title(widget)!r} {one}." for one in wrong)
                if widget["properties"].get("region") != HOME:
                    yield f"{name}: {title(widget)!r} is not of the stack's region."
            for one in every:
                if not is_known(project, one.namespace, one.metric, one.names()):
                    by = f" by {', '.join(one.names())}" if one.names() else ""
                    yield f"{name}: {one.widget!r} shows {one.namespace} {one.metric}{by}, which nothing sends."
                if any("${" in value for _, value in one.dimensions):
                    yield f"{name}: {one.widget!r} has a name that is not put in its place."
                if one.namespace == NAMESPACE and dict(one.dimensions).get("Region") != HOME:
                    yield f"{name}: {one.widget!r} shows {one.metric} of all stacks."
            of_regions = sum(one.names() != ("Region",) and one.namespace == NAMESPACE for one in every)
            count = len(every) + of_regions * (DESTINATIONS - 1)
            if count > FREE_METRICS:
                yield f"{name} shows {count} metrics: with more than {FREE_METRICS} it is never free."
            all_shown += every
        yield from left_out(project, all_shown)
    except NotReadable as problem:
        yield f"The dashboard {problem}."


def left_out(project: Project, every: list[Shown]) -> Iterator[str]:
    """What somebody looks for in vain, on all dashboards."""
    shown = {one.metric for one in every if one.namespace == NAMESPACE}
    # It says no more than the runs that Step Functions counts.
    yield from (f"No dashboard shows {metric}." for metric in own_metrics(project).keys() - shown - {"Complete"})
    values = {(one.metric, value) for one in every for _, value in one.dimensions}
    for queue in project.queues:
        if ("ApproximateNumberOfMessagesVisible", queue) not in values:
            yield f"No dashboard shows {queue}."
    for function in project.functions:
        if ("Errors", function) not in values:
            yield f"No dashboard shows the errors of {function}."


def widgets_lie_in_the_grid(project: Project) -> Iterator[str]:
    """CloudWatch moves what overlaps, and refuses what does not fit."""
    try:
        for name, body in dashboards(project):
            widgets = body["widgets"]
            if len(widgets) > MAX_WIDGETS:
                yield f"{name} has more than {MAX_WIDGETS} widgets."
            for widget in widgets:
                x, y, width, height = place(widget)
                fits = x >= 0 and y >= 0 and width >= 1 and x + width <= COLUMNS and 1 <= height <= MAX_HEIGHT
                if not fits:
                    yield f"{name}: {title(widget)!r} is not in the {COLUMNS} columns."
            for one, other in combinations(widgets, 2):
                if overlap(place(one), place(other)):
                    yield f"{name}: {title(one)!r} and {title(other)!r} overlap."
    except NotReadable:
        return


def place(widget: Json) -> tuple[int, int, int, int]:
    return widget["x"], widget["y"], widget["width"], widget["height"]


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    def along(axis: int) -> bool:
        return one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]

    return along(0) and along(1)


CHECKS: tuple[Any, ...] = (metrics_are_printed_or_of_aws, widgets_lie_in_the_grid)
