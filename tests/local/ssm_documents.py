"""SSM documents: what is deployed, what a document may hold, and its script with the parameters put in.

Of command documents of schema 2.2 this knows those of one aws:runShellScript
step. What it does not know it refuses as the document is made, rather than run
it otherwise than SSM would.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ec2_state import ACCOUNT

Json = dict[str, Any]
SCHEMA = "2.2"
SHELL_STEP = "aws:runShellScript"
# Characters; SSM says 64 KB.
MAX_CONTENT = 65536
DEFAULT_STEP_SECONDS = 3600
REFERENCE = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}")
# AWS keeps these to itself.
RESERVED = re.compile(r"(?i)(aws|amazon|amzn)")


class Refusal(Exception):
    """An error that SSM answers with."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass
class Document:
    region: str
    name: str
    versions: list[str]  # the content of each, the oldest first
    default: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def arn(self) -> str:
        return f"arn:aws:ssm:{self.region}:{ACCOUNT}:document/{self.name}"

    def version(self, wanted: str | None) -> int:
        if wanted in (None, "", "$DEFAULT"):
            return self.default
        number = len(self.versions) if wanted == "$LATEST" else int(wanted) if wanted.isdigit() else 0
        if not 1 <= number <= len(self.versions):
            raise Refusal("InvalidDocumentVersion", f"{self.name} has no version {wanted}")
        return number

    def content(self, version: int) -> Json:
        return json.loads(self.versions[version - 1])

    def shape(self, version: int) -> Json:
        """As CreateDocument and DescribeDocument answer it."""
        content = self.content(version)
        return {
            "Name": self.name,
            "Owner": ACCOUNT,
            "CreatedDate": self.created.timestamp(),
            "Status": "Active",
            "DocumentVersion": str(version),
            "Description": content.get("description", ""),
            "Parameters": [
                {
                    "Name": name,
                    "Type": described["type"],
                    "Description": described.get("description", ""),
                    **({"DefaultValue": str(described["default"])} if "default" in described else {}),
                }
                for name, described in content.get("parameters", {}).items()
            ],
            "PlatformTypes": ["Linux", "MacOS"],
            "DocumentType": "Command",
            "SchemaVersion": SCHEMA,
            "LatestVersion": str(len(self.versions)),
            "DefaultVersion": str(self.default),
            "DocumentFormat": "JSON",
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }


# (region, name) -> document. Like the stacks that they belong to, they outlive a reset.
DOCUMENTS: dict[tuple[str, str], Document] = {}


def find(region: str, name: str) -> Document:
    """A document by its name or its ARN."""
    of_arn = re.fullmatch(r"arn:aws[a-z-]*:ssm:([a-z0-9-]+):\d*:document/(.+)", name)
    key = (of_arn[1], of_arn[2]) if of_arn else (region, name)
    if key[0] != region or key not in DOCUMENTS:
        raise Refusal("InvalidDocument", f"Document with name {name} does not exist.")
    return DOCUMENTS[key]


def create(region: str, given: Json) -> Document:
    name = given["Name"]
    if not re.fullmatch(r"[a-zA-Z0-9_\-.]{3,128}", name) or RESERVED.match(name):
        raise Refusal("ValidationException", f"{name} is no name of a document")
    if (region, name) in DOCUMENTS:
        raise Refusal("DocumentAlreadyExists", f"Document with same name {name} already exists")
    if given.get("DocumentType", "Command") != "Command":
        raise Refusal("InvalidDocumentContent", "the local SSM knows documents of type Command only")
    tags = {tag["Key"]: tag["Value"] for tag in given.get("Tags", [])}
    document = Document(region, name, [checked(given)], tags=tags)
    DOCUMENTS[region, name] = document
    return document


def update(region: str, given: Json) -> tuple[Document, int]:
    document = find(region, given["Name"])
    text = checked(given)
    if text in document.versions:
        raise Refusal("DuplicateDocumentContent", f"{document.name} has a version with this content")
    document.versions.append(text)
    return document, len(document.versions)


