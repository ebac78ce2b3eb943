"""Checks the command line's JSON, and the reports of runs, against their documented schemas.

    python tests/local/check_output.py < DOCUMENTS
    python tests/local/check_output.py report < REPORTS

Run it with the tools environment's Python. DOCUMENTS is a JSON list of answers of
`ebs-snapshots --output json`, REPORTS one of `report.json`. It prints what is wrong, as a
JSON list of sentences. A field that the schema does not name is wrong, too: it would be
undocumented.
"""

import json
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    documents = json.load(sys.stdin)
    print(json.dumps(of_reports(documents) if sys.argv[1:] == ["report"] else of_answers(documents)))


def of_answers(documents: list[Any]) -> list[str]:
    schema = read("cli.schema.json")
    return [problem for document in documents for problem in problems(schema, document)]


def of_reports(reports: list[Any]) -> list[str]:
    checker = validator(read("report.schema.json"))
    errors = [error for report in reports for error in checker.iter_errors(report)]
    return [f"report: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]


def read(name: str) -> dict[str, Any]:
    schema = strict(json.loads((DOCS / name).read_text()))
    Draft202012Validator.check_schema(schema)
    return schema


def problems(schema: dict[str, Any], document: Any) -> list[str]:
    # The data by itself, so that what is wrong is named, and not that no alternative fits.
    command = document.get("command") if isinstance(document, dict) else None
    definition = schema["$defs"].get(str(command).replace(" ", "-"))
    if definition is None:
        return [f"the schema has no command {command!r}"]
    whole = {"$defs": schema["$defs"], **schema["$defs"]["answer"]}
    data = {"$defs": schema["$defs"], **definition}
    found = [*validator(whole).iter_errors(document), *validator(data).iter_errors(document.get("data"))]
    return [f"{command}: {'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FormatChecker())


def strict(schema: Any) -> Any:
    """The schema, in which every object has the documented fields and no others."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: strict(each) for name, each in schema.items()}
    if "properties" in changed and isinstance(schema.get("type"), str):
        changed.setdefault("additionalProperties", False)
    return changed


if __name__ == "__main__":
    main()
