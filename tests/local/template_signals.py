"""Checks of what the system tells: metrics, alarms, lines of logs, and the queries that find these."""

import re
from collections.abc import Iterator

from template_project import Json, Project, named

METRICS, OPERATIONS, CLI = "workers/domain/src/metrics.rs", "docs/operations.md", "docs/cli.md"
NAMESPACE, REGION, BACKUP_REGION = "EbsSnapshots", "Region", "BackupRegion"
DIMENSIONS = {"Home": (REGION,), "BackupRegion": (REGION, BACKUP_REGION)}

# What AWS has, by namespace and dimensions. The developer guides: SQS, "Available CloudWatch metrics";
# Step Functions, "Monitoring metrics using CloudWatch"; Lambda, "Types of metrics for Lambda functions".
OF_AWS = {
    ("AWS/SQS", ("QueueName",)): {"ApproximateNumberOfMessagesVisible"},
    ("AWS/States", ("StateMachineArn",)): {
        "ExecutionsSucceeded",
        "ExecutionsFailed",
        "ExecutionsTimedOut",
        "ExecutionsAborted",
    },
    ("AWS/States", ("ServiceMetric",)): {"ConsumedCapacity"},
    ("AWS/Lambda", ("FunctionName",)): {
        "Invocations",
        "Errors",
        "Throttles",
        "Duration",
        "RecursiveInvocationsDropped",
    },
    # Without a dimension, of all functions of the account in the region.
    ("AWS/Lambda", ()): {"Throttles"},
}

# Written by Lambda's runtime and by what formats a line.
OF_EVERY_LINE = {"level", "message", "span"}


def own_metrics(project: Project) -> dict[str, tuple[str, list[tuple[str, ...]]]]:
    """The metrics that functions print: the unit, and each set of dimensions."""
    found = re.findall(r"^    (\w+): (\w+) \[([\w, ]+)\],$", project.text(METRICS), re.MULTILINE)
    return {name: (unit, [DIMENSIONS[one] for one in scopes.split(", ")]) for name, unit, scopes in found}


def is_known(project: Project, namespace: str, metric: str, dimensions: tuple[str, ...]) -> bool:
    """Whether a function prints this metric, or AWS has it."""
    if namespace == NAMESPACE:
        return dimensions in own_metrics(project).get(metric, ("", []))[1]
    return metric in OF_AWS.get((namespace, dimensions), set())


def section(project: Project, heading: str) -> str:
    """The text below a heading of the runbook; empty if there is none."""
    parts = re.split(rf"^{re.escape(heading)}\n", project.text(OPERATIONS), flags=re.MULTILINE)
    return re.split(r"^##", parts[1], flags=re.MULTILINE)[0] if len(parts) > 1 else ""


def rows(text: str) -> list[list[str]]:
    """The rows of the first table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def first_column(project: Project, heading: str) -> set[str]:
    """The names in the first column of a table of the runbook."""
    return {name for row in rows(section(project, heading)) for name in re.findall(r"`([^`]+)`", row[0])}


def alarms(project: Project) -> dict[str, Json]:
    return project.of_type("AWS::CloudWatch::Alarm")


def metrics_are_documented(project: Project) -> Iterator[str]:
    """The runbook's table is what functions print."""
    written = {}
    for name, unit, dimensions, _ in rows(section(project, "## Metrics")):
        written[name.strip("`")] = (unit, [tuple(one.strip().split(", ")) for one in dimensions.split(";")])
    own = own_metrics(project)
    if len(own) < 2:
        yield f"{METRICS} has no metrics that this check can read."
    yield from (
        f"{OPERATIONS} says {written.get(name)} of {name}: it is {own[name]}."
        for name in own
        if written.get(name) != own[name]
    )
    yield from (f"{OPERATIONS} has the metric {name}, which nothing prints." for name in written.keys() - own.keys())


def the_count_is_that_of_what_there_is(project: Project) -> Iterator[str]:
    """Metrics are charged by the piece; README has the price of all (costs.py)."""
    own = own_metrics(project)
    home = sum((REGION,) in dimensions for _, dimensions in own.values())
    each = sum((REGION, BACKUP_REGION) in dimensions for _, dimensions in own.values())
    # The home region holds backups, too, but no copies.
    sentence = f"There are {home + 1}, and {each} more for each destination;"
    if sentence not in project.text(OPERATIONS):
        yield f"{OPERATIONS} does not say: {sentence}"


def alarms_watch_what_there_is(project: Project) -> Iterator[str]:
    """An alarm on a metric that nobody sends is silent for ever."""
    for name, alarm in alarms(project).items():
        dimensions = tuple(one["Name"] for one in alarm["Dimensions"])
        if not is_known(project, alarm["Namespace"], alarm["MetricName"], dimensions):
            metric = f"{alarm['Namespace']} {alarm['MetricName']}"
            yield f"{name} watches {metric} by {', '.join(dimensions)}, which nothing sends."


def alarms_judge_silence(project: Project) -> Iterator[str]:
    """Of what AWS counts, no data means that nothing happened; of what reports say, that nobody has looked."""
    for name, alarm in alarms(project).items():
        own = alarm["Namespace"] == NAMESPACE
        wanted = "breaching" if alarm["MetricName"] == "Complete" else "ignore" if own else "notBreaching"
        if alarm.get("TreatMissingData") != wanted:
            yield f"{name} treats missing data as {alarm.get('TreatMissingData')}: that is {wanted}."