def checked(given: Json) -> str:
    """A document's content as compact JSON, in which equal contents are equal texts."""
    text = given["Content"]
    if len(text) > MAX_CONTENT:
        raise Refusal("MaxDocumentSizeExceeded", f"{len(text)} characters; {MAX_CONTENT} are allowed")
    if given.get("DocumentFormat", "JSON") != "JSON":
        raise Refusal("InvalidDocumentContent", "the local SSM reads JSON only")
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise Refusal("InvalidDocumentContent", f"JSON not well-formed: {problem}") from None
    for sentence in problems(content):
        raise Refusal("InvalidDocumentContent", sentence)
    return json.dumps(content, sort_keys=True)


def problems(content: Any) -> list[str]:
    if not isinstance(content, dict) or content.get("schemaVersion") != SCHEMA:
        return [f"the local SSM knows schemaVersion {SCHEMA} only"]
    steps = content.get("mainSteps", [])
    if [step.get("action") for step in steps] != [SHELL_STEP]:
        return [f"the local SSM runs documents of one {SHELL_STEP} step"]
    precondition = steps[0].get("precondition", {})
    if precondition not in ({}, {"StringEquals": ["platformType", "Linux"]}):
        return ["the local SSM knows one precondition, that platformType equals Linux"]
    lines = steps[0].get("inputs", {}).get("runCommand")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return [f"runCommand of {SHELL_STEP} is a list of lines"]
    parameters = content.get("parameters", {})
    found = [f"parameter {name} has type {each.get('type')}" for name, each in parameters.items() if not known(each)]
    used = set(REFERENCE.findall(json.dumps(steps)))
    return found + [f"parameter {name} is not defined in document" for name in sorted(used - set(parameters))]


def known(parameter: Json) -> bool:
    return parameter.get("type") in ("String", "StringList")


def arguments(content: Json, given: dict[str, list[str]]) -> dict[str, list[str]]:
    """All parameters of a command, those that were not given by their defaults."""
    described = content.get("parameters", {})
    unknown = sorted(set(given) - set(described))
    if unknown:
        raise Refusal("InvalidParameters", f"parameters that are not in the document: {', '.join(unknown)}")
    values = {}
    for name, parameter in described.items():
        if name in given:
            value = given[name]
            if parameter["type"] == "String" and len(value) != 1:
                raise Refusal("InvalidParameters", f"parameter {name} has {len(value)} values; it is a String")
        elif "default" in parameter:
            default = parameter["default"]
            value = default if isinstance(default, list) else [str(default)]
        else:
            raise Refusal("InvalidParameters", f"parameter {name} has no default, and is missing")
        allowed, pattern = parameter.get("allowedValues"), parameter.get("allowedPattern")
        for each in value:
            if (allowed and each not in allowed) or (pattern and not re.search(pattern, each)):
                raise Refusal("InvalidParameters", f"parameter {name} cannot be {each!r}: {allowed or pattern}")
        values[name] = value
    return values


def put_in(text: str, values: dict[str, list[str]]) -> str:
    """A text with the values in place of {{ name }}: as they are, without any quoting."""
    return REFERENCE.sub(lambda found: ",".join(values[found[1]]), text)


def script(content: Json, values: dict[str, list[str]]) -> str:
    lines = []
    for line in content["mainSteps"][0]["inputs"]["runCommand"]:
        whole = REFERENCE.fullmatch(line.strip())
        lines += values[whole[1]] if whole else [put_in(line, values)]
    return "\n".join(lines) + "\n"


def seconds(content: Json, values: dict[str, list[str]]) -> int:
    """The time-out of the document's step."""
    wanted = put_in(str(content["mainSteps"][0]["inputs"].get("timeoutSeconds", DEFAULT_STEP_SECONDS)), values)
    if not wanted.isdigit() or int(wanted) < 1:
        raise Refusal("InvalidParameters", f"timeoutSeconds of the step cannot be {wanted!r}")
    return int(wanted)
