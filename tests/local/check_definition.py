"""Checks the state machine's definition with statelint, as it is deployed, and its Maps against the report.

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

DEFINITION = "statemachine/backup.asl.json"
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
    maps = dict(distributed_maps(json.loads(substituted(project.text(DEFINITION)))))
    for name, state in maps.items():
        label = state.get("Label")
        if label is None:
            yield f"{name} is a distributed Map without a Label."
        elif label not in known:
            yield f"{name} has the label {label}, which {REPORT} does not know."
    for label in known - {state.get("Label") for state in maps.values()}:
        yield f"{REPORT} knows the label {label}, which no distributed Map has."


def lint(project: Project) -> Iterator[str]:
    """What statelint complains of, its known mistakes left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as definition:
        definition.write(substituted(project.text(DEFINITION)))
        definition.flush()
        done = subprocess.run(["statelint", definition.name], capture_output=True, text=True, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    messages = [line for line in lines if line and not re.fullmatch(r"\d+ errors?:|One error:", line)]
    if done.returncode != 0 and not messages:
        yield f"statelint failed without a message (exit status {done.returncode})."
    yield from (line for line in messages if not any(known.search(line) for known in FALSE_MESSAGES))


def main(project: Project) -> None:
    found = [*lint(project), *maps_have_the_labels_that_the_report_knows(project)]
    if found:
        sys.exit("\n".join([f"{DEFINITION}:", *found]))
    print(f"{DEFINITION}: no complaints of statelint, and the report knows its Maps")


if __name__ == "__main__":
    main(Project())
