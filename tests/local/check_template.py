"""Checks of the template that `sam validate --lint` does not make.

    python tests/local/check_template.py

Run it with the tools environment's Python: cfn-lint reads the template. Each check
yields what is wrong, as sentences.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfnlint.decode import decode

# A part of the template.
Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]

# What the pattern of a parameter has to let through, and what it has to refuse at deployment rather than at a run.
PATTERNS = {
    "ScheduleExpression": (
        [
            "cron(0 3 * * ? *)",
            "cron(15 10 ? * 6L 2022-2027)",
            "cron(0/30 8-18 ? JAN,FEB MON-FRI *)",
            "cron(0 3 15W * ? *)",
            "cron(0 3 ? * 2#1 *)",
            "rate(1 day)",
            "rate(12 hours)",
            "at(2026-11-22T03:00:00)",
        ],
        [
            "",
            "0 3 * * ? *",
            "cron(0 3 * * *)",
            "cron(0 3 * * ? * *)",
            "cron(0 3 * * ? *) ",
            "Cron(0 3 * * ? *)",
            "rate(1day)",
            "rate(0 hours)",
            "rate(1 week)",
            "daily",
            "at(2026-11-22)",
            "at(2026-11-22T03:00:00Z)",
        ],
    ),
    "ScheduleTimezone": (
        ["UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+5"],
        ["", "CEST", "UTC+1", "Zurich", "Europe/", "Europe / Zurich", "+01:00", "utc"],
    ),
    "ExpireRegions": (
        [
            "",
            "eu-west-1",
            "eu-west-1,us-east-1",
            "eu-west-1, us-east-1",
            " eu-west-1 ,us-gov-west-1 ",
            "cn-north-1,us-isob-east-1,eusc-de-east-1,ap-southeast-7",
        ],
        [
            "eu-west1",
            "eu-west",
            "euwest-1",
            "eu-west-1a",
            "eu-west-1;us-east-1",
            "eu-west-1 us-east-1",
            "eu-west-1,",
            "all",
        ],
    ),
    "DestinationKmsKeys": (
        [
            "",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
            (
                "us-gov-east-1=arn:aws-us-gov:kms:us-gov-east-1:111122223333:key/0a, "
                "cn-north-1=arn:aws-cn:kms:cn-north-1:111122223333:key/0b"
            ),
        ],
        [
            "us-east-1",
            "arn:aws:kms:us-east-1:111122223333:key/0a",
            "us-east-1=alias/backup",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:alias/backup",
            "us-east-1=arn:aws:kms:eu-west-1:111122223333:key/0a",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:key/0a,eu-west-1=arn:aws:kms:us-east-1:111122223333:key/0b",
            "us-east-1=arn:aws:kms:us-east-1:1111:key/0a",
            "us-east1=arn:aws:kms:us-east1:111122223333:key/0a",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:key/",
            "us-east-1=arn:aws:kms:us-east-1:111122223333:key/0a;eu-west-1=arn:aws:kms:eu-west-1:111122223333:key/0b",
            "us-east-1=1234abcd-12ab-34cd-56ef-1234567890ab",
        ],
    ),
    "NotificationEmail": (
        ["", "backups@example.com", "first.last+ebs@mail.example.co.uk"],
        ["backups", "backups@example", "@example.com", "a@example.com, b@example.com", "Backups <backups@example.com>"],
    ),
}


def of_type(template: Json, kind: str) -> dict[str, Json]:
    """The resources of a type: name and properties."""
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == kind}


def functions(template: Json) -> dict[str, Json]:
    """The functions, with what Globals says for all of them."""
    common = template["Globals"]["Function"]
    return {name: {**common, **own} for name, own in of_type(template, "AWS::Serverless::Function").items()}


def named(value: Json) -> str:
    """The resource that a reference, or a text that begins with one, names."""
    if "Ref" in value:
        return value["Ref"]
    if "Fn::Sub" in value:
        return re.match(r"(?:\$\{(\w+))?", value["Fn::Sub"])[1]
    return value["Fn::GetAtt"][0]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def triggers(function: Json) -> list[str]:
    """The queues that trigger a function."""
    events = function.get("Events", {}).values()
    return [named(event["Properties"]["Queue"]) for event in events if event["Type"] == "SQS"]


def may(template: Json, role: str, action: str, resource: str) -> bool:
    """Whether a role is granted an action on a resource of the template, by name or by a wildcard."""
    service = action.split(":")[0]
    for policy in template["Resources"][role]["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = as_list(statement["Action"])
            on = [one if isinstance(one, str) else named(one) for one in as_list(statement["Resource"])]
            granted = {action, f"{service}:*", "*"} & set(actions)
            if statement["Effect"] == "Allow" and granted and {resource, "*"} & set(on):
                return True
    return False


def alarmed(template: Json, **wanted: Any) -> bool:
    """Whether there is an alarm with these properties that is sent to the notification topic."""
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        if all(alarm.get(name) == value for name, value in wanted.items()):
            return any(named(action) == "NotificationTopic" for action in alarm["AlarmActions"])
    return False


def loops(template: Json) -> Iterator[str]:
    """Waiting is sending to one's own queue: Lambda stops that after some 16 rounds unless it is told not to."""
    for name, function in functions(template).items():
        for queue in triggers(function):
            sends = may(template, named(function["Role"]), "sqs:SendMessage", queue)
            if sends and function.get("RecursiveLoop") != "Allow":
                yield f"{name} may send to {queue}, which triggers it, and has no RecursiveLoop: Allow."


