"""Checks of the template that `sam validate --lint` does not make.

    python tests/local/check_template.py

Run it with the tools environment's Python: cfn-lint reads the template. Each check
yields what is wrong, as sentences, and stands beside others of its kind in one of the
modules that are imported here.
"""

import re
import sys
from collections.abc import Iterator

import hook_documents
import template_dashboard
import template_environment
import template_parameters
import template_queues
import template_signals
from template_project import Project


def the_architecture_is_named_once(project: Project) -> Iterator[str]:
    """One place decides for build and deployment, and `make build` replaces exactly it."""
    text = project.text("template.yaml")
    found = re.findall(r"\b(?:arm64|x86_64|aarch64)\b", text)
    if found != ["arm64"] or "\n    Architectures: [arm64]\n" not in text:
        named = ", ".join(found) or "nothing"
        yield f"Globals has to say `Architectures: [arm64]`, and nothing else may name one: the template names {named}."


def the_documents_are_written_from_their_scripts(project: Project) -> Iterator[str]:
    """What is deployed is what shellcheck has read and the tests have run."""
    yield from hook_documents.differences(project.text("template.yaml"))


CHECKS = (
    *template_parameters.CHECKS,
    *template_environment.CHECKS,
    *template_queues.CHECKS,
    *template_signals.CHECKS,
    *template_dashboard.CHECKS,
    the_architecture_is_named_once,
    the_documents_are_written_from_their_scripts,
)


def main(project: Project) -> None:
    found = [sentence for check in CHECKS for sentence in sorted(check(project))]
    if found:
        sys.exit("\n".join(["template.yaml:", *found]))
    counted = f"{len(project.parameters)} parameters, {len(project.functions)} functions, {len(project.queues)} queues"
    print(f"template.yaml: {len(CHECKS)} checks of {counted} found nothing")


if __name__ == "__main__":
    main(Project())