def description(alarm: Json) -> str:
    text = alarm.get("AlarmDescription", "")
    return text["Fn::Sub"] if isinstance(text, dict) else text


def alarms_say_what_to_do(project: Project) -> Iterator[str]:
    """An alarm is read by somebody who was woken by it: what happened, the first command, and where to read on."""
    commands = set(re.findall(r"^\| `(\w+)", project.text(CLI), re.MULTILINE))
    for name, alarm in alarms(project).items():
        text = description(alarm)
        if len(text) > 1024:
            yield f"{name} has a description of more than 1024 characters."
        command = re.search(r"`ebs-snapshots (\w+)[^`]*--stack-name \$\{AWS::StackName\}`", text)
        if command is None or command[1] not in commands:
            yield f"{name} names no command of {CLI} with the stack's name."
        # That there are such headings is checked for all that name some (check_documents.py).
        if not re.search(r'"[^"]+" in (docs/operations\.md|README\.md)', text):
            yield f"{name} names no part of the runbook, or of the README."


def arguments(text: str, begin: int) -> list[str]:
    """The arguments of a macro, from behind its opening bracket."""
    found, depth, quoted, one = [], 0, False, ""
    for before, letter in zip(text[begin - 1 :], text[begin:], strict=False):
        if letter == '"' and before != "\\":
            quoted = not quoted
        if not quoted and letter in "([{":
            depth += 1
        if not quoted and letter in ")]}":
            if depth == 0:
                break
            depth -= 1
        if letter == "," and depth == 0 and not quoted:
            found.append(one.strip())
            one = ""
        else:
            one += letter
    return [*found, one.strip()]


def lines_of_logs(project: Project) -> Iterator[tuple[str, set[str], set[str]]]:
    """Of each line that workers log: its source, its fields, and its outcome where that is written out."""
    for path in project.workers():
        text = re.sub(r"^\s*//.*$", "", project.text(path).split("#[cfg(test)]")[0], flags=re.MULTILINE)
        for call in re.finditer(r"(?:tracing::(?:info|warn|error|\$level)|\bdecide)!\(", text):
            given = arguments(text, call.end())
            outcomes = set()
            if call[0].startswith("decide"):
                outcomes, given = {given[2].strip('"')}, given[3:]
            fields = set()
            for one in given:
                name = re.match(r"[?%]?(\w+)(?: = (.*))?$", one, re.DOTALL)
                if name is None:
                    continue
                fields.add(name[1])
                literal = re.fullmatch(r'"(\w+)"', name[2] or "")
                if name[1] == "outcome" and literal:
                    outcomes.add(literal[1])
            yield path, fields, outcomes


def lines_have_documented_fields(project: Project) -> Iterator[str]:
    """A query names fields: they are called the same in all functions, and the runbook has them."""
    known, outcomes = first_column(project, "## The logs"), first_column(project, "### Outcomes")
    used, decided = set(OF_EVERY_LINE), set()
    for path, fields, told in lines_of_logs(project):
        used |= fields
        decided |= told
        yield from (f"{path} logs the field {field}, which {OPERATIONS} does not have." for field in fields - known)
        yield from (f"{path} logs the outcome {one}, which {OPERATIONS} does not have." for one in told - outcomes)
    yield from (f"{OPERATIONS} has the field {field}, which nothing logs." for field in known - used)
    # Some are chosen before they are logged.
    for path in project.workers():
        for line in re.findall(r"^\s*let \(.*\boutcome\b.*$", project.text(path), re.MULTILINE):
            decided |= set(re.findall(r'"(\w+)"', line))
    yield from (f"{OPERATIONS} has the outcome {one}, which nothing logs." for one in outcomes - decided)


def queries_are_those_of_the_runbook(project: Project) -> Iterator[str]:
    """What is saved in CloudWatch and what is written in the runbook are one query, of fields that functions print."""
    text = section(project, "### Queries")
    written = {
        title.rstrip(".?"): query
        for title, query in re.findall(r"^\*([^*]+)\*[^\n]*\n\n```\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    }
    known = first_column(project, "## The logs")
    for title, query in written.items():
        names = set(re.findall(r"(?:fields |, |filter |and |or |ispresent\()(\w+)", re.sub(r'"[^"]*"', "", query)))
        unknown = names - known - {"ispresent"}
        yield from (f"The query {title!r} names {name}, which no function logs." for name in unknown)
    saved = {}
    for name, query in project.of_type("AWS::Logs::QueryDefinition").items():
        title = named_below_the_stack(query)
        saved[title] = query["QueryString"]
        for group in query.get("LogGroupNames", []):
            if named(group) not in project.of_type("AWS::Logs::LogGroup"):
                yield f"{name} looks into {group}, which is no log group of the template."
        if query["QueryString"] != written.get(title):
            yield f"{name} is not the query {title!r} of {OPERATIONS}."
    yield from (
        f"The query {title!r} of {OPERATIONS} is not saved by the template." for title in written.keys() - saved.keys()
    )


def named_below_the_stack(query: Json) -> str:
    name = query["Name"]
    return name["Fn::Sub"].removeprefix("${AWS::StackName}/") if isinstance(name, dict) else name


CHECKS = (
    metrics_are_documented,
    the_count_is_that_of_what_there_is,
    alarms_watch_what_there_is,
    alarms_judge_silence,
    alarms_say_what_to_do,
    lines_have_documented_fields,
    queries_are_those_of_the_runbook,
)
