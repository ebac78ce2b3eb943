"""The SSM documents of the template, which are written from the scripts in databases/documents.

    python tests/local/hook_documents.py         writes them into template.yaml
    python tests/local/hook_documents.py NAME    prints a document's script

A script stands once, as a file that shellcheck reads; what the scripts share stands
once, too, and is put in where a script sources it, since a document is one text.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "databases/documents"
BEGIN = "  # From here on written by `make documents` from databases/documents: change it there.\n"
END = "  # The end of what `make documents` writes.\n"
# Characters; SSM says 64 KB, and counts the whole document.
MAX_DOCUMENT = 65536
WORDS = ["pre-script", "post-script", "dry-run"]
UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

# The parameters are Data Lifecycle Manager's first, then our own, all of which have defaults.
COMMON: dict[str, dict[str, Any]] = {
    "executionId": {
        "description": "Names one pre-script and its post-script.",
        "default": "None",
        "pattern": f"^(None|{UUID})$",
    },
    "command": {"description": "What is to be done; dry-run says it only.", "default": "dry-run", "values": WORDS},
    "executionTimeout": {
        "description": "Seconds that the command has; the agent kills it then.",
        "default": "60",
        "pattern": "^[1-9][0-9]{1,3}$",
    },
    "freezeSeconds": {
        "description": "Seconds after which what is frozen is thawed, though no post-script has come.",
        "default": "60",
        "pattern": "^([1-9][0-9]?|1[01][0-9]|120)$",
    },
}
MODE = {
    "mode": {
        "description": "lock or dump; empty is what the instance's file says, else lock.",
        "default": "",
        "pattern": "(^$)|^(lock|dump)$",
    }
}
PATHS = {
    "paths": {
        "description": "Folders whose file systems are frozen, with commas; empty is what the instance's file says.",
        "default": "",
        "pattern": "^[0-9A-Za-z_./, -]*$",
    }
}
DOCUMENTS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "mariadb": ("MariaDB's commits wait and its file systems are frozen, or it is dumped.", COMMON | MODE),
    "mysql": ("MySQL's writes wait and its file systems are frozen, or it is dumped.", COMMON | MODE),
    "postgresql": ("PostgreSQL makes a checkpoint, and its file systems are frozen.", COMMON),
    "filesystem": ("File systems are frozen.", COMMON | PATHS),
}


def script(name: str) -> str:
    """A script with what it sources put in its place, once."""
    lines = []
    for line in (ROOT / FOLDER / f"{name}.sh").read_text().splitlines():
        sourced = re.fullmatch(r"source (shared/\w+\.bash)", line)
        if sourced:
            line = (ROOT / FOLDER / sourced[1]).read_text().strip()
        lines += [each for each in line.splitlines() if not each.lstrip().startswith("# shellcheck ")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def logical_id(name: str) -> str:
    return f"{name.capitalize()}HookDocument"


def resource(name: str) -> str:
    """A document as a resource of the template, in YAML."""
    description, parameters = DOCUMENTS[name]
    lines = [
        f"  {logical_id(name)}:",
        "    Type: AWS::SSM::Document",
        "    Properties:",
        f"      Name: !Sub ${{AWS::StackName}}-{name}",
        "      DocumentType: Command",
        "      DocumentFormat: JSON",
        "      UpdateMethod: NewVersion",
        "      Tags:",
        "        - Key: DLMScriptsAccess",
        '          Value: "true"',
        "      Content:",
        '        schemaVersion: "2.2"',
        f"        description: Before and after a snapshot. {description}",
        "        parameters:",
    ]
    for each, said in parameters.items():
        lines += [
            f"          {each}:",
            "            type: String",
            f"            description: {said['description']}",
            f'            default: "{said["default"]}"',
        ]
        if "values" in said:
            values = ", ".join(f'"{value}"' for value in said["values"])
            lines.append(f"            allowedValues: [{values}]")
        else:
            lines.append(f"            allowedPattern: '{said['pattern']}'")
    lines += [
        "        mainSteps:",
        "          - action: aws:runShellScript",
        "            name: hook",
        "            precondition:",
        "              StringEquals: [platformType, Linux]",
        "            inputs:",
        '              timeoutSeconds: "{{ executionTimeout }}"',
        "              runCommand:",
        "                - |",
    ]
    lines += [f"                  {line}".rstrip() for line in script(name).splitlines()]
    return "\n".join(lines) + "\n"


def written(template: str) -> str:
    """The template with the documents as they are now, at the end of the resources where there were none."""
    block = BEGIN + "\n".join(resource(name) for name in DOCUMENTS) + END
    if BEGIN in template:
        before, rest = template.split(BEGIN)
        return before + block + rest.split(END)[1]
    before, outputs = template.split("\nOutputs:\n")
    return f"{before}\n{block}\nOutputs:\n{outputs}"


def differences(template: str) -> Iterator[str]:
    """What is wrong with the documents of a template, as sentences."""
    if BEGIN not in template or written(template) != template:
        yield f"The hooks' documents are not those of {FOLDER}: `make documents` writes them."
    for name in DOCUMENTS:
        if (size := len(resource(name))) > MAX_DOCUMENT:
            yield f"The document {name} has {size} characters; SSM allows {MAX_DOCUMENT}."


def main() -> None:
    if len(sys.argv) > 1:
        print(script(sys.argv[1]), end="")
        return
    file = ROOT / "template.yaml"
    file.write_text(written(file.read_text()))
    print(", ".join(f"{name}: {len(resource(name))} characters" for name in DOCUMENTS))


if __name__ == "__main__":
    main()
