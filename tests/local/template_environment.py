"""Checks of what the functions are given in their environment, against what the workers read of it."""

import re
from collections.abc import Iterator

from template_project import Project, variables

# The only source that reads the environment; Settings reads through it.
RUNTIME = "workers/aws/src/runtime.rs"
SETTINGS = "workers/domain/src/settings.rs"
QUEUES = "workers/domain/src/ports.rs"

# Said by the local cloud alone, or by Lambda itself.
NOT_OF_THE_TEMPLATE = {"S3_PATH_STYLE", "AWS_LAMBDA_LOG_LEVEL"}


def code(project: Project, path: str) -> str:
    """A source without its unit tests and comments."""
    text = project.text(path).split("#[cfg(test)]")[0]
    return re.sub(r"//.*", "", text)


def read_by(project: Project) -> dict[str, set[str]]:
    """The variables that each function of the runtime reads, itself or by what it calls."""
    read, calls = {}, {}
    pieces = re.split(r"\bfn (\w+)", code(project, RUNTIME))
    for function, body in zip(pieces[1::2], pieces[2::2], strict=True):
        names = set(re.findall(r'\b(?:required|var)\((?:&format!\()?"([^"]+)"', body))
        if "Settings::read(" in body:
            names |= set(re.findall(r'\(\s*"([A-Z]+_[A-Z0-9_]+)"', code(project, SETTINGS)))
        read[function] = {name for pattern in names for name in of_each_queue(project, pattern)}
        calls[function] = set(re.findall(r"\b(\w+)\(", body))
    for _ in read:
        for function, called in calls.items():
            read[function] |= set().union(*(read[one] for one in called & read.keys()))
    return read


def of_each_queue(project: Project, pattern: str) -> list[str]:
    """A name, or the names that are made of one by a queue's."""
    if "{" not in pattern:
        return [pattern]
    found = re.search(r"impl WorkQueue \{.*?\[((?:Self::\w+(?:,\s*)?)+)\]", code(project, QUEUES), re.DOTALL)
    queues = re.findall(r"Self::(\w+)", found[1]) if found else []
    return [re.sub(r"\{\w+:\?\}", queue.upper(), pattern) for queue in queues]


def wanted(project: Project) -> Iterator[tuple[str, set[str]]]:
    """What each function of the template reads: its worker's `main` calls what reads it."""
    read = read_by(project)
    for name, function in project.functions.items():
        main = code(project, f"{function['CodeUri']}/src/main.rs")
        called = set(re.findall(r"\b(\w+)\(", main)) & read.keys()
        yield name, set().union(*(read[one] for one in called)) - NOT_OF_THE_TEMPLATE


def functions_are_given_what_they_read(project: Project) -> Iterator[str]:
    """What is missing is a worker that does not start, or a parameter without effect."""
    for name, reads in wanted(project):
        for variable in sorted(reads - variables(project.functions[name]).keys()):
            yield f"{name} reads {variable}, and the template does not give it."


def functions_read_what_they_are_given(project: Project) -> Iterator[str]:
    """What nobody reads looks as if it did something."""
    for name, reads in wanted(project):
        for variable in sorted(variables(project.functions[name]).keys() - reads):
            yield f"{name} is given {variable}, and does not read it."


def the_environment_is_read_in_one_place(project: Project) -> Iterator[str]:
    """What would be read elsewhere is hidden from these checks."""
    for path in project.workers():
        if path != RUNTIME and re.search(r"\benv::(?:vars?|vars?_os)\b", code(project, path)):
            yield f"{path} reads the environment: {RUNTIME} alone does."


CHECKS = (
    functions_are_given_what_they_read,
    functions_read_what_they_are_given,
    the_environment_is_read_in_one_place,
)
