"""Checks the state machines' definitions with statelint, as they are deployed, and their Maps against the report.

    python tests/local/check_definition.py

`sam validate --lint` does not look into a definition file. The substitutions that
stand for numbers are unquoted in it, so it is JSON only once they are replaced.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from template_project import Project

DEFINITIONS = ("statemachine/backup.asl.json", "statemachine/drill.asl.json")
# What the report knows of Map Runs.
REPORT = "workers/domain/src/report/failures.rs"

# AWS accepts both; statelint 3.1 does not know them yet.
FALSE_MESSAGES = (
    re.compile(r'Field "Label" not allowed in State Machine\.\S+$'),
    re.compile(r'Field "InputType" not allowed in State Machine\.\S+\.ItemReader\.ReaderConfig$'),
)


def substituted(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.endswith(("Concurrency", "Seconds")):
            return "5"
        return "arn:aws:lambda:eu-west-1:111122223333:function:f" if name.endswith("Arn") else "name"

    return re.sub(r"\$\{(\w+)\}", value, text)


def distributed_maps(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The states that start Map Runs, those within other Maps and branches among them: name and state."""
    for name, state in machine["States"].items():
        for branch in state.get("Branches", []):
            yield from distributed_maps(branch)
        if processor := state.get("ItemProcessor"):
            if processor["ProcessorConfig"]["Mode"] == "DISTRIBUTED":
                yield name, state
            yield from distributed_maps(processor)


def maps_have_the_labels_that_the_report_knows(project: Project) -> Iterator[str]:
    """The report tells by its label what a Map Run was about: of one that it does not know, it would know nothing."""
    known = set(re.findall(r'/// The label of .*\n(?:pub )?const \w+: &str = "(\w+)";', project.text(REPORT)))
    machines = [json.loads(substituted(project.text(definition))) for definition in DEFINITIONS]
    maps = dict(found for machine in machines for found in distributed_maps(machine))
    for name, state in maps.items():
        label = state.get("Label")
        if label is None:
            yield f"{name} is a distributed Map without a Label."
        elif label not in known:
            yield f"{name} has the label {label}, which {REPORT} does not know."
    for label in known - {state.get("Label") for state in maps.values()}:
        yield f"{REPORT} knows the label {label}, which no distributed Map has."


def lint(project: Project, definition: str) -> Iterator[str]:
    """What statelint complains of, its known mistakes left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(substituted(project.text(definition)))
        file.flush()
        done = subprocess.run(["statelint", file.name], capture_output=True, text=True, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    messages = [line for line in lines if line and not re.fullmatch(r"\d+ errors?:|One error:", line)]
    if done.returncode != 0 and not messages:
        yield f"statelint failed without a message (exit status {done.returncode})."
    yield from (line for line in messages if not any(known.search(line) for known in FALSE_MESSAGES))


def main(project: Project) -> None:
    found = [f"{definition}: {line}" for definition in DEFINITIONS for line in lint(project, definition)]
    found += maps_have_the_labels_that_the_report_knows(project)
    if found:
        sys.exit("\n".join(found))
    print(f"{' and '.join(DEFINITIONS)}: no complaints of statelint, and the report knows their Maps")


if __name__ == "__main__":
    main(Project())
