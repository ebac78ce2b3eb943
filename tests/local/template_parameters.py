"""Checks of the template's parameters: what they let through, and where else they are spoken of."""

import itertools
import re
from collections.abc import Iterator

from template_environment import SETTINGS, code
from template_project import Json, Project, named, variables

NOTIFICATION = "workers/domain/src/report/notification.rs"
# Where the types are whose words a parameter may have.
WORDS = ("workers/domain/src/proof.rs", "workers/domain/src/drill/parameters.rs")

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
    "DrillScheduleExpression": (
        ["cron(0 12 ? * SUN *)", "rate(7 days)", "at(2026-11-22T12:00:00)"],
        ["", "weekly", "cron(0 12 * * SUN)", "rate(1 week)"],
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
            "us-gov-east-1=arn:aws-us-gov:kms:us-gov-east-1:111122223333:key/0a, "
            "cn-north-1=arn:aws-cn:kms:cn-north-1:111122223333:key/0b",
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
    "AllowedHookDocuments": (
        [
            "",
            "arn:aws:ssm:eu-west-1:111122223333:document/FreezeOracle",
            "arn:aws:ssm:eu-west-1::document/Vendor-Freeze_1.0,"
            "arn:aws-us-gov:ssm:us-gov-west-1:111122223333:document/abc",
        ],
        [
            "FreezeOracle",
            "*",
            "arn:aws:ssm:eu-west-1:111122223333:document/*",
            "arn:aws:ssm:*:111122223333:document/FreezeOracle",
            "arn:aws:ssm:eu-west-1:1111:document/FreezeOracle",
            "arn:aws:ssm:eu-west-1:111122223333:parameter/FreezeOracle",
            "arn:aws:ssm:eu-west-1:111122223333:document/FreezeOracle,",
            # The role would get the space as a part of an ARN.
            "arn:aws:ssm:eu-west-1:111122223333:document/abc, arn:aws:ssm:eu-west-1:111122223333:document/abd",
            "arn:aws:ssm:eu-west-1:111122223333:document/a,arn:aws:ssm:eu-west-1:111122223333:document/FreezeOracle",
        ],
    ),
    "NotificationEmail": (
        ["", "backups@example.com", "first.last+ebs@mail.example.co.uk"],
        ["backups", "backups@example", "@example.com", "a@example.com, b@example.com", "Backups <backups@example.com>"],
    ),
}


def strings_refuse_typos(project: Project) -> Iterator[str]:
    """A typo fails at deployment, not at a run."""
    for name, parameter in project.parameters.items():
        if parameter["Type"] == "String" and not {"AllowedPattern", "AllowedValues"} & parameter.keys():
            yield f"{name} is a string and has neither AllowedPattern nor AllowedValues."


def refusals_say_what_is_allowed(project: Project) -> Iterator[str]:
    """CloudFormation would show the pattern else."""
    for name, parameter in project.parameters.items():
        sentence = parameter.get("ConstraintDescription", "")
        if "AllowedPattern" in parameter and not re.fullmatch(r"[A-Z].*\.", sentence, re.DOTALL):
            yield f"{name} has a pattern and no ConstraintDescription that is a sentence."


def patterns_hold(project: Project) -> Iterator[str]:
    """Every pattern is tried with what is right and what is wrong."""
    patterns = {
        name: parameter["AllowedPattern"]
        for name, parameter in project.parameters.items()
        if "AllowedPattern" in parameter
    }
    yield from (f"{name} has a pattern that is not tried here." for name in patterns.keys() - PATTERNS.keys())
    yield from (f"{name} has no pattern to try." for name in PATTERNS.keys() - patterns.keys())
    for name in patterns.keys() & PATTERNS.keys():
        good, bad = PATTERNS[name]
        # CloudFormation matches the whole value. Its patterns are Java's: these use nothing that differs from Python's.
        yield from (f"{name} refuses {value!r}." for value in good if not re.fullmatch(patterns[name], value))
        yield from (f"{name} takes {value!r}." for value in bad if re.fullmatch(patterns[name], value))


def parameters_are_in_one_group(project: Project) -> Iterator[str]:
    """The console shows them by groups."""
    interface = project.template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    for name in project.parameters:
        if grouped.count(name) != 1:
            yield f"{name} is in {grouped.count(name)} parameter groups."
    for name in grouped:
        if name not in project.parameters:
            yield f"{name} is in a parameter group, and no parameter."