def queues(template: Json) -> Iterator[str]:
    """What is in a queue is worked off, tried often enough, kept where it cannot be, and somebody is told."""
    all_queues = of_type(template, "AWS::SQS::Queue")
    work = {queue: name for name, function in functions(template).items() for queue in triggers(function)}
    for queue, name in work.items():
        function, properties = functions(template)[name], all_queues[queue]
        redrive = properties.get("RedrivePolicy")
        if not redrive or named(redrive["deadLetterTargetArn"]) not in all_queues:
            yield f"{queue} has no dead-letter queue."
            continue
        if properties.get("VisibilityTimeout", 30) < 6 * function["Timeout"]:
            yield f"{queue} hides a message for less than six times the time-out of {name}."
        told = function["Environment"]["Variables"].get("MAX_RECEIVE_COUNT")
        if str(redrive["maxReceiveCount"]) != told:
            yield f"{queue} delivers {redrive['maxReceiveCount']} times, and {name} is told {told}."
    for queue in all_queues.keys() - work:
        dimension = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
        if not alarmed(template, MetricName="ApproximateNumberOfMessagesVisible", Dimensions=dimension):
            yield f"{queue} triggers no function, and no alarm tells of what is in it."


def alarms(template: Json) -> Iterator[str]:
    """What goes wrong outside of the report's sight is told, with what to do."""
    for name, function in functions(template).items():
        metrics = ["Errors", "Throttles", *(["RecursiveInvocationsDropped"] if triggers(function) else [])]
        for metric in metrics:
            if not alarmed(template, MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": {"Ref": name}}]):
                yield f"{name} has no alarm on {metric}."
    for name in of_type(template, "AWS::Serverless::StateMachine"):
        for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
            dimension = [{"Name": "StateMachineArn", "Value": {"Ref": name}}]
            if not alarmed(template, MetricName=metric, Dimensions=dimension):
                yield f"{name} has no alarm on {metric}."
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        if not alarm.get("AlarmDescription"):
            yield f"{name} has no description."


def parameters(template: Json) -> Iterator[str]:
    """A typo fails at deployment, with a sentence that says what is allowed."""
    for name, parameter in template["Parameters"].items():
        pattern = parameter.get("AllowedPattern")
        if parameter["Type"] == "String" and not pattern and "AllowedValues" not in parameter:
            yield f"{name} is a string and has neither AllowedPattern nor AllowedValues."
        if not pattern:
            continue
        if not re.fullmatch(r"[A-Z].*\.", parameter.get("ConstraintDescription", ""), re.DOTALL):
            yield f"{name} has a pattern and no ConstraintDescription that is a sentence."
        if name not in PATTERNS:
            yield f"{name} has a pattern that is not tried here."
    for name, (good, bad) in PATTERNS.items():
        pattern = template["Parameters"].get(name, {}).get("AllowedPattern")
        if pattern is None:
            yield f"{name} has no pattern to try."
            continue
        # CloudFormation matches the whole value. Its patterns are Java's: these use nothing that differs from Python's.
        yield from (f"{name} refuses {value!r}." for value in good if not re.fullmatch(pattern, value))
        yield from (f"{name} takes {value!r}." for value in bad if re.fullmatch(pattern, value))


def places(template: Json) -> Iterator[str]:
    """Every parameter is shown where operators look for it, once and with its default."""
    grouped = [
        name
        for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    ]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|(.*?)\|.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    shown = {}
    for names, defaults in rows:
        names = re.findall(r"`(\w+)`", names)
        defaults = [quoted or plain for quoted, plain in re.findall(r"`([^`]*)`|([^\s,`]+)", defaults)]
        shown.update(zip(names, defaults or [""] * len(names), strict=False))
    for name, parameter in template["Parameters"].items():
        if grouped.count(name) != 1:
            yield f"{name} is in {grouped.count(name)} parameter groups."
        if name not in shown:
            yield f"{name} is not in the README's table."
        elif shown[name] != str(parameter["Default"]):
            yield f"{name} has the default {parameter['Default']}, and the README says {shown[name]}."
    yield from (
        f"{name} is in a parameter group, and no parameter." for name in grouped if name not in template["Parameters"]
    )


def architecture(text: str) -> Iterator[str]:
    """One place decides for build and deployment, and `make build` replaces exactly it."""
    found = re.findall(r"\b(?:arm64|x86_64|aarch64)\b", text)
    if found != ["arm64"] or "\n    Architectures: [arm64]\n" not in text:
        yield f"The template names an architecture {len(found)} times, not once as `Architectures: [arm64]` in Globals."


def main() -> None:
    path = ROOT / "template.yaml"
    template, problems = decode(str(path))
    if problems:
        sys.exit("\n".join(map(str, problems)))
    checks = (loops, queues, alarms, parameters, places)
    found = [sentence for check in checks for sentence in check(template)]
    found += architecture(path.read_text())
    if found:
        sys.exit("\n".join([f"{path.name}:", *found]))
    print(f"{path.name}: loops, queues, alarms and {len(template['Parameters'])} parameters are as they should be")


if __name__ == "__main__":
    main()