def documented(project: Project) -> Iterator[tuple[str, str]]:
    """The rows of the README's table of parameters: name and default. One row may be of several."""
    table = re.search(r"^\| parameter \| default \|.*\n((?:\|.*\n)+)", project.text("README.md"), re.MULTILINE)
    for row in table[1].splitlines()[1:] if table else []:
        names, defaults = (cell.strip() for cell in row.split("|")[1:3])
        names = re.findall(r"`(\w+)`", names)
        defaults = [quoted or plain for quoted, plain in re.findall(r"`([^`]*)`|([^\s,`]+)", defaults)]
        yield from itertools.zip_longest(names, defaults, fillvalue="")


def the_readme_lists_the_parameters(project: Project) -> Iterator[str]:
    """Every parameter is in the README's table once, with its default, and nothing else is."""
    rows = list(documented(project))
    shown = [name for name, _ in rows]
    for name in project.parameters:
        if shown.count(name) != 1:
            yield f"{name} is {shown.count(name)} times in the README's table of parameters."
    for name, default in rows:
        if name not in project.parameters:
            yield f"{name} is in the README's table of parameters, and is none."
        elif default != (own := str(project.parameters[name]["Default"])):
            yield f"{name} has the default {own or 'nothing'}, and the README says {default or 'nothing'}."


def settings(project: Project) -> dict[str, Json]:
    """What Settings reads: default, least and most of each number; the words of a text, or what stands for none."""
    source = code(project, SETTINGS)
    numbers = re.findall(r'\(\s*"([A-Z0-9_]+)",\s*([\d_]+),\s*([\d_]+)\.\.=([\d_]+),?\s*\)', source)
    found = {
        name: {"Default": int(default), "MinValue": int(least), "MaxValue": int(most)}
        for name, default, least, most in numbers
    }
    texts = re.findall(r'get\(\s*"([A-Z0-9_]+)"\s*\)\s*\.unwrap_or_default\(\)', source)
    words = re.findall(r'\bword\("(\w+)",\s*get\("\1"\),\s*(\w+)::(\w+),\s*\2::ALLOWED\)', source)
    allowed = {
        kind: sentence
        for path in WORDS
        for kind, body in re.findall(r"^impl (\w+) \{$(.*?)^\}$", code(project, path), re.DOTALL | re.MULTILINE)
        for sentence in re.findall(r'const ALLOWED: &str = "([^"]+)"', body)
    }
    states = re.findall(r'\bstate\("(\w+)",\s*get\("\1"\)\)', source)
    return {
        **found,
        **{name: {"Default": ""} for name in texts},
        **{
            name: {"Default": default.lower(), "AllowedValues": re.split(r", | or ", allowed[kind])}
            for name, kind, default in words
            if kind in allowed
        },
        **{name: {"Default": "DISABLED", "AllowedValues": ["ENABLED", "DISABLED"]} for name in states},
    }


def settings_agree(project: Project) -> Iterator[str]:
    """What is deployed is what the workers accept, and what they do without being told."""
    given = {
        variable: named(value)
        for variable, value in variables(project.template["Globals"]["Function"]).items()
        if named(value) in project.parameters
    }
    known = settings(project)
    for variable in given.keys() | known.keys():
        if variable not in given or variable not in known:
            where = "Globals of the template" if variable not in given else SETTINGS
            yield f"{variable} could not be found in {where}."
            continue
        name = given[variable]
        # GiB is one word.
        if re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("GiB", "Gib")).upper() != variable:
            yield f"{variable} is given {name}."
        for what, value in known[variable].items():
            if project.parameters[name].get(what) != value:
                yield f"{name} has {what} {project.parameters[name].get(what)!r}, and Settings has {value!r}."


def words_agree(project: Project) -> Iterator[str]:
    """What NotifyOn may say is what the report understands, and begins with what it does without being told."""
    parameter, source = project.parameters.get("NotifyOn", {}), code(project, NOTIFICATION)
    words = dict(re.findall(r'\("(\w+)", Self::(\w+)\)', source))
    default = re.search(r"#\[default\]\s*(\w+),", source)
    if sorted(words) != sorted(parameter.get("AllowedValues", [])):
        yield f"NotifyOn allows {parameter.get('AllowedValues')}, and {NOTIFICATION} has {list(words)}."
    elif not default or words[parameter["Default"]] != default[1]:
        yield f"NotifyOn has the default {parameter['Default']}, and {NOTIFICATION} another one."


CHECKS = (
    strings_refuse_typos,
    refusals_say_what_is_allowed,
    patterns_hold,
    parameters_are_in_one_group,
    the_readme_lists_the_parameters,
    settings_agree,
    words_agree,
)
